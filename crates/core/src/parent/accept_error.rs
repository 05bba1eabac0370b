//! The kinds of accept(2) errors, and the pauses after these errors.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::sys::{Accepted, is_backlog_empty};

/// The kinds of accept(2) errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AcceptErrorKind {
    /// The backlog is empty.
    Empty,
    /// Only this connection failed: the client has gone, or a firewall rejected the connection (accept(2)).
    OneConnection,
    /// The process or the system is out of descriptors or memory. The connection stays in the backlog and the listener stays
    /// readable, so an immediate retry would spin.
    Shortage,
    /// The listener itself failed.
    Broken,
}

impl AcceptErrorKind {
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Empty,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::Shortage,
            // Network errors of the new connection, which accept(2) passes on, and a signal.
            Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::EPERM
            | Errno::EINTR
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::ETIMEDOUT => Self::OneConnection,
            #[cfg(target_os = "linux")]
            Errno::ENONET => Self::OneConnection,
            // For example EINVAL after another process has shut the socket down: the error repeats, and the listener stays
            // readable.
            _ => Self::Broken,
        }
    }
}

/// Accepts one connection. Turns EMFILE into EAGAIN if the backlog is empty: Linux allocates the descriptor before it looks
/// at the backlog.
pub(crate) fn accept_one(
    listener: &OwnedFd,
    accept: impl FnOnce() -> Result<Accepted, Errno>,
) -> std::io::Result<Accepted> {
    match accept() {
        Err(errno) if AcceptErrorKind::of(errno) == AcceptErrorKind::Shortage && is_backlog_empty(listener) => {
            Err(Errno::EAGAIN.into())
        }
        done => Ok(done?),
    }
}

/// The longest pause after EMFILE and similar errors. Ten attempts a second cost nothing, and clients do not notice.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(100);

const PAUSES: Backoff = Backoff::new(Duration::from_millis(10), LONGEST_PAUSE);

/// A shortage within this time of the previous one is the same episode and is not reported again: a process at its limit
/// accepts one connection for each that it closes.
const EPISODE: Duration = Duration::from_secs(10);

/// The pauses of an accept loop during a shortage of descriptors or memory.
#[derive(Debug)]
pub(crate) struct AcceptBackoff {
    failures: u32,
    last_shortage: Option<Instant>,
}

impl AcceptBackoff {
    pub(crate) fn new() -> Self {
        Self {
            failures: 0,
            last_shortage: None,
        }
    }

    /// Resets the pauses: accepting has succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns how long to pause after a failure, and whether to report the failure.
    pub(crate) fn failed(&mut self) -> (Duration, bool) {
        let now = Instant::now();
        let last = self.last_shortage.replace(now);
        self.failures = self.failures.saturating_add(1);
        (
            PAUSES.delay(self.failures),
            last.is_none_or(|last| now - last > EPISODE),
        )
    }
}
