//! Converts between descriptor numbers, which JavaScript has, and owned or borrowed descriptors.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "Node has descriptors as numbers only"
)]

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use napi::{Error, Result, Status};
use socketserver_core::sys::check_open;

/// Takes ownership of a descriptor from JavaScript. Fails if the descriptor is not open.
pub fn adopt(number: RawFd) -> Result<OwnedFd> {
    // Not by a copy, whose close(2) could wait for the file system.
    let is_open = borrow(number, check_open)?;
    is_open.map_err(|errno| Error::new(Status::InvalidArg, format!("file descriptor {number}: {errno}")))?;
    // SAFETY: the descriptor is open, and the methods that call this document that their caller gives the descriptor up.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Duplicates a descriptor that JavaScript continues to own. Fails if the descriptor is not open.
pub fn copy(number: RawFd) -> Result<OwnedFd> {
    borrow(number, |fd| fd.try_clone_to_owned())?
        .map_err(|error| Error::new(Status::InvalidArg, format!("file descriptor {number}: {error}")))
}

/// Borrows a descriptor of JavaScript for one call.
pub fn borrow<T>(number: RawFd, call: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T> {
    if number < 0 {
        return Err(negative(number));
    }
    // SAFETY: the number is not -1, and the caller keeps the descriptor open during this synchronous call.
    Ok(call(unsafe { BorrowedFd::borrow_raw(number) }))
}

/// Borrows several descriptors of JavaScript for one call.
pub fn borrow_all<T>(numbers: &[RawFd], call: impl FnOnce(&[BorrowedFd<'_>]) -> T) -> Result<T> {
    if let Some(number) = numbers.iter().find(|number| **number < 0) {
        return Err(negative(*number));
    }
    // SAFETY: no number is -1, and the caller keeps the descriptors open during this synchronous call.
    let borrowed: Vec<_> = numbers
        .iter()
        .map(|number| unsafe { BorrowedFd::borrow_raw(*number) })
        .collect();
    Ok(call(&borrowed))
}

/// Gives a descriptor to JavaScript, which must close it.
pub fn give_away(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

fn negative(number: RawFd) -> Error {
    Error::new(Status::InvalidArg, format!("file descriptor {number}: negative"))
}
