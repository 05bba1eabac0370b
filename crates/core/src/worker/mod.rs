//! The worker's reading end of a channel: frames in, connections out; ack, refuse, and credit back.
//!
//! It reads in one of two ways. [`Receiver::attach`]ed to an event loop it is read by that loop whenever its socket is
//! readable, and speaks through the [`Scoreboard`], so that the parent can take back what a stuck loop leaves lying.
//! [`Receiver::start`]ed it reads on a thread of its own, for programs without an event loop, and speaks in frames.
//! Either way [`Receiver::exchange`] takes what waits and acks it before it returns: whoever reads a connection's first
//! byte has acked it.

pub mod lane;

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
use crate::protocol::frame::{OLDEST_VERSION, VERSION};
use crate::protocol::records::Hello;
use crate::sys::prepare;
use crate::sys::scheduling::OVER_AFTER;
use crate::sys::{ForeignFd, Os, Sys};
use crate::waker::Waker;

/// The worker's end of a channel. Dropping it ends the channel.
#[derive(Debug)]
pub struct Receiver<S: Sys = Os> {
    shared: Arc<Shared<S>>,
    reading: Reading,
}

/// Who reads.
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
    /// A thread waits for room in the socket, and will ring.
    awaits_room: AtomicBool,
}

/// Messages that an attached receiver takes in at a time, so that a flood does not starve its event loop.
const READS: usize = 8;

impl Receiver<Os> {
    /// Takes the worker's end of a channel over, says hello, and reads on a thread of its own. `ring` is called on that
    /// thread when connections wait or the phase has changed, and not again before the next `exchange` or `phase`.
    pub fn start(socket: OwnedFd, ring: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        Self::start_on(Os, socket, ring)
    }

    /// Takes the worker's end of a channel over and says hello. The owner calls [`Receiver::read`] whenever it is
    /// readable, or has room if [`Receiver::wants_room`].
    pub fn attach(socket: OwnedFd) -> Result<Self, SystemError> {
        Self::attach_on(Os, socket)
    }
}

