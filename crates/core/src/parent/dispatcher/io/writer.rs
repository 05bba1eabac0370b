//! The parent's writing end of one channel. A write never blocks: what does not fit in the socket waits here, up to a limit.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use crate::parent::rejoin::Seat;
use crate::sys::{ForeignFd, Sys};

/// A channel whose worker leaves this many bytes of answers unread is closed.
const MAX_UNREAD: usize = 64 * 1024;

/// Sends frames to one worker.
pub struct ChannelWriter {
    /// A duplicate, because tokio watches a descriptor once: one for reading, one for room.
    socket: Arc<ForeignFd>,
    on_full: OnFull,
    unsent: Vec<u8>,
    /// Whether the last frame was sent by [`ChannelWriter::hand_off`].
    ends_with_handoff: bool,
    room: Room,
    /// The seat of a worker that joined at a shared path.
    seat: Option<Arc<Seat>>,
}

/// Called with the full socket.
type OnFull = Box<dyn Fn(Arc<ForeignFd>) + Send>;

/// The room in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// The last send has not filled the socket.
    Some,
    /// The socket is full, and a task waits for room.
    None,
}

impl ChannelWriter {
    /// Creates the writing end of `socket`. `on_full` is called when the socket is full, and has to make the owner call
    /// [`ChannelWriter::resume`] once the socket has room.
    #[must_use]
    pub fn new(socket: OwnedFd, on_full: impl Fn(Arc<ForeignFd>) + Send + 'static) -> Self {
        Self {
            socket: Arc::new(socket.into()),
            on_full: Box::new(on_full),
            unsent: Vec::new(),
            ends_with_handoff: false,
            room: Room::Some,
            seat: None,
        }
    }

    /// Keeps a seat of the shared path until the channel ends.
    #[must_use]
    pub fn seated(mut self, seat: Arc<Seat>) -> Self {
        self.seat = Some(seat);
        self
    }

    /// Returns whether the worker joined at a shared path, so that another user may run the worker.
    #[must_use]
    pub fn is_of_joined(&self) -> bool {
        self.seat.is_some()
    }

    /// Returns the seat of a worker that joined at a shared path.
    #[must_use]
    pub fn seat(&self) -> Option<&Seat> {
        self.seat.as_deref()
    }

    /// Returns whether the last frame was a handoff.
    #[must_use]
    pub fn ends_with_handoff(&self) -> bool {
        self.ends_with_handoff
    }

    /// Returns whether the worker has read everything that was sent.
    pub fn is_all_read<S: Sys>(&self, sys: &S) -> bool {
        self.unsent.is_empty() && sys.is_all_read(self.socket.as_fd())
    }

    /// Sends a frame with its descriptors. Nothing is sent if the socket is full (EAGAIN).
    pub fn hand_off<S: Sys>(&mut self, sys: &S, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        if !self.unsent.is_empty() {
            return Err(Errno::EAGAIN);
        }
        let sent = self.send(sys, frame, descriptors)?;
        self.ends_with_handoff = true;
        // The descriptors travel with the first byte, so the rest may follow without descriptors.
        self.unsent.extend_from_slice(&frame[sent..]);
        // The worker may ack from now on, so no error may look as if nothing had been sent.
        self.flush(sys).map_err(|_| Errno::EPIPE)
    }

    /// Sends frames without descriptors, now or when the socket has room.
    pub fn send_buffered<S: Sys>(&mut self, sys: &S, frames: &[u8]) -> Result<(), Errno> {
        self.unsent.extend_from_slice(frames);
        self.ends_with_handoff = false;
        self.flush(sys)?;
        if self.unsent.len() > MAX_UNREAD {
            Err(Errno::ENOBUFS)
        } else {
            Ok(())
        }
    }

    /// Sends what had to wait: the socket has room again.
    pub fn resume<S: Sys>(&mut self, sys: &S) -> Result<(), Errno> {
        self.room = Room::Some;
        self.flush(sys)
    }

    /// Shuts the socket down, so that the worker sees the end at once even if another process has a copy. Frames that the worker
    /// has sent can still be read. Returns whether the worker can send no more; otherwise call [`ChannelWriter::shut_reading`]
    /// later.
    pub fn shut<S: Sys>(&self, sys: &S) -> bool {
        let is_whole = sys.keeps_data_after_shutdown();
        let how = if is_whole { Shutdown::Both } else { Shutdown::Write };
        // Fails only if the peer has closed its end.
        let _ = shutdown(self.socket.as_raw_fd(), how);
        is_whole
    }

    /// Shuts the reading side down, which ends the channel. On macOS unread data is lost.
    pub fn shut_reading(&self) {
        // Fails only if the peer has closed its end, which the reader sees anyway.
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
            (self.on_full)(Arc::clone(&self.socket));
        }
        sent
    }
}

impl std::fmt::Debug for ChannelWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ChannelWriter")
            .field("socket", &self.socket)
            .field("unsent", &self.unsent.len())
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
