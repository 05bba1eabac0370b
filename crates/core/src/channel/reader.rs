//! The reading end of a channel: cuts the stream into frames and pairs each frame with its descriptors.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::protocol::error::FrameError;
use crate::protocol::{ProtocolError, frame, limits};
use crate::sys::{ForeignFd, Sys};

/// The result of [`Reader::fill`].
#[derive(Debug, PartialEq, Eq)]
pub enum Fill {
    /// Received bytes or descriptors.
    Some,
    /// The socket is empty.
    Nothing,
    /// The peer has closed its end.
    End,
}

/// Cuts a stream into frames and pairs each frame with its descriptors.
#[derive(Debug)]
pub struct Reader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    descriptors: Descriptors,
    /// The number of descriptors that may wait for the rest of their frame.
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
    /// Returns an empty reader for frames with up to [`limits::MAX_RECORDS`] descriptors.
    #[must_use]
    pub fn new() -> Self {
        Self::with_descriptor_limit(limits::MAX_RECORDS)
    }

    /// Returns an empty reader that lets at most `limit` descriptors wait for the rest of their frame. A peer that never
    /// finishes the frame keeps that many descriptors open in this process.
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

    /// Sets the number of descriptors that may wait for the rest of their frame.
    pub fn set_descriptor_limit(&mut self, limit: usize) {
        self.descriptor_limit = limit;
    }

    /// Receives one message. Take every complete frame before the next call, or the buffer may be full.
    pub fn fill<S: Sys>(&mut self, sys: &S, socket: BorrowedFd<'_>) -> Result<Fill, Errno> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let received = match sys.receive(socket, &mut self.buffer[self.end..]) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(Fill::Nothing),
            // The peer died with unread data in its buffer.
            Err(Errno::ECONNRESET) => return Ok(Fill::End),
            Err(errno) => return Err(errno),
        };
        self.end += received.bytes;
        self.descriptors.truncated |= received.truncated;
        self.descriptors.waiting.extend(received.descriptors);
        Ok(if received.bytes == 0 { Fill::End } else { Fill::Some })
    }

    /// Takes the next frame with `decode`, one of the `decode` functions of [`frame`]. Returns `None` until the frame is
    /// complete.
    pub fn next<'a, F>(
        &'a mut self,
        decode: impl FnOnce(&'a [u8]) -> Result<Option<(F, usize)>, FrameError>,
    ) -> Result<Option<(F, &'a mut Descriptors)>, ProtocolError> {
        let Some((frame, size)) = decode(&self.buffer[self.start..self.end])? else {
            return Ok(None);
        };
        self.start += size;
        Ok(Some((frame, &mut self.descriptors)))
    }

    /// Checks that the stream may end here: between two frames.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if self.start == self.end {
            Ok(())
        } else {
            Err(ProtocolError::IncompleteFrame)
        }
    }

    /// Whether descriptors that no frame has claimed have arrived, or were dropped by the kernel.
    #[must_use]
    pub fn has_unclaimed(&self) -> bool {
        !self.descriptors.waiting.is_empty() || self.descriptors.truncated
    }

    /// Whether an incomplete frame is waiting for its rest.
    #[must_use]
    pub fn is_within_frame(&self) -> bool {
        self.start < self.end
    }

    /// Checks the unclaimed descriptors: none after the last complete frame, and at most the limit within an incomplete frame.
    /// Closes surplus descriptors, which a hostile peer could use to exhaust this process's limit.
    ///
    /// Call this after all frames of a fill, not after each frame: the kernel joins a message without descriptors to the next
    /// message with descriptors (unix(7)), so descriptors may arrive before their frame.
    #[inline]
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
    /// Takes the descriptors of one frame. Returns fewer than `declared` only if the kernel reported truncation: the kernel then
    /// installs the first descriptors, drops the others, and consumes the message (recvmsg(2)).
    pub fn claim(&mut self, declared: usize) -> Result<impl Iterator<Item = ForeignFd> + '_, ProtocolError> {
        let received = self.waiting.len().min(declared);
        if received < declared && !std::mem::take(&mut self.truncated) {
            return Err(ProtocolError::MissingDescriptors { declared, received });
        }
        Ok(self.waiting.drain(..received))
    }
}
