//! How a receiver sends: a thread waits for room, an event loop puts off what does not fit.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Shared;
use super::state::ReceiverState;
use crate::protocol::encode::Encoder;
use crate::sys::Sys;

impl<S: Sys> Shared<S> {
    /// Sends what is in the state' frames, all or nothing. If nothing, the bell rings, or the owner polls for room, and
    /// it is to be tried again.
    pub(super) fn send(self: &Arc<Self>, state: &mut ReceiverState) -> bool {
        if !self.flush_books(state) {
            return false;
        }
        match self.sys.send(self.socket.as_fd(), state.frames.bytes(), &[]) {
            Ok(sent) => {
                self.send_rest(&state.frames.bytes()[sent..]);
                true
            }
            Err(Errno::EAGAIN) => {
                if !state.block() {
                    self.ring_when_there_is_room();
                }
                false
            }
            // The parent has gone: the reading side sees it too, and whether there was a last word.
            Err(_) => false,
        }
    }

    /// Sends the refusals and what `write` adds: now, or as soon as there is room, which is waited for without the lock.
    pub(super) fn refuse_and<'a>(&'a self, mut state: MutexGuard<'a, ReceiverState>, write: impl Fn(&mut Encoder)) {
        loop {
            // Written anew each time: an exchange may have sent the refusals meanwhile, and a second one of the same
            // connection is an error.
            state.write_refusals();
            write(&mut state.frames);
            if state.frames.is_empty() {
                return;
            }
            if state.is_attached() {
                state.queue_frames();
                self.flush_books(&mut state);
                return;
            }
            match self.sys.send(self.socket.as_fd(), state.frames.bytes(), &[]) {
                Ok(sent) => {
                    self.send_rest(&state.frames.bytes()[sent..]);
                    state.refused();
                    return;
                }
                Err(Errno::EAGAIN) => {}
                Err(_) => return,
            }
            drop(state);
            self.wait_for_room();
            state = self.lock();
        }
    }

    /// Sends what an attached receiver had to put off; true if that makes an exchange possible again.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.lock();
        if !state.wants_room() || !self.flush_books(&mut state) {
            return false;
        }
        // As above.
        let _ = self.send_returns(state);
        true
    }

    pub(super) fn flush_books(&self, state: &mut ReceiverState) -> bool {
        while !state.unsent().is_empty() {
            match self.sys.send(self.socket.as_fd(), state.unsent(), &[]) {
                Ok(sent) => state.sent(sent),
                Err(_) => return false,
            }
        }
        state.unblock();
        true
    }

    /// Sends what goes back, each in a message of its own, as a descriptor travels with the first byte of one.
    pub(super) fn send_returns<'a>(
        &'a self,
        mut state: MutexGuard<'a, ReceiverState>,
    ) -> (MutexGuard<'a, ReceiverState>, Result<(), Errno>) {
        while state.unsent().is_empty()
            && let ReceiverState { frames, returns, .. } = &mut *state
            && let Some((id, fd)) = returns.next()
        {
            frames.clear();
            frames.give_back(*id);
            match self.sys.send(self.socket.as_fd(), frames.bytes(), &[fd.as_fd()]) {
                Ok(sent) => {
                    returns.next_is_sent();
                    if state.is_attached() && sent < state.frames.bytes().len() {
                        state.put_off_rest(sent);
                    } else {
                        self.send_rest(&state.frames.bytes()[sent..]);
                    }
                }
                Err(Errno::EAGAIN) if state.block() => break,
                Err(Errno::EAGAIN) => {
                    drop(state);
                    self.wait_for_room();
                    state = self.lock();
                }
                Err(errno) => return (state, Err(errno)),
            }
        }
        (state, Ok(()))
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
