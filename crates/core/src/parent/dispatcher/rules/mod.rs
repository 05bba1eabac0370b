//! The dispatcher's rules, pure: events and the time in, actions out. No socket, no clock, no waiting.
//!
//! A connection is in the queue, in flight to a worker, or gone (taken or shed). Every method moves a connection by value from
//! one state to the next, so a connection is neither lost nor duplicated. The property tests in `tests/it/props` play random
//! events against these rules.

pub mod channel;
pub mod credit;
mod drain;
mod handoff_count;
mod handoffs;
pub mod recall;
pub mod requeue;
pub mod select;
mod slots;
pub mod timeouts;
mod tracked;
pub mod unread;

use std::time::{Duration, Instant};

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::config::Config;
use crate::parent::dispatcher::channel_map::ChannelMap;
use crate::parent::dispatcher::message::{Action, Event, WorkerEvent};
use crate::parent::dispatcher::rules::channel::{Channel, Health, Lifecycle};
use crate::parent::dispatcher::rules::drain::Drain;
use crate::parent::dispatcher::rules::select::Policy;
use crate::parent::dispatcher::rules::slots::PoolSlots;
use crate::parent::queue::{Queue, Waiting};
use crate::protocol::ProtocolError;
use crate::protocol::limits::WINDOW;
use crate::stats::{ChannelCounters, Counts};

/// The state of a server. `C` is a connection, `I` the driver's part of a channel.
#[derive(Debug)]
pub struct State<C: Waiting, I = ()> {
    queue: Queue<C>,
    pub(super) channels: ChannelMap<Channel<C, I>>,
    /// The slots of each pool, with or without a worker.
    pools: Vec<PoolSlots>,
    policy: Policy,
    queue_timeout: Option<Duration>,
    drain: Drain,
    /// No handoff before this time, after ETOOMANYREFS.
    sends_held_until: Option<Instant>,
    /// Whether a channel may be at the limit of unread handoffs.
    has_unread_limit: bool,
    /// The soft RLIMIT_NOFILE of this process, which limits the descriptors in flight of its user (unix(7), ETOOMANYREFS).
    descriptor_limit: usize,
    counts: Counts,
}

impl<C: Waiting, I> State<C, I> {
    /// Creates a server without listeners, channels and connections.
    #[must_use]
    pub fn new(config: &Config, descriptor_limit: usize) -> Self {
        Self {
            queue: Queue::new(),
            channels: ChannelMap::new(),
            pools: Vec::new(),
            policy: Policy::new(config.policy()),
            queue_timeout: config.queue_timeout(),
            drain: Drain::No,
            sends_held_until: None,
            has_unread_limit: false,
            descriptor_limit,
            counts: Counts::default(),
        }
    }

    /// Adds a channel whose worker has not sent HELLO.
    pub fn open(&mut self, id: ChannelId, io: I) {
        self.channels.insert(id, Channel::new(io));
        self.share_descriptors();
    }

    /// Divides a quarter of the descriptors that may be in flight among the channels. The rest is for channels that were full
    /// before others opened, and for other processes of the user.
    pub(super) fn share_descriptors(&mut self) {
        let share = self.descriptor_limit / 4 / self.channels.values().count().max(1);
        for (_, channel) in self.channels.iter_mut() {
            channel.share = share.clamp(1, WINDOW);
        }
    }

    /// Records that the worker of a channel reports the ends of tracked connections by their ids.
    pub fn track(&mut self, id: ChannelId) {
        self.with(id, |channel| channel.tracked = Some(Box::default()));
    }

    /// Assigns the worker of a channel to a slot.
    pub fn assign(&mut self, id: ChannelId, slot: u32) {
        self.with(id, |channel| channel.slot = Some(slot));
    }

    /// Handles an event.
    pub fn apply(&mut self, event: Event<C>, now: Instant, actions: &mut Vec<Action<C>>) {
        match event {
            Event::Accepted(connection) => {
                self.counts.accepted += 1;
                self.enqueue(connection);
            }
            Event::Welcomed(id) => self.with(id, |channel| channel.lifecycle.welcome()),
            Event::Recalled(id, connection) => self.requeue_recalled(id, connection),
            Event::AllRead(id) => self.with(id, |channel| channel.mark_all_read(now)),
            Event::NotAllRead(id, ends_with_handoff) => self.mark_unread(id, ends_with_handoff, now, actions),
            Event::Retired(id) => {
                self.retire(id);
            }
            Event::Lost(id) => self.lose(id),
            Event::Writable(id) => self.with(id, |channel| {
                if channel.health == Health::Blocked {
                    channel.health = Health::Ready;
                }
            }),
            Event::NotSent(id, connections, failure) => self.restore(id, connections, failure, now),
            Event::Drain => self.begin_drain(),
            Event::ListenersClosed => self.listeners_closed(),
            Event::Destroyed => self.shed_all(actions),
        }
    }

