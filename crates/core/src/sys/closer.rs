//! Closes descriptors that another process has, or had, on threads of their own, because that close(2) may sleep.
//!
//! The close of the last copy of a TCP socket with SO_LINGER and unsent data sleeps for as long as the option says, and
//! O_NONBLOCK does not matter (tcp_close, socket(7)). Any process that has a copy can set the option. The close of a Unix
//! socket closes what lies unread in its queue, which may be such sockets. The close of a file waits for its file system
//! (FUSE). So none of these runs on the thread that accepts and dispatches, nor on a JavaScript thread.

use std::collections::VecDeque;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::socket::disconnect;

/// Owns a descriptor whose file another process has, or had. Dropping it closes it on a thread of the closer.
#[derive(Debug)]
pub struct ForeignFd {
    /// `None` only while it is dropped or given away.
    fd: Option<OwnedFd>,
    closed_by: ClosedBy,
}

/// Which thread closes a descriptor. One byte, because an accepted connection is moved several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClosedBy {
    /// The thread that drops the descriptor.
    Dropper,
    Connections,
    Others,
}

/// Threads that close, as many as there are closes that sleep and one more, up to [`MAX_THREADS`].
#[derive(Debug)]
struct Closer {
    state: Mutex<State>,
    work: Condvar,
    idle: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<(OwnedFd, Manner)>,
    threads: usize,
    /// Threads that wait for work.
    idle: usize,
    /// Callers of [`Closer::settle`].
    waiting: usize,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Orderly,
    Reset,
}

/// Connections over TCP. SO_LINGER is switched off before they are closed, so only a peer that sets it again in between
/// has such a close sleep, and what else a peer has sent does not delay the end that a client waits for.
static CONNECTIONS: Closer = Closer::new();
/// Everything else.
static OTHERS: Closer = Closer::new();

/// Beyond so many closes that sleep, descriptors stay open until one of them is over.
const MAX_THREADS: usize = 32;

/// A thread without work ends after this time.
const KEEP_IDLE: Duration = Duration::from_secs(2);

/// A close(2) needs next to no stack; what remains is for thread-local storage, which is part of it.
const STACK: usize = 256 * 1024;

impl ForeignFd {
    /// Owns a descriptor that no other process can have changed. It is closed where it is dropped.
    #[must_use]
    pub fn own(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            closed_by: ClosedBy::Dropper,
        }
    }

    /// Owns the socket of a TCP connection.
    #[must_use]
    pub fn connection(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            closed_by: ClosedBy::Connections,
        }
    }

    /// Gives the descriptor to a caller who closes it.
    #[must_use]
    pub fn into_owned(mut self) -> OwnedFd {
        self.take()
    }

    /// Closes a connection with a reset, on a thread of the closer.
    pub fn reset(mut self) {
        let fd = self.take();
        self.close(fd, Manner::Reset);
    }

    fn close(&self, fd: OwnedFd, manner: Manner) {
        match self.closed_by {
            ClosedBy::Dropper => close_now(fd, manner),
            ClosedBy::Connections => CONNECTIONS.close(fd, manner),
            ClosedBy::Others => OTHERS.close(fd, manner),
        }
    }

    #[allow(
        clippy::expect_used,
        reason = "only methods that consume `self`, and drop, leave None behind"
    )]
    fn take(&mut self) -> OwnedFd {
        self.fd.take().expect("a descriptor that has not been given away")
    }
}

impl From<OwnedFd> for ForeignFd {
    fn from(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            closed_by: ClosedBy::Others,
        }
    }
}

impl Deref for ForeignFd {
    type Target = OwnedFd;

    #[allow(
        clippy::expect_used,
        reason = "only methods that consume `self`, and drop, leave None behind"
    )]
    fn deref(&self) -> &OwnedFd {
        self.fd.as_ref().expect("a descriptor that has not been given away")
    }
}

impl AsFd for ForeignFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsRawFd for ForeignFd {
    #[allow(clippy::disallowed_types, reason = "AsyncFd asks for the number")]
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        (**self).as_raw_fd()
    }
}

