//! The wire format: bytes to frames and back, no I/O. `PROTOCOL.md` is its specification.
//!
//! A frame is a header of 8 bytes and 0 to 64 records of one size. All numbers are little-endian.
//! The two directions have two types, so a frame that travels the wrong way is not a frame.

use thiserror::Error;

use super::kind;
use super::limits::MAX_RECORDS;
use super::records::{CloseReason, ConnectionHead, Credit, Hello, Record, Records, Refusal, Returned, Welcome};
use crate::ids::ConnectionId;

/// The newest version that this code speaks.
pub const VERSION: u16 = 2;
/// The oldest version that this code speaks.
pub const OLDEST_VERSION: u16 = 1;
/// The version since which a worker may return what it has acked.
pub const RETURNS_SINCE: u16 = 2;
/// The bytes before a frame's records.
pub const HEADER: usize = 8;
/// The largest frame.
pub const MAX_FRAME: usize = HEADER + MAX_RECORDS * ConnectionHead::SIZE;

/// The version that a peer that speaks `oldest` to `newest` and this code speak with each other: the newest that both know.
#[must_use]
pub fn common_version(oldest: u16, newest: u16) -> Option<u16> {
    let version = newest.min(VERSION);
    (version >= oldest.max(OLDEST_VERSION)).then_some(version)
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No frame of this kind travels in this direction.
    #[error("unknown frame kind 0x{0:02x}")]
    Kind(u8),
    /// A reserved byte was not zero.
    #[error("a reserved byte is not zero in frame kind 0x{0:02x}")]
    Reserved(u8),
    /// A number of records that this kind does not have.
    #[error("{count} records in frame kind 0x{kind:02x}")]
    Count {
        /// The frame's kind.
        kind: u8,
        /// As the header says.
        count: u16,
    },
    /// The length and the number of records disagree.
    #[error("length {length} does not fit {count} records in frame kind 0x{kind:02x}")]
    Length {
        /// The frame's kind.
        kind: u8,
        /// As the header says.
        count: u16,
        /// As the header says.
        length: u32,
    },
    /// The first bytes of a hello or welcome are not "SSRV".
    #[error("the magic bytes are {0:02x?}, not \"SSRV\"")]
    Magic([u8; 4]),
    /// An address family that does not exist here.
    #[error("unknown address family {0}")]
    Family(u8),
    /// A reason that does not exist.
    #[error("unknown reason {0}")]
    Reason(u32),
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToParent<'a> {
    /// The first frame of a worker.
    Hello(Hello),
    /// These connections are mine now: close your copies.
    Ack(Records<'a, ConnectionId>),
    /// These I cannot or will not take: give them to somebody else.
    Refuse(Records<'a, Refusal>),
    /// So many leases are over.
    Ended(u32),
    /// Permission for more connections.
    Credit(Records<'a, Credit>),
    /// Takes unused credit back.
    Cancel(Records<'a, Credit>),
    /// No more connections, please; the leases will be finished.
    Leave,
    /// There is news on the scoreboard, and the parent has asked for it.
    Nudge,
    /// This one, whose descriptor travels with the frame, was mine, and goes to somebody else unread. Since version
    /// [`RETURNS_SINCE`].
    Return(ConnectionId),
}

/// What the parent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker<'a> {
    /// The answer to a hello.
    Welcome(Welcome),
    /// Connections; as many descriptors travel with the frame, in the same order.
    Connection(Records<'a, ConnectionHead>),
    /// Refuse these if they have not been acked yet.
    Recall(Records<'a, ConnectionId>),
    /// The answer to a cancel: so much was unused and is gone.
    Cancelled(Records<'a, Credit>),
    /// The server is draining: end what idles. Connections may still come.
    Drain,
    /// No more connections will come: finish the leases, then close the channel.
    Retire,
    /// The channel is over; what has not been acked is withdrawn.
    Close(CloseReason),
    /// What has become of connections that the worker has returned. Since version [`RETURNS_SINCE`].
    Returned(Records<'a, Returned>),
}

/// A frame cut out of a stream, not yet read.
struct Cut<'a> {
    kind: u8,
    count: u16,
    records: &'a [u8],
    size: usize,
}

impl<'a> Cut<'a> {
    /// The next frame in `bytes`; `None` if it is not whole yet. A wrong header is told at once, without its records.
    fn from(bytes: &'a [u8], shape: impl Fn(u8) -> Option<Shape>) -> Result<Option<Self>, FrameError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let kind = header[4];
        let count = u16::from_le_bytes([header[6], header[7]]);
        let shape = shape(kind).ok_or(FrameError::Kind(kind))?;
        if header[5] != 0 {
            return Err(FrameError::Reserved(kind));
        }
        if !shape.allows(count) {
            return Err(FrameError::Count { kind, count });
        }
        let expected = usize::from(count) * shape.size;
        if usize::try_from(length) != Ok(expected) {
            return Err(FrameError::Length { kind, count, length });
        }
        Ok(rest.split_at_checked(expected).map(|(records, _)| Self {
            kind,
            count,
            records,
            size: HEADER + expected,
        }))
    }

    /// The one record of a kind that has exactly one.
    fn one<R: Record>(&self) -> Result<R, FrameError> {
        Records::new(self.records).next().unwrap_or(Err(FrameError::Count {
            kind: self.kind,
            count: self.count,
        }))
    }
}

/// How many records of what size a kind has.
struct Shape {
    size: usize,
    count: Count,
}

enum Count {
    None,
    One,
    Many,
}

impl Shape {
    const fn none() -> Self {
        Self {
            size: 0,
            count: Count::None,
        }
    }

    const fn one<R: Record>() -> Self {
        Self {
            size: R::SIZE,
            count: Count::One,
        }
    }

    const fn many<R: Record>() -> Self {
        Self {
            size: R::SIZE,
            count: Count::Many,
        }
    }

    fn allows(&self, count: u16) -> bool {
        match self.count {
            Count::None => count == 0,
            Count::One => count == 1,
            Count::Many => (1..=MAX_RECORDS).contains(&usize::from(count)),
        }
    }
}

impl<'a> ToParent<'a> {
    /// Reads the first frame of `bytes` and says how many bytes it took; `None` if it is not whole yet.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let cut = Cut::from(bytes, |kind| match kind {
            kind::HELLO => Some(Shape::one::<Hello>()),
            kind::ACK => Some(Shape::many::<ConnectionId>()),
            kind::REFUSE => Some(Shape::many::<Refusal>()),
            kind::ENDED => Some(Shape::one::<u32>()),
            kind::CREDIT | kind::CANCEL => Some(Shape::many::<Credit>()),
            kind::LEAVE | kind::NUDGE => Some(Shape::none()),
            kind::RETURN => Some(Shape::one::<ConnectionId>()),
            _ => None,
        })?;
        let Some(cut) = cut else { return Ok(None) };
        let frame = match cut.kind {
            kind::HELLO => Self::Hello(cut.one()?),
            kind::ACK => Self::Ack(Records::new(cut.records)),
            kind::REFUSE => Self::Refuse(Records::new(cut.records)),
            kind::ENDED => Self::Ended(cut.one()?),
            kind::CREDIT => Self::Credit(Records::new(cut.records)),
            kind::CANCEL => Self::Cancel(Records::new(cut.records)),
            kind::LEAVE => Self::Leave,
            kind::RETURN => Self::Return(cut.one()?),
            _ => Self::Nudge,
        };
        Ok(Some((frame, cut.size)))
    }
}

impl<'a> ToWorker<'a> {
    /// Reads the first frame of `bytes` and says how many bytes it took; `None` if it is not whole yet.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let cut = Cut::from(bytes, |kind| match kind {
            kind::WELCOME => Some(Shape::one::<Welcome>()),
            kind::CONNECTION => Some(Shape::many::<ConnectionHead>()),
            kind::RECALL => Some(Shape::many::<ConnectionId>()),
            kind::CANCELLED => Some(Shape::many::<Credit>()),
            kind::DRAIN | kind::RETIRE => Some(Shape::none()),
            kind::CLOSE => Some(Shape::one::<CloseReason>()),
            kind::RETURNED => Some(Shape::many::<Returned>()),
            _ => None,
        })?;
        let Some(cut) = cut else { return Ok(None) };
        let frame = match cut.kind {
            kind::WELCOME => Self::Welcome(cut.one()?),
            kind::CONNECTION => Self::Connection(Records::new(cut.records)),
            kind::RECALL => Self::Recall(Records::new(cut.records)),
            kind::CANCELLED => Self::Cancelled(Records::new(cut.records)),
            kind::DRAIN => Self::Drain,
            kind::RETIRE => Self::Retire,
            kind::RETURNED => Self::Returned(Records::new(cut.records)),
            _ => Self::Close(cut.one()?),
        };
        Ok(Some((frame, cut.size)))
    }
}
