//! Creates, queries and shuts down sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
#[cfg(not(target_os = "linux"))]
use nix::fcntl::OFlag;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, Shutdown, SockFlag, SockType, SockaddrStorage, shutdown, socketpair};
use nix::sys::stat::fstat;

use super::linger::switch_linger_off;
use crate::error::SystemError;
use crate::stats::listener::Backlog;

/// Creates a stream socket, close-on-exec and non-blocking.
#[cfg(target_os = "linux")]
pub(crate) fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    socket::socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )
}

/// Creates a stream socket, close-on-exec and non-blocking.
#[cfg(not(target_os = "linux"))]
pub(crate) fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let fd = socket::socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}

/// Creates an unconnected stream socket of IPv4 or of `AF_UNIX`.
pub fn unconnected_socket(unix: bool) -> Result<OwnedFd, SystemError> {
    let family = if unix { AddressFamily::Unix } else { AddressFamily::Inet };
    stream_socket(family).map_err(SystemError::of("socket"))
}

/// Converts the backlog argument of listen(2). nix rejects more than SOMAXCONN, but the limit of the kernel is a setting that
/// may be larger. Fails with EINVAL for a negative number.
pub(crate) fn clamp_backlog(backlog: i32) -> Result<socket::Backlog, Errno> {
    #[cfg(target_os = "linux")]
    let largest = socket::Backlog::MAXALLOWABLE;
    #[cfg(not(target_os = "linux"))]
    let largest = socket::Backlog::MAXCONN;
    if backlog < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(socket::Backlog::new(backlog).unwrap_or(largest))
    }
}

/// Returns whether the backlog of a listener is empty.
pub(crate) fn is_backlog_empty(listener: &OwnedFd) -> bool {
    poll(
        &mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)],
        PollTimeout::ZERO,
    ) == Ok(0)
}

/// Returns the backlog of a TCP listener (tcp(7), TCP_INFO: for a listening socket tcpi_unacked is the length of the accept queue, and
/// tcpi_sacked its limit). `None` for a Unix socket.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "getsockopt(2) of an option that nix lacks")]
pub(crate) fn backlog_of(listener: BorrowedFd<'_>) -> Option<Backlog> {
    // SAFETY: tcp_info is plain data for which all zeroes is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = socklen_of::<libc::tcp_info>();
    let (value, size) = ((&raw mut info).cast(), &raw mut length);
    // SAFETY: `value` and `length` describe `info`, which outlives the call.
    let got = unsafe { libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, value, size) };
    (got == 0).then_some(Backlog {
        length: info.tcpi_unacked,
        limit: info.tcpi_sacked,
    })
}

/// Returns `None`: only Linux tells the length of a backlog.
#[cfg(not(target_os = "linux"))]
pub(crate) fn backlog_of(_listener: BorrowedFd<'_>) -> Option<Backlog> {
    None
}

/// Creates two connected AF_UNIX stream sockets, close-on-exec and blocking.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (left, right) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, pair_flags()).map_err(SystemError::of("socketpair"))?;
    for end in [&left, &right] {
        prepare(end)?;
    }
    Ok((left, right))
}

#[cfg(target_os = "linux")]
fn pair_flags() -> SockFlag {
    SockFlag::SOCK_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn pair_flags() -> SockFlag {
    SockFlag::empty()
}

/// Sets close-on-exec on an end of a channel, created or inherited, and disables SIGPIPE on systems without `MSG_NOSIGNAL`.
pub fn prepare(end: &OwnedFd) -> Result<(), SystemError> {
    fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(SystemError::of("fcntl"))?;
    #[cfg(not(target_os = "linux"))]
    no_sigpipe(end).map_err(SystemError::of("setsockopt"))?;
    Ok(())
}

/// Converts the address of an IPv4 or IPv6 socket; `None` for other families.
pub(crate) fn internet_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// Returns the inode of a socket, which is unique among open sockets. `None` on macOS, where sockets have no inode. Call this
/// for sockets only: fstat(2) of a file may sleep.
#[must_use]
pub fn identity(socket: BorrowedFd<'_>) -> Option<u64> {
    fstat(socket).ok().map(|found| found.st_ino).filter(|&inode| inode != 0)
}

/// Returns whether a socket is of AF_UNIX. Unlike getsockname(2) the call does not take the lock of a TCP socket, which another
/// process can hold during a page fault of its sendmsg(2) (inet_getname).
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "getsockopt(2) of an option that nix lacks")]
pub(crate) fn is_unix(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (mut domain, mut length) = (0, socklen_of::<libc::c_int>());
    let value = (&raw mut domain).cast();
    // SAFETY: `value` and `length` describe `domain`, which outlives the call.
    let found = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            value,
            &raw mut length,
        )
    };
    Errno::result(found)?;
    Ok(domain == libc::AF_UNIX)
}

/// Returns whether a socket is of AF_UNIX.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_unix(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    use nix::sys::socket::{SockaddrLike, getsockname};

    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    Ok(name.family() == Some(AddressFamily::Unix))
}

/// Resets a TCP connection, even if other processes have copies of the socket. Shuts any other connection down.
pub(super) fn disconnect(connection: BorrowedFd<'_>) {
    if !disconnect_tcp(connection) {
        shut_down(connection);
    }
}

/// Dissolves the association by connect(2) with AF_UNSPEC, which sends a reset (tcp_disconnect). Returns false if that fails.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "connect(2) with AF_UNSPEC, for which nix has no address")]
fn disconnect_tcp(connection: BorrowedFd<'_>) -> bool {
    // SAFETY: sockaddr is plain data for which all zeroes is a valid value: AF_UNSPEC.
    let unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address outlives the call, and the length is that of the address.
    let done = unsafe {
        libc::connect(
            connection.as_raw_fd(),
            &raw const unspecified,
            socklen_of::<libc::sockaddr>(),
        )
    };
    done == 0
}

/// Returns false: macOS cannot reset a connection by connect(2).
#[cfg(not(target_os = "linux"))]
fn disconnect_tcp(_connection: BorrowedFd<'_>) -> bool {
    false
}

/// Shuts a connection down in both directions, even if other processes have copies of the socket. Switches SO_LINGER off,
/// because with it the close that follows could sleep.
pub fn shut_down(connection: BorrowedFd<'_>) {
    switch_linger_off(connection);
    // Fails only for a connection that is already closed (ENOTCONN).
    let _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
}

/// Disables SIGPIPE for a socket: macOS has no MSG_NOSIGNAL, and nix has no SO_NOSIGPIPE.
#[cfg(target_vendor = "apple")]
#[allow(unsafe_code, reason = "setsockopt(2) of an option that nix lacks")]
pub fn no_sigpipe(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let (value, length) = ((&raw const on).cast(), socklen_of::<libc::c_int>());
    // SAFETY: `value` and `length` describe `on`, which outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NOSIGPIPE, value, length) };
    Errno::result(set).map(drop)
}

pub(super) fn socklen_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
