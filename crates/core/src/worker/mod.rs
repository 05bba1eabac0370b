//! The worker's end of a channel: receives connections, and sends acknowledgements, refusals and credit.
//!
//! A receiver reads in one of two ways:
//!
//! - [`Receiver::attach`]: the owner's event loop reads whenever the socket is readable. The receiver uses the
//!   [`Scoreboard`], so that the parent can recall connections that a blocked event loop leaves unread.
//! - [`Receiver::start`]: a thread of the receiver reads, for programs without an event loop. The receiver uses frames only.
//!
//! In both cases [`Receiver::exchange`] acknowledges the connections that it returns. So a connection is always acknowledged
//! before the worker reads its first byte.
//!
//! [`Scoreboard`]: crate::channel::scoreboard::Scoreboard

pub mod lane;
pub mod listen_channel;

mod decode;
mod returns;
mod send;
mod state;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Shutdown, SockType, UnixAddr, getsockname, getsockopt, shutdown, sockopt};

use self::lane::Taken;
pub use self::returns::HandBackError;
use self::state::ReceiverState;
pub use self::state::{End, Phase};
use crate::channel::reader::{Fill, Reader};
use crate::error::SystemError;
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::records::Hello;
use crate::protocol::ticket_keys::TicketKeys;
use crate::protocol::version::{LISTENING_SINCE, OLDEST_VERSION, VERSION};
use crate::sys::prepare;
use crate::sys::scheduling::SAMPLE_TIMEOUT;
use crate::sys::{ForeignFd, Os, Sys};
use crate::waker::Waker;

/// The worker's end of a channel. Dropping the receiver ends the channel.
#[derive(Debug)]
pub struct Receiver<S: Sys = Os> {
    shared: Arc<Shared<S>>,
    reading: Reading,
}

/// The reader of the socket.
#[derive(Debug)]
enum Reading {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Owner(Mutex<Reader>),
}

#[derive(Debug)]
struct Shared<S> {
    sys: S,
    socket: ForeignFd,
    state: Mutex<ReceiverState>,
    waker: Waker,
    /// A thread waits for room in the socket, and will wake the owner.
    awaits_room: AtomicBool,
}

/// The messages that an attached receiver reads per call, so that a flood of frames does not starve the event loop.
const READS: usize = 8;

impl Receiver<Os> {
    /// Takes over the worker's end of a channel, sends HELLO, and reads on a new thread. That thread calls `wake` when
    /// connections wait or the phase has changed, and then not again before the next `exchange` or `phase`.
    pub fn start(socket: OwnedFd, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        Self::start_on(Os, socket, wake)
    }

    /// Takes over the worker's end of a channel and sends HELLO. The owner calls [`Receiver::read`] whenever the socket is
    /// readable, and, while [`Receiver::wants_room`], whenever it is writable.
    pub fn attach(socket: OwnedFd) -> Result<Self, SystemError> {
        Self::attach_on(Os, socket)
    }
}

impl<S: Sys> Receiver<S> {
    /// [`Receiver::start`] on a given [`Sys`].
    pub fn start_on(sys: S, socket: OwnedFd, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        let waker = Waker::new(wake);
        let shared = Arc::new(Shared::new(sys, socket, waker, false)?);
        let reading = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("socketserver".into())
            .spawn(move || reading.read_to_end())
            .map_err(|error| SystemError {
                syscall: "pthread_create",
                errno: crate::error::errno_of(&error),
            })?;
        Ok(Self {
            shared,
            reading: Reading::Thread(Mutex::new(Some(thread))),
        })
    }

    /// [`Receiver::attach`] on a given [`Sys`].
    pub fn attach_on(sys: S, socket: OwnedFd) -> Result<Self, SystemError> {
        let waker = Waker::new(|| ());
        let shared = Arc::new(Shared::new(sys, socket, waker, true)?);
        Ok(Self {
            shared,
            reading: Reading::Owner(Mutex::new(Reader::new())),
        })
    }

    /// Reads the socket of an attached receiver. Returns true if connections wait for `exchange` or the `phase` has changed.
    /// Does nothing for a started receiver, whose thread reads.
    pub fn read(&self) -> bool {
        let Reading::Owner(reader) = &self.reading else {
            return false;
        };
        let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_changes = self.shared.flush();
        self.shared.check_accept_rate();
        for _ in 0..READS {
            match self.shared.read_once(&mut reader) {
                Ok(ReadOutcome::Changes) => has_changes = true,
                Ok(ReadOutcome::Frames) => {}
                Ok(ReadOutcome::Nothing) => break,
                Err(end) => {
                    self.shared.end(end);
                    return true;
                }
            }
        }
        has_changes
    }

    /// Whether unsent frames wait for room in the socket.
    pub fn wants_room(&self) -> bool {
        self.shared.lock().wants_room()
    }

    /// Returns the interval at which the owner must also call [`Receiver::read`] while the socket is idle; `None` for never.
    /// A thread that runs as SCHED_BATCH at a high accept rate returns to SCHED_OTHER this way when connections stop.
    pub fn read_interval(&self) -> Option<Duration> {
        self.shared.lock().accept_rate.expires_at().map(|_| SAMPLE_TIMEOUT)
    }

