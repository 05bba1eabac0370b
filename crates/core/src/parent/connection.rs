//! One accepted connection: moved by value through the pipeline, closed by its drop.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::sys::socket::{SockType, SockaddrStorage, UnixAddr, getsockname, getsockopt, sockopt};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::queue::{HandBack, Permit, Waiting};
use crate::protocol::records::{ConnectionHead, Family};
use crate::sys::ForeignFd;
use crate::sys::closer::{lingers, reset_at_close};

/// An accepted socket that this process owns a copy of. Dropping it closes that copy, on a thread of the closer.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    fd: ForeignFd,
    remote: Option<SocketAddr>,
    local_port: u16,
    accepted_at: Instant,
    slot: Option<Permit>,
    reissued: bool,
    hand_back: Option<HandBack>,
    times_given: u32,
}

/// What is remembered of a connection that a worker has taken, for it may hand it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    id: ConnectionId,
    remote: Option<SocketAddr>,
    local_port: u16,
    accepted_at: Instant,
    times_given: u32,
}

impl Metadata {
    /// Whether a descriptor can be of that connection: of a connected stream socket of its address and port. One that has
    /// been reset may not know its address any more (macOS), and is good enough to be closed by whoever gets it.
    #[must_use]
    pub fn fits(&self, fd: BorrowedFd<'_>) -> bool {
        if getsockopt(&fd, sockopt::SockType) != Ok(SockType::Stream)
            || getsockopt(&fd, sockopt::AcceptConn) != Ok(false)
        {
            return false;
        }
        if self.remote.is_none() {
            // Accepted, it has its listener's name; the end of a channel, which must not travel on one, has none.
            return getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok_and(|name| is_named(&name));
        }
        let Ok(local) = getsockname::<SockaddrStorage>(fd.as_raw_fd()) else {
            return true;
        };
        match self.remote {
            None => false,
            Some(SocketAddr::V4(_)) => local.as_sockaddr_in().is_some_and(|v4| v4.port() == self.local_port),
            Some(SocketAddr::V6(_)) => local.as_sockaddr_in6().is_some_and(|v6| v6.port() == self.local_port),
        }
    }
}

fn foreign(fd: OwnedFd, remote: Option<SocketAddr>) -> ForeignFd {
    match remote {
        Some(_) => ForeignFd::connection(fd),
        None => fd.into(),
    }
}

#[cfg(target_os = "linux")]
fn is_named(name: &UnixAddr) -> bool {
    !name.is_unnamed()
}

#[cfg(not(target_os = "linux"))]
fn is_named(name: &UnixAddr) -> bool {
    name.path().is_some_and(|path| !path.as_os_str().is_empty())
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
        slot: Permit,
    ) -> Self {
        Self {
            id,
            fd: foreign(fd, remote),
            remote,
            local_port,
            accepted_at,
            slot: Some(slot),
            reissued: false,
            hand_back: None,
            times_given: 0,
        }
    }

    /// One that a worker has handed back. Its age goes on; it needs no place in the queue, as what was accepted is never
    /// turned away. That worker may have a copy of it for another moment.
    #[must_use]
    pub fn returned(past: Metadata, fd: OwnedFd) -> Self {
        Self {
            id: past.id,
            fd: foreign(fd, past.remote),
            remote: past.remote,
            local_port: past.local_port,
            accepted_at: past.accepted_at,
            slot: None,
            reissued: true,
            hand_back: None,
            times_given: past.times_given,
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
        if self.is_private() {
            reset_at_close(self.fd.as_fd());
            drop(self.fd.into_owned());
        } else {
            self.fd.reset();
        }
    }

    /// Closes this copy, as a worker has the connection now. The close may sleep if the worker has set SO_LINGER and closed
    /// its copy: then it is left to the closer. It always is if the worker has `joined`, as one of another user could set
    /// the option between the look and the close.
    pub fn release(self, joined: bool) {
        if !joined && self.is_private() && !lingers(self.fd.as_fd()) {
            drop(self.fd.into_owned());
        }
    }

    /// Returns whether no other worker has ever had it, and its client cannot have put descriptors in its queue, as it can
    /// on a Unix socket.
    fn is_private(&self) -> bool {
        self.remote.is_some() && !self.reissued
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Waiting for Connection {
    type Metadata = Metadata;

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

    fn mark_reissued(&mut self) {
        self.reissued = true;
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            id: self.id,
            remote: self.remote,
            local_port: self.local_port,
            accepted_at: self.accepted_at,
            times_given: self.times_given,
        }
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.hand_back
    }

    fn handed_back(&mut self, by: ChannelId, at: Instant) {
        self.times_given = self.times_given.saturating_add(1);
        self.hand_back = Some(HandBack {
            channel: by,
            at,
            times: self.times_given,
        });
    }
}
