//! Connections of a worker thread that JavaScript has as numbers and has not adopted yet.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

use socketserver_core::sys::ForeignFd;

use crate::raw_fd;

/// Owns the descriptors until JavaScript adopts them.
///
/// A thread can be terminated between any two instructions while its process lives on. The descriptors that no object
/// has adopted by then are closed with this table.
#[derive(Debug, Default)]
pub struct KeptFds(RefCell<HashMap<i32, ForeignFd>>);

impl KeptFds {
    /// Keeps a descriptor and returns its number.
    pub fn keep(&self, fd: OwnedFd) -> i32 {
        let number = fd.as_raw_fd();
        self.0.borrow_mut().insert(number, ForeignFd::connection(fd));
        number
    }

    /// Gives the descriptor with this number to JavaScript, which must close it.
    pub fn give_away(&self, number: i32) {
        if let Some(fd) = self.0.borrow_mut().remove(&number) {
            raw_fd::give_away(fd.into_owned());
        }
    }
}
