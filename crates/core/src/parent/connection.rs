//! One accepted connection: moved by value through the pipeline, closed by its drop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{SockType, SockaddrStorage, UnixAddr, getpeername, getsockname, getsockopt, sockopt};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::queue::{HandBack, Permit, Waiting};
use crate::protocol::records::{ConnectionHead, Family};
use crate::sys::closer::reset_at_close;
use crate::sys::{ForeignFd, identity};

/// An accepted socket that this process owns a copy of. Dropping it closes that copy, on a thread of the closer.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    fd: ForeignFd,
    remote: Option<SocketAddr>,
    local_port: u16,
    accepted_at: Instant,
    permit: Option<Permit>,
    reissued: bool,
    /// Boxed, because few connections have one and every connection is moved several times. Moves of more than 128 bytes are calls
    /// of memcpy(3), which made a tenth of the instructions of a handoff.
    history: Option<Box<History>>,
}

/// What is known of a connection that a worker of another user has had, or that a worker has handed back.
#[derive(Debug, Default)]
struct History {
    hand_back: Option<HandBack>,
    times_handed_back: u32,
    /// SO_COOKIE, see [`Metadata`].
    identity: Option<u64>,
}

/// What is remembered of a connection that a worker has taken, for it may hand it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    id: ConnectionId,
    remote: Option<SocketAddr>,
    local_port: u16,
    accepted_at: Instant,
    times_handed_back: u32,
    /// SO_COOKIE, which the kernel gives to one socket only; `None` where it is not read.
    identity: Option<u64>,
}

impl Metadata {
    /// Returns whether a descriptor is of that connection: its addresses are those that are remembered, and so is its inode
    /// if that is known. One whose client has gone has no address of a client any more (ENOTCONN).
    #[must_use]
    pub fn fits(&self, fd: BorrowedFd<'_>) -> bool {
        if getsockopt(&fd, sockopt::SockType) != Ok(SockType::Stream)
            || getsockopt(&fd, sockopt::AcceptConn) != Ok(false)
        {
            return false;
        }
        (self.identity.is_none() || identity(fd) == self.identity) && self.has_addresses_of(fd)
    }

    fn has_addresses_of(&self, fd: BorrowedFd<'_>) -> bool {
        let Some(remote) = self.remote else {
            // Accepted, it has its listener's name; the end of a channel, which must not travel on one, has none.
            return getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok_and(|name| is_named(&name));
        };
        let Ok(local) = getsockname::<SockaddrStorage>(fd.as_raw_fd()) else {
            // macOS forgets both addresses of a connection that has been reset; there is nobody left to be taken for.
            return cfg!(not(target_os = "linux"));
        };
        if socket_address(&local)
            .is_none_or(|local| local.is_ipv4() != remote.is_ipv4() || local.port() != self.local_port)
        {
            return false;
        }
        match peer_of(fd) {
            Ok(peer) => (peer.ip(), peer.port()) == (remote.ip(), remote.port()),
            Err(errno) => errno == Errno::ENOTCONN,
        }
    }
}

fn peer_of(fd: BorrowedFd<'_>) -> Result<SocketAddr, Errno> {
    let peer: SockaddrStorage = getpeername(fd.as_raw_fd())?;
    socket_address(&peer).ok_or(Errno::EAFNOSUPPORT)
}

/// The address of a client that has gone and whose connection is not proven to be the one that was given out.
fn nobody(of: SocketAddr) -> SocketAddr {
    let ip = match of {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
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
    /// A connection that has just been accepted. `local_port` is 0 for a Unix socket.
    #[must_use]
    pub fn new(
        id: ConnectionId,
        fd: OwnedFd,
        remote: Option<SocketAddr>,
        local_port: u16,
        accepted_at: Instant,
        permit: Permit,
    ) -> Self {
        Self {
            id,
            fd: foreign(fd, remote),
            remote,
            local_port,
            accepted_at,
            permit: Some(permit),
            reissued: false,
            history: None,
        }
    }

    /// One that a worker has handed back. Its age goes on; it needs no place in the queue, as what was accepted is never
    /// turned away. That worker may have a copy of it for another moment.
    #[must_use]
    pub fn returned(past: Metadata, fd: OwnedFd) -> Self {
        // Promised to the next worker, and not by the one that hands it back. ioctl(2) and not F_SETFL, which takes the
        // socket's lock if that worker changes O_ASYNC meanwhile.
        let socket = UnixStream::from(fd);
        // FIONBIO fails for no socket.
        let _ = socket.set_nonblocking(true);
        let fd = OwnedFd::from(socket);
        let remote = past.remote.map(|remote| match past.identity {
            Some(_) => remote,
            None => peer_of(fd.as_fd()).unwrap_or(nobody(remote)),
        });
        Self {
            id: past.id,
            fd: foreign(fd, past.remote),
            remote,
            local_port: past.local_port,
            accepted_at: past.accepted_at,
            permit: None,
            reissued: true,
            history: Some(Box::new(History {
                times_handed_back: past.times_handed_back,
                ..History::default()
            })),
        }
    }

    /// Remembers which socket it is, so that nothing else is taken back for it.
    pub fn identify(&mut self) {
        if self.history.as_ref().is_none_or(|history| history.identity.is_none()) {
            let identity = identity(self.fd.as_fd());
            self.history.get_or_insert_default().identity = identity;
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

    /// Closes this copy: a worker has the connection now. `is_ours`: the worker cannot set SO_LINGER with a time. The close of
    /// any other worker's connection may sleep, so the closer performs it.
    pub fn release(self, is_ours: bool) {
        if is_ours && self.is_private() {
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
        self.permit = None;
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
            times_handed_back: self.history.as_ref().map_or(0, |history| history.times_handed_back),
            identity: self.history.as_ref().and_then(|history| history.identity),
        }
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.history.as_ref()?.hand_back
    }

    fn handed_back(&mut self, by: ChannelId, at: Instant) {
        let history = self.history.get_or_insert_default();
        history.times_handed_back = history.times_handed_back.saturating_add(1);
        history.hand_back = Some(HandBack {
            channel: by,
            at,
            times: history.times_handed_back,
        });
    }
}