impl Drop for ForeignFd {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.close(fd, Manner::Orderly);
        }
    }
}

/// Waits until everything that has been dropped so far is closed, for `bound` at most. A name or a number is free then.
pub fn settle(bound: Duration) {
    let by = Instant::now() + bound;
    for closer in [&CONNECTIONS, &OTHERS] {
        closer.settle(by);
    }
}

/// Whether a close of this socket may sleep: SO_LINGER is set, with a time. Unlike setsockopt(2), getsockopt(2) does not
/// take the socket's lock, which a process can hold for as long as a page fault of its sendmsg(2) takes.
#[must_use]
pub fn lingers(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::Linger).is_ok_and(|linger| linger.l_onoff != 0 && linger.l_linger != 0)
}

/// Switches SO_LINGER off if its close may sleep. The option belongs to all copies of the socket, and is not set again.
pub fn switch_linger_off(socket: BorrowedFd<'_>) {
    if lingers(socket) {
        set_linger(socket, 0);
    }
}

/// Has the close of a connection reset it, so that the client learns at once that nobody will answer, instead of a clean end
/// that reads like an empty answer.
pub fn reset_at_close(socket: BorrowedFd<'_>) {
    set_linger(socket, 1);
}

fn set_linger(socket: BorrowedFd<'_>, l_onoff: libc::c_int) {
    let linger = libc::linger { l_onoff, l_linger: 0 };
    // A failure leaves an ordinary close, which is the next best thing.
    let _ = setsockopt(&socket, sockopt::Linger, &linger);
}

impl Closer {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                threads: 0,
                idle: 0,
                waiting: 0,
            }),
            work: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    fn close(&'static self, fd: OwnedFd, manner: Manner) {
        let mut state = self.lock();
        state.queue.push_back((fd, manner));
        if state.idle > 0 {
            drop(state);
            self.work.notify_one();
        } else if state.threads == 0 && !self.start_thread(&mut state) {
            // No thread can be had: better a close that may sleep than a descriptor that is never closed.
            let left = std::mem::take(&mut state.queue);
            drop(state);
            for (fd, manner) in left {
                close_now(fd, manner);
            }
        }
    }

    fn settle(&self, by: Instant) {
        let mut state = self.lock();
        state.waiting += 1;
        while !state.queue.is_empty() || state.idle < state.threads {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) = self
                .idle
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
    }

    fn start_thread(&'static self, state: &mut State) -> bool {
        let thread = std::thread::Builder::new()
            .name("socketserver-cl".into())
            .stack_size(STACK);
        let is_started = thread.spawn(|| self.run()).is_ok();
        state.threads += usize::from(is_started);
        is_started
    }

    /// Closes what comes, until nothing has come for a while.
    fn run(&'static self) {
        let mut state = self.lock();
        loop {
            while let Some((fd, manner)) = state.queue.pop_front() {
                // This close may sleep, so another thread has to be there for the next one.
                if state.idle == 0 && state.threads < MAX_THREADS {
                    self.start_thread(&mut state);
                }
                drop(state);
                close_now(fd, manner);
                state = self.lock();
            }
            state.idle += 1;
            if state.waiting > 0 {
                self.idle.notify_all();
            }
            let (woken, waited) = self
                .work
                .wait_timeout(state, KEEP_IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn close_now(fd: OwnedFd, manner: Manner) {
    match manner {
        Manner::Orderly => switch_linger_off(fd.as_fd()),
        Manner::Reset => {
            reset_at_close(fd.as_fd());
            // A copy that lies unread in a blocked worker's socket would keep the connection open.
            disconnect(fd.as_fd());
        }
    }
    drop(fd);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_dropped_is_closed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ForeignFd::from(OwnedFd::from(ours)));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn what_is_given_away_stays_open() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let kept = ForeignFd::from(OwnedFd::from(ours)).into_owned();
        settle(Duration::from_secs(10));
        theirs.set_nonblocking(true).unwrap();
        assert_eq!(
            theirs.read(&mut [0]).unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock
        );
        drop(kept);
    }
}