    /// Takes connections of a lane, and reports to the parent:
    ///
    /// - takes and acknowledges up to `room` waiting connections, and refuses the others;
    /// - reports that `ended` leases have ended, and which tracked connections have ended;
    /// - brings the outstanding credit of the lane to `min(window, room - taken)`, at most 16384.
    ///
    /// Sends at most one message besides the ids of tracked connections, and none if the scoreboard expresses everything. Without a
    /// scoreboard, takes nothing while the socket is full, because the parent could not read the acknowledgement.
    pub fn exchange(&self, lane: u16, room: u32, window: u32, ended: u32) -> Vec<Taken> {
        self.shared.waker.rearm();
        let mut state = self.shared.lock();
        if state.returns.next().is_some() {
            // A failed send is repeated at the next call.
            (state, _) = self.shared.send_returns(state);
        }
        self.shared.send_tracked_ended(&mut state);
        if state.has_scoreboard() {
            let (taken, due) = state.exchange_by_scoreboard(lane, room, window, ended);
            if let Some(due) = due
                && self.shared.send(&mut state)
            {
                state.credit_sent(lane, due.change);
            }
            if let Some(newest) = taken.last()
                && !matches!(state.phase, Phase::Ended(_))
            {
                state.accept_rate.record(newest.head.id, &self.shared.sys);
            }
            return taken;
        }
        match state.prepare_exchange(lane, room, window, ended) {
            // The channel has ended, or there is nothing to send.
            None => state.take_unacked(lane, room),
            Some(due) if self.shared.send(&mut state) => state.take_acked(lane, room, due.change),
            // The socket is full. The worker may not take a connection before the acknowledgement is sent.
            Some(_) => Vec::new(),
        }
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.shared.waker.rearm();
        self.shared.lock().phase.clone()
    }

    /// Returns the addresses of the server's listeners that are known; `None` if the server's version of the protocol sends none.
    pub fn listeners(&self) -> Option<Vec<ListenerAddress>> {
        self.shared.waker.rearm();
        let state = self.shared.lock();
        let sends = state.version == 0 || state.version >= LISTENING_SINCE;
        sends.then(|| state.listeners.clone())
    }

    /// Returns the keys of TLS session tickets; `None` before the first connection may be, and if the parent shares none.
    pub fn ticket_keys(&self) -> Option<TicketKeys> {
        self.shared.lock().ticket_keys
    }

    /// Returns the number of the server's listeners that are known.
    pub fn listener_count(&self) -> usize {
        self.shared.lock().listeners.len()
    }

    /// Whether the channel has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.shared.lock().phase, Phase::Ended(_))
    }

    /// Counts a lease, which has lasted this long, as ended. Returns true if the parent waits for the next `exchange` to learn of it.
    ///
    /// On the scoreboard the parent sees the count at once, so the count is right even if this worker is killed now. Without
    /// a scoreboard the next `exchange` sends the count. A lease that ends after the channel does not count.
    pub fn lease_ended(&self, lasted: Duration) -> bool {
        self.shared.lock().lease_ended(lasted)
    }

    /// Records that the lease of a tracked connection has ended, besides [`Receiver::lease_ended`]. The next `exchange` reports it, and
    /// should follow soon: until then the connection counts against the limit of its client.
    pub fn tracked_ended(&self, id: ConnectionId) {
        self.shared.lock().tracked_ended(id);
    }

    /// Stores on the scoreboard, if there is one, how long the worker's event loop has been busy in all turns, and counts the turn that
    /// has just ended, in which the event loop was busy for `turn`. `thread` is the id of the thread of the event loop, or 0.
    pub fn turn_ended(&self, busy: Duration, turn: Duration, thread: u32) {
        self.shared.lock().turn_ended(busy, turn, thread);
    }

    /// Counts a turn of the worker's event loop on the scoreboard, if there is one.
    pub fn beat(&self) {
        self.shared.lock().beat();
    }

    /// Hands a connection of `exchange` back to the parent, which requeues it for another worker at its old position.
    ///
    /// The worker must not have read from the connection. `fd` is a copy of the descriptor; close all other copies without
    /// shutdown(2). The lease ends when [`Receiver::settled`] returns the id; do not count it with `lease_ended`. After an
    /// error the worker still holds the connection.
    pub fn hand_back(&self, id: ConnectionId, fd: OwnedFd) -> Result<(), HandBackError> {
        let mut state = self.shared.lock();
        if matches!(state.phase, Phase::Ended(_)) {
            return Err(HandBackError::Ended);
        }
        state.returns.check(id)?;
        state.returns.add(id, fd.into());
        match self.shared.send_returns(state) {
            (_, Ok(())) => Ok(()),
            (mut state, Err(errno)) => {
                state.returns.withdraw(id);
                Err(if errno == Errno::EPIPE {
                    HandBackError::Ended
                } else {
                    SystemError::of("sendmsg")(errno).into()
                })
            }
        }
    }

    /// Returns the handed-back connections that the parent has confirmed since the last call.
    pub fn settled(&self) -> Vec<ConnectionId> {
        self.shared.waker.rearm();
        self.shared.lock().returns.settled()
    }

    /// Asks for no more connections. Waiting connections, and those still in flight, are refused. The leases continue.
    pub fn leave(&self) {
        let mut state = self.shared.lock();
        if state.leave() {
            self.shared.refuse_and(state, Encoder::leave);
        }
    }

    /// Ends the channel, and joins the thread of a started receiver.
    pub fn close(&self) {
        self.shared.end(End::Left);
        // Wakes the thread from recvmsg(2), and shows the parent the end at once. Fails only if the channel has ended.
        let _ = shutdown(self.shared.socket.as_raw_fd(), Shutdown::Both);
        if let Reading::Thread(thread) = &self.reading {
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            // An error means that the thread has panicked; it has ended in both cases.
            let _ = thread.map(JoinHandle::join);
        }
    }
}

