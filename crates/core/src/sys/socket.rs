//! Sockets: made, queried and shut down.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
#[cfg(not(target_os = "linux"))]
use nix::fcntl::OFlag;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, Backlog, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::sys::stat::fstat;

use super::closer::switch_linger_off;
use crate::error::SystemError;

#[cfg(target_os = "linux")]
pub(crate) fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    socket::socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stream_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let fd = socket::socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(fd)
}

/// Returns a stream socket of IPv4, or of `AF_UNIX`, that is connected to nothing.
pub fn unconnected_socket(unix: bool) -> Result<OwnedFd, SystemError> {
    let family = if unix { AddressFamily::Unix } else { AddressFamily::Inet };
    stream_socket(family).map_err(SystemError::of("socket"))
}

/// nix refuses more than SOMAXCONN, but the kernel caps by a setting that may be larger.
pub(crate) fn clamp(backlog: i32) -> Result<Backlog, Errno> {
    #[cfg(target_os = "linux")]
    let largest = Backlog::MAXALLOWABLE;
    #[cfg(not(target_os = "linux"))]
    let largest = Backlog::MAXCONN;
    if backlog < 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(Backlog::new(backlog).unwrap_or(largest))
    }
}

/// Whether a listener's backlog is empty.
pub(crate) fn is_backlog_empty(listener: &OwnedFd) -> bool {
    poll(
        &mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)],
        PollTimeout::ZERO,
    ) == Ok(0)
}

/// Two connected AF_UNIX stream sockets, close-on-exec, that block.
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

/// Sets what every end of a channel needs, for one that was inherited too: close-on-exec and, where there is no
/// `MSG_NOSIGNAL`, no SIGPIPE.
pub fn prepare(end: &OwnedFd) -> Result<(), SystemError> {
    fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(SystemError::of("fcntl"))?;
    #[cfg(not(target_os = "linux"))]
    no_sigpipe(end).map_err(SystemError::of("setsockopt"))?;
    Ok(())
}

/// Returns the inode of a socket, which no other socket has at the same time. `None` where sockets have none (macOS). It is
/// not asked of anything else: fstat(2) of a file may sleep.
#[must_use]
pub fn identity(socket: BorrowedFd<'_>) -> Option<u64> {
    fstat(socket).ok().map(|found| found.st_ino).filter(|&inode| inode != 0)
}

/// Resets a TCP connection for its client, whoever else has a copy of the socket; ends any other connection.
pub(super) fn disconnect(connection: BorrowedFd<'_>) {
    if !disconnect_tcp(connection) {
        shut_down(connection);
    }
}

/// Dissolves the association by connect(2) with AF_UNSPEC, which sends a reset (tcp_disconnect).
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "connect(2) with AF_UNSPEC, for which nix has no address")]
fn disconnect_tcp(connection: BorrowedFd<'_>) -> bool {
    // SAFETY: sockaddr is plain data for which all zeroes is a valid value: AF_UNSPEC.
    let unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address outlives the call, and the length is the address's.
    let done = unsafe {
        libc::connect(
            connection.as_raw_fd(),
            &raw const unspecified,
            socklen_of::<libc::sockaddr>(),
        )
    };
    done == 0
}

/// macOS has no such connect(2).
#[cfg(not(target_os = "linux"))]
fn disconnect_tcp(_connection: BorrowedFd<'_>) -> bool {
    false
}

/// Ends a connection for its client, whoever else has a copy of it. Whoever has one may have set SO_LINGER, with which the
/// close that follows would sleep.
pub fn shut_down(connection: BorrowedFd<'_>) {
    switch_linger_off(connection);
    // Fails only for a connection that has ended (ENOTCONN).
    let _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
}

/// SO_NOSIGPIPE, which nix does not have: macOS has no MSG_NOSIGNAL.
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
