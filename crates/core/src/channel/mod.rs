//! A channel: the AF_UNIX stream between the parent and one worker, the same on Linux and macOS.

pub mod ancillary;
pub mod frame;
pub mod head;
pub mod record;
pub mod scoreboard;
pub mod writer;

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};

use crate::error::{ProtocolError, SystemError};
use crate::sys::Sys;

/// Names a channel within its server, in the order of opening.
pub type ChannelId = u32;

/// The two ends of a new channel: the parent's, which never blocks, and the worker's, which does. Both are
/// close-on-exec: a child that inherited the other end of a channel would never see it end.
pub fn pair() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (parent, worker) = socket_pair()?;
    fcntl(&parent, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(SystemError::of("fcntl"))?;
    Ok((parent, worker))
}

/// Two connected AF_UNIX stream sockets, close-on-exec, that block.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (left, right) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, pair_flags()).map_err(SystemError::of("socketpair"))?;
    for end in [&left, &right] {
        prepare(end)?;
    }
    Ok((left, right))
}

#[cfg(target_os = "linux")]
fn pair_flags() -> SockFlag {
    SockFlag::SOCK_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn pair_flags() -> SockFlag {
    SockFlag::empty()
}

/// Sets what every end of a channel needs, for one that was inherited too: close-on-exec and, where there is no
/// `MSG_NOSIGNAL`, no SIGPIPE.
pub fn prepare(end: &OwnedFd) -> Result<(), SystemError> {
    use nix::fcntl::FdFlag;
    fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(SystemError::of("fcntl"))?;
    #[cfg(not(target_os = "linux"))]
    crate::sys::no_sigpipe(end).map_err(SystemError::of("setsockopt"))?;
    Ok(())
}

/// Ends a connection for its client, whoever else has a copy of it.
pub fn shut_down(connection: BorrowedFd<'_>) {
    // Fails only for a connection that has ended (ENOTCONN).
    let _ = shutdown(connection.as_raw_fd(), Shutdown::Both);
}

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
}

/// Descriptors that have arrived and that no frame has claimed yet.
#[derive(Debug, Default)]
pub struct Descriptors {
    waiting: VecDeque<OwnedFd>,
    truncated: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![0; 2 * frame::MAX_FRAME].into_boxed_slice();
        Self {
            buffer,
            start: 0,
            end: 0,
            descriptors: Descriptors::default(),
        }
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

    /// Between two fills nothing may be left over but the beginning of a frame: a descriptor that no frame claims is
    /// one too many, or a hostile peer could fill this process with them. Not to be asked frame by frame: the kernel
    /// glues a message without descriptors to the next one with (unix(7)), so they may arrive before their frame.
    pub fn check_descriptors(&mut self) -> Result<(), ProtocolError> {
        let within_frame = self.is_within_frame();
        if !within_frame {
            self.descriptors.truncated = false;
        }
        let allowed = if within_frame { frame::MAX_RECORDS } else { 0 };
        if self.descriptors.waiting.len() <= allowed {
            Ok(())
        } else {
            Err(ProtocolError::SurplusDescriptors)
        }
    }
}

impl Descriptors {
    /// Claims the descriptors of one frame. Fewer than `declared` come only if the kernel said that it had truncated
    /// them: it installs the first ones and drops the rest, and the message is consumed all the same (recvmsg(2)).
    pub fn claim(&mut self, declared: usize) -> Result<impl Iterator<Item = OwnedFd> + '_, ProtocolError> {
        let received = self.waiting.len().min(declared);
        if received < declared && !std::mem::take(&mut self.truncated) {
            return Err(ProtocolError::MissingDescriptors { declared, received });
        }
        Ok(self.waiting.drain(..received))
    }
}
