//! The dispatcher's rules, pure: an event and the time in, actions out. No socket, no clock, no waiting.
//!
//! Where a connection can be: in the queue, under way to a worker, or gone (acked or shed). Every method moves it from
//! one of these places to another by value, so it can be neither lost nor doubled; the property tests in `tests/it`
//! play random events against this.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ledger::{Fitness, Ledger, Phase, Rank, UnderWay};
use super::policy::{Candidate, Policy};
use crate::channel::ChannelId;
use crate::channel::record::{Credit, Refusal};
use crate::config::Config;
use crate::connection::ConnectionId;
use crate::error::ProtocolError;
use crate::queue::{Queue, Waiting};

/// How long a worker may leave a connection untaken while another has credit, before it is asked to give it back.
/// Far above what an event loop at work needs for a turn, far below what a client notices.
pub const RECALL_AFTER: Duration = Duration::from_millis(5);

/// How long to hold all sends after ETOOMANYREFS, unless an ack comes before: descriptors under way are counted against
/// the user's limit over all processes (unix(7)), so one that arrives makes room.
pub const HOLD: Duration = Duration::from_millis(10);

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
    /// So many leases of a worker are over.
    Ended(ChannelId, u32),
    /// A worker wants no more, or is to be given no more.
    Retired(ChannelId),
    /// The channel is over: nothing can be sent or received on it any more.
    Lost(ChannelId),
    /// A channel's socket has room again.
    Writable(ChannelId),
    /// These could not be sent.
    NotSent(ChannelId, Vec<ConnectionId>, SendTrouble),
    /// All listeners are closed and their backlogs empty.
    ListenersClosed,
    /// Finish what there is, then say so.
    Drain,
}

/// Why a handoff was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendTrouble {
    /// The socket is full.
    Full,
    /// ETOOMANYREFS: too many descriptors of this user are under way.
    TooManyUnderWay,
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
    /// It is the worker's now: close our copy. It had waited so long.
    Release(C, Duration),
    /// It has waited too long: reset it.
    Shed(C),
    /// A worker has just run out of descriptors.
    OutOfDescriptors(ChannelId),
    /// Everything is finished.
    Drained,
}

