//! Sends frames to the parent: a thread waits for room in the socket, an event loop keeps unsent bytes.

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
    /// Sends the frames in `state` completely or not at all. Returns false if nothing was sent: then the waker or the owner's
    /// poll announces room, and the caller tries again.
    pub(super) fn send(self: &Arc<Self>, state: &mut ReceiverState) -> bool {
        if !self.flush_unsent(state) {
            return false;
        }
        match self.sys.send(self.socket.as_fd(), state.frames.bytes(), &[]) {
            Ok(sent) => {
                self.send_rest(&state.frames.bytes()[sent..]);
                true
            }
            Err(Errno::EAGAIN) => {
                if !state.block() {
                    self.wake_on_room();
                }
                false
            }
            // The parent has gone; the reading side reports the reason.
            Err(_) => false,
        }
    }

    /// Reports the tracked connections whose leases have ended. Each frame has its own message: a small message is sent completely or
    /// not at all, so an event loop does not wait for the rest. What does not fit is sent by a later exchange.
    pub(super) fn send_tracked_ended(self: &Arc<Self>, state: &mut ReceiverState) {
        while state.has_tracked_ended() {
            let count = state.write_tracked_ended();
            if !self.send(state) {
                return;
            }
            state.tracked_ended_sent(count);
        }
    }

    /// Sends the refusals and the frames that `write` adds, now or when the socket has room. Waits without the lock.
    pub(super) fn refuse_and<'a>(&'a self, mut state: MutexGuard<'a, ReceiverState>, write: impl Fn(&mut Encoder)) {
        loop {
            // Encode again in each round: an exchange may have sent the refusals meanwhile, and a second refusal of one
            // connection is a protocol error.
            state.write_refusals();
            write(&mut state.frames);
            if state.frames.is_empty() {
                return;
            }
            if state.is_attached() {
                state.queue_frames();
                self.flush_unsent(&mut state);
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

    /// Sends the unsent bytes of an attached receiver. Returns true if an exchange is possible again.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.lock();
        if !state.wants_room() || !self.flush_unsent(&mut state) {
            return false;
        }
        // An error means that the channel has ended, which the reading side reports.
        let _ = self.send_returns(state);
        true
    }

    pub(super) fn flush_unsent(&self, state: &mut ReceiverState) -> bool {
        while !state.unsent().is_empty() {
            match self.sys.send(self.socket.as_fd(), state.unsent(), &[]) {
                Ok(sent) => state.sent(sent),
                Err(_) => return false,
            }
        }
        state.unblock();
        true
    }

    /// Sends the connections to hand back, each in a separate message: a descriptor is sent with the first byte.
    pub(super) fn send_returns<'a>(
        &'a self,
        mut state: MutexGuard<'a, ReceiverState>,
    ) -> (MutexGuard<'a, ReceiverState>, Result<(), Errno>) {
        while state.unsent().is_empty()
            && let ReceiverState { frames, returns, .. } = &mut *state
            && let Some((id, fd)) = returns.next()
        {
            frames.clear();
            frames.hand_back(*id);
            match self.sys.send(self.socket.as_fd(), frames.bytes(), &[fd.as_fd()]) {
                Ok(sent) => {
                    returns.next_is_sent();
                    if state.is_attached() && sent < state.frames.bytes().len() {
                        state.keep_rest(sent);
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

    /// Sends the rest of a partly sent message, before any other message. Linux takes a small message completely or not at
    /// all; macOS may take a part.
    pub(super) fn send_rest(&self, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.sys.send(self.socket.as_fd(), rest, &[]) {
                Ok(sent) => rest = &rest[sent..],
                Err(Errno::EAGAIN) => self.wait_for_room(),
                Err(_) => return,
            }
        }
    }

    /// Wakes the owner when the socket has room. The socket is full only if the parent has stopped, so a temporary thread
    /// keeps this case out of the common path. Without a thread (EAGAIN) the next exchange tries again.
    pub(super) fn wake_on_room(self: &Arc<Self>) {
        if self.awaits_room.swap(true, Ordering::AcqRel) {
            return;
        }
        let waiting = Arc::clone(self);
        let thread = std::thread::Builder::new().name("socketserver".into()).spawn(move || {
            waiting.wait_for_room();
            waiting.awaits_room.store(false, Ordering::Release);
            waiting.waker.wake();
        });
        if thread.is_err() {
            self.awaits_room.store(false, Ordering::Release);
        }
    }

    pub(super) fn wait_for_room(&self) {
        let mut sockets = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        // The end of the channel counts as room too, so this call always returns.
        while poll(&mut sockets, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
}
