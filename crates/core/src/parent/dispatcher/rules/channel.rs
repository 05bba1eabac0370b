//! One channel as the rules see it: its lifecycle, its credit, the connections in flight to its worker and the leases that its
//! worker holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::ConnectionId;
use crate::parent::dispatcher::rules::credit::CreditBook;
use crate::parent::dispatcher::rules::handoff_count::HandoffCount;
use crate::parent::dispatcher::rules::tracked::Tracked;
use crate::parent::dispatcher::rules::unread::Unread;
use crate::parent::notice::EndReason;
use crate::parent::queue::Waiting;
use crate::parent::routing::source_counts::CountedSource;
use crate::protocol::ProtocolError;
use crate::protocol::limits::{RETURNABLE, WINDOW};
use crate::protocol::records::Credit;
use crate::stats::ChannelCounters;

/// A channel. `I` is the driver's part, its socket and scoreboard, which the rules never touch.
#[derive(Debug)]
pub struct Channel<C: Waiting, I> {
    pub(in crate::parent::dispatcher) io: I,
    pub(in crate::parent::dispatcher) lifecycle: Lifecycle,
    /// The slot of the worker, for connections that belong to one.
    pub(super) slot: Option<u32>,
    pub(super) health: Health,
    /// The worker has stalled recently. Until this time other workers are preferred.
    pub(super) suspect_until: Option<Instant>,
    pub(super) credit: CreditBook,
    pub(in crate::parent::dispatcher) in_flight: VecDeque<InFlight<C>>,
    /// The maximum number of connections in flight. The window falls to 1 when the worker is out of descriptors, because every
    /// further connection would be sent, refused and sent to another worker. The window grows again with each ack.
    pub(super) window: usize,
    /// The maximum number of descriptors in flight, whatever the window.
    pub(super) share: usize,
    pub(super) unread: Unread,
    pub(super) counters: ChannelCounters,
    /// The counters at the last call of [`State::changed_counters`](super::State::changed_counters).
    pub(super) published: ChannelCounters,
    pub(super) last_handoff_at: Option<Instant>,
    /// When the worker last ran out of descriptors.
    pub(super) exhausted_at: Option<Instant>,
    pub(super) handoffs: HandoffCount,
    /// The connections that the worker took last and has not handed back.
    taken: VecDeque<(ConnectionId, C::Metadata)>,
    /// The counts of the taken connections whose sources are limited; `None` if the worker does not report the ends of connections
    /// by their ids. Boxed, so that the channels, which the dispatcher reads in each turn, are close together in memory.
    pub(super) tracked: Option<Box<Tracked>>,
}

/// The life of a channel. A channel moves only down this list.
#[derive(Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// The worker has not sent HELLO.
    Joining {
        /// Whether the worker is retired as soon as it is welcomed.
        retire: bool,
    },
    /// The worker gets connections for its credit.
    Open,
    /// The worker gets no more connections, because the parent or the worker asked for this, and finishes its leases.
    Retired,
    /// Nothing is sent any more. Frames that the worker sent before still count: an acked connection stays with the worker.
    Closing {
        /// Why the channel ends.
        reason: EndReason,
        /// When the driver shuts the reading side, unless the stream ends before.
        read_until: Option<Instant>,
    },
}

/// A connection that was sent and not acked. The parent keeps its copy of the connection until the ack.
#[derive(Debug)]
pub struct InFlight<C> {
    /// The parent's copy.
    pub connection: C,
    /// When the connection was sent.
    pub sent_at: Instant,
    /// How long the connection had waited when it was sent.
    pub waited: Duration,
    /// The lane whose credit was used.
    pub lane: u16,
    /// When the connection was recalled.
    pub(super) recalled_at: Option<Instant>,
    /// The number of the handoff on the channel.
    pub(super) number: u64,
}

