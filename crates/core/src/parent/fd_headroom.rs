//! The descriptors that accepting leaves to the rest of the process.
//!
//! Worker threads share the parent's descriptor table. An acceptor that takes every free descriptor leaves none to receive a
//! connection with: nothing in the queue would be served, and no descriptor would ever become free. A worker that has
//! exited could not be replaced either.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit};

/// Enough to start a worker (a channel, pipes) and to receive some connections; at most an eighth of the limit.
const HEADROOM: u64 = 16;

/// Detects when only the headroom is left.
#[derive(Debug)]
pub struct FdHeadroom {
    /// The first descriptor of the headroom. The kernel allocates the lowest free number, so this number shows that all lower
    /// numbers are taken.
    first: u64,
    is_reached: bool,
}

impl FdHeadroom {
    /// Computes the headroom from the process's current RLIMIT_NOFILE.
    #[must_use]
    pub fn new() -> Self {
        // getrlimit(2) cannot fail here; if it did, accept(2) would still return EMFILE.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        Self {
            first: limit - HEADROOM.min(limit / 8),
            is_reached: false,
        }
    }

    /// Records an accepted descriptor.
    pub fn note(&mut self, accepted: BorrowedFd<'_>) {
        self.is_reached |= self.is_within(accepted);
    }

    /// Whether only the headroom is left. Costs a system call only after the headroom has been reached.
    pub fn is_reached(&mut self, listener: &OwnedFd) -> bool {
        if self.is_reached {
            // Allocates the next descriptor for a moment. A failure means that not even the headroom is left.
            self.is_reached = listener.try_clone().map_or(true, |next| self.is_within(next.as_fd()));
        }
        self.is_reached
    }

    fn is_within(&self, descriptor: BorrowedFd<'_>) -> bool {
        u64::try_from(descriptor.as_raw_fd()).is_ok_and(|number| number >= self.first)
    }
}

impl Default for FdHeadroom {
    fn default() -> Self {
        Self::new()
    }
}
