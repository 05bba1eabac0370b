//! Plain objects that cross the border, and how the core's types become them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use napi_derive::napi;
use socketserver_core::error::SystemError as CoreError;
use socketserver_core::notice::{EndReason, Notice as CoreNotice, OUT_OF_DESCRIPTORS, Refused, ShedReason, Step};
use socketserver_core::share::ShareId;
use socketserver_core::stats::Snapshot;
use socketserver_core::sys::Credentials;
use socketserver_core::{ListenError, ListenerAddress as CoreAddress, ProtocolError};

/// A failed system call, in Node's terms.
#[napi(object)]
pub struct SystemError {
    /// `EADDRINUSE` and its like.
    pub code: String,
    /// Negative, as Node's own.
    pub errno: i32,
    /// The call's name.
    pub syscall: String,
    /// The system's words, in lower case.
    pub message: String,
}

/// Where a listener listens.
#[napi(object)]
pub struct ListenerAddress {
    /// `IPv4`, `IPv6` or `Unix`.
    pub family: String,
    /// An IP address or a path.
    pub address: String,
    /// 0 for a Unix socket.
    pub port: u16,
}

/// Either the one or the other.
#[napi(object)]
pub struct ListenOutcome {
    /// Where the server listens now.
    pub address: Option<ListenerAddress>,
    /// Why it does not.
    pub error: Option<SystemError>,
}

/// Either the one or the other.
#[napi(object)]
pub struct ShareOutcome {
    /// The number of the shared path.
    pub share: Option<u32>,
    /// Why it is not shared.
    pub error: Option<SystemError>,
}

/// Something that has happened in the server.
#[napi(object)]
#[derive(Default)]
pub struct Notice {
    /// What.
    #[napi(
        ts_type = "'joined' | 'admitted' | 'refused' | 'ended' | 'shed' | 'accept-error' | 'worker-limit' | 'step' | 'drained'"
    )]
    pub kind: String,
    /// joined, admitted, ended, worker-limit: the channel.
    pub channel: Option<u32>,
    /// joined: as the worker says; admitted, refused: as the system says, if it does.
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
    /// ended: the leases that the worker held then.
    pub leases: Option<u32>,
    /// ended: the connections that it had taken.
    pub handed_off: Option<f64>,
    /// ended by protocol, refused: what was wrong.
    pub message: Option<String>,
    /// step: the connection.
    pub id: Option<f64>,
    /// step: how far it has come.
    #[napi(ts_type = "'accepted' | 'handed-off' | 'taken' | 'handed-back'")]
    pub step: Option<String>,
    /// accept-error, worker-limit: the errno.
    pub error: Option<SystemError>,
    /// accept-error: the listener.
    pub address: Option<ListenerAddress>,
    /// shed: the connection.
    pub connection: Option<ShedConnection>,
}

/// A connection that was given up.
#[napi(object)]
pub struct ShedConnection {
    /// Unique within its server.
    pub id: f64,
    /// The client; absent for a Unix socket.
    pub remote_address: Option<String>,
    /// The client's port.
    pub remote_port: Option<u16>,
    /// The port it came in by.
    pub local_port: Option<u16>,
    /// Milliseconds.
    pub waited: f64,
}

/// The counters of a server at one moment.
#[napi(object)]
pub struct NativeStats {
    /// Connections accepted.
    pub accepted: f64,
    /// Connections that a worker has acked.
    pub handed_off: f64,
    /// Times that a connection went back to the queue.
    pub requeued: f64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: f64,
    /// Connections given up.
    pub shed: f64,
    /// Connections that wait now.
    pub queued: f64,
    /// The most that ever waited.
    pub max_queued: f64,
    /// Leases held now.
    pub leases: f64,
    /// Workers that have joined.
    pub workers: f64,
    /// Peers turned away at shared paths.
    pub refused: f64,
    /// Whether accepting pauses.
    pub paused: bool,
    /// From accept to handoff.
    pub wait_ms: WaitMs,
    /// Failed accepts by code.
    pub accept_errors: HashMap<String, f64>,
}

/// Milliseconds.
#[napi(object)]
pub struct WaitMs {
    /// The median.
    pub p50: f64,
    /// 99 of 100 waited no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<CoreError> for SystemError {
    fn from(error: CoreError) -> Self {
        let mut message = error.errno.desc().to_owned();
        message.get_mut(..1).into_iter().for_each(str::make_ascii_lowercase);
        Self {
            code: error.code(),
            errno: -(error.errno as i32),
            syscall: error.syscall.to_owned(),
            message,
        }
    }
}

