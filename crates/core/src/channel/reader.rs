//! The reading end of a channel: cuts the stream into frames and pairs each frame with its descriptors.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::protocol::{ProtocolError, frame, limits};
use crate::sys::{ForeignFd, Sys};

/// How a [`Reader`]'s `fill` went.
#[derive(Debug, PartialEq, Eq)]
pub enum Fill {
    /// There is something new.
    Some,
    /// Nothing now.
    Nothing,
    /// The peer has closed its end.
    End,
}

/// The reading end: cuts a stream into frames and pairs them with the descriptors that came along.
#[derive(Debug)]
pub struct Reader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    descriptors: Descriptors,
    /// How many descriptors may wait for the rest of their frame.
    descriptor_limit: usize,
}

/// Descriptors that have arrived and that no frame has claimed yet.
#[derive(Debug, Default)]
pub struct Descriptors {
    waiting: VecDeque<ForeignFd>,
    truncated: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader with nothing in it, for the largest frame that carries descriptors.
    #[must_use]
    pub fn new() -> Self {
        Self::with_descriptor_limit(limits::MAX_RECORDS)
    }

    /// Returns an empty reader that lets no more than `limit` descriptors wait for the rest of their frame: a peer that
    /// never finishes the frame keeps those open in this process.
    #[must_use]
    pub fn with_descriptor_limit(limit: usize) -> Self {
        let buffer = vec![0; 2 * frame::MAX_FRAME].into_boxed_slice();
        Self {
            buffer,
            start: 0,
            end: 0,
            descriptors: Descriptors::default(),
            descriptor_limit: limit,
        }
    }

    /// Changes how many descriptors may wait for the rest of their frame.
    pub fn set_descriptor_limit(&mut self, limit: usize) {
        self.descriptor_limit = limit;
    }

    /// Receives what there is. Take all frames out between two calls, or there may be no room.
    pub fn fill<S: Sys>(&mut self, sys: &S, socket: BorrowedFd<'_>) -> Result<Fill, Errno> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let received = match sys.receive(socket, &mut self.buffer[self.end..]) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(Fill::Nothing),
            // A peer that died with unread data in its buffer.
            Err(Errno::ECONNRESET) => return Ok(Fill::End),
            Err(errno) => return Err(errno),
        };
        self.end += received.bytes;
        self.descriptors.truncated |= received.truncated;
        self.descriptors.waiting.extend(received.descriptors);
        Ok(if received.bytes == 0 { Fill::End } else { Fill::Some })
    }

    /// Cuts off the next frame with `decode`, one of the `decode` functions of [`frame`]; `None` until it is whole.
    pub fn next<'a, F>(
        &'a mut self,
        decode: impl FnOnce(&'a [u8]) -> Result<Option<(F, usize)>, frame::FrameError>,
    ) -> Result<Option<(F, &'a mut Descriptors)>, ProtocolError> {
        let Some((frame, size)) = decode(&self.buffer[self.start..self.end])? else {
            return Ok(None);
        };
        self.start += size;
        Ok(Some((frame, &mut self.descriptors)))
    }

    /// Whether the stream may end here: between two frames, with no descriptor left over.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if self.start == self.end {
            Ok(())
        } else {
            Err(ProtocolError::CutFrame)
        }
    }

    /// Whether descriptors have arrived, or would have, that no frame has claimed.
    #[must_use]
    pub fn has_unclaimed(&self) -> bool {
        !self.descriptors.waiting.is_empty() || self.descriptors.truncated
    }

    /// Whether the beginning of a frame is there whose rest has not come.
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        self.start < self.end
    }

    /// Between two fills nothing may be left over but the beginning of a frame, with as many descriptors as the limit
    /// allows: a hostile peer could fill this process with them. Surplus descriptors are closed at once. Not to be asked frame by frame: the kernel
    /// glues a message without descriptors to the next one with (unix(7)), so they may arrive before their frame.
    pub fn check_descriptors(&mut self) -> Result<(), ProtocolError> {
        let within_frame = self.is_within_frame();
        if !within_frame {
            self.descriptors.truncated = false;
        }
        let allowed = if within_frame { self.descriptor_limit } else { 0 };
        if self.descriptors.waiting.len() <= allowed {
            Ok(())
        } else {
            self.descriptors.waiting.clear();
            Err(ProtocolError::SurplusDescriptors)
        }
    }
}

impl Descriptors {
    /// Claims the descriptors of one frame. Fewer than `declared` come only if the kernel said that it had truncated
    /// them: it installs the first ones and drops the rest, and the message is consumed all the same (recvmsg(2)).
    pub fn claim(&mut self, declared: usize) -> Result<impl Iterator<Item = ForeignFd> + '_, ProtocolError> {
        let received = self.waiting.len().min(declared);
        if received < declared && !std::mem::take(&mut self.truncated) {
            return Err(ProtocolError::MissingDescriptors { declared, received });
        }
        Ok(self.waiting.drain(..received))
    }
}