impl<S: Sys> Receiver<S> {
    /// [`Receiver::start`] on a given [`Sys`].
    pub fn start_on(sys: S, socket: OwnedFd, ring: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        let waker = Waker::new(ring);
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

    /// Takes in what the socket has; true if there is something to `exchange` or a new `phase`. Only for a receiver
    /// that is attached: one that was started reads by itself. It is to be called from time to time, too, while
    /// [`Receiver::wants_looks`] says so.
    pub fn read(&self) -> bool {
        let Reading::Owner(reader) = &self.reading else {
            return false;
        };
        let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = self.shared.flush();
        self.shared.check_accept_rate();
        for _ in 0..READS {
            match self.shared.read_once(&mut reader) {
                Ok(Took::News) => news = true,
                Ok(Took::Frames) => {}
                Ok(Took::Nothing) => break,
                Err(end) => {
                    self.shared.end(end);
                    return true;
                }
            }
        }
        news
    }

    /// Whether something waits to be sent until the socket has room.
    pub fn wants_room(&self) -> bool {
        self.shared.lock().wants_room()
    }

    /// How far apart [`Receiver::read`] is to be called though nothing comes; `None` is not at all. So a thread that waits
    /// its turn as connections come fast (SCHED_BATCH) no longer does so when none come.
    pub fn wants_looks(&self) -> Option<Duration> {
        self.shared.lock().accept_rate.over_at().map(|_| OVER_AFTER)
    }

    /// Takes up to `room` of the connections that wait on `lane`, and acks them; refuses those beyond `room`; tells
    /// that `ended` leases are over; and brings the credit that is outstanding on the lane to
    /// `min(window, room - taken)`, but to no more than 16384. One message to the parent at most, none if the scoreboard
    /// says it all. Takes nothing while a parent that reads acks does not read.
    pub fn exchange(&self, lane: u16, room: u32, window: u32, ended: u32) -> Vec<Taken> {
        self.shared.waker.rearm();
        let mut state = self.shared.lock();
        if state.returns.next().is_some() {
            // What could not be sent now may be later.
            (state, _) = self.shared.send_returns(state);
        }
        if state.has_scoreboard() {
            let (taken, due) = state.exchange_by_scoreboard(lane, room, window, ended);
            if let Some(due) = due
                && self.shared.send(&mut state)
            {
                state.placed(lane, due.order);
            }
            if let Some(newest) = taken.last()
                && !matches!(state.phase, Phase::Ended(_))
            {
                state.accept_rate.saw(newest.head.id, &self.shared.sys);
            }
            return taken;
        }
        match state.prepare_exchange(lane, room, window, ended) {
            // Nobody is left to be acked, or there is nothing to say.
            None => state.take_unacked(lane, room),
            Some(due) if self.shared.send(&mut state) => state.take_acked(lane, room, due.order),
            // The parent does not read: what it does not know to be acked cannot be ours yet.
            Some(_) => Vec::new(),
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.shared.waker.rearm();
        self.shared.lock().phase.clone()
    }

    /// Whether the channel is over.
    pub fn has_ended(&self) -> bool {
        matches!(self.shared.lock().phase, Phase::Ended(_))
    }

    /// Counts a lease as over: where the parent sees it, now, so that the count is right even if this worker is killed the
    /// next moment, or, if there is no such place, to be told by the next exchange. True if the parent waits for that
    /// exchange. A lease that ends after the channel does not count.
    pub fn lease_ended(&self) -> bool {
        self.shared.lock().lease_ended()
    }

    /// Tells the parent that the worker's event loop turns. It sees so only on a channel with a scoreboard.
    pub fn beat(&self) {
        self.shared.lock().beat();
    }

    /// Hands a connection that `exchange` has given back to the parent, where it waits in its old place for another worker.
    /// Nothing of it may have been read. `fd` is a copy of its descriptor; close all others without shutdown(2). Its lease
    /// is over when [`Receiver::settled`] names it, and is not to be counted as ended. An error leaves everything as it is.
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

    /// What the parent has taken back of that since the last call.
    pub fn settled(&self) -> Vec<ConnectionId> {
        self.shared.waker.rearm();
        self.shared.lock().returns.settled()
    }

    /// Wants no more connections: what waits goes back, as does what is still under way. The leases go on.
    pub fn leave(&self) {
        let mut state = self.shared.lock();
        if state.leave() {
            self.shared.refuse_and(state, Encoder::leave);
        }
    }

    /// Ends the channel, and its thread if it has one.
    pub fn close(&self) {
        self.shared.end(End::Left);
        // Wakes a thread out of recvmsg, and shows the parent the end at once; fails only if the channel is over.
        let _ = shutdown(self.shared.socket.as_raw_fd(), Shutdown::Both);
        if let Reading::Thread(thread) = &self.reading {
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            // It has panicked or it has ended: gone in both cases.
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

/// What one read brought.
enum Took {
    /// Nothing was there.
    Nothing,
    /// Frames that the owner need not hear of.
    Frames,
    /// Something that the owner should look at.
    News,
}

impl<S: Sys> Shared<S> {
    fn new(sys: S, socket: OwnedFd, waker: Waker, attached: bool) -> Result<Self, SystemError> {
        check(&socket)?;
        prepare(&socket)?;
        // A thread waits in recvmsg, an event loop must not.
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
        // The socket is new and its buffer empty: 24 bytes fit.
        match sys.send(socket.as_fd(), hello.bytes(), &[]) {
            // The parent has ended the channel already, and why is still to be read.
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

    /// The thread: reads until the channel ends.
    fn read_to_end(self: &Arc<Self>) {
        let mut reader = Reader::new();
        let end = loop {
            match self.read_once(&mut reader) {
                Ok(Took::News) => self.waker.wake(),
                Ok(Took::Frames | Took::Nothing) => {}
                Err(end) => break end,
            }
        };
        self.end(end);
        self.waker.wake();
    }

    /// One message, and what has to be said about it at once. An error is the channel's end.
    fn read_once(self: &Arc<Self>, reader: &mut Reader) -> Result<Took, End> {
        match reader.fill(&self.sys, self.socket.as_fd()) {
            Ok(Fill::Some) => {}
            Ok(Fill::Nothing) => return Ok(Took::Nothing),
            Ok(Fill::End) => return Err(reader.finish().map_or_else(End::Protocol, |()| End::Gone)),
            Err(_) => return Err(End::Gone),
        }
        let mut state = self.lock();
        let news = state.apply_frames(reader)?;
        if state.has_refusals() {
            self.refuse_and(state, |_| {});
            state = self.lock();
        }
        if state.returns.next().is_some() {
            // An error is the parent's end, which is read next, or over some time (ETOOMANYREFS, unix(7)).
            let _ = self.send_returns(state);
        }
        Ok(if news { Took::News } else { Took::Frames })
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end(end);
        // The thread may go on without it, and join another server.
        state.accept_rate.ends(&self.sys);
        drop(state);
        // Nothing can be said any more, whoever ended it.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }

    fn check_accept_rate(&self) {
        let mut state = self.lock();
        // Hardly ever there is one, and the clock need not be asked.
        if state.accept_rate.over_at().is_some() {
            state.accept_rate.look(self.sys.now(), &self.sys);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ReceiverState> {
        // No code under this lock panics; the state are consistent between any two statements that could.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// A channel's end is an AF_UNIX stream socket.
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
