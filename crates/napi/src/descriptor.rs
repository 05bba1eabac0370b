//! The border at which descriptors are bare numbers: the only unsafe code of the binding.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "Node knows descriptors as numbers only"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use napi::{Error, Result, Status};
use socketserver_core::sys::ForeignFd;

/// Takes ownership of a descriptor that JavaScript has given away.
pub fn adopt(number: RawFd) -> Result<OwnedFd> {
    drop(copy(number)?);
    // SAFETY: it is open, and by the contract of the methods that call this its caller gives it away.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes a descriptor of our own for what somebody else goes on owning.
pub fn copy(number: RawFd) -> Result<OwnedFd> {
    // One that is not open gives EBADF.
    borrow(number, |fd| fd.try_clone_to_owned())?
        .map_err(|error| Error::new(Status::InvalidArg, format!("file descriptor {number}: {error}")))
}

/// Lends a descriptor that JavaScript owns, for one call.
pub fn borrow<T>(number: RawFd, call: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T> {
    if number < 0 {
        return Err(negative(number));
    }
    // SAFETY: not -1, and the caller keeps it open during this synchronous call.
    Ok(call(unsafe { BorrowedFd::borrow_raw(number) }))
}

/// Lends several, for one call.
pub fn borrow_all<T>(numbers: &[RawFd], call: impl FnOnce(&[BorrowedFd<'_>]) -> T) -> Result<T> {
    if let Some(number) = numbers.iter().find(|number| **number < 0) {
        return Err(negative(*number));
    }
    // SAFETY: none is -1, and the caller keeps them open during this synchronous call.
    let borrowed: Vec<_> = numbers
        .iter()
        .map(|number| unsafe { BorrowedFd::borrow_raw(*number) })
        .collect();
    Ok(call(&borrowed))
}

/// Gives a descriptor to JavaScript, which has to close it.
pub fn give_away(fd: OwnedFd) -> RawFd {
    fd.into_raw_fd()
}

/// Descriptors that JavaScript knows by their numbers and that are still ours.
#[derive(Debug, Default)]
pub struct Kept(RefCell<HashMap<RawFd, ForeignFd>>);

impl Kept {
    /// Keeps one, and tells its number.
    pub fn keep(&self, fd: OwnedFd) -> RawFd {
        let number = fd.as_raw_fd();
        self.0.borrow_mut().insert(number, ForeignFd::connection(fd));
        number
    }

    /// Leaves one to whoever has its number, and has to close it.
    pub fn give_away(&self, number: RawFd) {
        if let Some(fd) = self.0.borrow_mut().remove(&number) {
            give_away(fd.into_owned());
        }
    }
}

fn negative(number: RawFd) -> Error {
    Error::new(Status::InvalidArg, format!("file descriptor {number}: negative"))
}
