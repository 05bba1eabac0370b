//! What a channel's peer did against `PROTOCOL.md`.

use thiserror::Error;

use super::frame::{FrameError, OLDEST_VERSION};
use super::limits::{FRAME_WITHIN, MAX_IGNORED_ROUNDS};

/// What a channel's peer did against `PROTOCOL.md`. It always ends the channel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first frame has to be a hello.
    #[error("the first frame was not a hello")]
    NoHello,
    /// A second hello.
    #[error("a second hello")]
    SecondHello,
    /// No version in common.
    #[error("the peer speaks versions {theirs_min} to {theirs_max}, this side speaks {OLDEST_VERSION} to {ours}")]
    Version {
        /// The oldest version that the peer speaks.
        theirs_min: u16,
        /// The newest version that the peer speaks.
        theirs_max: u16,
        /// The newest version of this side.
        ours: u16,
    },
    /// An ack or a refusal of a connection that the peer does not hold.
    #[error("connection {id} is not under way on this channel")]
    UnknownConnection {
        /// The id that the peer named.
        id: u64,
    },
    /// The return of a connection that is not leased to the peer, or was so too long ago.
    #[error("connection {id} is not leased on this channel")]
    NotLeased {
        /// The id that the peer named.
        id: u64,
    },
    /// A returned connection's descriptor is of something else.
    #[error("the descriptor returned for connection {id} is not of that connection")]
    NotTheConnection {
        /// The id that the peer named.
        id: u64,
    },
    /// More leases ended than there were.
    #[error("{ended} leases ended, {leases} were held")]
    TooManyEnded {
        /// As told by the peer.
        ended: u32,
        /// As counted here.
        leases: u32,
    },
    /// Credit beyond what a channel may hold.
    #[error("credit of {credit} is beyond the limit of {limit}")]
    TooMuchCredit {
        /// What the credit would have become.
        credit: u64,
        /// [`super::limits::MAX_CREDIT`].
        limit: u32,
    },
    /// Credit for no connection.
    #[error("credit for 0 connections on lane {lane}")]
    EmptyCredit {
        /// The lane of the credit.
        lane: u16,
    },
    /// Credit on more lanes than one worker may serve.
    #[error("credit on more than {limit} lanes")]
    TooManyLanes {
        /// [`super::limits::MAX_LANES`].
        limit: usize,
    },
    /// More descriptors than the frames declare, or any at all where none belong.
    #[error("descriptors arrived that no frame declares")]
    SurplusDescriptors,
    /// Fewer descriptors than the frames declare, with no truncation by the kernel to explain it.
    #[error("a frame declares {declared} descriptors, {received} arrived")]
    MissingDescriptors {
        /// As the frame says.
        declared: usize,
        /// As received.
        received: usize,
    },
    /// The scoreboard that was promised did not come or cannot be mapped.
    #[error("the scoreboard did not arrive or cannot be mapped")]
    NoScoreboard,
    /// The scoreboard says what cannot be.
    #[error("the scoreboard says what cannot be of connection {id}")]
    Scoreboard {
        /// The connection in the slot.
        id: u64,
    },
    /// A frame for what the scoreboard says.
    #[error("a frame that has no place on a channel with a scoreboard")]
    NotByFrame,
    /// A recall that was answered neither by an ack nor by a refusal.
    #[error("a recall was not answered within 5 seconds")]
    Unanswered,
    /// Connections recalled again and again and none read, by a worker whose event loop turns or that asks for more.
    #[error("no connection was taken in {} rounds of recalls", MAX_IGNORED_ROUNDS)]
    TakesNothing,
    /// The beginning of a frame whose rest did not follow.
    #[error("a frame was not finished within {} seconds", FRAME_WITHIN.as_secs())]
    UnfinishedFrame,
    /// The stream ended within a frame.
    #[error("the channel ended within a frame")]
    CutFrame,
}
