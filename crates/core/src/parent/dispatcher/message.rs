//! The dispatcher's vocabulary: the messages in its inbox, the events that its rules receive, and the actions that its rules
//! return.

use std::time::Duration;

use tokio::task::AbortHandle;

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::notice::ShedReason;
use crate::parent::returned_socket::ReturnedSocket;
use crate::protocol::ProtocolError;
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::records::{CloseReason, Credit, Hello, Refusal};

/// A message in the dispatcher's inbox.
#[derive(Debug)]
pub enum Message {
    /// An event that the rules handle without the help of the driver.
    Event(Event<Connection>),
    /// A new channel, with the task that reads it.
    Open(ChannelId, Box<ChannelWriter>, AbortHandle),
    /// The server listens at one more address.
    Listening(ListenerAddress),
    /// A worker has sent HELLO.
    Hello(ChannelId, Hello),
    /// A worker has written to its scoreboard.
    Nudge(ChannelId),
    /// A worker hands a connection back. The descriptor is missing if it did not arrive.
    HandBack(ChannelId, ConnectionId, Option<Box<ReturnedSocket>>),
    /// The other frames of a worker, all from one read.
    Frames(ChannelId, Vec<WorkerEvent<Connection>>),
    /// The task that reads a channel has panicked.
    Panicked(String),
    /// The stream of a channel has ended.
    End(ChannelId, Result<(), ProtocolError>),
    /// The socket of a channel has room again.
    Writable(ChannelId),
    /// The owner retires a worker.
    Retire(ChannelId),
    /// The number of slots of the pool whose first slot has this number.
    Slots {
        /// The number of the first slot.
        first: u32,
        /// The number of slots; 0 removes the pool.
        count: u32,
    },
    /// The owner assigns the worker of a channel to a slot.
    Assign(ChannelId, u32),
    /// The owner will drain the server soon.
    DrainSoon,
    /// The owner closes a channel at once.
    Dismiss(ChannelId),
    /// The owner ends the server at once. Nothing is accepted any more.
    Destroy,
}

/// An event in the parent, which is always valid.
#[derive(Debug)]
pub enum Event<C> {
    /// The acceptor has accepted a connection.
    Accepted(C),
    /// The worker of a channel has been welcomed.
    Welcomed(ChannelId),
    /// A connection was recalled on the scoreboard before its worker claimed it.
    Recalled(ChannelId, ConnectionId),
    /// A worker has read everything that was sent to it.
    AllRead(ChannelId),
    /// A worker has not read everything that was sent to it. The flag tells whether the last frame was a handoff.
    NotAllRead(ChannelId, bool),
    /// A worker gets no more connections.
    Retired(ChannelId),
    /// Nothing can be sent or received on a channel any more.
    Lost(ChannelId),
    /// The socket of a channel has room again.
    Writable(ChannelId),
    /// A handoff of these connections failed. Nothing was sent.
    NotSent(ChannelId, Vec<ConnectionId>, SendFailure),
    /// The server stops accepting, and finishes the queue and the leases.
    Drain,
    /// All listeners are closed, and their backlogs are empty.
    ListenersClosed,
    /// The server sheds all waiting connections.
    Destroyed,
}

/// An event that a worker reports, by a frame or on its scoreboard. The report may be invalid: see [`ProtocolError`].
#[derive(Debug)]
pub enum WorkerEvent<C> {
    /// The worker grants credit.
    Credit(Credit),
    /// The worker cancels unused credit.
    Cancel(Credit),
    /// The worker has taken a connection.
    Acked(ConnectionId),
    /// The worker refuses a connection in flight.
    Refused(Refusal),
    /// The worker hands back a connection that it had taken.
    HandedBack(Box<C>),
    /// The event loop of the worker has turned.
    Alive,
    /// This many leases of the worker have ended.
    Ended(u32),
    /// The lease of this tracked connection has ended.
    TrackedEnded(ConnectionId),
    /// The worker leaves: it wants no more connections.
    Leaves,
}

/// Why a handoff was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// The socket is full.
    Full,
    /// ETOOMANYREFS: too many descriptors of this user are in flight.
    TooManyInFlight,
}

/// An action of the rules. The driver performs actions in order.
#[derive(Debug)]
pub enum Action<C> {
    /// Send these connections, which are in flight from now on, in one frame.
    HandOff(ChannelId, Vec<ConnectionId>),
    /// Recall these connections.
    Recall(ChannelId, Vec<ConnectionId>),
    /// Answer a cancel with the credit that was left.
    Cancelled(ChannelId, Credit),
    /// Close this copy of a connection: the worker has taken it, after the connection had waited this long.
    Release(ChannelId, C, Duration),
    /// Reset a connection.
    Shed(C, ShedReason),
    /// Report that a worker is out of descriptors.
    ReportNoDescriptors(ChannelId),
    /// Close the channel, which is [`Lifecycle::Closing`](super::rules::channel::Lifecycle::Closing) already.
    Close(ChannelId, CloseReason),
    /// Find out whether the worker has read everything that was sent, and answer with [`Event::AllRead`] or
    /// [`Event::NotAllRead`].
    CheckRead(ChannelId),
    /// Report that the drain is complete.
    ReportDrained,
}
