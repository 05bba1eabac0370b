//! A worker's end of a channel.

mod hand_back;
mod kept;
mod phase;
mod proxied;
mod table;

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::{Buffer, Float64ArraySlice, Function, JsObjectValue, Object};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::error::{SystemError as CoreError, system_error};
use socketserver_core::ids::ConnectionId;
use socketserver_core::protocol::proxied_record::Proxied;
use socketserver_core::protocol::ticket_keys::TicketKeys;
use socketserver_core::sys::unix_socket;
use socketserver_core::worker::HandBackError;
use socketserver_core::worker::lane::Taken;
use socketserver_core::{Receiver, sys};

use self::hand_back::HandBackRefusal;
use self::kept::KeptFds;
use self::phase::ReceiverPhase;
use self::proxied::ProxiedClient;
use crate::address::{ListenerAddress, ip_text};
use crate::number::{count, id_of};
use crate::raw_fd;
use crate::system_error::SystemError;
use crate::uv::{BusyMeter, Seen, Wants, Watch};

/// A new socket, or the error. Exactly one field is set.
#[napi(object)]
pub struct SocketOutcome {
    /// The socket, which the caller owns.
    pub fd: Option<i32>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// Receives connections on the event loop of its environment.
#[napi]
pub struct NativeReceiver {
    receiver: Rc<Receiver>,
    watch: Watch,
    busy_meter: BusyMeter,
    /// Only in a worker thread.
    kept: Option<KeptFds>,
    /// What proxies told about the clients of connections of the last exchange.
    proxied: RefCell<HashMap<ConnectionId, Box<Proxied>>>,
}

#[napi]
impl NativeReceiver {
    /// Attaches to a worker's end of a channel. The receiver takes `fd` over or, if `borrowed`, duplicates it: a thread of the
    /// parent's process borrows. With `keeps`, for every thread but the main one, the receiver owns the descriptors of
    /// connections until JavaScript adopts them. `wake` is called when connections wait, and with `true` when the phase or
    /// the listeners have changed. It keeps no event loop alive.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        fd: i32,
        borrowed: bool,
        keeps: bool,
        #[napi(ts_arg_type = "(hasChanged: boolean) => void")] wake: Function<bool, ()>,
    ) -> Result<Self> {
        let socket = if borrowed {
            raw_fd::copy(fd)?
        } else {
            raw_fd::adopt(fd)?
        };
        let receiver = Rc::new(Receiver::attach(socket).map_err(|error| {
            let reason = format!("file descriptor {fd} is not a channel: {error}");
            Error::new(Status::InvalidArg, reason)
        })?);
        let watched = Rc::clone(&receiver);
        let reported = RefCell::new((receiver.phase(), receiver.listener_count()));
        let watch = Watch::start(&env, receiver.as_fd(), &wake, wants(&receiver), move || {
            let has_events = watched.read();
            let now = (watched.phase(), watched.listener_count());
            let has_changed = *reported.borrow() != now;
            if has_changed {
                reported.replace(now);
            }
            Seen {
                wake: (has_events || has_changed).then_some(has_changed),
                wants: wants(&watched),
            }
        })?;
        let measured = Rc::clone(&receiver);
        let thread = sys::thread_id();
        let busy_meter = BusyMeter::start(&env, move |busy, turn| measured.turn_ended(busy, turn, thread))?;
        let kept = keeps.then(KeptFds::default);
        Ok(Self {
            receiver,
            watch,
            busy_meter,
            kept,
            proxied: RefCell::default(),
        })
    }

    /// Connects to a shared path without blocking. Returns the worker's end of a channel.
    #[napi]
    pub fn dial(path: String) -> SocketOutcome {
        unix_socket::connect(path.as_bytes()).into()
    }

    /// Returns an unconnected stream socket of IPv4 or of `AF_UNIX`.
    #[napi]
    pub fn unconnected_socket(unix: bool) -> SocketOutcome {
        sys::unconnected_socket(unix).into()
    }

