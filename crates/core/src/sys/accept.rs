//! `accept4(2)` with the address of the peer.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::socket::{internet_address, socklen_of};

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub fd: OwnedFd,
    /// The address of the peer; `None` for a Unix socket, whose clients have no name.
    pub remote: Option<SocketAddr>,
}

/// Accepts a connection with the address of its peer. nix's accept4 does not return the address, and getpeername(2) would be
/// a second call that fails with ENOTCONN for a client that has already disconnected.
#[allow(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "nix::sys::socket::accept4 does not return the peer's address"
)]
pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
    // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = socklen_of::<libc::sockaddr_storage>();
    let address = (&raw mut storage).cast::<libc::sockaddr>();
    // SAFETY: `address` and `length` describe `storage`, which outlives the call.
    #[cfg(target_os = "linux")]
    let raw = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            address,
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    // SAFETY: as above. macOS has no accept4.
    #[cfg(not(target_os = "linux"))]
    let raw = unsafe { libc::accept(listener.as_raw_fd(), address, &raw mut length) };
    let raw = Errno::result(raw)?;
    // SAFETY: accept has just returned this descriptor, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    #[cfg(not(target_os = "linux"))]
    set_cloexec_nonblock(&fd)?;
    // SAFETY: the kernel has written an address of `length` bytes to `storage`.
    let remote = unsafe { SockaddrStorage::from_raw(address, Some(length)) };
    Ok(Accepted {
        fd,
        remote: remote.as_ref().and_then(internet_address),
    })
}

#[cfg(not(target_os = "linux"))]
fn set_cloexec_nonblock(fd: &OwnedFd) -> Result<(), Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
