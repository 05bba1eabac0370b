//! One accepted connection: moved by value through the pipeline, closed by its drop.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::channel::record::{ConnectionHead, Family};
use crate::queue::{Slot, Waiting};

/// Names a connection within its server: 1 is the first that was accepted, and a lower id came earlier.
pub type ConnectionId = u64;

/// An accepted socket that this process owns a copy of. Dropping it closes that copy.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    fd: OwnedFd,
    remote: Option<SocketAddr>,
    local_port: u16,
    accepted_at: Instant,
    slot: Option<Slot>,
    reissued: bool,
}

impl Connection {
    /// A connection that has just been accepted. `local_port` is 0 for a Unix socket; `slot` is its place in the queue.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        fd: OwnedFd,
        remote: Option<SocketAddr>,
        local_port: u16,
        accepted_at: Instant,
        slot: Slot,
    ) -> Self {
        Self {
            id,
            fd,
            remote,
            local_port,
            accepted_at,
            slot: Some(slot),
            reissued: false,
        }
    }

    /// The client's address; `None` for a Unix socket.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The port it came in by; 0 for a Unix socket.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// What travels beside the descriptor. `lane` is the lane whose credit pays for it, `slot` its place on the
    /// channel's scoreboard.
    #[must_use]
    pub fn head(&self, lane: u16, slot: u8, now: Instant) -> ConnectionHead {
        let waited = now.saturating_duration_since(self.accepted_at).as_micros();
        ConnectionHead {
            id: self.id,
            waited: u32::try_from(waited).unwrap_or(u32::MAX),
            lane,
            slot,
            reissued: self.reissued,
            family: match self.remote {
                None => Family::Unix,
                Some(SocketAddr::V4(_)) => Family::Ipv4,
                Some(SocketAddr::V6(_)) => Family::Ipv6,
            },
            remote: self.remote,
            local_port: self.local_port,
        }
    }

    /// Closes it with a reset, so that the client learns at once that nobody will answer, instead of a clean end that
    /// reads like an empty answer.
    pub fn reset(self) {
        let abort = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // A failure leaves an ordinary close, which is the next best thing.
        let _ = setsockopt(&self.fd, sockopt::Linger, &abort);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Waiting for Connection {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn lane(&self) -> u16 {
        self.local_port
    }

    fn since(&self) -> Instant {
        self.accepted_at
    }

    fn leave_queue(&mut self) {
        self.slot = None;
    }

    fn come_back(&mut self) {
        self.reissued = true;
    }
}
