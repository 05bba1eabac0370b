//! The worker's side.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;

use napi::bindgen_prelude::{Float64ArraySlice, Function, JsObjectValue, Object};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::Receiver;
use socketserver_core::error::system_error;
use socketserver_core::protocol::frame::{OLDEST_VERSION, VERSION};
use socketserver_core::protocol::records::CloseReason;
use socketserver_core::sys::unix_socket;
use socketserver_core::worker::lane::Taken;
use socketserver_core::worker::{End, HandBackError, Phase};

use crate::convert::{SystemError, count, id_of, ip_text};
use crate::descriptor::Kept;
use crate::watch::{Seen, Wants, Watch};
use crate::{descriptor, table};

/// A descriptor, or why there is none.
#[napi(object)]
pub struct SocketOutcome {
    /// The socket, which the caller owns.
    pub fd: Option<i32>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// Either the one or the other.
#[napi(object)]
pub struct DialOutcome {
    /// The worker's end of a channel, which the caller owns.
    pub fd: Option<i32>,
    /// Why there is none.
    pub error: Option<SystemError>,
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
    /// refused: which of the reasons.
    #[napi(ts_type = "'version' | 'not-allowed' | 'full' | 'late'")]
    pub refusal: Option<String>,
}

/// Why a connection stays with the worker that would hand it back.
#[napi(object)]
pub struct HandBackRefusal {
    /// What is against it.
    #[napi(ts_type = "'ended' | 'version' | 'unknown' | 'system'")]
    pub reason: String,
    /// In words.
    pub message: String,
    /// system: the call that failed.
    pub error: Option<SystemError>,
}

/// Receives connections on the event loop of its environment.
#[napi]
pub struct NativeReceiver {
    receiver: Rc<Receiver>,
    watch: Watch,
    /// In a thread: it can be ended between any two of its instructions, and its process lives on. The connections that it
    /// has in its hands as numbers then, and that nobody has adopted, are closed with this.
    kept: Option<Kept>,
}

#[napi]
impl NativeReceiver {
    /// `fd` is a worker's end of a channel: owned from now on, or, in a thread of the parent's process, `borrowed`
    /// while this call lasts. In any thread but the main one it `keeps` the descriptors of connections. `wake` is called when
    /// connections wait, or with `true` when the phase has changed; it keeps no loop alive.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        fd: i32,
        borrowed: bool,
        keeps: bool,
        #[napi(ts_arg_type = "(hasChanged: boolean) => void")] wake: Function<bool, ()>,
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
        let told = RefCell::new(receiver.phase());
        let watch = Watch::start(&env, receiver.as_fd(), &wake, wants(&receiver), move || {
            let news = looking.read();
            let phase = looking.phase();
            let has_changed = *told.borrow() != phase;
            if has_changed {
                told.replace(phase);
            }
            Seen {
                wake: (news || has_changed).then_some(has_changed),
                wants: wants(&looking),
            }
        })?;
        let kept = keeps.then(Kept::default);
        Ok(Self { receiver, watch, kept })
    }

    /// Connects to a shared path, without waiting.
    #[napi]
    pub fn dial(path: String) -> DialOutcome {
        match unix_socket::connect(path.as_bytes()) {
            Ok(fd) => DialOutcome {
                fd: Some(descriptor::give_away(fd)),
                error: None,
            },
            Err(error) => DialOutcome {
                fd: None,
                error: Some(error.into()),
            },
        }
    }

    /// Returns a stream socket of IPv4, or of `AF_UNIX`, that is connected to nothing.
    #[napi]
    pub fn unconnected_socket(unix: bool) -> SocketOutcome {
        match socketserver_core::sys::unconnected_socket(unix) {
            Ok(fd) => SocketOutcome {
                fd: Some(descriptor::give_away(fd)),
                error: None,
            },
            Err(error) => SocketOutcome {
                fd: None,
                error: Some(error.into()),
            },
        }
    }

