//! The parent's writing end of one channel. It never blocks: what does not fit waits here, up to a limit.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::sync::mpsc;

use crate::ids::ChannelId;
use crate::parent::dispatcher::message::Message;
use crate::parent::rejoin::Seat;
use crate::sys;
use crate::sys::{ForeignFd, Sys};

/// A worker that leaves this many bytes of answers unread is not one.
const MAX_UNREAD: usize = 64 * 1024;

/// When to try again if the kernel cannot tell when there is room.
const ROOM: Duration = Duration::from_millis(10);

/// Sends frames to one worker.
#[derive(Debug)]
pub struct ChannelWriter {
    channel: ChannelId,
    /// A descriptor of its own, as a socket is watched for reading by one and for room by another.
    socket: Arc<ForeignFd>,
    dispatcher: mpsc::WeakSender<Message>,
    unsent: Vec<u8>,
    room: Room,
    /// Of a worker that has joined by itself: its place among those that may.
    seat: Option<Seat>,
}

/// Whether the socket takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As far as is known.
    Some,
    /// No; a task waits until it does.
    None,
}

impl ChannelWriter {
    /// The writing end of `socket`. `dispatcher` is told [`Message::Writable`] when it has room again.
    #[must_use]
    pub fn new(channel: ChannelId, socket: OwnedFd, dispatcher: mpsc::WeakSender<Message>) -> Self {
        Self {
            channel,
            socket: Arc::new(socket.into()),
            dispatcher,
            unsent: Vec::new(),
            room: Room::Some,
            seat: None,
        }
    }

    /// Keeps a place taken until the channel is over.
    #[must_use]
    pub fn seated(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        self
    }

    /// Returns whether the worker has joined by itself, so that another user may run it.
    #[must_use]
    pub fn is_of_joined(&self) -> bool {
        self.seat.is_some()
    }

    /// Returns the seat of a worker that has joined by itself.
    #[must_use]
    pub fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }

    /// Returns whether the worker has read everything that was sent.
    pub fn is_all_read<S: Sys>(&self, sys: &S) -> bool {
        self.unsent.is_empty() && sys.is_all_read(self.socket.as_fd())
    }

    /// Sends a frame with its descriptors, or, with EAGAIN, nothing of it.
    pub fn hand_off<S: Sys>(&mut self, sys: &S, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        if !self.unsent.is_empty() {
            return Err(Errno::EAGAIN);
        }
        let sent = self.send(sys, frame, descriptors)?;
        // The descriptors travel with the first byte, so the rest may follow without them.
        self.unsent.extend_from_slice(&frame[sent..]);
        // They are the worker's to ack from now on, so no error here may read as if they had not been sent.
        self.flush(sys).map_err(|_| Errno::EPIPE)
    }

    /// Sends frames without descriptors, now or as soon as there is room.
    pub fn tell<S: Sys>(&mut self, sys: &S, frames: &[u8]) -> Result<(), Errno> {
        self.unsent.extend_from_slice(frames);
        self.flush(sys)?;
        if self.unsent.len() > MAX_UNREAD {
            Err(Errno::ENOBUFS)
        } else {
            Ok(())
        }
    }

    /// The socket has room again: sends what had to wait.
    pub fn resume<S: Sys>(&mut self, sys: &S) -> Result<(), Errno> {
        self.room = Room::Some;
        self.flush(sys)
    }

    /// Lets the peer see the end at once, whoever still holds the socket. What it has sent can still be read. Returns
    /// whether it can send no more either; if not, [`ChannelWriter::shut_reading`] has to follow.
    pub fn shut<S: Sys>(&self, sys: &S) -> bool {
        let is_whole = sys.keeps_unread();
        let how = if is_whole { Shutdown::Both } else { Shutdown::Write };
        // Fails only for a socket whose peer has gone, which has seen the end.
        let _ = shutdown(self.socket.as_raw_fd(), how);
        is_whole
    }

    /// Ends the reading side too, and with it the channel. On macOS what has not been read is lost.
    pub fn shut_reading(&self) {
        // Fails only for a socket whose peer has gone, the end of which is read anyway.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Read);
    }

    fn flush<S: Sys>(&mut self, sys: &S) -> Result<(), Errno> {
        while !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let sent = self.send(sys, &unsent, &[]);
            self.unsent = unsent;
            match sent {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn send<S: Sys>(&mut self, sys: &S, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        if self.room == Room::None {
            return Err(Errno::EAGAIN);
        }
        let sent = sys.send(self.socket.as_fd(), bytes, descriptors);
        if sent == Err(Errno::EAGAIN) {
            self.room = Room::None;
            self.watch();
        }
        sent
    }

    fn watch(&self) {
        let (channel, socket, dispatcher) = (self.channel, Arc::clone(&self.socket), self.dispatcher.clone());
        tokio::spawn(async move {
            if sys::room(socket.as_fd()).await.is_err() {
                // epoll is out of watches.
                tokio::time::sleep(ROOM).await;
            }
            if let Some(dispatcher) = dispatcher.upgrade() {
                // Fails only if the dispatcher has ended.
                let _ = dispatcher.send(Message::Writable(channel)).await;
            }
        });
    }
}