    /// Handles an event of a worker. An error is a protocol error of the worker, after which the driver ends the channel.
    pub fn apply_worker(
        &mut self,
        id: ChannelId,
        event: WorkerEvent<C>,
        now: Instant,
        actions: &mut Vec<Action<C>>,
    ) -> Result<(), ProtocolError> {
        match event {
            WorkerEvent::Credit(credit) => {
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.grant(credit, now)?;
                }
                self.check_recalled(id, actions);
            }
            WorkerEvent::Cancel(credit) => self.with(id, |channel| {
                actions.push(Action::Cancelled(id, channel.credit.cancel(credit)));
            }),
            WorkerEvent::Acked(connection) => {
                let Some(channel) = self.channels.get_mut(id) else {
                    return Ok(());
                };
                let sent = channel.ack(connection, now)?;
                self.sends_held_until = None;
                actions.push(Action::Release(id, sent.connection, sent.waited));
                channel.check_answered(id, actions);
            }
            WorkerEvent::Refused(refusal) => {
                self.refuse(id, refusal, now, actions)?;
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.check_answered(id, actions);
                }
            }
            WorkerEvent::HandedBack(connection) => self.hand_back(id, *connection, now)?,
            WorkerEvent::Alive => {
                self.with(id, |channel| channel.mark_alive(now));
                self.check_recalled(id, actions);
            }
            WorkerEvent::Ended(ended) => {
                if let Some(channel) = self.channels.get_mut(id) {
                    channel.end_leases(ended, now)?;
                }
            }
            WorkerEvent::TrackedEnded(connection) => {
                if let Some(channel) = self.channels.get_mut(id) {
                    drop(channel.release_counted(connection)?);
                }
            }
            WorkerEvent::Leaves => {
                self.retire(id);
            }
        }
        Ok(())
    }

    /// Retires a worker. Returns false if the worker was retired before.
    pub(super) fn retire(&mut self, id: ChannelId) -> bool {
        self.channels.get_mut(id).is_some_and(|channel| {
            channel.credit.clear();
            channel.lifecycle.retire()
        })
    }

    /// Sheds, recalls and hands off connections, as the time and the events so far require. After a recall the driver calls
    /// `advance` again: a connection that is recalled on a scoreboard is older than the waiting connections, and goes first.
    pub fn advance(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        self.shed_expired(now, actions);
        self.close_unanswered(now, actions);
        self.check_limited(now, actions);
        if self.recall_expired(now, actions) | self.recall_overdue(now, actions) {
            return;
        }
        self.hand_off(now, actions);
        self.finish_drain(actions);
    }

    fn hand_off(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        if self.sends_held_until.is_some_and(|until| now < until) {
            return;
        }
        self.sends_held_until = None;
        while let Some((head, id)) = self.select(now) {
            let Some(channel) = self.channels.get_mut(id) else {
                return;
            };
            let Some(paid_by) = channel.credit.spend(head.lane) else {
                return;
            };
            let Some(connection) = self.queue.take(head) else {
                return;
            };
            let connection_id = connection.id();
            channel.hand_off(connection, paid_by, now);
            let is_at_limit = channel.is_at_unread_limit();
            // From the end: before the handoffs stand as many releases as connections were acked.
            let batch = actions.iter_mut().rev().find_map(|action| match action {
                Action::HandOff(to, ids) if *to == id => Some(ids),
                _ => None,
            });
            match batch {
                Some(ids) => ids.push(connection_id),
                None => actions.push(Action::HandOff(id, vec![connection_id])),
            }
            if is_at_limit {
                // After the handoff: the worker may have read everything before it.
                self.limit_unread(id, actions);
            }
        }
    }

    /// Returns a connection in flight and the lane whose credit paid for the connection.
    #[must_use]
    pub fn in_flight(&self, id: ChannelId, connection: ConnectionId) -> Option<(&C, u16)> {
        let sent = self.channels.get(id)?.in_flight(connection)?;
        Some((&sent.connection, sent.lane))
    }

    /// Returns the metadata of a connection that a worker has taken and may hand back.
    #[must_use]
    pub fn metadata(&self, id: ChannelId, connection: ConnectionId) -> Option<&C::Metadata> {
        self.channels.get(id)?.metadata(connection)
    }

    /// Returns how many connections wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns the server's counters, which only grow.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns how many workers have sent HELLO.
    #[must_use]
    pub fn workers(&self) -> usize {
        let joined = self.channels.values();
        joined
            .filter(|channel| !matches!(channel.lifecycle, Lifecycle::Joining { .. }))
            .count()
    }

    /// Returns the counters of a channel.
    #[must_use]
    pub fn counters(&self, id: ChannelId) -> ChannelCounters {
        self.channels
            .get(id)
            .map(|channel| channel.counters)
            .unwrap_or_default()
    }

    /// Returns the channels whose counters have changed since the last call.
    pub(super) fn changed_counters(&mut self) -> impl Iterator<Item = (&I, ChannelCounters)> + '_ {
        self.channels.iter_mut().filter_map(|(_, channel)| {
            let counters = ChannelCounters {
                is_stalled: channel.is_stalled(),
                ..channel.counters
            };
            if counters == channel.published {
                return None;
            }
            channel.published = counters;
            Some((&channel.io, counters))
        })
    }

    fn with(&mut self, id: ChannelId, change: impl FnOnce(&mut Channel<C, I>)) {
        if let Some(channel) = self.channels.get_mut(id) {
            change(channel);
        }
    }
}