/// Whether the worker can take connections now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The worker can.
    Ready,
    /// The worker left a connection untaken for too long. It gets none while another worker can take connections, until its
    /// event loop turns.
    Stalled {
        /// When the oldest untaken connection was sent.
        since: Instant,
        /// Earliest time to send one probe connection.
        probe_at: Instant,
    },
    /// The socket is full. The worker gets nothing until the socket is writable.
    Blocked,
    /// The worker is out of descriptors. It gets nothing before this time or the end of one of its leases, and then one.
    Exhausted(Instant),
}

impl Lifecycle {
    /// Marks the worker as welcomed.
    pub(super) fn welcome(&mut self) {
        match self {
            Self::Joining { retire: false } => *self = Self::Open,
            Self::Joining { retire: true } => *self = Self::Retired,
            Self::Open | Self::Retired | Self::Closing { .. } => {}
        }
    }

    /// Marks the worker as retired. Returns false if the worker was retired before.
    pub(super) fn retire(&mut self) -> bool {
        match self {
            Self::Joining { retire } => !std::mem::replace(retire, true),
            Self::Open => {
                *self = Self::Retired;
                true
            }
            Self::Retired | Self::Closing { .. } => false,
        }
    }

    /// Marks the channel as closing. Returns false if the channel is closing already.
    pub(in crate::parent::dispatcher) fn close(&mut self, reason: EndReason) -> bool {
        if matches!(self, Self::Closing { .. }) {
            return false;
        }
        *self = Self::Closing {
            reason,
            read_until: None,
        };
        true
    }

    /// Returns whether frames can be sent: after WELCOME, which is the first, and before CLOSE, which is the last.
    pub(in crate::parent::dispatcher) fn is_welcomed(&self) -> bool {
        matches!(self, Self::Open | Self::Retired)
    }

    /// Returns whether the end of the channel is expected.
    pub(in crate::parent::dispatcher) fn is_retired(&self) -> bool {
        matches!(self, Self::Joining { retire: true } | Self::Retired)
    }
}

