//! Notices of a server as JavaScript objects.

use napi_derive::napi;
use socketserver_core::ids::ShareId;
use socketserver_core::parent::notice::{
    EndReason, Notice as CoreNotice, OUT_OF_DESCRIPTORS, Refused, ShedReason, Step,
};
use socketserver_core::sys::Credentials;
use socketserver_core::{ListenerAddress as CoreAddress, ProtocolError};

use crate::address::{ListenerAddress, remote_parts};
use crate::number::{count, millis};
use crate::system_error::SystemError;

/// An event of the server. The fields that are set depend on `kind`.
#[napi(object)]
#[derive(Default)]
pub struct Notice {
    /// The kind of event.
    #[napi(
        ts_type = "'joined' | 'admitted' | 'refused' | 'leaving' | 'ended' | 'shed' | 'accept-error' | 'worker-limit' | 'step' | 'listening' | 'listening-ended' | 'metrics' | 'drained' | 'failed'"
    )]
    pub kind: String,
    /// joined, admitted, leaving, ended, worker-limit: the channel.
    pub channel: Option<u32>,
    /// joined: the process id that the worker sent; admitted, refused: the process id from the system, if known.
    pub pid: Option<u32>,
    /// admitted, refused: the number of the shared path.
    pub share: Option<u32>,
    /// admitted, refused: the user.
    pub uid: Option<u32>,
    /// admitted, refused: the group.
    pub gid: Option<u32>,
    /// ended: left, lost, dismissed or protocol; shed: timeout or destroyed; refused: not-allowed, full, late, version or
    /// protocol.
    pub reason: Option<String>,
    /// ended: the leases that the worker held at the end.
    pub leases: Option<u32>,
    /// ended: the connections that the worker had acknowledged.
    pub handed_off: Option<f64>,
    /// ended with protocol, refused, failed: the error in words.
    pub message: Option<String>,
    /// step: the connection; metrics: the request.
    pub id: Option<f64>,
    /// metrics: whether the text is OpenMetrics.
    pub is_open_metrics: Option<bool>,
    /// step: the step that the connection has completed.
    #[napi(ts_type = "'accepted' | 'handed-off' | 'taken' | 'handed-back'")]
    pub step: Option<String>,
    /// accept-error, worker-limit: the error of the system.
    pub error: Option<SystemError>,
    /// accept-error, listening, listening-ended: the listener.
    pub address: Option<ListenerAddress>,
    /// shed: the connection.
    pub connection: Option<ShedConnection>,
}

/// A connection that the server closed unserved.
#[napi(object)]
pub struct ShedConnection {
    /// The id, unique within the server.
    pub id: f64,
    /// The client's IP address; absent for a Unix socket.
    pub remote_address: Option<String>,
    /// The client's port; absent for a Unix socket.
    pub remote_port: Option<u16>,
    /// The local port; absent for a Unix socket.
    pub local_port: Option<u16>,
    /// The time since accept in milliseconds.
    pub waited: f64,
}

fn listener_notice(kind: &str, address: &CoreAddress) -> Notice {
    Notice {
        kind: kind.to_owned(),
        address: Some(address.into()),
        ..Notice::default()
    }
}

impl From<CoreNotice> for Notice {
    fn from(notice: CoreNotice) -> Self {
        let none = Self::default();
        match notice {
            CoreNotice::Joined { channel, pid } => Self {
                kind: "joined".to_owned(),
                channel: Some(channel),
                pid: Some(pid),
                ..none
            },
            CoreNotice::Admitted { channel, share, peer } => Self {
                kind: "admitted".to_owned(),
                channel: Some(channel),
                ..of_peer(share, Some(peer))
            },
            CoreNotice::Refused { share, peer, reason } => Self {
                kind: "refused".to_owned(),
                reason: Some(word_for(&reason).to_owned()),
                message: Some(reason.to_string()),
                ..of_peer(share, peer)
            },
            CoreNotice::Leaving { channel } => Self {
                kind: "leaving".to_owned(),
                channel: Some(channel),
                ..none
            },
            CoreNotice::Ended {
                channel,
                reason,
                leases,
                taken,
            } => {
                let (word, message) = end_parts(&reason);
                Self {
                    kind: "ended".to_owned(),
                    channel: Some(channel),
                    reason: Some(word.to_owned()),
                    message,
                    leases: Some(leases),
                    handed_off: Some(count(taken)),
                    ..none
                }
            }
            CoreNotice::Shed {
                id,
                reason,
                remote,
                local_port,
                waited,
            } => {
                let (remote_address, remote_port) = remote_parts(remote);
                let connection = ShedConnection {
                    id: count(id),
                    remote_address,
                    remote_port,
                    local_port: (local_port != 0).then_some(local_port),
                    waited: millis(waited),
                };
                Self {
                    kind: "shed".to_owned(),
                    reason: Some(shed_word(reason).to_owned()),
                    connection: Some(connection),
                    ..none
                }
            }
            CoreNotice::AcceptError { address, error } => Self {
                kind: "accept-error".to_owned(),
                error: Some(error.into()),
                address: Some((&address).into()),
                ..none
            },
            CoreNotice::WorkerLimit { channel } => Self {
                kind: "worker-limit".to_owned(),
                channel: Some(channel),
                error: Some(OUT_OF_DESCRIPTORS.into()),
                ..none
            },
            CoreNotice::Step { id, step, channel } => Self {
                kind: "step".to_owned(),
                channel,
                id: Some(count(id)),
                step: Some(step_word(step).to_owned()),
                ..none
            },
            CoreNotice::Failed { message } => Self {
                kind: "failed".to_owned(),
                message: Some(message),
                ..none
            },
            CoreNotice::Listening { address, .. } => listener_notice("listening", &address),
            CoreNotice::ListeningEnded { address, .. } => listener_notice("listening-ended", &address),
            CoreNotice::MetricsAsked { id, is_open_metrics } => Self {
                kind: "metrics".to_owned(),
                id: Some(id.into()),
                is_open_metrics: Some(is_open_metrics),
                ..none
            },
            CoreNotice::Drained => Self {
                kind: "drained".to_owned(),
                ..none
            },
        }
    }
}

fn shed_word(reason: ShedReason) -> &'static str {
    match reason {
        ShedReason::Timeout => "timeout",
        ShedReason::Destroyed => "destroyed",
    }
}

fn end_parts(reason: &EndReason) -> (&'static str, Option<String>) {
    match reason {
        EndReason::Left => ("left", None),
        EndReason::Lost => ("lost", None),
        EndReason::Dismissed => ("dismissed", None),
        EndReason::Protocol(error) => ("protocol", Some(error.to_string())),
    }
}

fn of_peer(share: ShareId, peer: Option<Credentials>) -> Notice {
    let (pid, uid, gid) = peer.map_or((None, None, None), |peer| (peer.pid, Some(peer.uid), Some(peer.gid)));
    Notice {
        share: Some(share),
        pid,
        uid,
        gid,
        ..Notice::default()
    }
}

fn step_word(step: Step) -> &'static str {
    match step {
        Step::Accepted => "accepted",
        Step::HandedOff => "handed-off",
        Step::Taken => "taken",
        Step::HandedBack => "handed-back",
    }
}

fn word_for(reason: &Refused) -> &'static str {
    match reason {
        Refused::NotAllowed => "not-allowed",
        Refused::Full { .. } => "full",
        Refused::Late { .. } => "late",
        Refused::Protocol(ProtocolError::Version { .. }) => "version",
        Refused::Protocol(_) => "protocol",
    }
}
