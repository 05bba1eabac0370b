//! A stream of bytes and descriptors: one end of a connected AF_UNIX stream socket.
//!
//! No call blocks, and nothing is read ahead: unread data stays in the kernel's buffer, which limits the sender. Data that
//! the kernel does not accept yet is kept here, with copies of its descriptors, until the caller calls [`Stream::flush`] when
//! the socket is writable.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use crate::error::{SystemError, system_error};
pub use crate::sys::ancillary::MAX_DESCRIPTORS;
use crate::sys::closer::settle;
use crate::sys::{ForeignFd, Os, Sys};
use crate::sys::{prepare, socket_pair};

/// One end of a stream. Dropping it closes the socket and discards unsent data.
#[derive(Debug)]
pub struct Stream<S = Os> {
    sys: S,
    socket: ForeignFd,
    waiting: VecDeque<WaitingMessage>,
    next: Ticket,
    /// The error after which nothing can be sent: a message was sent only in part.
    broken: Option<SystemError>,
}

/// How long a receiver at its descriptor limit waits until the closer has closed the dropped descriptors.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Identifies a message that waits to be sent; in the order of the calls.
pub type Ticket = u32;

/// The result of [`Stream::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has accepted the whole message.
    Whole,
    /// The rest waits for [`Stream::flush`], which will return the ticket.
    Waiting(Ticket),
}

/// The result of a message that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// The ticket that `send` returned.
    pub ticket: Ticket,
    /// Ok if the kernel has accepted the whole message.
    pub result: Result<(), SystemError>,
}

/// The result of [`Stream::receive`].
#[derive(Debug)]
pub enum Found {
    /// The socket is empty.
    Nothing,
    /// The peer has shut its sending direction down.
    End,
    /// At least one byte, and the descriptors that were sent with these bytes, in order.
    Some(Vec<u8>, Vec<ForeignFd>),
    /// Bytes, some of whose descriptors did not arrive (`MSG_CTRUNC`). The descriptors that arrived are closed. The errno is
    /// set if this process is at its limit of open files, and not set for another cause, for example a security module.
    Truncated(Vec<u8>, Option<Errno>),
}

/// A message that waits to be sent.
#[derive(Debug)]
struct WaitingMessage {
    ticket: Ticket,
    bytes: Vec<u8>,
    /// How many of `bytes` were sent.
    sent: usize,
    /// Copies, because the caller may close its own descriptors at once. They are sent with the first byte.
    descriptors: Vec<ForeignFd>,
    /// A byte of the message was sent, so the rest must follow: the peer could not interpret later messages otherwise.
    begun: bool,
}

/// Returns the two ends of a new stream. Both are close-on-exec, and blocking for a process that inherits one.
pub fn pair() -> Result<(Stream, Stream), SystemError> {
    let (left, right) = socket_pair()?;
    Ok((Stream::new(Os, left), Stream::new(Os, right)))
}

impl Stream {
    /// Adopts a connected socket, which must be a [`crate::descriptors::kind::Kind::Stream`] of the Unix domain.
    pub fn adopt(socket: OwnedFd) -> Result<Self, SystemError> {
        Self::adopt_on(Os, socket)
    }
}

impl<S: Sys> Stream<S> {
    /// Adopts a connected socket on the given [`Sys`].
    pub fn adopt_on(sys: S, socket: OwnedFd) -> Result<Self, SystemError> {
        prepare(&socket)?;
        Ok(Self::new(sys, socket))
    }

    fn new(sys: S, socket: OwnedFd) -> Self {
        Self {
            sys,
            socket: socket.into(),
            waiting: VecDeque::new(),
            next: 0,
            broken: None,
        }
    }