impl<S: Sys> AsFd for Receiver<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl<S: Sys> Drop for Receiver<S> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The result of one read.
enum ReadOutcome {
    /// No data.
    Nothing,
    /// Frames that do not concern the owner.
    Frames,
    /// Connections, or a new phase.
    Changes,
}

impl<S: Sys> Shared<S> {
    fn new(sys: S, socket: OwnedFd, waker: Waker, attached: bool) -> Result<Self, SystemError> {
        check(&socket)?;
        prepare(&socket)?;
        // A thread blocks in recvmsg(2); an event loop must not.
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL).map_err(SystemError::of("fcntl"))?);
        let flags = if attached {
            flags | OFlag::O_NONBLOCK
        } else {
            flags - OFlag::O_NONBLOCK
        };
        fcntl(&socket, FcntlArg::F_SETFL(flags)).map_err(SystemError::of("fcntl"))?;
        let mut hello = Encoder::new();
        let pid = std::process::id();
        hello.hello(Hello {
            oldest: OLDEST_VERSION,
            newest: VERSION,
            pid,
            scoreboard: attached,
        });
        // The socket is new and its buffer is empty, so 24 bytes fit.
        match sys.send(socket.as_fd(), hello.bytes(), &[]) {
            // The parent has already ended the channel. The reason is in the CLOSE that is read next.
            Ok(_) | Err(Errno::EPIPE) => {}
            Err(errno) => return Err(SystemError::of("sendmsg")(errno)),
        }
        Ok(Self {
            sys,
            socket: socket.into(),
            state: Mutex::new(ReceiverState::new(attached)),
            waker,
            awaits_room: AtomicBool::new(false),
        })
    }

    /// Runs the thread of a started receiver: reads until the channel ends.
    fn read_to_end(self: &Arc<Self>) {
        let mut reader = Reader::new();
        let end = loop {
            match self.read_once(&mut reader) {
                Ok(ReadOutcome::Changes) => self.waker.wake(),
                Ok(ReadOutcome::Frames | ReadOutcome::Nothing) => {}
                Err(end) => break end,
            }
        };
        self.end(end);
        self.waker.wake();
    }

    /// Reads one message, and sends the frames that must not wait for the next exchange. An error ends the channel.
    fn read_once(self: &Arc<Self>, reader: &mut Reader) -> Result<ReadOutcome, End> {
        match reader.fill(&self.sys, self.socket.as_fd()) {
            Ok(Fill::Some) => {}
            Ok(Fill::Nothing) => return Ok(ReadOutcome::Nothing),
            Ok(Fill::End) => return Err(reader.finish().map_or_else(End::Protocol, |()| End::Gone)),
            Err(_) => return Err(End::Gone),
        }
        let mut state = self.lock();
        let has_changes = state.apply_frames(reader)?;
        if state.has_refusals() {
            self.refuse_and(state, |_| {});
            state = self.lock();
        }
        if state.returns.next().is_some() {
            // On an error the channel has ended, which the next read reports, or the error is temporary (ETOOMANYREFS, unix(7)).
            let _ = self.send_returns(state);
        }
        Ok(if has_changes {
            ReadOutcome::Changes
        } else {
            ReadOutcome::Frames
        })
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end(end);
        // The thread may join another server later.
        state.accept_rate.end(&self.sys);
        drop(state);
        // Nothing can be sent any more, no matter which side ended the channel.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    fn check_accept_rate(&self) {
        let mut state = self.lock();
        // Usually there is no deadline, and then the clock is not read.
        if state.accept_rate.expires_at().is_some() {
            state.accept_rate.expire(self.sys.now(), &self.sys);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReceiverState> {
        // Code under this lock does not panic, and the state is consistent between any two statements that could.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// Checks that a descriptor is an AF_UNIX stream socket.
fn check(socket: &OwnedFd) -> Result<(), SystemError> {
    let kind = getsockopt(socket, sockopt::SockType).map_err(SystemError::of("getsockopt"))?;
    // Fails for every other address family.
    let unix = getsockname::<UnixAddr>(socket.as_raw_fd());
    if kind != SockType::Stream || unix.is_err() {
        return Err(SystemError {
            syscall: "getsockopt",
            errno: Errno::EPROTOTYPE,
        });
    }
    Ok(())
}
