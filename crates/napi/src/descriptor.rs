//! The border at which descriptors are bare numbers: the only unsafe code of the binding.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "Node knows descriptors as numbers only"
)]

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use napi::{Error, Result, Status};

/// Takes ownership of a descriptor that JavaScript has given away.
pub fn adopt(number: RawFd) -> Result<OwnedFd> {
    if number < 0 {
        return Err(Error::new(
            Status::InvalidArg,
            format!("{number} is no file descriptor"),
        ));
    }
    // SAFETY: not -1, and borrowed for this one call, in which a number that is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if borrowed
        .try_clone_to_owned()
        .is_err_and(|error| error.raw_os_error() == Some(EBADF))
    {
        return Err(Error::new(
            Status::InvalidArg,
            format!("file descriptor {number} is not open"),
        ));
    }
    // SAFETY: it is open, and by the contract of the methods that call this its caller gives it away.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives a descriptor to JavaScript, which has to close it.
pub fn give_away(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

const EBADF: i32 = 9;
