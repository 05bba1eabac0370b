//! A descriptor that a worker hands back, with the addresses of its socket.
//!
//! getsockname(2) and getpeername(2) take the lock of a TCP socket (inet_getname). A worker that has a copy can hold the lock as
//! long as it likes: by a sendmsg(2) whose memory is of a file system that does not answer. The inode alone does not prove the
//! addresses, because a worker can connect the same socket to another peer. So a thread of its own reads them, with a timeout.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockType, SockaddrStorage, UnixAddr, getpeername, getsockname, getsockopt, sockopt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::parent::rejoin::Seat;
use crate::sys::{ForeignFd, internet_address};

/// The timeout for the addresses. An honest worker hands back a connection that it does not use, so its lock is free.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The calls need little stack; the rest is for thread-local storage, which is part of the stack.
const STACK: usize = 256 * 1024;

/// A descriptor that a worker hands back, with the addresses of its socket.
#[derive(Debug)]
pub struct ReturnedSocket {
    fd: ForeignFd,
    /// Whether the descriptor is a stream socket that does not listen.
    is_connection: bool,
    /// Whether the socket is an accepted Unix socket, which has the name of its listener. The end of a channel has no name.
    is_named: bool,
    /// The local address of a TCP connection; `None` for other sockets.
    local: Option<SocketAddr>,
    peer: Result<SocketAddr, Errno>,
}

/// The worker has held the lock of the socket longer than [`LOCK_TIMEOUT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locked;

impl ReturnedSocket {
    /// Reads the addresses on a separate thread, which keeps the seat of the worker until it ends: the number of threads that
    /// wait for a lock is therefore at most the number of seats. Returns `None` if no thread can be started.
    pub async fn read(fd: ForeignFd, seat: Option<Arc<Seat>>) -> Result<Option<Self>, Locked> {
        let (send, socket) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("socketserver-rt".into())
            .stack_size(STACK);
        let is_started = thread.spawn(move || {
            let _seat = seat;
            // Fails only if the reader of the channel has ended. The closer closes the socket then.
            let _ = send.send(Self::read_now(fd));
        });
        if is_started.is_err() {
            return Ok(None);
        }
        match timeout(LOCK_TIMEOUT, socket).await {
            Ok(socket) => Ok(socket.ok()),
            Err(_) => Err(Locked),
        }
    }

    fn read_now(fd: ForeignFd) -> Self {
        let socket = fd.as_fd();
        let is_connection = getsockopt(&socket, sockopt::SockType) == Ok(SockType::Stream)
            && getsockopt(&socket, sockopt::AcceptConn) == Ok(false);
        let local = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok();
        let peer = getpeername::<SockaddrStorage>(socket.as_raw_fd());
        Self {
            is_connection,
            is_named: getsockname::<UnixAddr>(socket.as_raw_fd()).is_ok_and(|name| is_named(&name)),
            local: local.as_ref().and_then(internet_address),
            peer: peer.and_then(|peer| internet_address(&peer).ok_or(Errno::EAFNOSUPPORT)),
            fd,
        }
    }

    /// Returns whether the descriptor is a connection with these addresses. A connection whose client has disconnected has no
    /// peer address (ENOTCONN). `remote` is `None` for a Unix socket.
    #[must_use]
    pub fn has_addresses(&self, remote: Option<SocketAddr>, local_port: u16) -> bool {
        if !self.is_connection {
            return false;
        }
        let Some(remote) = remote else {
            return self.is_named;
        };
        let Some(local) = self.local else {
            // On macOS a connection that was reset has neither address. No other client can be confused with it.
            return cfg!(not(target_os = "linux"));
        };
        local.is_ipv4() == remote.is_ipv4()
            && local.port() == local_port
            && match self.peer {
                Ok(peer) => (peer.ip(), peer.port()) == (remote.ip(), remote.port()),
                Err(errno) => errno == Errno::ENOTCONN,
            }
    }

    /// Returns the peer's address; `None` if the client has disconnected.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.ok()
    }

    /// Returns the descriptor.
    #[must_use]
    pub fn into_fd(self) -> ForeignFd {
        self.fd
    }
}

impl AsFd for ReturnedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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
