//! `accept4(2)` with the peer's address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::socket::socklen_of;

/// What `accept` gives.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, owned.
    pub fd: OwnedFd,
    /// The peer; `None` for a Unix socket, whose clients have no name.
    pub remote: Option<SocketAddr>,
}

// The address comes with accept itself: nix's accept4 leaves it out, and getpeername afterwards is a second call that
// fails with ENOTCONN for a client that has already gone.
#[allow(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "nix::sys::socket::accept4 gives no peer address"
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
    Ok(Accepted {
        fd,
        remote: socket_address(&storage),
    })
}

#[cfg(not(target_os = "linux"))]
fn set_cloexec_nonblock(fd: &OwnedFd) -> Result<(), Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

#[allow(unsafe_code, reason = "sockaddr_storage is a union in all but name")]
fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller and no stricter aligned.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                u32::from_be(v6.sin6_flowinfo),
                v6.sin6_scope_id,
            )))
        }
        _ => None,
    }
}
