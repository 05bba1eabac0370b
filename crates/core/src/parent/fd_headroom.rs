//! The descriptors that accepting leaves to the rest of the process.
//!
//! Worker threads share their parent's table of descriptors. An acceptor that takes each one that becomes free leaves
//! them none to receive a connection with, so nothing that waits is ever served and nothing becomes free any more. And a
//! worker that has died could not be started anew.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit};

/// As many as a worker needs to be started (a channel, pipes) and some to receive by; but no more than an eighth of all.
const RESERVE: u64 = 16;

/// Knows when only the reserve is left.
#[derive(Debug)]
pub struct FdHeadroom {
    /// Its first descriptor: the system gives the lowest number that is free, so this one shows that all below are taken.
    first: u64,
    is_reached: bool,
}

impl FdHeadroom {
    /// By the process's present limit of open files.
    #[must_use]
    pub fn new() -> Self {
        // It is never unknown on any system this runs on; were it, accept(2) itself would still say EMFILE.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self {
            first: limit - RESERVE.min(limit / 8),
            is_reached: false,
        }
    }

    /// This descriptor has been accepted.
    pub fn note(&mut self, accepted: BorrowedFd<'_>) {
        self.is_reached |= self.is_of_it(accepted);
    }

    /// Whether only the reserve is left now. It costs a system call only once it has been reached.
    pub fn is_all_that_is_left(&mut self, listener: &OwnedFd) -> bool {
        if self.is_reached {
            // The next descriptor, for a moment; without one there is not even a reserve.
            self.is_reached = listener.try_clone().map_or(true, |next| self.is_of_it(next.as_fd()));
        }
        self.is_reached
    }

    fn is_of_it(&self, descriptor: BorrowedFd<'_>) -> bool {
        u64::try_from(descriptor.as_raw_fd()).is_ok_and(|number| number >= self.first)
    }
}

impl Default for FdHeadroom {
    fn default() -> Self {
        Self::new()
    }
}
