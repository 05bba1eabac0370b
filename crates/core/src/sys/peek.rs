//! Looks at the first bytes of a connection without taking them from the worker.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, SetSockOpt, recv};

/// Copies the unread bytes of a connection to `bytes`, and leaves them unread (recv(2), MSG_PEEK). Returns their number, 0 at the
/// end of the stream, and EAGAIN if there are none yet.
pub fn peek(connection: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(connection.as_raw_fd(), bytes, flags)
}

/// Reads exactly `bytes.len()` bytes, which a [`peek`] has shown to be there.
pub fn take(connection: BorrowedFd<'_>, mut bytes: &mut [u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let taken = recv(connection.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?;
        if taken == 0 {
            return Err(Errno::ECONNRESET);
        }
        bytes = &mut bytes[taken..];
    }
    Ok(())
}

/// Makes a connection readable only when `bytes` bytes are unread, or at its end (socket(7), SO_RCVLOWAT). The option belongs to all
/// copies of the socket: set 1, the default, before another process gets a copy. Linux ignores it for Unix sockets.
pub fn set_low_water(connection: BorrowedFd<'_>, bytes: usize) -> Result<(), Errno> {
    ReceiveLowWater.set(&connection, &bytes)
}

#[derive(Debug, Clone, Copy)]
struct ReceiveLowWater;

nix::setsockopt_impl!(
    ReceiveLowWater,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    usize,
    nix::sys::socket::sockopt::SetUsize
);