    /// Sends bytes, with descriptors attached to the first byte, after all waiting messages. Sends as much as the kernel
    /// accepts now; the rest waits. After an error nothing of this message was sent, or the stream is broken.
    pub fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Sent, SystemError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        // Without a byte, sendmsg(2) drops descriptors silently.
        if bytes.is_empty() && !descriptors.is_empty() {
            return Err(SystemError::of("sendmsg")(Errno::EINVAL));
        }
        let mut sent = 0;
        if self.waiting.is_empty() {
            sent = self.push(bytes, descriptors, false)?;
            if sent == bytes.len() {
                return Ok(Sent::Whole);
            }
        }
        let copies = if sent == 0 { descriptors } else { &[] };
        let ticket = self.next;
        self.next = self.next.wrapping_add(1);
        self.waiting.push_back(WaitingMessage {
            ticket,
            bytes: bytes[sent..].to_vec(),
            sent: 0,
            begun: sent > 0,
            descriptors: copies
                .iter()
                .map(|fd| copy(*fd).map(ForeignFd::from))
                .collect::<Result<_, _>>()?,
        });
        Ok(Sent::Waiting(ticket))
    }

    /// Returns whether a message waits until the socket has room.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends waiting messages until the socket is full. Returns the results of the completed ones.
    pub fn flush(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(mut message) = self.waiting.pop_front() {
            let result = match self.send_waiting(&message) {
                Ok(sent) if message.sent + sent < message.bytes.len() => {
                    message.sent += sent;
                    if sent > 0 {
                        message.begun = true;
                        message.descriptors.clear();
                    }
                    self.waiting.push_front(message);
                    break;
                }
                done => done.map(drop),
            };
            settled.push(Settled {
                ticket: message.ticket,
                result,
            });
        }
        settled
    }

    /// Receives the available bytes, at most `size`, with their descriptors.
    pub fn receive(&self, size: usize) -> Result<Found, SystemError> {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.len() < size {
                scratch.resize(size, 0);
            }
            let mut received = match self.sys.try_receive(self.socket.as_fd(), &mut scratch[..size]) {
                Ok(received) => received,
                Err(Errno::EAGAIN) => return Ok(Found::Nothing),
                Err(errno) => return Err(SystemError::of("recvmsg")(errno)),
            };
            let size = received.bytes;
            let bytes = || scratch[..size].to_vec();
            Ok(if received.truncated {
                // Try to allocate a descriptor before the received ones are closed.
                let limit = copy(self.socket.as_fd()).err().map(|error| error.errno);
                received.descriptors.clear();
                // The next message needs their numbers.
                settle(CLOSE_TIMEOUT);
                Found::Truncated(bytes(), limit)
            } else if received.bytes == 0 {
                Found::End
            } else {
                Found::Some(bytes(), received.descriptors)
            })
        })
    }

    /// Shuts the sending direction down. The peer receives the end of the stream; waiting messages are discarded.
    pub fn end(&mut self) -> Result<(), SystemError> {
        self.waiting.clear();
        match shutdown(self.socket.as_raw_fd(), Shutdown::Write) {
            // The peer has already disconnected.
            Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
            Err(errno) => Err(SystemError::of("shutdown")(errno)),
        }
    }

    fn send_waiting(&mut self, message: &WaitingMessage) -> Result<usize, SystemError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let borrowed: Vec<_> = message.descriptors.iter().map(AsFd::as_fd).collect();
        self.push(&message.bytes[message.sent..], &borrowed, message.begun)
    }

    /// Sends as many bytes as the kernel accepts, and returns their number. `begun`: a byte of the message was sent before.
    fn push(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>], begun: bool) -> Result<usize, SystemError> {
        let (mut sent, mut descriptors) = (0, descriptors);
        while sent < bytes.len() {
            let rest = &bytes[sent..];
            let part = if descriptors.is_empty() { rest } else { first_part(rest) };
            match self.sys.send(self.socket.as_fd(), part, descriptors) {
                Ok(more) => {
                    sent += more;
                    descriptors = &[];
                }
                Err(errno) if is_full(errno, descriptors) => break,
                Err(errno) => {
                    let error = SystemError::of("sendmsg")(errno);
                    if begun || sent > 0 {
                        self.broken = Some(error);
                    }
                    return Err(error);
                }
            }
        }
        Ok(sent)
    }
}

impl<S> AsFd for Stream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns the bytes that can be sent together with descriptors.
#[cfg(target_os = "linux")]
fn first_part(bytes: &[u8]) -> &[u8] {
    bytes
}

/// Returns the bytes that can be sent together with descriptors. On macOS both must fit the peer's buffer of 8 KiB; otherwise the
/// send always fails with EMSGSIZE.
#[cfg(not(target_os = "linux"))]
fn first_part(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(2048)]
}

/// Returns whether an error means that the socket is full. The errors of macOS are those that libuv retries
/// (`IS_TRANSIENT_WRITE_ERROR`, unix/stream.c).
fn is_full(errno: Errno, descriptors: &[BorrowedFd<'_>]) -> bool {
    let elsewhere = errno == Errno::ENOBUFS || (errno == Errno::EMSGSIZE && !descriptors.is_empty());
    errno == Errno::EAGAIN || (cfg!(not(target_os = "linux")) && elsewhere)
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, SystemError> {
    fd.try_clone_to_owned().map_err(|error| system_error("fcntl", &error))
}

thread_local! {
    /// The receive buffer of all streams of a thread: the size of a message is not known in advance.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