impl From<&CoreAddress> for ListenerAddress {
    fn from(address: &CoreAddress) -> Self {
        match address {
            CoreAddress::Tcp(address) => Self {
                family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
                address: address.ip().to_string(),
                port: address.port(),
            },
            CoreAddress::Unix(path) => Self {
                family: "Unix".to_owned(),
                address: path.to_string_lossy().into_owned(),
                port: 0,
            },
        }
    }
}

impl From<Result<CoreAddress, ListenError>> for ListenOutcome {
    fn from(outcome: Result<CoreAddress, ListenError>) -> Self {
        let error = match outcome {
            Ok(address) => {
                return Self {
                    address: Some((&address).into()),
                    error: None,
                };
            }
            Err(error) => error.into(),
        };
        Self {
            address: None,
            error: Some(error),
        }
    }
}

impl From<Result<ShareId, ListenError>> for ShareOutcome {
    fn from(outcome: Result<ShareId, ListenError>) -> Self {
        match outcome {
            Ok(share) => Self {
                share: Some(share),
                error: None,
            },
            Err(error) => Self {
                share: None,
                error: Some(error.into()),
            },
        }
    }
}

impl From<ListenError> for SystemError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::System(error) => error.into(),
            // TypeScript checks options and the server's phase before it comes here.
            ListenError::Config(_) | ListenError::Closed => Self {
                code: "EINVAL".to_owned(),
                errno: -22,
                syscall: "listen".to_owned(),
                message: error.to_string(),
            },
        }
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
            CoreNotice::Refused { share, peer, reason } => {
                let word = match reason {
                    Refused::NotAllowed => "not-allowed",
                    Refused::Full { .. } => "full",
                    Refused::Late { .. } => "late",
                    Refused::Protocol(ProtocolError::Version { .. }) => "version",
                    Refused::Protocol(_) => "protocol",
                };
                Self {
                    kind: "refused".to_owned(),
                    reason: Some(word.to_owned()),
                    message: Some(reason.to_string()),
                    ..of_peer(share, peer)
                }
            }
            CoreNotice::Ended {
                channel,
                reason,
                leases,
                handed_off,
            } => {
                let (word, message) = match reason {
                    EndReason::Left => ("left", None),
                    EndReason::Lost => ("lost", None),
                    EndReason::Dismissed => ("dismissed", None),
                    EndReason::Protocol(error) => ("protocol", Some(error.to_string())),
                };
                Self {
                    kind: "ended".to_owned(),
                    channel: Some(channel),
                    reason: Some(word.to_owned()),
                    message,
                    leases: Some(leases),
                    handed_off: Some(count(handed_off)),
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
                let reason = match reason {
                    ShedReason::Timeout => "timeout",
                    ShedReason::Destroyed => "destroyed",
                };
                Self {
                    kind: "shed".to_owned(),
                    reason: Some(reason.to_owned()),
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
                step: Some(
                    match step {
                        Step::Accepted => "accepted",
                        Step::HandedOff => "handed-off",
                        Step::Taken => "taken",
                        Step::HandedBack => "handed-back",
                    }
                    .to_owned(),
                ),
                ..none
            },
            CoreNotice::Drained => Self {
                kind: "drained".to_owned(),
                ..none
            },
        }
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

impl NativeStats {
    pub fn new(now: Snapshot, paused: bool) -> Self {
        Self {
            accepted: count(now.accepted),
            handed_off: count(now.handed_off),
            requeued: count(now.requeued),
            handed_back: count(now.handed_back),
            shed: count(now.shed),
            queued: count(now.queued),
            max_queued: count(now.max_queued),
            leases: count(now.leases),
            workers: count(now.workers),
            refused: count(now.refused_peers),
            paused,
            wait_ms: WaitMs {
                p50: millis(now.wait_p50),
                p99: millis(now.wait_p99),
                max: millis(now.wait_max),
            },
            accept_errors: now
                .accept_errors
                .into_iter()
                .map(|(code, times)| (code, count(times)))
                .collect(),
        }
    }
}

/// A count as JavaScript's number: exact up to 2^53, which takes a century at three million a second.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn count(count: u64) -> f64 {
    count as f64
}

/// A count that JavaScript gives back as it got it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number below 2^53, from `count`"
)]
pub fn id_of(count: f64) -> u64 {
    count as u64
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The client's address as Node prints it: with its zone where a link-local address has one.
pub fn remote_parts(remote: Option<SocketAddr>) -> (Option<String>, Option<u16>) {
    (remote.map(ip_text), remote.map(|address| address.port()))
}

/// An address without its port, as Node writes it.
pub fn ip_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}
