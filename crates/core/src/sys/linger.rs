//! SO_LINGER: whether the close of a socket sleeps, or resets the connection (socket(7)).

use std::os::fd::BorrowedFd;

use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// Returns whether the close of this socket may sleep: SO_LINGER is set with a time above 0. Unlike setsockopt(2),
/// getsockopt(2) does not take the socket's lock, which another process can hold during a page fault of its sendmsg(2).
#[must_use]
pub fn lingers(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::Linger).is_ok_and(|linger| linger.l_onoff != 0 && linger.l_linger != 0)
}

/// Switches SO_LINGER off if the close of this socket may sleep. The option belongs to all copies of the socket, and is not
/// restored.
pub fn switch_linger_off(socket: BorrowedFd<'_>) {
    if lingers(socket) {
        set_linger(socket, 0);
    }
}

/// Makes the close of a connection a reset. A client then sees an error instead of an orderly end, which would look like an
/// empty response.
pub fn reset_at_close(socket: BorrowedFd<'_>) {
    set_linger(socket, 1);
}

fn set_linger(socket: BorrowedFd<'_>, l_onoff: libc::c_int) {
    let linger = libc::linger { l_onoff, l_linger: 0 };
    // After a failure the close is an ordinary one.
    let _ = setsockopt(&socket, sockopt::Linger, &linger);
}