    /// Takes up to `room` connections of a lane, acked; refuses what waits beyond; brings the lane's
    /// outstanding credit to `min(window, room - taken)`. Returns how many it took, each a row of `table` of
    /// twelve numbers (the binding's `table.rs` says which). There have to be 64 rows: more are never under way.
    #[napi]
    pub fn exchange(&self, lane: u16, room: u32, window: u32, mut table: Float64ArraySlice<'_>) -> u32 {
        let rows = table::rows(&mut table);
        let room = room.min(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let taken = self.receiver.exchange(lane, room, window, 0);
        self.watch.want(wants(&self.receiver));
        let count = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        for (row, taken) in rows.iter_mut().zip(taken) {
            let Taken { head, fd } = taken;
            let number = match &self.kept {
                Some(kept) => kept.keep(fd),
                None => descriptor::give_away(fd),
            };
            *row = table::row(&head, number);
        }
        count
    }

    /// In a thread: makes `handle`, a stream of Node's own, the owner of a connection's descriptor by its method `open`, and
    /// returns what that does. One call, so that the thread cannot be ended in between: then there would be two owners,
    /// or none.
    #[napi(ts_args_type = "handle: object, fd: number")]
    pub fn adopt_by(&self, handle: Object<'_>, fd: i32) -> Result<i32> {
        let open: Function<i32, Option<i32>> = handle.get_named_property("open")?;
        let error = open.apply(handle, fd)?.unwrap_or(0);
        if error == 0 {
            self.release(fd);
        }
        Ok(error)
    }

    /// In a thread: leaves a connection's descriptor to the caller, who has to close it.
    #[napi]
    pub fn release(&self, fd: i32) {
        if let Some(kept) = &self.kept {
            kept.give_away(fd);
        }
    }

    /// The text of an IPv6 address in a row of `exchange`.
    #[allow(clippy::many_single_char_names, reason = "they are the row's")]
    #[napi]
    pub fn ipv6_text(a: u32, b: u32, c: u32, d: u32, scope: u32) -> String {
        ip_text(table::ipv6([a, b, c, d], scope))
    }

    /// Where it stands.
    #[napi]
    pub fn phase(&self) -> ReceiverPhase {
        self.receiver.phase().into()
    }

    /// What counts a lease as over; true if the parent waits for the next `exchange` to hear of it. It is called
    /// for each connection, and before a method napi writes down that its object is borrowed, which with 64 clients at a
    /// time was 3 % of the server's processor time.
    #[napi(ts_return_type = "() => boolean")]
    pub fn lease_counter<'env>(&self, env: &'env Env) -> Result<Function<'env, (), bool>> {
        let receiver = Rc::clone(&self.receiver);
        env.create_function_from_closure("leaseEnded", move |_| Ok(receiver.lease_ended()))
    }

    /// Counts a turn of the event loop, for the parent's `stallTimeout`.
    #[napi]
    pub fn beat(&self) {
        self.receiver.beat();
    }

    /// Hands a connection that `exchange` has given back to the parent; null if it is on its way. The caller goes on owning
    /// `fd`, of which this makes a copy, and then closes it without shutdown(2). The lease is over when `settled` names it.
    #[napi]
    pub fn hand_back(&self, id: f64, fd: i32) -> Result<Option<HandBackRefusal>> {
        let copy = descriptor::borrow(fd, |fd| fd.try_clone_to_owned())?;
        let copy = copy.map_err(|error| HandBackError::System(system_error("fcntl", &error)));
        let sent = copy.and_then(|copy| self.receiver.hand_back(id_of(id), copy));
        self.watch.want(wants(&self.receiver));
        Ok(sent.err().map(HandBackRefusal::from))
    }

    /// What the parent has taken back since the last call; `wake` is called when there is something.
    #[napi]
    pub fn settled(&self) -> Vec<f64> {
        self.receiver.settled().into_iter().map(count).collect()
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
        descriptor::borrow(fd, socketserver_core::sys::shut_down)
    }

    /// Makes `fd`, which is taken over, the standard error of this process.
    #[napi]
    pub fn restore_stderr(fd: i32) -> Result<()> {
        let kept = descriptor::adopt(fd)?;
        socketserver_core::sys::become_stderr(&kept)
            .map_err(|errno| Error::new(Status::GenericFailure, format!("dup2: {errno}")))
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
        each: receiver.read_interval(),
    }
}

impl From<HandBackError> for HandBackRefusal {
    fn from(refusal: HandBackError) -> Self {
        let message = refusal.to_string();
        let (reason, error) = match refusal {
            HandBackError::Ended => ("ended", None),
            HandBackError::Version(_) => ("version", None),
            HandBackError::Unknown => ("unknown", None),
            HandBackError::System(error) => ("system", Some(error.into())),
        };
        Self {
            reason: reason.to_owned(),
            message,
            error,
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
        let (reason, message) = match &end {
            None => (None, None),
            Some(End::Gone) => (Some("eof"), None),
            Some(End::Left) => (Some("left"), None),
            Some(End::Closed(reason)) => match refusal(*reason) {
                Some((_, message)) => (Some("refused"), Some(message)),
                None => (Some("closed"), Some(format!("{reason:?}").to_lowercase())),
            },
            Some(End::Protocol(error)) => (Some("protocol"), Some(error.to_string())),
        };
        let refusal = match end {
            Some(End::Closed(reason)) => refusal(reason).map(|(word, _)| word.to_owned()),
            _ => None,
        };
        Self {
            phase: phase.to_owned(),
            reason: reason.map(str::to_owned),
            message,
            refusal,
        }
    }
}

/// Why the parent would not have this worker, if that is what it said.
fn refusal(reason: CloseReason) -> Option<(&'static str, String)> {
    match reason {
        CloseReason::Version(theirs) => Some((
            "version",
            format!(
                "it speaks version {theirs} of the protocol at the most, this side speaks {OLDEST_VERSION} to {VERSION}"
            ),
        )),
        CloseReason::NotAllowed => Some(("not-allowed", "this user may not join there".to_owned())),
        CloseReason::Full(limit) => Some(("full", format!("as many workers as may join have joined: {limit}"))),
        CloseReason::Late(limit) => Some(("late", format!("this side said no hello in time, which is {limit} ms"))),
        CloseReason::Ended | CloseReason::Dismissed | CloseReason::Protocol => None,
    }
}