impl<C: Waiting, I> Channel<C, I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            lifecycle: Lifecycle::Joining { retire: false },
            slot: None,
            health: Health::Ready,
            suspect_until: None,
            credit: CreditBook::default(),
            in_flight: VecDeque::new(),
            window: WINDOW,
            share: WINDOW,
            unread: Unread::default(),
            counters: ChannelCounters::default(),
            published: ChannelCounters::default(),
            last_handoff_at: None,
            exhausted_at: None,
            handoffs: HandoffCount::default(),
            taken: VecDeque::new(),
            tracked: None,
        }
    }

    /// Adds credit. A worker that gets no more connections may still grant some.
    pub(super) fn grant(&mut self, credit: Credit, now: Instant) -> Result<(), ProtocolError> {
        if self.lifecycle != Lifecycle::Open {
            return Ok(());
        }
        self.credit.grant(credit)?;
        // Only the worker's own event loop grants credit.
        self.mark_alive(now);
        Ok(())
    }

    /// Returns the connection in flight with this id.
    pub(in crate::parent::dispatcher) fn in_flight(&self, id: ConnectionId) -> Option<&InFlight<C>> {
        self.in_flight.iter().find(|sent| sent.connection.id() == id)
    }

    /// Adds a connection in flight, which used a credit of `lane`.
    pub(super) fn hand_off(&mut self, connection: C, lane: u16, now: Instant) {
        self.last_handoff_at = Some(now);
        let number = self.handoffs.add();
        let waited = now.saturating_duration_since(connection.since());
        self.in_flight.push_back(InFlight {
            connection,
            sent_at: now,
            waited,
            lane,
            recalled_at: None,
            number,
        });
    }

    /// Begins the lease of a connection. Returns the parent's copy.
    pub(super) fn ack(&mut self, id: ConnectionId, now: Instant) -> Result<InFlight<C>, ProtocolError> {
        let mut sent = self.remove_in_flight(id)?;
        self.unread.answered(sent.number);
        self.unread.end_rounds();
        self.counters.leases += 1;
        self.counters.taken += 1;
        // The worker counts the connections in the order in which it takes them, the parent in the order of the acks. The
        // two orders differ by a window at most.
        if self.taken.len() == RETURNABLE + WINDOW {
            self.taken.pop_front();
        }
        self.taken.push_back((id, sent.connection.metadata()));
        if let Some(counted) = sent.connection.take_counted() {
            self.keep_counted(id, counted)?;
        }
        self.window = (2 * self.window).min(WINDOW);
        self.mark_alive(now);
        // The worker had a free descriptor. A full socket stays full until it is writable.
        if self.health != Health::Blocked {
            self.health = Health::Ready;
        }
        Ok(sent)
    }

    /// Ends leases.
    pub(super) fn end_leases(&mut self, ended: u32, now: Instant) -> Result<(), ProtocolError> {
        let leases = self.counters.leases;
        self.counters.leases = leases
            .checked_sub(ended)
            .ok_or(ProtocolError::TooManyEnded { ended, leases })?;
        // The end of a lease frees a descriptor.
        if let Health::Exhausted(until) = &mut self.health {
            *until = now;
        }
        Ok(())
    }

    /// Returns whether the worker reports the ends of tracked connections by their ids.
    pub(in crate::parent::dispatcher) fn reports_ends(&self) -> bool {
        self.tracked.is_some()
    }

    /// Keeps the count of a taken connection until the worker reports the end of the connection. If the worker does not report ends,
    /// the count ends now.
    pub(super) fn keep_counted(&mut self, id: ConnectionId, counted: CountedSource) -> Result<(), ProtocolError> {
        let leases = self.counters.leases;
        match self.tracked.as_deref_mut() {
            Some(tracked) => tracked.keep(id, counted, leases),
            None => Ok(()),
        }
    }

    /// Returns the count of a taken connection, which is no longer kept.
    pub(super) fn release_counted(&mut self, id: ConnectionId) -> Result<CountedSource, ProtocolError> {
        let tracked = self.tracked.as_deref_mut();
        let counted = tracked.and_then(|tracked| tracked.release(id));
        counted.ok_or(ProtocolError::NotLeased { id })
    }

    /// Returns the metadata of a connection that the worker has taken and may hand back.
    pub(super) fn metadata(&self, id: ConnectionId) -> Option<&C::Metadata> {
        if self.counters.leases == 0 {
            return None;
        }
        let mut taken = self.taken.iter().rev();
        taken.find(|(taken, _)| *taken == id).map(|(_, metadata)| metadata)
    }

    /// Forgets the metadata of a connection that the worker hands back.
    pub(super) fn forget_taken(&mut self, id: ConnectionId) -> Result<(), ProtocolError> {
        let index = self.taken.iter().rposition(|(taken, _)| *taken == id);
        let index = index.filter(|_| self.counters.leases > 0);
        self.taken.remove(index.ok_or(ProtocolError::NotLeased { id })?);
        Ok(())
    }

    /// Removes a connection in flight.
    pub(super) fn remove_in_flight(&mut self, id: ConnectionId) -> Result<InFlight<C>, ProtocolError> {
        let index = self.in_flight.iter().position(|sent| sent.connection.id() == id);
        index
            .and_then(|index| self.in_flight.remove(index))
            .ok_or(ProtocolError::UnknownConnection { id })
    }

    /// Returns the connections in flight that are not recalled, the oldest first.
    pub(super) fn untaken(&self) -> impl Iterator<Item = &InFlight<C>> {
        self.in_flight.iter().filter(|sent| sent.recalled_at.is_none())
    }

    /// Returns whether nothing is in flight and no lease is held.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.counters.leases == 0
    }

    /// Returns whether the channel, now or when its worker is less busy, takes connections of `port`.
    pub(super) fn serves(&self, port: u16) -> bool {
        self.lifecycle == Lifecycle::Open
            && !matches!(self.health, Health::Stalled { .. })
            && !self.is_window_unread()
            && !self.is_at_unread_limit()
            && self.credit.serves(port)
    }

    /// Returns whether the recalled connections that the worker has not read fill the window. Descriptors in flight count
    /// against a limit of the worker's user.
    pub(super) fn is_window_unread(&self) -> bool {
        !self.unread.is_empty() && self.in_flight.len() + self.unread.len() >= self.window.min(self.share)
    }
}
