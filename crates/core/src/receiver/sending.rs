//! How a receiver sends: a thread waits for room, an event loop puts off what does not fit.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Shared;
use super::books::Books;
use crate::channel::frame::Writer;
use crate::sys::Sys;

impl<S: Sys> Shared<S> {
    /// Sends what is in the books' frames, all or nothing. If nothing, the bell rings, or the owner polls for room, and
    /// it is to be tried again.
    pub(super) fn send(self: &Arc<Self>, books: &mut Books) -> bool {
        if !self.flush_books(books) {
            return false;
        }
        match self.sys.send(self.socket.as_fd(), books.frames.bytes(), &[]) {
            Ok(sent) => {
                self.send_rest(&books.frames.bytes()[sent..]);
                true
            }
            Err(Errno::EAGAIN) => {
                if !books.block() {
                    self.ring_when_there_is_room();
                }
                false
            }
            // The parent has gone: the reading side sees it too, and whether there was a last word.
            Err(_) => false,
        }
    }

    /// Sends the refusals and what `write` adds: now, or as soon as there is room, which is waited for without the lock.
    pub(super) fn refuse_and<'a>(&'a self, mut books: MutexGuard<'a, Books>, write: impl Fn(&mut Writer)) {
        loop {
            // Written anew each time: an exchange may have sent the refusals meanwhile, and a second one of the same
            // connection is an error.
            books.write_refusals();
            write(&mut books.frames);
            if books.frames.is_empty() {
                return;
            }
            if books.is_attached() {
                books.queue_frames();
                self.flush_books(&mut books);
                return;
            }
            match self.sys.send(self.socket.as_fd(), books.frames.bytes(), &[]) {
                Ok(sent) => {
                    self.send_rest(&books.frames.bytes()[sent..]);
                    books.refused();
                    return;
                }
                Err(Errno::EAGAIN) => {}
                Err(_) => return,
            }
            drop(books);
            self.wait_for_room();
            books = self.lock();
        }
    }

    /// Sends what an attached receiver had to put off; true if that makes an exchange possible again.
    pub(super) fn flush(&self) -> bool {
        let mut books = self.lock();
        if !books.wants_room() || !self.flush_books(&mut books) {
            return false;
        }
        // As above.
        let _ = self.send_returns(books);
        true
    }

    pub(super) fn flush_books(&self, books: &mut Books) -> bool {
        while !books.unsent().is_empty() {
            match self.sys.send(self.socket.as_fd(), books.unsent(), &[]) {
                Ok(sent) => books.sent(sent),
                Err(_) => return false,
            }
        }
        books.unblock();
        true
    }

    /// Sends what goes back, each in a message of its own, as a descriptor travels with the first byte of one.
    pub(super) fn send_returns<'a>(
        &'a self,
        mut books: MutexGuard<'a, Books>,
    ) -> (MutexGuard<'a, Books>, Result<(), Errno>) {
        while books.unsent().is_empty()
            && let Books { frames, returns, .. } = &mut *books
            && let Some((id, fd)) = returns.next()
        {
            frames.clear();
            frames.give_back(*id);
            match self.sys.send(self.socket.as_fd(), frames.bytes(), &[fd.as_fd()]) {
                Ok(sent) => {
                    returns.next_is_sent();
                    if books.is_attached() && sent < books.frames.bytes().len() {
                        books.put_off_rest(sent);
                    } else {
                        self.send_rest(&books.frames.bytes()[sent..]);
                    }
                }
                Err(Errno::EAGAIN) if books.block() => break,
                Err(Errno::EAGAIN) => {
                    drop(books);
                    self.wait_for_room();
                    books = self.lock();
                }
                Err(errno) => return (books, Err(errno)),
            }
        }
        (books, Ok(()))
    }

    /// The rest of a message that was cut: nobody else may send before it. Linux takes a small message whole or not at
    /// all, macOS may cut it.
    pub(super) fn send_rest(&self, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.sys.send(self.socket.as_fd(), rest, &[]) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EAGAIN) => self.wait_for_room(),
                Err(_) => return,
            }
        }
    }

    /// Hundreds of frames lie unread: the parent has stopped. A thread that lives until it goes on keeps this rare case
    /// out of the common path; without one (EAGAIN) the next exchange tries again.
    pub(super) fn ring_when_there_is_room(self: &Arc<Self>) {
        if self.awaits_room.swap(true, Ordering::AcqRel) {
            return;
        }
        let waiting = Arc::clone(self);
        let thread = std::thread::Builder::new().name("socketserver".into()).spawn(move || {
            waiting.wait_for_room();
            waiting.awaits_room.store(false, Ordering::Release);
            waiting.bell.ring();
        });
        if thread.is_err() {
            self.awaits_room.store(false, Ordering::Release);
        }
    }

    pub(super) fn wait_for_room(&self) {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        // An end of the channel is reported as room too, so this returns in every case.
        while poll(&mut sockets, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
}
