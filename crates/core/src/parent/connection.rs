//! An accepted connection, moved by value from the acceptor to a worker. Dropping it closes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::queue::{HandBack, Permit, Waiting};
use crate::parent::returned_socket::ReturnedSocket;
use crate::parent::routing::affinity::Affinity;
use crate::parent::routing::source_counts::CountedSource;
use crate::protocol::connection_record::{ConnectionHead, Family};
use crate::protocol::proxied_record::Proxied;
use crate::sys::linger::reset_at_close;
use crate::sys::{ForeignFd, identity};

/// The parent's copy of an accepted socket. Dropping it closes the copy, on a thread of the closer.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    fd: ForeignFd,
    /// The peer of the socket.
    peer: Option<SocketAddr>,
    local_port: u16,
    lane: u16,
    accepted_at: Instant,
    permit: Option<Permit>,
    reissued: bool,
    /// Boxed, because few connections have a history and every connection is moved several times. Moves of more than 128 bytes
    /// call memcpy(3), which was a tenth of the instructions of a handoff.
    history: Option<Box<History>>,
}

/// What few connections have: those that were sent to a worker of another user, that a worker has handed back, or that were
/// routed.
#[derive(Debug, Default)]
struct History {
    hand_back: Option<HandBack>,
    times_handed_back: u32,
    /// See [`Metadata::identity`].
    identity: Option<u64>,
    /// What a proxy told about the client.
    proxied: Option<Arc<Proxied>>,
    affinity: Option<Affinity>,
    /// The count of the connection for its source, if sources are limited and no worker has taken the connection.
    counted: Option<CountedSource>,
}

/// The parent's record of a connection that a worker has taken, in case the worker hands the connection back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    id: ConnectionId,
    peer: Option<SocketAddr>,
    local_port: u16,
    lane: u16,
    accepted_at: Instant,
    times_handed_back: u32,
    /// The inode of the socket; `None` if it was not recorded.
    identity: Option<u64>,
    proxied: Option<Arc<Proxied>>,
}

impl Metadata {
    /// Returns whether a descriptor refers to this connection. Compares the addresses and, if recorded, the inode.
    #[must_use]
    pub fn fits(&self, socket: &ReturnedSocket) -> bool {
        socket.has_addresses(self.peer, self.local_port)
            && (self.identity.is_none() || identity(socket.as_fd()) == self.identity)
    }
}

