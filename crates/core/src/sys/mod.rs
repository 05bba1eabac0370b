//! The seam to the operating system: every call that may fail in an interesting way, and the clock.
//!
//! Production code runs on [`Os`]; tests put a [`Sys`] in its place that fails on demand, so that EMFILE, short sends
//! and dead peers are unit tests.

pub mod accept;
pub mod alarm;
pub mod ancillary;
pub mod closer;
pub mod credentials;
pub mod scheduling;
pub mod socket;
#[cfg(target_os = "linux")]
pub mod timer;
pub mod unix_socket;
pub mod watch;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;

pub use self::accept::Accepted;
pub use self::ancillary::Received;
pub use self::closer::ForeignFd;
pub use self::credentials::Credentials;
pub use self::scheduling::waits_turn;
pub(crate) use self::socket::{clamp, is_backlog_empty, socket_pair, stream_socket};
pub use self::socket::{identity, prepare, shut_down, unconnected_socket};
#[cfg(target_os = "linux")]
pub use self::timer::{TimerFile, watch_timer};
pub use self::watch::{room, watch, watch_listener};

/// The system calls of the pipeline.
pub trait Sys: Clone + Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// `accept4(2)`: one connection with its peer's address, close-on-exec and non-blocking.
    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno>;

    /// `sendmsg(2)` without blocking: bytes, and descriptors that travel with the first of them.
    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno>;

    /// `recvmsg(2)`, blocking or not as the socket is.
    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno>;

    /// `recvmsg(2)` without blocking, however the socket is.
    fn try_receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        ancillary::try_receive(socket, bytes)
    }

    /// Who has connected to a Unix socket, as the kernel says (unix(7), SO_PEERCRED).
    fn credentials(&self, peer: &OwnedFd) -> Result<Credentials, Errno> {
        credentials::credentials(peer)
    }

    /// Whether the peer has read everything that was sent on a Unix socket. On macOS nobody can say, and no limit is spent by
    /// what is unread: there it counts as read.
    fn is_all_read(&self, socket: BorrowedFd<'_>) -> bool {
        ancillary::is_all_read(socket)
    }

    /// Returns whether what a peer has sent can still be read after shutdown(2) of the reading side. macOS discards it.
    fn keeps_unread(&self) -> bool {
        cfg!(target_os = "linux")
    }

    /// Has the calling thread wait its turn from now on, or no longer: woken, it does not push aside what runs (SCHED_BATCH,
    /// sched(7)). True if it waits by this. Where that is forbidden (a seccomp filter), unknown (macOS), or the thread
    /// runs as somebody else has chosen, all stays as it is.
    fn wait_turn(&self, waits: bool) -> bool {
        scheduling::wait_turn(waits)
    }
}

/// The real system.
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

/// `dup2(2)`: makes a copy of `kept` the standard error of this process, in place of what that was.
pub fn become_stderr(kept: &OwnedFd) -> Result<(), Errno> {
    nix::unistd::dup2_stderr(kept)
}
