//! The dispatcher's rules, pure: an event and the time in, actions out. No socket, no clock, no waiting.
//!
//! Where a connection can be: in the queue, under way to a worker, or gone (acked or shed). Every method moves it from
//! one of these places to another by value, so it can be neither lost nor doubled; the property tests in `tests/it`
//! play random events against this.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use super::event::{Action, Event, SendTrouble};
use super::ledger::{Fitness, Ledger, NOT_AGAIN, Phase, Rank, UnderWay};
use super::policy::Policy;
use crate::channel::ChannelId;
use crate::config::Config;
use crate::connection::ConnectionId;
use crate::error::ProtocolError;
use crate::notice::ShedReason;
use crate::queue::{Queue, Waiting};

/// How long a worker may leave a connection untaken while another has credit, before it is asked to give it back.
/// Far above what an event loop at work needs for a turn, far below what a client notices.
pub const RECALL_AFTER: Duration = Duration::from_millis(5);

/// How long to hold all sends after ETOOMANYREFS, unless an ack comes before: descriptors under way are counted against
/// the user's limit over all processes (unix(7)), so one that arrives makes room.
pub const HOLD: Duration = Duration::from_millis(10);

/// The whole state of a server, but for its sockets.
#[derive(Debug)]
pub struct State<C: Waiting> {
    pub(super) queue: Queue<C>,
    pub(super) channels: BTreeMap<ChannelId, Ledger<C>>,
    pub(super) policy: Policy,
    queue_timeout: Option<Duration>,
    drain: Drain,
    held_until: Option<Instant>,
    counts: Counts,
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

/// What only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that entered the queue.
    pub accepted: u64,
    /// Acks.
    pub handed_off: u64,
    /// Times that a connection went back to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections given up.
    pub shed: u64,
    /// The most that ever waited.
    pub max_queued: u64,
}

/// How a channel stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Leases that its worker holds.
    pub leases: u32,
    /// Its acks.
    pub handed_off: u64,
    /// What it has handed back of these.
    pub handed_back: u64,
    /// Whether its worker has said hello.
    pub has_joined: bool,
}

impl Standing {
    fn of<C: Waiting>(ledger: &Ledger<C>) -> Self {
        Self {
            leases: ledger.leases,
            handed_off: ledger.handed_off,
            handed_back: ledger.handed_back,
            has_joined: ledger.phase > Phase::Joining,
        }
    }
}

