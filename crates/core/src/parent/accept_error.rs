//! What an error of accept(2) means, and how long to pause after one.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::Instant;

use crate::sys::{Accepted, nobody_waits};

/// What an errno of accept means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AcceptErrorKind {
    /// Nobody waits in the backlog.
    Nobody,
    /// Only this one connection is spoilt: it went away before it was accepted, or a firewall forbade it (accept(2)).
    OneConnection,
    /// The process or the system is short of something, the process's [`FdHeadroom`] aside. The connection stays in the backlog and the listener readable,
    /// so trying again at once would spin.
    Shortage,
    /// The listener itself is at fault.
    Broken,
}

impl AcceptErrorKind {
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Nobody,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::Shortage,
            // The errors of the new connection's network that accept(2) passes on, and a signal.
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
            // Of the listener itself, as EINVAL after somebody who shares it has shut it down: it comes again and
            // again, and the listener stays readable.
            _ => Self::Broken,
        }
    }
}

/// Accepts one that waits. Linux says EMFILE before it looks whether anybody does (accept(2) takes the descriptor first).
pub(crate) fn accept_one(
    listener: &OwnedFd,
    accept: impl FnOnce() -> Result<Accepted, Errno>,
) -> std::io::Result<Accepted> {
    match accept() {
        Err(errno) if AcceptErrorKind::of(errno) == AcceptErrorKind::Shortage && nobody_waits(listener) => {
            Err(Errno::EAGAIN.into())
        }
        done => Ok(done?),
    }
}

/// The first rest after EMFILE and its like; each further one is twice as long, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(10);
/// Ten tries a second cost nothing, and a client that waits for them does not notice.
pub(crate) const LONGEST_REST: Duration = Duration::from_millis(100);

/// A shortage so soon after another is the same episode, and is not told again: at its limit a process accepts one for
/// each that it closes.
const EPISODE: Duration = Duration::from_secs(10);

/// How a loop that accepts bears a shortage of descriptors or memory.
#[derive(Debug)]
pub(crate) struct AcceptBackoff {
    rest: Duration,
    last_shortage: Option<Instant>,
}

impl AcceptBackoff {
    pub(crate) fn new() -> Self {
        Self {
            rest: FIRST_REST,
            last_shortage: None,
        }
    }

    /// Accepting has worked.
    pub(crate) fn relieved(&mut self) {
        self.rest = FIRST_REST;
    }

    /// It has not: how long to rest, and whether that is news.
    pub(crate) fn tried(&mut self) -> (Duration, bool) {
        let now = Instant::now();
        let last = self.last_shortage.replace(now);
        let rest = self.rest;
        self.rest = (rest * 2).min(LONGEST_REST);
        (rest, last.is_none_or(|last| now - last > EPISODE))
    }
}
