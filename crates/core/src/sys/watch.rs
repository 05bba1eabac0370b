//! Descriptors of this process in the epoll set of the current tokio runtime.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::closer::ForeignFd;
use crate::error::errno_of;

/// Watches a descriptor of ours in the current tokio runtime. Never an accepted connection: closing a descriptor does
/// not take it out of an epoll set while another process holds a copy (epoll(7)). It is closed by the closer: what lies unread
/// in a Unix socket is closed with it.
pub fn watch(fd: impl Into<ForeignFd>, interest: Interest) -> Result<AsyncFd<ForeignFd>, Errno> {
    register(fd.into(), interest)
}

/// The same for a listener, whose socket can be copied as long as it is open.
pub fn watch_listener(fd: Arc<ForeignFd>) -> Result<AsyncFd<Arc<ForeignFd>>, Errno> {
    register(fd, Interest::READABLE)
}

#[allow(unsafe_code, reason = "AsyncFd cannot know that its owner keeps the descriptor open")]
pub(super) fn register<F: AsRawFd>(fd: F, interest: Interest) -> Result<AsyncFd<F>, Errno> {
    // SAFETY: called with an owned descriptor alone, shared or in a timer, which is open, is the same descriptor for as long as it
    // lives, and lives in the AsyncFd.
    let watched = unsafe { AsyncFd::register_with_interest(fd, interest) };
    watched.map_err(|error| errno_of(&error.into_parts().1))
}

/// Waits until a socket of ours takes more. It is watched only meanwhile: each message that the other side reads makes
/// room, and would wake this side to be told so.
#[allow(unsafe_code, reason = "see `watch`")]
pub async fn room(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a borrowed descriptor is open for as long as the borrow, which the AsyncFd cannot outlive.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) };
    let watched = watched.map_err(|error| errno_of(&error.into_parts().1))?;
    watched.writable().await.map(drop).map_err(|error| errno_of(&error))
}
