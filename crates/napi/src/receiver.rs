//! The worker's side.

use std::os::fd::AsFd;
use std::rc::Rc;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::Receiver;
use socketserver_core::channel::record::{CloseReason, Family};
use socketserver_core::receiver::lane::Taken;
use socketserver_core::receiver::{End, Phase};

use crate::convert::{count, remote_parts};
use crate::descriptor;
use crate::watch::{Seen, Wants, Watch};

/// A connection that is this worker's now.
#[napi(object)]
pub struct ReceivedConnection {
    /// Unique within the server.
    pub id: f64,
    /// The descriptor, which the caller owns.
    pub fd: i32,
    /// The socket's kind.
    #[napi(ts_type = "'IPv4' | 'IPv6' | 'Unix'")]
    pub family: String,
    /// The client; absent for a Unix socket.
    pub remote_address: Option<String>,
    /// The client's port.
    pub remote_port: Option<u16>,
    /// The port it came in by.
    pub local_port: Option<u16>,
    /// Milliseconds from accept to handoff.
    pub waited: f64,
    /// Shut it down before it is closed, `shutDown`: a copy may lie unread at a worker that is stuck.
    pub reissued: bool,
}

/// Where a receiver stands.
#[napi(object)]
pub struct ReceiverPhase {
    /// Only ever moves down this list.
    #[napi(ts_type = "'joining' | 'open' | 'draining' | 'retired' | 'leaving' | 'ended'")]
    pub phase: String,
    /// ended: why.
    #[napi(ts_type = "'eof' | 'closed' | 'refused' | 'protocol' | 'left'")]
    pub reason: Option<String>,
    /// ended: more of it.
    pub message: Option<String>,
}

/// Receives connections on the event loop of its environment.
#[napi]
pub struct NativeReceiver {
    receiver: Rc<Receiver>,
    watch: Watch,
}

#[napi]
impl NativeReceiver {
    /// `fd` is a worker's end of a channel: owned from now on, or, in a thread of the parent's process, `borrowed`
    /// while this call lasts. `wake` is called when connections wait or the phase has changed; it keeps no loop alive.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        fd: i32,
        borrowed: bool,
        #[napi(ts_arg_type = "() => void")] wake: Function<(), ()>,
    ) -> Result<Self> {
        let fd = if borrowed {
            descriptor::copy(fd)?
        } else {
            descriptor::adopt(fd)?
        };
        let receiver = Rc::new(
            Receiver::attach(fd)
                .map_err(|error| Error::new(Status::InvalidArg, format!("the descriptor is no channel: {error}")))?,
        );
        let looking = Rc::clone(&receiver);
        let watch = Watch::start(&env, receiver.as_fd(), &wake, wants(&receiver), move || Seen {
            wake: looking.read(),
            wants: wants(&looking),
        })?;
        Ok(Self { receiver, watch })
    }

    /// Takes up to `room` connections of a lane, acked; refuses what waits beyond; tells ended leases; brings the
    /// lane's outstanding credit to `min(window, room - taken)`.
    #[napi]
    pub fn exchange(&self, lane: u16, room: u32, window: u32, ended: u32) -> Vec<ReceivedConnection> {
        let taken = self.receiver.exchange(lane, room, window, ended);
        self.watch.want(wants(&self.receiver));
        taken.into_iter().map(ReceivedConnection::from).collect()
    }

    /// Where it stands.
    #[napi]
    pub fn phase(&self) -> ReceiverPhase {
        self.receiver.phase().into()
    }

    /// Counts a turn of the event loop, for the parent's `stallTimeout`.
    #[napi]
    pub fn beat(&self) {
        self.receiver.beat();
    }

    /// Wants no more connections; the leases go on.
    #[napi]
    pub fn leave(&self) {
        self.receiver.leave();
        self.watch.want(wants(&self.receiver));
    }

    /// Ends a connection for its client, whoever else has a copy of the descriptor. The caller goes on owning `fd`.
    #[napi]
    pub fn shut_down(fd: i32) -> Result<()> {
        descriptor::borrow(fd, socketserver_core::channel::shut_down)
    }

    /// Ends the channel.
    #[napi]
    pub fn close(&self) {
        self.watch.stop();
        self.receiver.close();
    }
}

/// The end of a channel stays readable for ever.
fn wants(receiver: &Receiver) -> Wants {
    Wants {
        data: !receiver.has_ended(),
        room: !receiver.has_ended() && receiver.wants_room(),
    }
}

impl From<Taken> for ReceivedConnection {
    fn from(taken: Taken) -> Self {
        let head = taken.head;
        let (remote_address, remote_port) = remote_parts(head.remote);
        let family = match head.family {
            Family::Unix => "Unix",
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        Self {
            id: count(head.id),
            fd: descriptor::give_away(taken.fd),
            family: family.to_owned(),
            remote_address,
            remote_port,
            local_port: (head.local_port != 0).then_some(head.local_port),
            waited: f64::from(head.waited) / 1000.0,
            reissued: head.reissued,
        }
    }
}

impl From<Phase> for ReceiverPhase {
    fn from(phase: Phase) -> Self {
        let (phase, end) = match phase {
            Phase::Joining => ("joining", None),
            Phase::Open => ("open", None),
            Phase::Draining => ("draining", None),
            Phase::Retired => ("retired", None),
            Phase::Leaving => ("leaving", None),
            Phase::Ended(end) => ("ended", Some(end)),
        };
        let (reason, message) = match end {
            None => (None, None),
            Some(End::Gone) => (Some("eof"), None),
            Some(End::Left) => (Some("left"), None),
            Some(End::Closed(CloseReason::Version(version))) => (
                Some("refused"),
                Some(format!("the parent speaks version {version} of the protocol")),
            ),
            Some(End::Closed(reason)) => (Some("closed"), Some(format!("{reason:?}").to_lowercase())),
            Some(End::Protocol(error)) => (Some("protocol"), Some(error.to_string())),
        };
        Self {
            phase: phase.to_owned(),
            reason: reason.map(str::to_owned),
            message,
        }
    }
}
