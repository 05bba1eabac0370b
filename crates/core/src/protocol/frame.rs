//! Decodes frames, without I/O. `PROTOCOL.md` specifies the wire format.
//!
//! A frame is a header of 8 bytes and 0 to 64 records of one size. All numbers are little-endian. Each direction has its own
//! type, so a frame in the wrong direction is invalid.

use super::connection_record::ConnectionHead;
use super::error::FrameError;
use super::kind;
use super::limits::MAX_RECORDS;
use super::listener_record::ListenerAddress;
use super::proxied_record::{FIXED, MAX_TLVS, Proxied};
use super::record::{Record, Records};
use super::records::{CloseReason, Credit, Hello, Refusal, Returned, Welcome};
use super::ticket_keys::TicketKeys;
use crate::ids::ConnectionId;

/// The size of a frame's header in bytes.
pub const HEADER: usize = 8;
/// The maximum size of a frame in bytes.
pub const MAX_FRAME: usize = HEADER + FIXED + MAX_TLVS;

const _: () = assert!(
    MAX_FRAME >= HEADER + MAX_RECORDS * ConnectionHead::SIZE,
    "MAX_FRAME is the maximum of all kinds"
);

/// A frame from the worker to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToParent<'a> {
    /// Opens the session; the first frame of a worker.
    Hello(Hello),
    /// Acknowledges connections: the worker has them, and the parent closes its copies.
    Ack(Records<'a, ConnectionId>),
    /// Refuses connections, which return to the queue.
    Refuse(Records<'a, Refusal>),
    /// Reports the number of leases that have ended.
    Ended(u32),
    /// Grants credit for connections.
    Credit(Records<'a, Credit>),
    /// Asks to cancel unused credit.
    Cancel(Records<'a, Credit>),
    /// Announces that the worker takes no more connections and finishes its leases.
    Leave,
    /// Announces a change on the scoreboard, because the parent has asked for it.
    Nudge,
    /// Hands back a connection that the worker has acknowledged and not read, with its descriptor. Since version
    /// [`RETURNS_SINCE`].
    Return(ConnectionId),
    /// Reports that the leases of these tracked connections have ended. Since version
    /// [`ENDED_IDS_SINCE`](super::version::ENDED_IDS_SINCE).
    EndedIds(Records<'a, ConnectionId>),
}

/// A frame from the parent to the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker<'a> {
    /// Answers a HELLO.
    Welcome(Welcome),
    /// Sends connections, with one descriptor per record, in the same order.
    Connection(Records<'a, ConnectionHead>),
    /// Recalls connections: the worker refuses those that it has not acknowledged.
    Recall(Records<'a, ConnectionId>),
    /// Answers a CANCEL with the amount of credit that was unused and is cancelled.
    Cancelled(Records<'a, Credit>),
    /// Announces that the server drains: the worker closes idle connections. Connections may still follow.
    Drain,
    /// Announces that no more connections follow: the worker finishes its leases, then closes the channel.
    Retire,
    /// Closes the channel and withdraws the connections that are not acknowledged.
    Close(CloseReason),
    /// Answers RETURN. Since version [`RETURNS_SINCE`].
    Returned(Records<'a, Returned>),
    /// Sends the address of one listener. Since version [`LISTENING_SINCE`].
    Listening(ListenerAddress),
    /// Tells what a proxy told about the client of a connection, whose CONNECTION follows. Since version [`PROXIED_SINCE`].
    Proxied(ConnectionId, Box<Proxied>),
    /// Sends the keys of TLS session tickets, right after WELCOME. Since version [`TICKET_KEYS_SINCE`].
    TicketKeys(TicketKeys),
    /// Announces that the server will drain, and accepts until then: HTTP responses should be the last on their connections. Since
    /// version [`DRAIN_SOON_SINCE`].
    DrainSoon,
}

/// A complete frame at the start of a stream, whose records are not decoded yet.
struct RawFrame<'a> {
    kind: u8,
    count: u16,
    records: &'a [u8],
    size: usize,
}

impl<'a> RawFrame<'a> {
    /// Returns the first frame of `bytes`; `None` if it is incomplete. An invalid header is an error before its records arrive.
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

    /// Decodes the record of a kind that has exactly one.
    fn one<R: Record>(&self) -> Result<R, FrameError> {
        Records::new(self.records).next().unwrap_or(Err(FrameError::Count {
            kind: self.kind,
            count: self.count,
        }))
    }
}

/// The size and the allowed number of records of a kind.
struct Shape {
    size: usize,
    count: Count,
}

enum Count {
    None,
    One,
    Many,
    /// Bytes of one record of variable size.
    Bytes {
        min: usize,
        max: usize,
    },
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

    const fn bytes(min: usize, max: usize) -> Self {
        Self {
            size: 1,
            count: Count::Bytes { min, max },
        }
    }

    fn allows(&self, count: u16) -> bool {
        match self.count {
            Count::None => count == 0,
            Count::One => count == 1,
            Count::Many => (1..=MAX_RECORDS).contains(&usize::from(count)),
            Count::Bytes { min, max } => (min..=max).contains(&usize::from(count)),
        }
    }
}

impl<'a> ToParent<'a> {
    /// Decodes the first frame of `bytes`. Returns the frame and its size in bytes; `None` if the frame is incomplete.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let raw = RawFrame::from(bytes, |kind| match kind {
            kind::HELLO => Some(Shape::one::<Hello>()),
            kind::ACK | kind::ENDED_IDS => Some(Shape::many::<ConnectionId>()),
            kind::REFUSE => Some(Shape::many::<Refusal>()),
            kind::ENDED => Some(Shape::one::<u32>()),
            kind::CREDIT | kind::CANCEL => Some(Shape::many::<Credit>()),
            kind::LEAVE | kind::NUDGE => Some(Shape::none()),
            kind::RETURN => Some(Shape::one::<ConnectionId>()),
            _ => None,
        })?;
        let Some(raw) = raw else { return Ok(None) };
        let frame = match raw.kind {
            kind::HELLO => Self::Hello(raw.one()?),
            kind::ACK => Self::Ack(Records::new(raw.records)),
            kind::REFUSE => Self::Refuse(Records::new(raw.records)),
            kind::ENDED => Self::Ended(raw.one()?),
            kind::CREDIT => Self::Credit(Records::new(raw.records)),
            kind::CANCEL => Self::Cancel(Records::new(raw.records)),
            kind::LEAVE => Self::Leave,
            kind::RETURN => Self::Return(raw.one()?),
            kind::ENDED_IDS => Self::EndedIds(Records::new(raw.records)),
            _ => Self::Nudge,
        };
        Ok(Some((frame, raw.size)))
    }
}

impl<'a> ToWorker<'a> {
    /// Decodes the first frame of `bytes`. Returns the frame and its size in bytes; `None` if the frame is incomplete.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let raw = RawFrame::from(bytes, |kind| match kind {
            kind::WELCOME => Some(Shape::one::<Welcome>()),
            kind::CONNECTION => Some(Shape::many::<ConnectionHead>()),
            kind::RECALL => Some(Shape::many::<ConnectionId>()),
            kind::CANCELLED => Some(Shape::many::<Credit>()),
            kind::DRAIN | kind::RETIRE | kind::DRAIN_SOON => Some(Shape::none()),
            kind::CLOSE => Some(Shape::one::<CloseReason>()),
            kind::RETURNED => Some(Shape::many::<Returned>()),
            kind::LISTENING => Some(Shape::one::<ListenerAddress>()),
            kind::PROXIED => Some(Shape::bytes(FIXED, FIXED + MAX_TLVS)),
            kind::TICKET_KEYS => Some(Shape::one::<TicketKeys>()),
            _ => None,
        })?;
        let Some(raw) = raw else { return Ok(None) };
        let frame = match raw.kind {
            kind::WELCOME => Self::Welcome(raw.one()?),
            kind::CONNECTION => Self::Connection(Records::new(raw.records)),
            kind::RECALL => Self::Recall(Records::new(raw.records)),
            kind::CANCELLED => Self::Cancelled(Records::new(raw.records)),
            kind::DRAIN => Self::Drain,
            kind::DRAIN_SOON => Self::DrainSoon,
            kind::RETIRE => Self::Retire,
            kind::RETURNED => Self::Returned(Records::new(raw.records)),
            kind::LISTENING => Self::Listening(raw.one()?),
            kind::PROXIED => {
                let (id, proxied) = Proxied::decode(raw.records)?;
                // Boxed, because every other frame would be moved with the size of this one.
                Self::Proxied(id, Box::new(proxied))
            }
            kind::TICKET_KEYS => Self::TicketKeys(raw.one()?),
            _ => Self::Close(raw.one()?),
        };
        Ok(Some((frame, raw.size)))
    }
}
