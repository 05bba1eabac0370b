//! The worker's reading end of a channel: frames in, connections out; ack, refuse, and credit back.
//!
//! A thread reads the channel, so that a recall is answered while the worker's event loop is stuck. The event loop's
//! own thread takes what waits, with an [`Receiver::exchange`] that acks it before it returns: whoever reads a
//! connection's first byte has acked it.

pub mod lane;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, SockType, UnixAddr, getsockname, getsockopt, shutdown, sockopt};

use self::lane::{Lane, Taken};
use crate::channel::frame::{ToWorker, VERSION, Writer};
use crate::channel::record::{CloseReason, ConnectionHead, Hello, Records, Refusal, RefusalReason};
use crate::channel::{Descriptors, Fill, Reader, prepare};
use crate::error::{ProtocolError, SystemError};
use crate::sys::{Os, Sys};

/// The worker's end of a channel. Dropping it ends the channel.
#[derive(Debug)]
pub struct Receiver<S: Sys = Os> {
    shared: Arc<Shared<S>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where a receiver stands in its life. It only moves down this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The hello has not been answered yet.
    Joining,
    /// Connections come for the credit that is granted.
    Open,
    /// They still do, but the server is draining: end what idles.
    Draining,
    /// No more will come: finish the leases, then close.
    Retired,
    /// The worker has said that it leaves; no more will come.
    Leaving,
    /// The channel is over.
    Ended(End),
}

/// Why a channel is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The parent has died, or gone without a word. What has been received belongs to the worker alone.
    Gone,
    /// The parent has ended this channel, and taken back what had not been acked.
    Closed(CloseReason),
    /// The parent broke the protocol.
    Protocol(ProtocolError),
    /// The worker has closed it.
    Left,
}

#[derive(Debug)]
struct Shared<S> {
    sys: S,
    socket: OwnedFd,
    books: Mutex<Books>,
    bell: Bell,
}

/// What both threads read and write.
#[derive(Debug)]
struct Books {
    phase: Phase,
    lanes: Vec<Lane>,
    /// Refusals that have not been sent yet.
    refusals: Vec<Refusal>,
    /// Leases that are over, not told yet.
    ended: u32,
    /// One buffer for what is sent.
    frames: Writer,
}

