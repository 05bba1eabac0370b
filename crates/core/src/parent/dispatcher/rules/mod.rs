//! The dispatcher's rules, pure: an event and the time in, actions out. No socket, no clock, no waiting.
//!
//! Where a connection can be: in the queue, under way to a worker, or gone (acked or shed). Every method moves it from
//! one of these places to another by value, so it can be neither lost nor doubled; the property tests in `tests/it`
//! play random events against this.

pub mod credit;
pub mod ledger;
pub mod policy;
mod select;
pub mod timeouts;
pub mod unread;

use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::config::Config;
use crate::parent::dispatcher::channel_map::ChannelMap;
pub use crate::parent::dispatcher::message::{Action, Event, SendFailure};
use crate::parent::dispatcher::rules::ledger::{Fitness, Ledger, Phase, Rank};
use crate::parent::dispatcher::rules::policy::Policy;
use crate::parent::notice::ShedReason;
use crate::parent::queue::{Queue, Waiting};
use crate::protocol::ProtocolError;
pub use crate::stats::{ChannelCounters, Counts};

/// How long to hold all sends after ETOOMANYREFS, unless an ack comes before: descriptors under way are counted against
/// the user's limit over all processes (unix(7)), so one that arrives makes room.
pub const HOLD: Duration = Duration::from_millis(10);

/// The whole state of a server, but for its sockets.
#[derive(Debug)]
pub struct State<C: Waiting> {
    pub(super) queue: Queue<C>,
    pub(super) channels: ChannelMap<Ledger<C>>,
    pub(super) policy: Policy,
    pub(super) queue_timeout: Option<Duration>,
    drain: Drain,
    pub(super) held_until: Option<Instant>,
    pub(super) counts: Counts,
}

/// How far a drain has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    No,
    /// Still accepting what the backlogs hold.
    Accepting,
    /// Only the queue and the leases are left.
    Finishing,
    Done,
}

