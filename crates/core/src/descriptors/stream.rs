//! A stream of bytes and descriptors: one end of a connected AF_UNIX stream socket, for any purpose.
//!
//! Nothing here blocks and nothing is read ahead: what nobody has asked for stays in the kernel, whose buffer is the
//! limit. What the kernel does not take yet waits here, with copies of the descriptors that belong to it, until
//! [`Stream::flush`] is called when there is room.

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

/// One end of a stream. Dropping it closes it, and gives up what waits to be sent.
#[derive(Debug)]
pub struct Stream<S = Os> {
    sys: S,
    socket: ForeignFd,
    waiting: VecDeque<Parcel>,
    next: Ticket,
    /// Why nothing more can be sent: a parcel broke off in the middle.
    broken: Option<SystemError>,
}

/// How long a receiver at its limit waits for the descriptors that are closed on threads of the closer.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// Names what waits to be sent, in the order of the calls.
pub type Ticket = u32;

/// How far [`Stream::send`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has all of it.
    Whole,
    /// The rest waits for [`Stream::flush`], which will name the ticket.
    Waiting(Ticket),
}

/// What has become of something that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// As `send` gave it.
    pub ticket: Ticket,
    /// Whether the kernel has taken all of it.
    pub result: Result<(), SystemError>,
}

/// What [`Stream::receive`] found.
#[derive(Debug)]
pub enum Found {
    /// Nothing now.
    Nothing,
    /// The peer has ended its sending.
    End,
    /// Bytes, at least one, and the descriptors that were sent with any of them, in order.
    Some(Vec<u8>, Vec<ForeignFd>),
    /// Bytes whose descriptors have not all arrived (`MSG_CTRUNC`): those that had are closed again. With the errno if
    /// this process is at its limit of open files; without if something else forbade it, as a security module may.
    Truncated(Vec<u8>, Option<Errno>),
}

/// Something on its way out.
#[derive(Debug)]
struct Parcel {
    ticket: Ticket,
    bytes: Vec<u8>,
    /// Of `bytes`.
    sent: usize,
    /// Copies: their owner may close its own at once. They go with the first byte.
    descriptors: Vec<ForeignFd>,
    /// Whether a byte has been sent: then the rest has to follow, or the peer cannot make sense of what comes after.
    begun: bool,
}

/// Two ends of a new stream. Both block for whoever inherits one, and are close-on-exec.
pub fn pair() -> Result<(Stream, Stream), SystemError> {
    let (left, right) = socket_pair()?;
    Ok((Stream::new(Os, left), Stream::new(Os, right)))
}

impl Stream {
    /// Takes over a connected socket, of [`crate::descriptors::kind::Kind::Stream`] in the Unix domain.
    pub fn adopt(socket: OwnedFd) -> Result<Self, SystemError> {
        Self::adopt_on(Os, socket)
    }
}

impl<S: Sys> Stream<S> {
    /// [`Stream::adopt`] on a given [`Sys`].
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

    /// Sends bytes, and with the first of them descriptors: as much as the kernel takes now, after all that waits. An
    /// error means that nothing of this has been sent, unless the stream is broken by it.
    pub fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Sent, SystemError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        // sendmsg(2) drops descriptors that have no byte to travel with, without a word.
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
        self.waiting.push_back(Parcel {
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

    /// Whether something waits for room in the socket.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits, as far as there is room, and tells what has become of it.
    pub fn flush(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(mut parcel) = self.waiting.pop_front() {
            let result = match self.push_parcel(&parcel) {
                Ok(sent) if parcel.sent + sent < parcel.bytes.len() => {
                    parcel.sent += sent;
                    if sent > 0 {
                        parcel.begun = true;
                        parcel.descriptors.clear();
                    }
                    self.waiting.push_front(parcel);
                    break;
                }
                done => done.map(drop),
            };
            settled.push(Settled {
                ticket: parcel.ticket,
                result,
            });
        }
        settled
    }

    /// Receives what there is, at most `size` bytes.
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
                // Asked before those that did arrive make room.
                let limit = copy(self.socket.as_fd()).err().map(|error| error.errno);
                received.descriptors.clear();
                // Their numbers are needed for what is received next.
                settle(CLOSED_WITHIN);
                Found::Truncated(bytes(), limit)
            } else if received.bytes == 0 {
                Found::End
            } else {
                Found::Some(bytes(), received.descriptors)
            })
        })
    }

    /// Sends nothing more: the peer sees the end after what has been sent. What waits is no longer sent.
    pub fn end(&mut self) -> Result<(), SystemError> {
        self.waiting.clear();
        match shutdown(self.socket.as_raw_fd(), Shutdown::Write) {
            // The peer has gone, and has seen all that it will see.
            Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
            Err(errno) => Err(SystemError::of("shutdown")(errno)),
        }
    }

    fn push_parcel(&mut self, parcel: &Parcel) -> Result<usize, SystemError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let borrowed: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        self.push(&parcel.bytes[parcel.sent..], &borrowed, parcel.begun)
    }

    /// Sends what the kernel takes, perhaps nothing. `begun`: these are not the first bytes of what was to be sent.
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

/// What goes together with descriptors.
#[cfg(target_os = "linux")]
fn first_part(bytes: &[u8]) -> &[u8] {
    bytes
}

/// macOS refuses both at once (EMSGSIZE) when they do not fit the peer's buffer of 8 KiB, however long one waits.
#[cfg(not(target_os = "linux"))]
fn first_part(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(2048)]
}

/// Whether there is only no room now. What macOS says for that libuv knows (`IS_TRANSIENT_WRITE_ERROR`, unix/stream.c).
fn is_full(errno: Errno, descriptors: &[BorrowedFd<'_>]) -> bool {
    let elsewhere = errno == Errno::ENOBUFS || (errno == Errno::EMSGSIZE && !descriptors.is_empty());
    errno == Errno::EAGAIN || (cfg!(not(target_os = "linux")) && elsewhere)
}

fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, SystemError> {
    fd.try_clone_to_owned().map_err(|error| system_error("fcntl", &error))
}

thread_local! {
    /// Where a thread's streams receive before they know how much there is.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
