//! UDP sockets.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, getsockname, setsockopt, sockopt};

/// Binds a socket as libuv does, and returns the address that it has: close-on-exec, and non-blocking.
pub(crate) fn bind(address: SocketAddr, ipv6_only: bool, reuse_address: bool) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = datagram_socket(family)?;
    if reuse_address {
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if ipv6_only {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    let storage: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let bound = v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())));
    Ok((fd, bound.ok_or(Errno::EAFNOSUPPORT)?))
}

#[cfg(target_os = "linux")]
fn datagram_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket::socket(family, SockType::Datagram, flags, None)
}

#[cfg(not(target_os = "linux"))]
fn datagram_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    let fd = socket::socket(family, SockType::Datagram, SockFlag::empty(), None)?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}