/// Returns the address to report for a client that has disconnected, if the connection is not proven to be the same.
fn unspecified_address(of: SocketAddr) -> SocketAddr {
    let ip = match of {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Selects the closing threads: TCP connections have separate threads.
fn foreign(fd: OwnedFd, remote: Option<SocketAddr>) -> ForeignFd {
    match remote {
        Some(_) => ForeignFd::connection(fd),
        None => fd.into(),
    }
}

impl Connection {
    /// Creates a connection that has just been accepted. `local_port` is 0 for a Unix socket.
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
            peer: remote,
            local_port,
            lane: local_port,
            accepted_at,
            permit: Some(permit),
            reissued: false,
            history: None,
        }
    }

    /// Sets a lane other than the local port.
    #[must_use]
    pub fn in_lane(mut self, lane: u16) -> Self {
        self.lane = lane;
        self
    }

    /// Sets a lane other than that of the listener.
    pub fn set_lane(&mut self, lane: u16) {
        self.lane = lane;
    }

    /// Creates a connection that a worker has handed back. Its age continues to count from accept. It needs no permit: an
    /// accepted connection is never refused. The worker may still have a copy for a moment.
    #[must_use]
    pub fn from_hand_back(past: Metadata, socket: ReturnedSocket) -> Self {
        let connected_to = socket.peer();
        // The next worker relies on O_NONBLOCK, which the previous worker may have cleared. FIONBIO, because F_SETFL waits for
        // the socket's lock if that worker changes O_ASYNC at the same time.
        let socket = UnixStream::from(socket.into_fd().into_owned());
        // FIONBIO cannot fail for a socket.
        let _ = socket.set_nonblocking(true);
        let fd = OwnedFd::from(socket);
        let peer = past.peer.map(|peer| match past.identity {
            Some(_) => peer,
            None => connected_to.unwrap_or(unspecified_address(peer)),
        });
        Self {
            id: past.id,
            fd: foreign(fd, past.peer),
            peer,
            local_port: past.local_port,
            lane: past.lane,
            accepted_at: past.accepted_at,
            permit: None,
            reissued: true,
            history: Some(Box::new(History {
                times_handed_back: past.times_handed_back,
                proxied: past.proxied,
                ..History::default()
            })),
        }
    }

    /// Records the inode of the socket, so that a worker cannot hand back another socket instead.
    pub fn record_identity(&mut self) {
        if self.history.as_ref().is_none_or(|history| history.identity.is_none()) {
            let identity = identity(self.fd.as_fd());
            self.history.get_or_insert_default().identity = identity;
        }
    }

    /// Records what a proxy told about the client.
    pub fn set_proxied(&mut self, proxied: Proxied) {
        self.history.get_or_insert_default().proxied = Some(Arc::new(proxied));
    }

    /// Returns what a proxy told about the client.
    #[must_use]
    pub fn proxied(&self) -> Option<&Proxied> {
        self.history.as_ref()?.proxied.as_deref()
    }

    /// Sets which worker the connection belongs to.
    pub fn set_affinity(&mut self, affinity: Affinity) {
        self.history.get_or_insert_default().affinity = Some(affinity);
    }

    /// Sets the permit to wait in the queue.
    pub fn enter_queue(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// Returns the address of the peer of the socket, the client or a proxy; `None` for a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the address of the client; `None` if it is unknown because of a Unix socket.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        self.proxied().map(|proxied| proxied.client).or(self.peer)
    }

    /// Returns the local port; 0 for a Unix socket.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// Returns the record that is sent with the descriptor. `lane` is the lane whose credit the connection uses, `slot` its
    /// slot on the scoreboard, `waited` how long the connection has waited.
    #[must_use]
    pub fn head(&self, lane: u16, slot: u8, waited: Duration) -> ConnectionHead {
        // The family of a Unix socket tells the worker how to use the descriptor. PROXIED has the client's address.
        let remote = self.peer.and_then(|_| self.remote());
        ConnectionHead {
            id: self.id,
            waited: u32::try_from(waited.as_micros()).unwrap_or(u32::MAX),
            lane,
            slot,
            reissued: self.reissued,
            tracked: self.history.as_ref().is_some_and(|history| history.counted.is_some()),
            family: match remote {
                None => Family::Unix,
                Some(SocketAddr::V4(_)) => Family::Ipv4,
                Some(SocketAddr::V6(_)) => Family::Ipv6,
            },
            remote,
            local_port: self.local_port,
        }
    }

    /// Resets the connection. The client then sees an error instead of an orderly end, which would look like an empty response.
    pub fn reset(self) {
        if self.is_private() {
            reset_at_close(self.fd.as_fd());
            drop(self.fd.into_owned());
        } else {
            self.fd.reset();
        }
    }

    /// Closes the parent's copy: a worker has the connection now. `is_trusted`: the worker does not set SO_LINGER with a time.
    /// The close of any other worker's connection may sleep, so the closer performs it.
    pub fn release(self, is_trusted: bool) {
        if is_trusted && self.is_private() {
            drop(self.fd.into_owned());
        }
    }

    /// Returns whether no other worker has had a copy, and the client cannot have sent descriptors, as on a Unix socket.
    fn is_private(&self) -> bool {
        self.peer.is_some() && !self.reissued
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
        self.lane
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
            peer: self.peer,
            local_port: self.local_port,
            lane: self.lane,
            accepted_at: self.accepted_at,
            times_handed_back: self.history.as_ref().map_or(0, |history| history.times_handed_back),
            identity: self.history.as_ref().and_then(|history| history.identity),
            proxied: self.history.as_ref().and_then(|history| history.proxied.clone()),
        }
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.history.as_ref()?.hand_back
    }

    fn affinity(&self) -> Option<Affinity> {
        self.history.as_ref()?.affinity
    }

    fn wait_for_slot(&mut self, slot: u32, until: Instant) {
        self.set_affinity(Affinity::Slot(slot, until));
    }

    fn take_counted(&mut self) -> Option<CountedSource> {
        self.history.as_mut()?.counted.take()
    }

    fn set_counted(&mut self, counted: CountedSource) {
        self.history.get_or_insert_default().counted = Some(counted);
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