impl<C: Waiting> State<C> {
    /// A server without listeners, channels and connections.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            queue: Queue::new(),
            channels: BTreeMap::new(),
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
                if let Some(ledger) = self.channels.get_mut(&channel) {
                    ledger.grant(credit, now)?;
                }
            }
            Event::Cancel(channel, credit) => self.with(channel, |ledger| {
                actions.push(Action::Cancelled(channel, ledger.credit.cancel(credit)));
            }),
            Event::Acked(channel, id) => self.ack(channel, id, now, actions)?,
            Event::Refused(channel, refusal) => {
                let Some(ledger) = self.channels.get_mut(&channel) else {
                    return Ok(());
                };
                let (connection, news) = ledger.refuse(refusal.id, refusal.reason, now)?;
                if news {
                    actions.push(Action::OutOfDescriptors(channel));
                }
                self.put_back(connection);
            }
            Event::HandedBack(channel, mut connection) => {
                let Some(ledger) = self.channels.get_mut(&channel) else {
                    return Ok(());
                };
                ledger.hand_back(connection.id(), now)?;
                self.counts.handed_back += 1;
                connection.handed_back(channel, now);
                self.put(connection);
            }
            Event::Alive(channel) => self.with(channel, |ledger| ledger.lives(now)),
            Event::Ended(channel, ended) => {
                if let Some(ledger) = self.channels.get_mut(&channel) {
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
                    .remove(&channel)
                    .into_iter()
                    .flat_map(Ledger::into_under_way)
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
        if self.recall(now, actions) {
            return;
        }
        self.hand_off(now, actions);
        if self.drain == Drain::Finishing && self.queue.is_empty() && self.channels.values().all(Ledger::is_idle) {
            self.drain = Drain::Done;
            actions.push(Action::Drained);
        }
    }

    /// When `advance` has to be called again if no event comes before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let shed = self
            .queue_timeout
            .and_then(|limit| self.queue.oldest().map(|since| since + limit));
        let resting = self.channels.values().filter_map(|ledger| match ledger.fitness {
            Fitness::Resting(until) | Fitness::Stalled { try_at: until, .. } => Some(until),
            _ => None,
        });
        let resting = resting.filter(|&until| !self.queue.is_empty() && until > now);
        let held = self.held_until.filter(|_| !self.queue.is_empty());
        let again = self.queue.given_back().filter_map(|connection| {
            let giver = connection.giver()?;
            let ledger = self.channels.get(&giver.channel)?;
            let waits = ledger.rank(connection.lane(), now) != Rank::None && !self.may_have_again(connection, now);
            waits.then_some(giver.at + NOT_AGAIN)
        });
        let recall = self.channels.iter().filter_map(|(&channel, ledger)| {
            let wanted = |one: &&UnderWay<C>| self.another_is_ready(channel, &one.connection, now);
            ledger.untaken().find(wanted).map(|one| one.sent_at + RECALL_AFTER)
        });
        let answers = self.channels.values().filter_map(Ledger::answer_due);
        let due = shed.into_iter().chain(resting).chain(held);
        due.chain(again).chain(recall).chain(answers).min()
    }

    /// A connection that is under way, to be sent.
    #[must_use]
    pub fn under_way(&self, channel: ChannelId, id: ConnectionId) -> Option<(&C, u16)> {
        let one = self.channels.get(&channel)?.under_way(id)?;
        Some((&one.connection, one.lane))
    }

    /// What is remembered of a connection that a worker has taken, while it may still hand it back.
    #[must_use]
    pub fn past(&self, channel: ChannelId, id: ConnectionId) -> Option<&C::Past> {
        self.channels.get(&channel)?.past(id)
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

    /// How each channel stands.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, Standing)> + '_ {
        self.channels
            .iter()
            .map(|(&channel, ledger)| (channel, Standing::of(ledger)))
    }

    /// How a channel stands.
    #[must_use]
    pub fn standing(&self, channel: ChannelId) -> Standing {
        self.channels.get(&channel).map(Standing::of).unwrap_or_default()
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
        let Some(ledger) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let one = ledger.ack(id, now)?;
        self.counts.handed_off += 1;
        self.held_until = None;
        let waited = one.sent_at.saturating_duration_since(one.connection.since());
        actions.push(Action::Release(one.connection, waited));
        Ok(())
    }

    fn not_sent(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, trouble: SendTrouble, now: Instant) {
        let Some(ledger) = self.channels.get_mut(&channel) else {
            return;
        };
        match trouble {
            SendTrouble::Full => ledger.fitness = Fitness::Blocked,
            SendTrouble::TooManyUnderWay => self.held_until = Some(now + HOLD),
        }
        let connections: Vec<C> = ids.into_iter().filter_map(|id| ledger.undo(id)).collect();
        for connection in connections {
            self.put(connection);
        }
    }

    fn shed(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        let Some(limit) = self.queue_timeout else { return };
        while let Some(connection) = self.queue.take_expired(limit, now) {
            self.counts.shed += 1;
            actions.push(Action::Shed(connection, ShedReason::Timeout));
        }
    }

    fn condemn(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        for (&channel, ledger) in &mut self.channels {
            if ledger.answer_due().is_some_and(|due| due <= now) {
                ledger.phase = Phase::Condemned;
                actions.push(Action::Unanswered(channel));
            }
        }
    }

    /// Says whether there is something.
    fn recall(&mut self, now: Instant, actions: &mut Vec<Action<C>>) -> bool {
        let mut any = false;
        let overdue = |one: &UnderWay<C>| now.saturating_duration_since(one.sent_at) >= RECALL_AFTER;
        let slow = |ledger: &Ledger<C>| ledger.untaken().next().is_some_and(overdue);
        let channels = self.channels.iter().filter(|(_, ledger)| slow(ledger));
        let channels: Vec<ChannelId> = channels.map(|(&channel, _)| channel).collect();
        // One after the other: who has just been found to be stalled is no reason to recall anything from the next.
        for channel in channels {
            let untaken = self.channels.get(&channel).into_iter().flat_map(Ledger::untaken);
            let ids: Vec<ConnectionId> = untaken
                .take_while(|one| overdue(one))
                .filter(|one| self.another_is_ready(channel, &one.connection, now))
                .map(|one| one.connection.id())
                .collect();
            if !ids.is_empty() {
                self.with(channel, |ledger| ledger.recall(&ids, now));
                actions.push(Action::Recall(channel, ids));
                any = true;
            }
        }
        any
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
            let Some(ledger) = self.channels.get_mut(&channel) else {
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

    /// Back in its old place, because a worker did not take it.
    fn put_back(&mut self, mut connection: C) {
        connection.come_back();
        self.counts.requeued += 1;
        self.put(connection);
    }

    fn put(&mut self, connection: C) {
        self.queue.put(connection);
        self.counts.max_queued = self.counts.max_queued.max(self.queue.len() as u64);
    }

    fn with(&mut self, channel: ChannelId, change: impl FnOnce(&mut Ledger<C>)) {
        if let Some(ledger) = self.channels.get_mut(&channel) {
            change(ledger);
        }
    }
}