/// The whole state of a server, but for its sockets.
#[derive(Debug)]
pub struct State<C> {
    queue: Queue<C>,
    channels: BTreeMap<ChannelId, Ledger<C>>,
    policy: Policy,
    queue_timeout: Option<Duration>,
    drain: Drain,
    held_until: Option<Instant>,
    counts: Counts,
    tells_steps: bool,
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
    /// Connections that waited too long.
    pub shed: u64,
    /// The most that ever waited.
    pub max_queued: u64,
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
            tells_steps: config.tells_steps(),
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
                    ledger.grant(credit)?;
                }
            }
            Event::Cancel(channel, credit) => self.with(channel, |ledger| {
                actions.push(Action::Cancelled(channel, ledger.credit.cancel(credit)));
            }),
            Event::Acked(channel, id) => self.ack(channel, id, actions)?,
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
            Event::Ended(channel, ended) => {
                if let Some(ledger) = self.channels.get_mut(&channel) {
                    ledger.end(ended, now)?;
                }
            }
            Event::Retired(channel) => self.with(channel, |ledger| {
                ledger.phase = Phase::Retired;
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
            Event::Drain => {
                if self.drain == Drain::No {
                    self.drain = Drain::Accepting;
                }
            }
        }
        Ok(())
    }

    /// Does what time and the events so far call for: sheds, recalls, hands off.
    pub fn advance(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        self.shed(now, actions);
        self.recall(now, actions);
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
            Fitness::Resting(until) if !self.queue.is_empty() && until > now => Some(until),
            _ => None,
        });
        let held = self.held_until.filter(|_| !self.queue.is_empty());
        let recall = self.channels.iter().filter_map(|(&channel, ledger)| {
            let wanted = |one: &&UnderWay<C>| self.another_is_ready(channel, one.connection.lane(), now);
            ledger.untaken().find(wanted).map(|one| one.sent_at + RECALL_AFTER)
        });
        shed.into_iter().chain(resting).chain(held).chain(recall).min()
    }

    /// A connection that is under way, to be sent.
    #[must_use]
    pub fn under_way(&self, channel: ChannelId, id: ConnectionId) -> Option<(&C, u16)> {
        let one = self.channels.get(&channel)?.under_way(id)?;
        Some((&one.connection, one.lane))
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

    /// Each channel with its leases, its acks, and whether its worker has joined.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, u32, u64, bool)> + '_ {
        let row = |(&channel, ledger): (&ChannelId, &Ledger<C>)| {
            (channel, ledger.leases, ledger.handed_off, ledger.phase > Phase::Joining)
        };
        self.channels.iter().map(row)
    }

    /// The leases and the acks of a channel.
    #[must_use]
    pub fn held(&self, channel: ChannelId) -> (u32, u64) {
        self.channels
            .get(&channel)
            .map_or((0, 0), |ledger| (ledger.leases, ledger.handed_off))
    }

    /// Whether each step of a connection is to be told.
    #[must_use]
    pub fn tells_steps(&self) -> bool {
        self.tells_steps
    }

    /// Whether a drain has been asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    fn ack(&mut self, channel: ChannelId, id: ConnectionId, actions: &mut Vec<Action<C>>) -> Result<(), ProtocolError> {
        let Some(ledger) = self.channels.get_mut(&channel) else {
            return Ok(());
        };
        let one = ledger.ack(id)?;
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
            actions.push(Action::Shed(connection));
        }
    }

    fn recall(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        let overdue = |one: &UnderWay<C>| now.saturating_duration_since(one.sent_at) >= RECALL_AFTER;
        let slow = |ledger: &Ledger<C>| ledger.untaken().next().is_some_and(overdue);
        let channels = self.channels.iter().filter(|(_, ledger)| slow(ledger));
        let channels: Vec<ChannelId> = channels.map(|(&channel, _)| channel).collect();
        // One after the other: who has just been found to be stalled is no reason to recall anything from the next.
        for channel in channels {
            let untaken = self.channels.get(&channel).into_iter().flat_map(Ledger::untaken);
            let ids: Vec<ConnectionId> = untaken
                .take_while(|one| overdue(one))
                .filter(|one| self.another_is_ready(channel, one.connection.lane(), now))
                .map(|one| one.connection.id())
                .collect();
            if !ids.is_empty() {
                self.with(channel, |ledger| ledger.recall(&ids));
                actions.push(Action::Recall(channel, ids));
            }
        }
    }

    fn hand_off(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        if self.held_until.is_some_and(|until| now < until) {
            return;
        }
        self.held_until = None;
        loop {
            let channels = &self.channels;
            let served = |lane| channels.values().any(|ledger| ledger.rank(lane, now) != Rank::None);
            let Some(lane) = self.queue.first(served) else {
                return;
            };
            let Some(channel) = self.pick(lane, now) else {
                return;
            };
            let Some(ledger) = self.channels.get_mut(&channel) else {
                return;
            };
            let Some(paid_by) = ledger.credit.spend(lane) else {
                return;
            };
            let Some(connection) = self.queue.take(lane) else {
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

    fn pick(&mut self, lane: u16, now: Instant) -> Option<ChannelId> {
        [Rank::First, Rank::Last].into_iter().find_map(|rank| {
            let ranked = self
                .channels
                .iter()
                .filter(|(_, ledger)| ledger.rank(lane, now) == rank);
            self.policy.pick(ranked.map(|(&channel, ledger)| Candidate {
                channel,
                busy: ledger.busy(),
            }))
        })
    }

    fn another_is_ready(&self, channel: ChannelId, lane: u16, now: Instant) -> bool {
        self.channels
            .iter()
            .any(|(&other, ledger)| other != channel && ledger.rank(lane, now) == Rank::First)
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
