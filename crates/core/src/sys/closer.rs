//! The closer: closes shared descriptors on separate threads, because their close(2) may sleep.
//!
//! The close of the last copy of a TCP socket with SO_LINGER and unsent data sleeps for the time of the option, with or
//! without O_NONBLOCK (tcp_close, socket(7)). Any process that has a copy can set the option. The close of a Unix socket also
//! closes the descriptors that are unread in its queue, which may be such sockets. The close of a file waits for its file
//! system (FUSE). So the thread that accepts and dispatches performs none of these closes, and no JavaScript thread does.

use std::collections::VecDeque;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::linger::{reset_at_close, switch_linger_off};
use super::socket::disconnect;

/// Owns a descriptor of which another process has, or had, a copy. Dropping it closes the descriptor on a thread of the closer.
#[derive(Debug)]
pub struct ForeignFd {
    /// `None` only during drop and the methods that consume `self`.
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

/// A pool of closing threads: one more than the number of closes that sleep, up to [`MAX_THREADS`].
#[derive(Debug)]
struct Closer {
    state: Mutex<State>,
    work: Condvar,
    idle: Condvar,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Close>,
    threads: usize,
    /// The number of threads that wait for work.
    idle: usize,
    /// The number of callers in [`Closer::settle`].
    waiting: usize,
}

/// A descriptor to close.
#[derive(Debug)]
struct Close {
    fd: OwnedFd,
    mode: CloseMode,
    /// Dropped when the descriptor is closed.
    done: Option<Sender<()>>,
}

/// How a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CloseMode {
    Orderly,
    Reset,
}

/// Closes TCP connections. A separate pool, so that other descriptors do not delay the FIN that a client waits for. SO_LINGER
/// is switched off before the close, so the close sleeps only if a process sets the option again in between.
static CONNECTIONS: Closer = Closer::new();
/// Closes all other descriptors.
static OTHERS: Closer = Closer::new();

/// The maximum number of threads. While as many closes sleep, further descriptors stay open.
const MAX_THREADS: usize = 32;

/// A thread without work ends after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// close(2) needs almost no stack; the rest is for thread-local storage, which is part of the stack.
const STACK: usize = 256 * 1024;

impl ForeignFd {
    /// Owns a descriptor that no other process can have changed. The thread that drops it closes the descriptor.
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

    /// Returns the descriptor. The caller closes it.
    #[must_use]
    pub fn into_owned(mut self) -> OwnedFd {
        self.take()
    }

    /// Resets a connection, on a thread of the closer.
    pub fn reset(mut self) {
        let fd = self.take();
        self.close(fd, CloseMode::Reset, None);
    }

    /// Closes the descriptor, and waits for the thread of the closer, for `bound` at most.
    pub fn close_within(mut self, bound: Duration) {
        let fd = self.take();
        let (done, closed) = channel();
        self.close(fd, CloseMode::Orderly, Some(done));
        // Nothing is ever sent: the error is the end of the close or of the wait.
        let _ = closed.recv_timeout(bound);
    }

    fn close(&self, fd: OwnedFd, mode: CloseMode, done: Option<Sender<()>>) {
        let close = Close { fd, mode, done };
        match self.closed_by {
            ClosedBy::Dropper => close.perform(),
            ClosedBy::Connections => CONNECTIONS.close(close),
            ClosedBy::Others => OTHERS.close(close),
        }
    }

    #[allow(clippy::expect_used, reason = "only drop and methods that consume `self` leave None")]
    fn take(&mut self) -> OwnedFd {
        self.fd.take().expect("a descriptor that has not been taken")
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

    #[allow(clippy::expect_used, reason = "only drop and methods that consume `self` leave None")]
    fn deref(&self) -> &OwnedFd {
        self.fd.as_ref().expect("a descriptor that has not been taken")
    }
}

impl AsFd for ForeignFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl AsRawFd for ForeignFd {
    #[allow(clippy::disallowed_types, reason = "AsyncFd requires AsRawFd")]
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        (**self).as_raw_fd()
    }
}

impl Drop for ForeignFd {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.close(fd, CloseMode::Orderly, None);
        }
    }
}

/// Waits until all descriptors dropped so far are closed, for `bound` at most. Their numbers, and the names of sockets, are
/// free then.
pub fn settle(bound: Duration) {
    let by = Instant::now() + bound;
    for closer in [&CONNECTIONS, &OTHERS] {
        closer.settle(by);
    }
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

    fn close(&'static self, close: Close) {
        let mut state = self.lock();
        state.queue.push_back(close);
        if state.idle > 0 {
            drop(state);
            self.work.notify_one();
        } else if state.threads == 0 && !self.start_thread(&mut state) {
            // No thread can be started. A close that may sleep is better than a descriptor that is never closed.
            let queue = std::mem::take(&mut state.queue);
            drop(state);
            queue.into_iter().for_each(Close::perform);
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

    /// Closes descriptors until the queue has been empty for [`IDLE_TIMEOUT`].
    fn run(&'static self) {
        let mut state = self.lock();
        loop {
            while let Some(close) = state.queue.pop_front() {
                // This close may sleep, so another thread must be available for the next descriptor.
                if state.idle == 0 && state.threads < MAX_THREADS {
                    self.start_thread(&mut state);
                }
                drop(state);
                close.perform();
                state = self.lock();
            }
            state.idle += 1;
            if state.waiting > 0 {
                self.idle.notify_all();
            }
            let (woken, waited) = self
                .work
                .wait_timeout(state, IDLE_TIMEOUT)
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

impl Close {
    fn perform(self) {
        let Self { fd, mode, done } = self;
        match mode {
            CloseMode::Orderly => switch_linger_off(fd.as_fd()),
            CloseMode::Reset => {
                reset_at_close(fd.as_fd());
                // An unread copy in the socket of a blocked worker would keep the connection open.
                disconnect(fd.as_fd());
            }
        }
        drop(fd);
        drop(done);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_dropped_descriptor_is_closed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ForeignFd::from(OwnedFd::from(ours)));
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_descriptor_taken_out_stays_open() {
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