impl<C: Waiting> State<C> {
    /// A server without listeners, channels and connections.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            queue: Queue::new(),
            channels: ChannelMap::new(),
            policy: Policy::new(config.policy()),
            queue_timeout: config.queue_timeout(),
            drain: Drain::No,
            held_until: None,
            counts: Counts::default(),
        }
    }

    /// Takes an event in. An error is the fault of the channel's peer: end that channel and say [`Event::Lost`].
    pub fn apply(&mut self, event: Event<C>, now: Instant, actions: &mut Vec<Action<C>>) -> Result<(), ProtocolError> {
        match event {
            Event::Accepted(connection) => {
                self.counts.accepted += 1;
                self.put(connection);
            }
            Event::Opened(channel) => {
                self.channels.insert(channel, Ledger::new());
            }
            Event::Joined(channel) => self.with(channel, |ledger| {
                ledger.phase = ledger.phase.max(Phase::Open);
            }),
            Event::Credit(channel, credit) => {
                if let Some(ledger) = self.channels.get_mut(channel) {
                    ledger.grant(credit, now)?;
                }
                self.ask_whether_read(channel, actions);
            }
            Event::Cancel(channel, credit) => self.with(channel, |ledger| {
                actions.push(Action::Cancelled(channel, ledger.credit.cancel(credit)));
            }),
            Event::Acked(channel, id) => self.ack(channel, id, now, actions)?,
            Event::Refused(channel, refusal) => {
                let Some(ledger) = self.channels.get_mut(channel) else {
                    return Ok(());
                };
                let (connection, news) = ledger.refuse(refusal.id, refusal.reason, now)?;
                if news {
                    actions.push(Action::OutOfDescriptors(channel));
                }
                self.put_back(connection);
            }
            Event::HandedBack(channel, mut connection) => {
                let Some(ledger) = self.channels.get_mut(channel) else {
                    return Ok(());
                };
                ledger.hand_back(connection.id(), now)?;
                self.counts.handed_back += 1;
                connection.handed_back(channel, now);
                self.put(connection);
            }
            Event::Alive(channel) => {
                self.with(channel, |ledger| ledger.lives(now));
                self.ask_whether_read(channel, actions);
            }
            Event::TakenBack(channel, id) => {
                let ledger = self.channels.get_mut(channel);
                if let Some(connection) = ledger.and_then(|ledger| ledger.take_back(id)) {
                    self.put_back(connection);
                }
            }
            Event::Read(channel) => self.with(channel, |ledger| ledger.read(now)),
            Event::Ended(channel, ended) => {
                if let Some(ledger) = self.channels.get_mut(channel) {
                    ledger.end(ended, now)?;
                }
            }
            Event::Retired(channel) => self.with(channel, |ledger| {
                ledger.phase = ledger.phase.max(Phase::Retired);
                ledger.credit.clear();
            }),
            Event::Lost(channel) => {
                for connection in self
                    .channels
                    .remove(channel)
                    .into_iter()
                    .flat_map(Ledger::into_in_flight)
                {
                    self.put_back(connection);
                }
            }
            Event::Writable(channel) => self.with(channel, |ledger| {
                if ledger.fitness == Fitness::Blocked {
                    ledger.fitness = Fitness::Ready;
                }
            }),
            Event::NotSent(channel, ids, trouble) => self.not_sent(channel, ids, trouble, now),
            Event::ListenersClosed => {
                if self.drain == Drain::Accepting {
                    self.drain = Drain::Finishing;
                }
            }
            Event::Destroyed => {
                while let Some(place) = self.queue.first(|_| true)
                    && let Some(connection) = self.queue.take(place)
                {
                    self.counts.shed += 1;
                    actions.push(Action::Shed(connection, ShedReason::Destroyed));
                }
            }
            Event::Drain => {
                if self.drain == Drain::No {
                    self.drain = Drain::Accepting;
                }
            }
        }
        Ok(())
    }

    /// Does what time and the events so far call for: sheds, then recalls or hands off. After a recall it has to be called
    /// again: what can be taken back at once is older than what waits, and goes first.
    pub fn advance(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        self.shed(now, actions);
        self.condemn(now, actions);
        if self.recall_expired(now, actions) | self.recall(now, actions) {
            return;
        }
        self.hand_off(now, actions);
        if self.drain == Drain::Finishing && self.queue.is_empty() && self.channels.values().all(Ledger::is_idle) {
            self.drain = Drain::Done;
            actions.push(Action::Drained);
        }
    }

    /// A connection that is under way, to be sent.
    #[must_use]
    pub fn in_flight(&self, channel: ChannelId, id: ConnectionId) -> Option<(&C, u16)> {
        let one = self.channels.get(channel)?.in_flight(id)?;
        Some((&one.connection, one.lane))
    }

    /// What is remembered of a connection that a worker has taken, while it may still hand it back.
    #[must_use]
    pub fn metadata(&self, channel: ChannelId, id: ConnectionId) -> Option<&C::Metadata> {
        self.channels.get(channel)?.metadata(id)
    }

    /// How many wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// What only grows.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many workers have said hello.
    #[must_use]
    pub fn workers(&self) -> usize {
        let joined = self.channels.values().filter(|ledger| ledger.phase > Phase::Joining);
        joined.count()
    }

    /// How the channels stand that stand otherwise than when this was last asked for.
    pub fn changes(&mut self) -> impl Iterator<Item = (ChannelId, ChannelCounters)> + '_ {
        self.channels.iter_mut().filter_map(|(channel, ledger)| {
            let standing = ledger.counters();
            let before = std::mem::replace(&mut ledger.told, standing);
            (standing != before).then_some((channel, standing))
        })
    }

    /// How a channel stands.
    #[must_use]
    pub fn standing(&self, channel: ChannelId) -> ChannelCounters {
        self.channels.get(channel).map(Ledger::counters).unwrap_or_default()
    }

    /// Whether a drain has been asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    fn ack(
        &mut self,
        channel: ChannelId,
        id: ConnectionId,
        now: Instant,
        actions: &mut Vec<Action<C>>,
    ) -> Result<(), ProtocolError> {
        let Some(ledger) = self.channels.get_mut(channel) else {
            return Ok(());
        };
        let one = ledger.ack(id, now)?;
        self.counts.handed_off += 1;
        self.held_until = None;
        let waited = one.sent_at.saturating_duration_since(one.connection.since());
        actions.push(Action::Release(channel, one.connection, waited));
        Ok(())
    }

    fn not_sent(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, trouble: SendFailure, now: Instant) {
        let Some(ledger) = self.channels.get_mut(channel) else {
            return;
        };
        match trouble {
            SendFailure::Full => ledger.fitness = Fitness::Blocked,
            SendFailure::TooManyInFlight => self.held_until = Some(now + HOLD),
        }
        let connections: Vec<C> = ids.into_iter().filter_map(|id| ledger.undo(id)).collect();
        for connection in connections {
            self.put(connection);
        }
    }

    fn hand_off(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        if self.held_until.is_some_and(|until| now < until) {
            return;
        }
        self.held_until = None;
        loop {
            let served = |connection: &C| self.ranks(connection, now).any(|(.., rank)| rank != Rank::None);
            let Some(place) = self.queue.first(served) else {
                return;
            };
            let Some(channel) = self.pick(place, now) else {
                return;
            };
            let Some(ledger) = self.channels.get_mut(channel) else {
                return;
            };
            let Some(paid_by) = ledger.credit.spend(place.lane) else {
                return;
            };
            let Some(connection) = self.queue.take(place) else {
                return;
            };
            let id = connection.id();
            ledger.hand_off(connection, paid_by, now);
            let batch = actions.iter_mut().find_map(|action| match action {
                Action::HandOff(to, ids) if *to == channel => Some(ids),
                _ => None,
            });
            match batch {
                Some(ids) => ids.push(id),
                None => actions.push(Action::HandOff(channel, vec![id])),
            }
        }
    }

    fn ask_whether_read(&self, channel: ChannelId, actions: &mut Vec<Action<C>>) {
        if self
            .channels
            .get(channel)
            .is_some_and(|ledger| !ledger.unread.is_empty())
        {
            actions.push(Action::AskWhetherRead(channel));
        }
    }

    /// Back in its old place, because a worker did not take it.
    fn put_back(&mut self, mut connection: C) {
        connection.mark_reissued();
        self.counts.requeued += 1;
        self.put(connection);
    }

    fn put(&mut self, connection: C) {
        self.queue.put(connection);
        self.counts.max_queued = self.counts.max_queued.max(self.queue.len() as u64);
    }

    pub(super) fn with(&mut self, channel: ChannelId, change: impl FnOnce(&mut Ledger<C>)) {
        if let Some(ledger) = self.channels.get_mut(channel) {
            change(ledger);
        }
    }
}