    /// Takes and acknowledges up to `room` waiting connections of a lane, and refuses the rest. Then brings the lane's
    /// outstanding credit to `min(window, room - taken)`. Returns the number of taken connections. Each is a row of twelve
    /// numbers in `table`, in the order that `table.rs` documents. The table needs 64 rows: no more are in flight.
    #[napi]
    pub fn exchange(&self, lane: u16, room: u32, window: u32, mut table: Float64ArraySlice<'_>) -> u32 {
        let rows = table::rows(&mut table);
        let room = room.min(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let taken = self.receiver.exchange(lane, room, window, 0);
        self.watch.want(wants(&self.receiver));
        let count = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        for (row, taken) in rows.iter_mut().zip(taken) {
            let Taken { head, fd, proxied } = taken;
            let number = match &self.kept {
                Some(kept) => kept.keep(fd),
                None => raw_fd::give_away(fd),
            };
            *row = table::row(&head, number, proxied.is_some());
            if let Some(proxied) = proxied {
                self.proxied.borrow_mut().insert(head.id, proxied);
            }
        }
        count
    }

    /// Returns what a proxy told about the client of a connection, whose row says so. The receiver forgets it.
    #[napi]
    pub fn proxied(&self, id: f64) -> Option<ProxiedClient> {
        let proxied = self.proxied.borrow_mut().remove(&id_of(id));
        proxied.map(|proxied| ProxiedClient::from(*proxied))
    }

    /// Moves a connection's descriptor to `handle`, a stream handle of Node, by calling `handle.open(fd)`. Returns the result
    /// of `open`. In a worker thread this is one call, so that the thread cannot be terminated between the two steps, which
    /// would leave the descriptor with two owners or none.
    #[napi(ts_args_type = "handle: object, fd: number")]
    pub fn adopt_by(&self, handle: Object<'_>, fd: i32) -> Result<i32> {
        let open: Function<i32, Option<i32>> = handle.get_named_property("open")?;
        let error = open.apply(handle, fd)?.unwrap_or(0);
        if error == 0 {
            self.release(fd);
        }
        Ok(error)
    }

    /// Gives a kept descriptor of a connection to the caller, who must close it.
    #[napi]
    pub fn release(&self, fd: i32) {
        if let Some(kept) = &self.kept {
            kept.give_away(fd);
        }
    }

    /// Returns the text of an IPv6 address in a row of `exchange`.
    #[allow(clippy::many_single_char_names, reason = "the names of the row's numbers")]
    #[napi]
    pub fn ipv6_text(a: u32, b: u32, c: u32, d: u32, scope: u32) -> String {
        ip_text(table::ipv6([a, b, c, d], scope))
    }

    /// Returns the phase of the channel.
    #[napi]
    pub fn phase(&self) -> ReceiverPhase {
        self.receiver.phase().into()
    }

    /// Returns the addresses of the server's listeners that are known; null if the server's version of the protocol sends none.
    #[napi]
    pub fn listeners(&self) -> Option<Vec<ListenerAddress>> {
        let listeners = self.receiver.listeners()?;
        Some(listeners.iter().map(ListenerAddress::from).collect())
    }

    /// Returns the 48 bytes with which all workers encrypt TLS session tickets; null if the server shares none. They arrive before the
    /// first connection.
    #[napi]
    pub fn ticket_keys(&self) -> Option<Buffer> {
        self.receiver.ticket_keys().map(|TicketKeys(keys)| keys.to_vec().into())
    }

    /// Returns a function that counts a lease as ended; its argument is the milliseconds that the lease has lasted. The function
    /// returns true if the parent waits for the next `exchange` to learn of it. A method would borrow the object on each call, which cost 3 % of the server's CPU time
    /// with 64 concurrent clients.
    #[napi(ts_return_type = "(lasted: number) => boolean")]
    pub fn lease_counter<'env>(&self, env: &'env Env) -> Result<Function<'env, f64, bool>> {
        let receiver = Rc::clone(&self.receiver);
        env.create_function_from_closure("leaseEnded", move |context| {
            let lasted = Duration::try_from_secs_f64(context.get::<f64>(0)? / 1000.0);
            Ok(receiver.lease_ended(lasted.unwrap_or_default()))
        })
    }

    /// Records that the lease of a tracked connection has ended, besides the lease counter. The next `exchange` reports it.
    #[napi]
    pub fn tracked_ended(&self, id: f64) {
        self.receiver.tracked_ended(id_of(id));
    }

    /// Counts a turn of the event loop. The parent's `stallTimeout` reads the counter.
    #[napi]
    pub fn beat(&self) {
        self.receiver.beat();
    }

    /// Hands a connection of `exchange` back to the parent. Returns null if the connection is being sent, or the reason why
    /// not. Sends a copy of `fd`; the caller closes `fd` without shutdown(2). The lease ends when `settled` returns the id.
    #[napi]
    pub fn hand_back(&self, id: f64, fd: i32) -> Result<Option<HandBackRefusal>> {
        let copy = raw_fd::borrow(fd, |fd| fd.try_clone_to_owned())?;
        let copy = copy.map_err(|error| HandBackError::System(system_error("fcntl", &error)));
        let sent = copy.and_then(|copy| self.receiver.hand_back(id_of(id), copy));
        self.watch.want(wants(&self.receiver));
        Ok(sent.err().map(HandBackRefusal::from))
    }

    /// Returns the handed-back connections that the parent has confirmed since the last call. `wake` announces them.
    #[napi]
    pub fn settled(&self) -> Vec<f64> {
        self.receiver.settled().into_iter().map(count).collect()
    }

    /// Asks the parent for no more connections. The leases continue.
    #[napi]
    pub fn leave(&self) {
        self.receiver.leave();
        self.watch.want(wants(&self.receiver));
    }

    /// Shuts a connection down, which ends it even if other processes have copies of the descriptor. The caller still owns
    /// `fd`.
    #[napi]
    pub fn shut_down(fd: i32) -> Result<()> {
        raw_fd::borrow(fd, sys::shut_down)
    }

    /// Replaces the standard error of this process with `fd`, and closes `fd`.
    #[napi]
    pub fn restore_stderr(fd: i32) -> Result<()> {
        let kept = raw_fd::adopt(fd)?;
        sys::become_stderr(&kept).map_err(|errno| Error::new(Status::GenericFailure, format!("dup2: {errno}")))
    }

    /// Ends the channel.
    #[napi]
    pub fn close(&self) {
        self.watch.stop();
        self.busy_meter.stop();
        self.receiver.close();
    }
}

/// Returns the events to watch the socket for. A socket at its end stays readable, so an ended channel waits for nothing.
fn wants(receiver: &Receiver) -> Wants {
    Wants {
        data: !receiver.has_ended(),
        room: !receiver.has_ended() && receiver.wants_room(),
        interval: receiver.read_interval(),
    }
}

impl From<std::result::Result<OwnedFd, CoreError>> for SocketOutcome {
    fn from(outcome: std::result::Result<OwnedFd, CoreError>) -> Self {
        match outcome {
            Ok(fd) => Self {
                fd: Some(raw_fd::give_away(fd)),
                error: None,
            },
            Err(error) => Self {
                fd: None,
                error: Some(error.into()),
            },
        }
    }
}
