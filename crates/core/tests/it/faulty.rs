//! A system that fails on demand.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socketserver_core::sys::ancillary::Received;
use socketserver_core::sys::{Accepted, Credentials, Os, Sys};

/// The real system, except for the calls that a plan answers.
#[derive(Clone, Default)]
pub struct Faulty {
    calls: Arc<Calls>,
}

#[derive(Default)]
struct Calls {
    accept: Plan<()>,
    send: Plan<Cut>,
    receive: Plan<Cut>,
    credentials: Plan<Credentials>,
    /// Shutting the reading side of a socket down discards unread data, as on macOS.
    discards_unread: AtomicBool,
    /// Microseconds by which each reading of the clock advances it.
    look: AtomicU64,
    ahead: AtomicU64,
}

/// Decides the result of a call by its number, from 0; `None` performs the real call.
type Decide<T> = Box<dyn FnMut(usize) -> Option<Result<T, Errno>> + Send>;

/// The maximum number of bytes that are sent or received.
pub type Cut = usize;

struct Plan<T> {
    made: AtomicUsize,
    decide: Mutex<Option<Decide<T>>>,
}

impl Faulty {
    /// Sets the errors of accept.
    pub fn accept(self, decide: impl FnMut(usize) -> Option<Errno> + Send + 'static) -> Self {
        let mut decide = decide;
        self.calls.accept.set(move |call| decide(call).map(Err));
        self
    }

    /// Sets the errors of send, or how many bytes it sends.
    pub fn send(self, decide: impl FnMut(usize) -> Option<Result<Cut, Errno>> + Send + 'static) -> Self {
        self.calls.send.set(decide);
        self
    }

    /// Sets the errors of receive, or how many bytes it receives.
    pub fn receive(self, decide: impl FnMut(usize) -> Option<Result<Cut, Errno>> + Send + 'static) -> Self {
        self.calls.receive.set(decide);
        self
    }

    /// Sets the credentials of peers.
    pub fn credentials(self, decide: impl FnMut(usize) -> Option<Credentials> + Send + 'static) -> Self {
        let mut decide = decide;
        self.calls.credentials.set(move |call| decide(call).map(Ok));
        self
    }

    /// Simulates a slow system: `look` passes between two readings of the clock.
    pub fn slow(self, look: Duration) -> Self {
        let look = u64::try_from(look.as_micros()).unwrap();
        self.calls.look.store(look, Ordering::Relaxed);
        self
    }

    /// Simulates macOS, where shutting the reading side of a socket down discards unread data.
    pub fn discards_unread(self) -> Self {
        self.calls.discards_unread.store(true, Ordering::Relaxed);
        self
    }

    /// Returns the number of calls of accept.
    pub fn accepts(&self) -> usize {
        self.calls.accept.made.load(Ordering::Relaxed)
    }

    /// Returns the number of calls of send.
    pub fn sends(&self) -> usize {
        self.calls.send.made.load(Ordering::Relaxed)
    }
}

impl Sys for Faulty {
    fn now(&self) -> Instant {
        let look = self.calls.look.load(Ordering::Relaxed);
        let ahead = self.calls.ahead.fetch_add(look, Ordering::Relaxed);
        Os.now() + Duration::from_micros(ahead)
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        match self.calls.accept.next() {
            Some(Err(errno)) => Err(errno),
            Some(Ok(())) | None => Os.accept(listener),
        }
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        match self.calls.send.next() {
            Some(Err(errno)) => Err(errno),
            Some(Ok(cut)) => Os.send(socket.as_fd(), &bytes[..cut.min(bytes.len())], descriptors),
            None => Os.send(socket, bytes, descriptors),
        }
    }

    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        let cut = self.calls.receive.next().unwrap_or(Ok(bytes.len()))?;
        let cut = cut.min(bytes.len());
        Os.receive(socket, &mut bytes[..cut])
    }

    fn try_receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        let cut = self.calls.receive.next().unwrap_or(Ok(bytes.len()))?;
        let cut = cut.min(bytes.len());
        Os.try_receive(socket, &mut bytes[..cut])
    }

    fn keeps_data_after_shutdown(&self) -> bool {
        !self.calls.discards_unread.load(Ordering::Relaxed) && Os.keeps_data_after_shutdown()
    }

    fn credentials(&self, peer: &OwnedFd) -> Result<Credentials, Errno> {
        self.calls.credentials.next().unwrap_or_else(|| Os.credentials(peer))
    }
}

impl<T> Plan<T> {
    fn set(&self, decide: impl FnMut(usize) -> Option<Result<T, Errno>> + Send + 'static) {
        *self.decide.lock().unwrap() = Some(Box::new(decide));
    }

    fn next(&self) -> Option<Result<T, Errno>> {
        let call = self.made.fetch_add(1, Ordering::Relaxed);
        self.decide.lock().unwrap().as_mut().and_then(|decide| decide(call))
    }
}

impl<T> Default for Plan<T> {
    fn default() -> Self {
        Self {
            made: AtomicUsize::new(0),
            decide: Mutex::new(None),
        }
    }
}