/// Rings once until it is answered.
struct Bell {
    rung: AtomicBool,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Receiver<Os> {
    /// Takes the worker's end of a channel over and says hello. `ring` is called, on the receiver's thread, when
    /// connections wait or the phase has changed, and not again before the next `exchange` or `phase`.
    pub fn start(socket: OwnedFd, ring: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        Self::start_on(Os, socket, ring)
    }
}

impl<S: Sys> Receiver<S> {
    /// The same on a given [`Sys`].
    pub fn start_on(sys: S, socket: OwnedFd, ring: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        check(&socket)?;
        prepare(&socket)?;
        let mut hello = Writer::new();
        hello.hello(Hello {
            oldest: VERSION,
            newest: VERSION,
            pid: std::process::id(),
        });
        // The socket is new and its buffer empty: 20 bytes fit.
        sys.send(socket.as_fd(), hello.bytes(), &[])
            .map_err(SystemError::of("sendmsg"))?;
        let books = Books {
            phase: Phase::Joining,
            lanes: Vec::new(),
            refusals: Vec::new(),
            ended: 0,
            frames: Writer::new(),
        };
        let bell = Bell {
            rung: AtomicBool::new(false),
            ring: Box::new(ring),
        };
        let shared = Arc::new(Shared {
            sys,
            socket,
            books: Mutex::new(books),
            bell,
        });
        let reading = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("socketserver".into())
            .spawn(move || reading.read())
            .map_err(|error| SystemError {
                syscall: "pthread_create",
                errno: error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw),
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes up to `room` of the connections that wait on `lane`, and acks them; refuses those beyond `room`; tells
    /// that `ended` leases are over; and brings the credit that is outstanding on the lane to
    /// `min(window, room - taken)`. One message to the parent at most. Takes nothing while the parent does not read.
    pub fn exchange(&self, lane: u16, room: u32, window: u32, ended: u32) -> Vec<Taken> {
        self.shared.bell.answer();
        let mut books = self.shared.lock();
        books.ended += ended;
        if let Phase::Ended(end) = &books.phase {
            // Nobody is left to be acked. What a dead parent had sent is ours: its own copies died with it.
            let room = if *end == End::Gone { room } else { 0 };
            return books.lane(lane).take(room);
        }
        let may_ask = matches!(books.phase, Phase::Joining | Phase::Open | Phase::Draining);
        let Books {
            lanes,
            refusals,
            ended,
            frames,
            ..
        } = &mut *books;
        let lane = Lane::of(lanes, lane);
        frames.clear();
        let take = lane.offer(room);
        frames.ack(lane.ids(take));
        let surplus = lane.surplus(take);
        frames.refuse(refusals.iter().copied().chain(surplus));
        if *ended > 0 {
            frames.ended(*ended);
        }
        let taken_count = u32::try_from(take).unwrap_or(u32::MAX);
        let order = if may_ask {
            lane.order(window.min(room - taken_count))
        } else {
            None
        };
        if let Some(order) = order {
            order.write(frames);
        }
        if frames.is_empty() {
            return Vec::new();
        }
        if !self.shared.send(frames.bytes()) {
            return Vec::new();
        }
        refusals.clear();
        *ended = 0;
        lane.placed(order);
        let taken = lane.take(room);
        lane.drop_waiting();
        taken
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.shared.bell.answer();
        self.shared.lock().phase.clone()
    }

    /// Wants no more connections: what waits goes back, as does what is still under way. The leases go on.
    pub fn leave(&self) {
        let mut books = self.shared.lock();
        if matches!(books.phase, Phase::Leaving | Phase::Ended(_)) {
            return;
        }
        books.phase = Phase::Leaving;
        let Books {
            lanes,
            refusals,
            frames,
            ..
        } = &mut *books;
        refusals.extend(lanes.iter_mut().flat_map(Lane::give_up));
        frames.clear();
        frames.refuse(refusals.iter().copied());
        frames.leave();
        self.shared.send_or_wait(books);
    }

    /// Ends the channel and its thread.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.shared.end(End::Left);
        // Wakes the thread out of recvmsg; fails only if the channel is over, and the thread with it.
        let _ = shutdown(self.shared.socket.as_raw_fd(), Shutdown::Both);
        let _ = thread.join();
    }
}

impl<S: Sys> Drop for Receiver<S> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<S: Sys> Shared<S> {
    /// The thread: reads until the channel ends.
    fn read(&self) {
        let mut reader = Reader::new();
        let end = loop {
            match reader.fill(&self.sys, self.socket.as_fd()) {
                Ok(Fill::Some) => {}
                Ok(Fill::Nothing) => continue,
                Ok(Fill::End) => break reader.finish().map_or_else(End::Protocol, |()| End::Gone),
                Err(_) => break End::Gone,
            }
            match self.take_in(&mut reader) {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(error) => break End::Protocol(error),
            }
        };
        self.end(end);
        // Nothing can be said any more either.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        self.bell.ring();
    }

    /// Takes all whole frames in; `Some` if they end the channel.
    fn take_in(&self, reader: &mut Reader) -> Result<Option<End>, ProtocolError> {
        let mut books = self.lock();
        let mut news = false;
        while let Some((frame, descriptors)) = reader.next(ToWorker::decode)? {
            if let ToWorker::Close(reason) = frame {
                return Ok(Some(End::Closed(reason)));
            }
            news |= books.take_in(frame, descriptors)?;
        }
        reader.check_descriptors()?;
        if !books.refusals.is_empty() {
            let Books { refusals, frames, .. } = &mut *books;
            frames.clear();
            frames.refuse(refusals.iter().copied());
            self.send_or_wait(books);
        }
        if news {
            self.bell.ring();
        }
        Ok(None)
    }

    fn end(&self, end: End) {
        let mut books = self.lock();
        if matches!(books.phase, Phase::Ended(_)) {
            return;
        }
        if end != End::Gone {
            // Withdrawn, or never to be served: the parent has its copies.
            books.lanes.iter_mut().for_each(Lane::drop_waiting);
        }
        books.phase = Phase::Ended(end);
    }

    /// Sends all of it, or nothing and says so: then the bell rings once there is room.
    fn send(self: &Arc<Self>, frames: &[u8]) -> bool {
        match self.sys.send(self.socket.as_fd(), frames, &[]) {
            Ok(sent) => {
                self.send_rest(&frames[sent..]);
                true
            }
            Err(Errno::EAGAIN) => {
                // Hundreds of frames lie unread: the parent has stopped. A thread that lives until it goes on keeps
                // this rare case out of the common path; without one (EAGAIN) the next exchange tries again.
                let waiting = Arc::clone(self);
                let _ = std::thread::Builder::new().name("socketserver".into()).spawn(move || {
                    waiting.wait_for_room();
                    waiting.bell.ring();
                });
                false
            }
            // The parent has gone: the reading thread sees it too, and whether there was a last word.
            Err(_) => false,
        }
    }

