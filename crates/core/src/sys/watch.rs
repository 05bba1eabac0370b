//! Registers descriptors with the epoll set of the current tokio runtime.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::closer::ForeignFd;
use crate::error::errno_of;

/// Watches a descriptor in the current tokio runtime. Do not watch accepted connections: close(2) does not remove a
/// descriptor from an epoll set while another process has a copy (epoll(7)). The closer closes the descriptor, because the
/// close of a Unix socket also closes the descriptors that are unread in its queue.
pub fn watch(fd: impl Into<ForeignFd>, interest: Interest) -> Result<AsyncFd<ForeignFd>, Errno> {
    register(fd.into(), interest)
}

/// Watches a listener. The shared ownership lets a [`crate::parent::listener::Lender`] copy the socket while it is open.
pub fn watch_listener(fd: Arc<ForeignFd>) -> Result<AsyncFd<Arc<ForeignFd>>, Errno> {
    register(fd, Interest::READABLE)
}

#[allow(unsafe_code, reason = "AsyncFd cannot know that its owner keeps the descriptor open")]
pub(super) fn register<F: AsRawFd>(fd: F, interest: Interest) -> Result<AsyncFd<F>, Errno> {
    // SAFETY: all callers pass an owned descriptor (shared, or in a timer), which stays open and the same while the AsyncFd owns
    // it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, interest) };
    watched.map_err(|error| errno_of(&error.into_parts().1))
}

/// Waits until a socket is writable. The socket is registered only during the wait: otherwise each message that the peer
/// reads would wake this process.
pub async fn await_writable(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let watched = register_borrowed(socket, Interest::WRITABLE)?;
    watched.writable().await.map(drop).map_err(|error| errno_of(&error))
}

/// Reports each arrival of bytes on a connection. The connection is registered until this is dropped: drop it before the
/// connection goes to another process.
#[derive(Debug)]
pub struct Arrivals<'a>(AsyncFd<BorrowedFd<'a>>);

impl<'a> Arrivals<'a> {
    /// Watches a connection in the current tokio runtime.
    pub fn of(connection: BorrowedFd<'a>) -> Result<Self, Errno> {
        register_borrowed(connection, Interest::READABLE).map(Self)
    }

    /// Waits until bytes have arrived since the last call: tokio's epoll set is edge-triggered. Returns whether the stream has
    /// ended, so that no more arrive.
    pub async fn next(&mut self) -> Result<bool, Errno> {
        let mut ready = self.0.readable().await.map_err(|error| errno_of(&error))?;
        let is_last = ready.ready().is_read_closed();
        // Before the bytes are looked at: what arrives meanwhile is reported again.
        ready.clear_ready();
        Ok(is_last)
    }
}

#[allow(unsafe_code, reason = "see `watch`")]
fn register_borrowed(socket: BorrowedFd<'_>, interest: Interest) -> Result<AsyncFd<BorrowedFd<'_>>, Errno> {
    // SAFETY: a borrowed descriptor is open for as long as the borrow, which the AsyncFd cannot outlive.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(|error| errno_of(&error.into_parts().1))
}
