//! What the dispatcher is told, what its rules are told, and what the rules call for.

use std::time::Duration;

use tokio::task::AbortHandle;

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::notice::ShedReason;
use crate::protocol::ProtocolError;
use crate::protocol::records::{Credit, Hello, Refusal};
use crate::sys::ForeignFd;

/// What the dispatcher is told.
#[derive(Debug)]
pub enum Message {
    /// Something that the rules know.
    Event(Event<Connection>),
    /// A new channel, with the task that reads it.
    Open(ChannelId, Box<ChannelWriter>, AbortHandle),
    /// A worker introduces itself.
    Hello(ChannelId, Hello),
    /// A worker has news on its scoreboard.
    Nudge(ChannelId),
    /// A worker returns a connection; without its descriptor if that did not arrive.
    Returned(ChannelId, ConnectionId, Option<ForeignFd>),
    /// A worker's frames, all of one read.
    Frames(ChannelId, Vec<Event<Connection>>),
    /// What reads a channel has panicked.
    Panicked(String),
    /// A channel's stream has ended.
    End(ChannelId, Result<(), ProtocolError>),
    /// A channel's socket has room again.
    Writable(ChannelId),
    /// The owner wants a worker to finish and leave.
    Retire(ChannelId),
    /// The owner wants a channel to end now.
    Dismiss(ChannelId),
    /// The owner wants everything to end now. Nothing is accepted any more.
    Destroy,
}

/// What has happened.
#[derive(Debug)]
pub enum Event<C> {
    /// The acceptor has accepted one.
    Accepted(C),
    /// A channel exists; its worker has not said hello yet.
    Opened(ChannelId),
    /// Its worker has said hello.
    Joined(ChannelId),
    /// A worker grants credit.
    Credit(ChannelId, Credit),
    /// A worker takes unused credit back.
    Cancel(ChannelId, Credit),
    /// A worker has taken a connection.
    Acked(ChannelId, ConnectionId),
    /// A worker gives one back.
    Refused(ChannelId, Refusal),
    /// A worker hands back one that it had taken.
    HandedBack(ChannelId, C),
    /// Taken back from a worker by the scoreboard, before it was taken.
    TakenBack(ChannelId, ConnectionId),
    /// A worker has read everything that was sent to it.
    Read(ChannelId),
    /// A worker's event loop turns.
    Alive(ChannelId),
    /// So many leases of a worker are over.
    Ended(ChannelId, u32),
    /// A worker wants no more, or is to be given no more.
    Retired(ChannelId),
    /// The channel is over: nothing can be sent or received on it any more.
    Lost(ChannelId),
    /// A channel's socket has room again.
    Writable(ChannelId),
    /// These could not be sent.
    NotSent(ChannelId, Vec<ConnectionId>, SendFailure),
    /// All listeners are closed and their backlogs empty.
    ListenersClosed,
    /// Finish what there is, then say so.
    Drain,
    /// Give up what waits.
    Destroyed,
}

/// Why a handoff was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// The socket is full.
    Full,
    /// ETOOMANYREFS: too many descriptors of this user are under way.
    TooManyInFlight,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action<C> {
    /// Send these, which are under way from now on, in one frame.
    HandOff(ChannelId, Vec<ConnectionId>),
    /// Ask for these back.
    Recall(ChannelId, Vec<ConnectionId>),
    /// Answer a cancel.
    Cancelled(ChannelId, Credit),
    /// It is this channel's now: close our copy. It had waited so long.
    Release(ChannelId, C, Duration),
    /// Reset it.
    Shed(C, ShedReason),
    /// A worker has just run out of descriptors.
    OutOfDescriptors(ChannelId),
    /// A worker has left a recall unanswered: end its channel.
    Unanswered(ChannelId),
    /// A worker that takes nothing shows life: see whether it has read what was sent, and say [`Event::Read`] if it has.
    AskWhetherRead(ChannelId),
    /// A worker has left too much unread although it lives: end its channel.
    TakesNothing(ChannelId),
    /// Everything is finished.
    Drained,
}
