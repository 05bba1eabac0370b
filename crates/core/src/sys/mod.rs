//! The operating system: all system calls whose failures need tests, and the clock.
//!
//! Production code runs on [`Os`]. Tests replace it by a [`Sys`] that fails on demand, so that EMFILE, short sends and dead
//! peers can be tested.

pub mod accept;
pub mod alarm;
pub mod ancillary;
pub mod closer;
pub mod credentials;
pub(crate) mod file_type;
pub mod linger;
pub mod peek;
pub mod scheduling;
pub mod socket;
#[cfg(target_os = "linux")]
pub mod timer;
pub(crate) mod udp;
pub mod unix_socket;
pub mod watch;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use self::accept::Accepted;
pub use self::ancillary::Received;
pub use self::closer::ForeignFd;
pub use self::credentials::Credentials;
pub use self::scheduling::is_batch_scheduled;
pub(crate) use self::socket::{
    backlog_of, clamp_backlog, internet_address, is_backlog_empty, socket_pair, stream_socket,
};
pub use self::socket::{identity, prepare, shut_down, unconnected_socket};
#[cfg(target_os = "linux")]
pub use self::timer::{TimerFile, watch_timer};
pub use self::watch::{Arrivals, await_writable, watch, watch_listener};

/// The system calls between accept and the worker.
pub trait Sys: Clone + Send + Sync + 'static {
    /// Returns the time of the monotonic clock.
    fn now(&self) -> Instant;

    /// Accepts one connection with its peer's address, close-on-exec and non-blocking (accept4(2)).
    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno>;

    /// Sends bytes, with `descriptors` attached to the first byte, without blocking (sendmsg(2)).
    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno>;

    /// Receives bytes and descriptors (recvmsg(2)). Blocks unless the socket has O_NONBLOCK.
    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno>;

    /// Receives bytes and descriptors without blocking, with or without O_NONBLOCK.
    fn try_receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        ancillary::try_receive(socket, bytes)
    }

    /// Returns the credentials of a Unix socket's peer, as the kernel reports them (unix(7), SO_PEERCRED).
    fn credentials(&self, peer: &OwnedFd) -> Result<Credentials, Errno> {
        credentials::credentials(peer)
    }

    /// Returns whether the peer has read everything that was sent on a Unix socket. On macOS, which does not report unread
    /// data and has no limit on unread descriptors, returns true.
    fn is_all_read(&self, socket: BorrowedFd<'_>) -> bool {
        ancillary::is_all_read(socket)
    }

    /// Returns whether received data can still be read after shutdown(2) of the reading side. macOS discards the data.
    fn keeps_data_after_shutdown(&self) -> bool {
        cfg!(target_os = "linux")
    }

    /// Switches the calling thread to SCHED_BATCH, or back to SCHED_OTHER (sched(7)). A SCHED_BATCH thread does not preempt the
    /// running task when it wakes up. Returns whether this call made the thread SCHED_BATCH. Changes nothing where a seccomp
    /// filter forbids the call, on macOS, and if the thread has a policy that this function has not set.
    fn set_batch_scheduling(&self, batch: bool) -> bool {
        scheduling::set_batch_scheduling(batch)
    }
}

/// The real operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl Sys for Os {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        accept::accept(listener)
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        ancillary::send(socket, bytes, descriptors)
    }

    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        ancillary::receive(socket, bytes)
    }
}

/// Returns EBADF if a descriptor is not open (fcntl(2), F_GETFD).
pub fn check_open(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    fcntl(fd, FcntlArg::F_GETFD).map(drop)
}

/// Replaces the standard error of this process by a copy of `kept` (dup2(2)).
pub fn become_stderr(kept: &OwnedFd) -> Result<(), Errno> {
    nix::unistd::dup2_stderr(kept)
}

/// Returns the number of this thread, by which the system names its statistics (gettid(2)); 0 where there is none.
#[must_use]
pub fn thread_id() -> u32 {
    #[cfg(target_os = "linux")]
    return u32::try_from(nix::unistd::gettid().as_raw()).unwrap_or(0);
    #[cfg(not(target_os = "linux"))]
    return 0;
}
