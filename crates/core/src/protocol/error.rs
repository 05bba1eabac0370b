//! Violations of `PROTOCOL.md` by the peer of a channel.

use thiserror::Error;

use super::limits::{FRAME_TIMEOUT, MAX_IGNORED_ROUNDS};
use super::version::OLDEST_VERSION;

/// A violation of `PROTOCOL.md` by the peer of a channel. Every violation ends the channel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The bytes are not a valid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first frame was not a HELLO.
    #[error("the first frame was not a HELLO")]
    NoHello,
    /// The peer sent a second HELLO.
    #[error("a second HELLO")]
    SecondHello,
    /// The peer and this side have no version in common.
    #[error("the peer speaks versions {theirs_min} to {theirs_max}, this side speaks {OLDEST_VERSION} to {ours}")]
    Version {
        /// The oldest version that the peer speaks.
        theirs_min: u16,
        /// The newest version that the peer speaks.
        theirs_max: u16,
        /// The newest version of this side.
        ours: u16,
    },
    /// An ACK or a REFUSE names a connection that is not in flight to the peer.
    #[error("connection {id} is not in flight on this channel")]
    UnknownConnection {
        /// The id in the frame.
        id: u64,
    },
    /// A RETURN names a connection that the peer has not leased, or that it took too long ago. Or an `ENDED_IDS` names a connection
    /// that is not tracked, or whose end was reported before.
    #[error("connection {id} is not leased on this channel")]
    NotLeased {
        /// The id in the frame.
        id: u64,
    },
    /// The descriptor of a RETURN does not refer to the connection.
    #[error("the descriptor returned for connection {id} is not of that connection")]
    NotTheConnection {
        /// The id in the frame.
        id: u64,
    },
    /// The peer held the lock of the socket that it handed back, so that the socket could not be examined.
    #[error("the socket returned for connection {id} stays locked")]
    LockedSocket {
        /// The id in the frame.
        id: u64,
    },
    /// The peer ended more leases than it held.
    #[error("{ended} leases ended, {leases} were held")]
    TooManyEnded {
        /// The number of ended leases that the peer reported.
        ended: u32,
        /// The number of leases that the peer held.
        leases: u32,
    },
    /// The peer ended leases of tracked connections, and did not report these connections by their ids.
    #[error("the ends of more than {limit} tracked connections are not reported")]
    TooManyUnreported {
        /// [`super::limits::MAX_UNREPORTED`].
        limit: usize,
    },
    /// The credit of the channel exceeds its maximum.
    #[error("credit of {credit} exceeds the limit of {limit}")]
    TooMuchCredit {
        /// The sum of the credit.
        credit: u64,
        /// [`super::limits::MAX_CREDIT`].
        limit: u32,
    },
    /// A CREDIT record has count 0.
    #[error("credit for 0 connections on lane {lane}")]
    EmptyCredit {
        /// The lane of the record.
        lane: u16,
    },
    /// The channel has credit on too many lanes.
    #[error("credit on more than {limit} lanes")]
    TooManyLanes {
        /// [`super::limits::MAX_LANES`].
        limit: usize,
    },
    /// The server sent more listeners than a worker learns of.
    #[error("more than {limit} listeners")]
    TooManyListeners {
        /// [`super::limits::MAX_LISTENERS`].
        limit: usize,
    },
    /// The server told of the clients of more connections than may be in flight.
    #[error("more than {limit} PROXIED frames without their connection")]
    TooManyProxied {
        /// [`super::limits::WINDOW`].
        limit: usize,
    },
    /// More descriptors arrived than the frames declare.
    #[error("descriptors arrived that no frame declares")]
    SurplusDescriptors,
    /// Fewer descriptors arrived than the frames declare, and the kernel reported no truncation.
    #[error("a frame declares {declared} descriptors, {received} arrived")]
    MissingDescriptors {
        /// The number of descriptors that the frame declares.
        declared: usize,
        /// The number of descriptors that arrived.
        received: usize,
    },
    /// The descriptor of the scoreboard did not arrive, or cannot be mapped.
    #[error("the scoreboard did not arrive or cannot be mapped")]
    NoScoreboard,
    /// The scoreboard contains an invalid value.
    #[error("the scoreboard contains an invalid value for connection {id}")]
    Scoreboard {
        /// The connection in the slot.
        id: u64,
    },
    /// A frame that must not be sent on a channel with a scoreboard.
    #[error("a frame that is not allowed on a channel with a scoreboard")]
    NotByFrame,
    /// A RECALL was answered by neither an ACK nor a REFUSE.
    #[error("a recall was not answered within 5 seconds")]
    Unanswered,
    /// The peer repeatedly read none of its recalled connections, although its event loop turned or it granted credit.
    #[error("no connection was taken in {} rounds of recalls", MAX_IGNORED_ROUNDS)]
    TakesNothing,
    /// The peer has acked or refused all connections, and has not read all of them.
    #[error("a connection was acknowledged before it was read")]
    AckedUnread,
    /// The rest of a frame did not arrive in time.
    #[error("a frame was not finished within {} seconds", FRAME_TIMEOUT.as_secs())]
    UnfinishedFrame,
    /// The stream ended within a frame.
    #[error("the channel ended within a frame")]
    IncompleteFrame,
}

/// Why bytes are not a valid frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No frame in this direction has this kind.
    #[error("unknown frame kind 0x{0:02x}")]
    Kind(u8),
    /// A reserved byte is not zero.
    #[error("a reserved byte is not zero in frame kind 0x{0:02x}")]
    Reserved(u8),
    /// A frame of this kind cannot have this number of records.
    #[error("{count} records in frame kind 0x{kind:02x}")]
    Count {
        /// The kind in the header.
        kind: u8,
        /// The number of records in the header.
        count: u16,
    },
    /// The length and the number of records disagree.
    #[error("length {length} does not fit {count} records in frame kind 0x{kind:02x}")]
    Length {
        /// The kind in the header.
        kind: u8,
        /// The number of records in the header.
        count: u16,
        /// The length in the header.
        length: u32,
    },
    /// The first bytes of a HELLO or WELCOME are not "SSRV".
    #[error("the magic bytes are {0:02x?}, not \"SSRV\"")]
    Magic([u8; 4]),
    /// The address family is unknown.
    #[error("unknown address family {0}")]
    Family(u8),
    /// The path of a listener does not fit its record.
    #[error("a path of {0} bytes")]
    PathLength(u8),
    /// The reason is unknown.
    #[error("unknown reason {0}")]
    Reason(u32),
}