    /// Sends what is in `books.frames`, waiting for room without the lock.
    fn send_or_wait<'a>(&'a self, mut books: MutexGuard<'a, Books>) {
        loop {
            match self.sys.send(self.socket.as_fd(), books.frames.bytes(), &[]) {
                Ok(sent) => {
                    self.send_rest(&books.frames.bytes()[sent..]);
                    books.refusals.clear();
                    return;
                }
                Err(Errno::EAGAIN) => {}
                Err(_) => return,
            }
            // Somebody else may send meanwhile, and use the buffer.
            let frames = books.frames.clone();
            drop(books);
            self.wait_for_room();
            books = self.lock();
            books.frames = frames;
        }
    }

    /// The rest of a message that was cut: nobody else may send before it. Linux takes a small message whole or not at
    /// all, macOS may cut it.
    fn send_rest(&self, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.sys.send(self.socket.as_fd(), rest, &[]) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EAGAIN) => self.wait_for_room(),
                Err(_) => return,
            }
        }
    }

    fn wait_for_room(&self) {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        // An end of the channel is reported as room too, so this returns in every case.
        while poll(&mut sockets, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // No code under this lock panics; the books are consistent between any two statements that could.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn lane(&mut self, lane: u16) -> &mut Lane {
        Lane::of(&mut self.lanes, lane)
    }

    /// Takes one frame in; true if the worker's own thread should hear of it.
    fn take_in(&mut self, frame: ToWorker<'_>, descriptors: &mut Descriptors) -> Result<bool, ProtocolError> {
        match frame {
            ToWorker::Welcome(welcome) if self.phase == Phase::Joining && welcome.version == VERSION => {
                self.phase = Phase::Open;
            }
            ToWorker::Welcome(welcome) => {
                let (theirs_min, theirs_max) = (welcome.version, welcome.version);
                return Err(ProtocolError::Version {
                    theirs_min,
                    theirs_max,
                    ours: VERSION,
                });
            }
            ToWorker::Connection(heads) => self.connections(heads, descriptors)?,
            ToWorker::Recall(ids) => {
                for id in ids {
                    let id = id?;
                    // One that is not here has been acked: it is ours, and the parent will learn so.
                    if self.lanes.iter_mut().any(|lane| lane.give_back(id)) {
                        self.refusals.push(Refusal {
                            id,
                            reason: RefusalReason::Recalled,
                        });
                    }
                }
            }
            // Having left, this side has forgotten what it had asked back.
            ToWorker::Cancelled(_) if self.phase == Phase::Leaving => {}
            ToWorker::Cancelled(credit) => {
                for one in credit {
                    let one = one?;
                    self.lane(one.lane).cancelled(one.count)?;
                }
            }
            ToWorker::Drain => {
                if matches!(self.phase, Phase::Joining | Phase::Open) {
                    self.phase = Phase::Draining;
                }
            }
            ToWorker::Retire => {
                self.lanes.iter_mut().for_each(Lane::forget_credit);
                if self.phase != Phase::Leaving {
                    self.phase = Phase::Retired;
                }
            }
            ToWorker::Close(reason) => self.phase = Phase::Ended(End::Closed(reason)),
        }
        Ok(true)
    }

    fn connections(
        &mut self,
        heads: Records<'_, ConnectionHead>,
        descriptors: &mut Descriptors,
    ) -> Result<(), ProtocolError> {
        let leaving = self.phase == Phase::Leaving;
        let mut arrived = descriptors.claim(heads.len())?;
        for head in heads {
            let head = head?;
            let reason = match arrived.next() {
                Some(fd) if !leaving => {
                    Lane::of(&mut self.lanes, head.lane).arrive(head, fd)?;
                    continue;
                }
                Some(_) => RefusalReason::Unwanted,
                None => {
                    Lane::of(&mut self.lanes, head.lane).missed();
                    RefusalReason::NoDescriptor
                }
            };
            self.refusals.push(Refusal { id: head.id, reason });
        }
        Ok(())
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            (self.ring)();
        }
    }

    fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Bell")
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

/// A channel's end is an AF_UNIX stream socket; it blocks, as a thread of its own reads it.
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
    let flags = fcntl(socket, FcntlArg::F_GETFL).map_err(SystemError::of("fcntl"))?;
    let blocking = OFlag::from_bits_retain(flags) - OFlag::O_NONBLOCK;
    fcntl(socket, FcntlArg::F_SETFL(blocking)).map_err(SystemError::of("fcntl"))?;
    Ok(())
}
