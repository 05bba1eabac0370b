//! Counters and gauges. The server's thread writes them; any thread can read them without blocking the server.

pub mod channel;
pub mod histogram;
pub mod listener;
pub mod pauses;
pub mod pending;
pub mod slot;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::ChannelId;
pub use crate::stats::channel::{ChannelCounters, ChannelStats, LiveCounters, Load};
use crate::stats::histogram::{BucketCounts, Buckets, Histogram, WAIT_BOUNDS};
use crate::stats::listener::Listeners;
use crate::stats::pauses::{PausedAcceptor, Pauses};
use crate::stats::pending::PendingCount;
use crate::stats::slot::{SlotKey, SlotTotals};

/// Why a connection returned to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequeueReason {
    /// The parent recalled the connection, because the worker did not take it in time.
    Recalled,
    /// The worker did not want the connection.
    Unwanted,
    /// The worker was out of descriptors.
    NoDescriptor,
    /// The channel of the worker ended.
    WorkerLost,
}

impl RequeueReason {
    /// All reasons, in the order of [`Counts::requeued`].
    pub const ALL: [Self; 4] = [Self::Recalled, Self::Unwanted, Self::NoDescriptor, Self::WorkerLost];

    /// Returns the name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recalled => "recalled",
            Self::Unwanted => "unwanted",
            Self::NoDescriptor => "no_descriptor",
            Self::WorkerLost => "worker_lost",
        }
    }
}

/// The counters of the dispatcher, which never decrease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that entered the queue.
    pub accepted: u64,
    /// How often a connection returned to the queue, in the order of [`RequeueReason::ALL`].
    pub requeued: [u64; 4],
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections that waited longer than the queue timeout and were reset.
    pub timed_out: u64,
    /// Connections that waited when the server was destroyed and were reset.
    pub destroyed: u64,
    /// The maximum length of the queue so far.
    pub max_queued: u64,
}

/// The counters of a server.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    requeued: [AtomicU64; 4],
    handed_back: AtomicU64,
    timed_out: AtomicU64,
    destroyed: AtomicU64,
    max_queued: AtomicU64,
    queued: AtomicU64,
    pending: PendingCount,
    workers: AtomicU64,
    refused_peers: AtomicU64,
    pauses: Pauses,
    waits: Histogram,
    wait_buckets: Buckets,
    accept_errors: Mutex<BTreeMap<String, u64>>,
    routed: Mutex<BTreeMap<&'static str, u64>>,
    proxy_refused: Mutex<BTreeMap<&'static str, u64>>,
    listeners: Listeners,
    channels: Mutex<Channels>,
}

/// The counters of the open channels, and the sums over the ended channels.
#[derive(Debug, Default)]
struct Channels {
    open: BTreeMap<ChannelId, Arc<ChannelStats>>,
    taken_on_ended: u64,
    /// The slots of the channels, which the owner of the server assigns.
    assigned: BTreeMap<ChannelId, SlotKey>,
    /// The totals of the ended channels of each slot.
    slots: BTreeMap<SlotKey, SlotTotals>,
    /// The totals of channels that ended before their slot was assigned.
    unassigned: BTreeMap<ChannelId, SlotTotals>,
}

/// The limit of [`Channels::unassigned`]. The owner assigns every channel shortly after it has opened.
const MAX_UNASSIGNED: usize = 4096;

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that workers have taken.
    pub handed_off: u64,
    /// How often a connection returned to the queue.
    pub requeued: u64,
    /// The same by reason, in the order of [`RequeueReason::ALL`].
    pub requeued_for: [u64; 4],
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections that were reset: they waited too long, or the server was destroyed.
    pub shed: u64,
    /// Those of them that waited too long.
    pub timed_out: u64,
    /// Connections that wait in the queue now.
    pub queued: u64,
    /// Connections whose first bytes are awaited before they enter the queue.
    pub pending: u64,
    /// The maximum length of the queue so far.
    pub max_queued: u64,
    /// Leases that all workers hold now.
    pub leases: u64,
    /// Workers that have joined and are connected.
    pub workers: u64,
    /// Peers that were refused at shared paths.
    pub refused_peers: u64,
    /// Acceptors that pause, because the queue is full or the system is out of descriptors or memory.
    pub paused_acceptors: u32,
    /// How long at least one acceptor has paused.
    pub paused_time: Duration,
    /// Median time from accept to the handoff that a worker acknowledged.
    pub wait_p50: Duration,
    /// 99th percentile of that time.
    pub wait_p99: Duration,
    /// Maximum of that time.
    pub wait_max: Duration,
    /// That time in the buckets of [`WAIT_BOUNDS`].
    pub waits: BucketCounts,
    /// Failed calls of accept(2), by error code.
    pub accept_errors: BTreeMap<String, u64>,
    /// Connections of listeners that route, by result.
    pub routed: BTreeMap<&'static str, u64>,
    /// Those of them that were reset because of the PROXY protocol, by reason.
    pub proxy_refused: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Stores the counters of the dispatcher, after each of its turns.
    pub fn publish(&self, counts: &Counts, queued: usize, workers: usize) {
        self.accepted.store(counts.accepted, Relaxed);
        for (cell, count) in self.requeued.iter().zip(counts.requeued) {
            cell.store(count, Relaxed);
        }
        self.handed_back.store(counts.handed_back, Relaxed);
        self.timed_out.store(counts.timed_out, Relaxed);
        self.destroyed.store(counts.destroyed, Relaxed);
        self.max_queued.store(counts.max_queued, Relaxed);
        self.queued.store(queued as u64, Relaxed);
        self.workers.store(workers as u64, Relaxed);
    }

    /// Records how long a connection waited from accept to its acknowledged handoff. Only the dispatcher calls this.
    pub fn waited(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waits.record(micros);
        self.wait_buckets.record(&WAIT_BOUNDS, micros);
    }

    /// Counts a failed call of accept(2).
    pub fn accept_failed(&self, code: String) {
        *self
            .accept_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(code)
            .or_default() += 1;
    }

    /// Counts the result of routing a connection.
    pub fn routed(&self, result: &'static str) {
        *lock(&self.routed).entry(result).or_default() += 1;
    }

    /// Counts a connection that was reset because of the PROXY protocol.
    pub fn proxy_refused(&self, reason: &'static str) {
        *lock(&self.proxy_refused).entry(reason).or_default() += 1;
    }

    /// Lets counters start at 0: a monitoring system cannot see the first increase of a counter that did not exist before.
    pub fn may_route(&self, results: &[&'static str], reasons: &[&'static str]) {
        for (counters, names) in [(&self.routed, results), (&self.proxy_refused, reasons)] {
            let mut counters = lock(counters);
            for name in names {
                counters.entry(name).or_default();
            }
        }
    }

    /// Returns the count of the connections whose first bytes are awaited.
    #[must_use]
    pub fn pending(&self) -> &PendingCount {
        &self.pending
    }

    /// Counts a refused peer.
    pub fn peer_refused(&self) {
        self.refused_peers.fetch_add(1, Relaxed);
    }

    /// Counts a paused acceptor until the guard is dropped.
    pub fn acceptor_paused(&self) -> PausedAcceptor<'_> {
        self.pauses.begin()
    }

    /// Returns the counters of the listeners.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Returns the counters of a new channel.
    pub fn open_channel(&self, channel: ChannelId, now: Instant) -> Arc<ChannelStats> {
        let stats = Arc::new(ChannelStats::new(now));
        self.channels().open.insert(channel, Arc::clone(&stats));
        stats
    }

    /// Assigns a channel to a slot, whose totals include the channel's from then on. The channel may have ended already.
    pub fn assign(&self, channel: ChannelId, key: SlotKey) {
        let mut channels = self.channels();
        let ended = channels.unassigned.remove(&channel);
        let totals = channels.slots.entry(key.clone()).or_default();
        match ended {
            Some(ended) => totals.add(&ended),
            None => {
                channels.assigned.insert(channel, key);
            }
        }
    }

    /// Removes a channel and adds `taken`, the acks that the dispatcher has seen, to the totals. The worker's own counter is
    /// not used here: a worker that writes wrong numbers and joins again and again would inflate the totals each time.
    pub fn close_channel(&self, channel: ChannelId, taken: u64, now: Instant) {
        let mut channels = self.channels();
        let Some(stats) = channels.open.remove(&channel) else {
            return;
        };
        channels.taken_on_ended += taken;
        let totals = SlotTotals {
            taken,
            handed_back: stats.handed_back(),
            leases: 0,
            load: stats.load(now),
        };
        if let Some(key) = channels.assigned.remove(&channel) {
            channels.slots.entry(key).or_default().add(&totals);
        } else {
            if channels.unassigned.len() >= MAX_UNASSIGNED {
                channels.unassigned.pop_first();
            }
            channels.unassigned.insert(channel, totals);
        }
    }

    /// Returns the counters of a channel; `None` after the channel has ended.
    #[must_use]
    pub fn channel(&self, channel: ChannelId) -> Option<Arc<ChannelStats>> {
        self.channels().open.get(&channel).cloned()
    }

    /// Returns the totals of all slots, with those of the open channels.
    #[must_use]
    pub fn slots(&self, now: Instant) -> BTreeMap<SlotKey, SlotTotals> {
        let channels = self.channels();
        let mut slots = channels.slots.clone();
        for (channel, key) in &channels.assigned {
            if let Some(stats) = channels.open.get(channel) {
                slots.entry(key.clone()).or_default().add(&SlotTotals {
                    taken: stats.taken(),
                    handed_back: stats.handed_back(),
                    leases: stats.leases(),
                    load: stats.load(now),
                });
            }
        }
        slots
    }

    /// Returns all counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let channels = self.channels();
        let open = channels.open.values();
        let leases = open.clone().map(|channel| channel.leases()).sum();
        let handed_off = channels.taken_on_ended + open.map(|channel| channel.taken()).sum::<u64>();
        drop(channels);
        let requeued_for = self.requeued.each_ref().map(|cell| cell.load(Relaxed));
        let timed_out = self.timed_out.load(Relaxed);
        let pauses = self.pauses.report();
        Snapshot {
            accepted: self.accepted.load(Relaxed),
            handed_off,
            requeued: requeued_for.iter().sum(),
            requeued_for,
            handed_back: self.handed_back.load(Relaxed),
            shed: timed_out + self.destroyed.load(Relaxed),
            timed_out,
            queued: self.queued.load(Relaxed),
            pending: self.pending.get(),
            max_queued: self.max_queued.load(Relaxed),
            leases,
            workers: self.workers.load(Relaxed),
            refused_peers: self.refused_peers.load(Relaxed),
            paused_acceptors: pauses.active,
            paused_time: pauses.total,
            wait_p50: self.waits.quantile(0.5),
            wait_p99: self.waits.quantile(0.99),
            wait_max: self.waits.max(),
            waits: self.wait_buckets.counts(),
            accept_errors: self
                .accept_errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            routed: lock(&self.routed).clone(),
            proxy_refused: lock(&self.proxy_refused).clone(),
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(counters: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot break an invariant of counters.
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct InflatedPage;

    impl LiveCounters for InflatedPage {
        fn taken(&self) -> u64 {
            u64::MAX
        }

        fn ended(&self) -> u64 {
            0
        }

        fn beats(&self) -> u64 {
            0
        }

        fn load(&self) -> Option<Load> {
            None
        }

        fn thread(&self) -> Option<u32> {
            None
        }
    }

    fn slot(number: u32) -> SlotKey {
        SlotKey {
            pool: "app.js".into(),
            slot: Some(number),
        }
    }

    #[test]
    fn an_ended_channel_adds_only_the_acks_that_the_parent_has_seen() {
        let (stats, now) = (Stats::default(), Instant::now());
        for channel in 0..10 {
            let counters = stats.open_channel(channel, now);
            counters.share(Arc::new(InflatedPage));
            stats.close_channel(channel, 1, now);
        }
        assert_eq!(stats.snapshot().handed_off, 10);
    }

    #[test]
    fn the_totals_of_a_slot_continue_when_its_worker_is_replaced() {
        let (stats, now) = (Stats::default(), Instant::now());
        for channel in 1..=3 {
            stats.assign(channel, slot(0));
            let counters = stats.open_channel(channel, now);
            counters.publish(ChannelCounters {
                leases: 1,
                taken: 5,
                ..ChannelCounters::default()
            });
            assert_eq!(stats.slots(now)[&slot(0)].taken, u64::from(channel) * 5);
            assert_eq!(stats.slots(now)[&slot(0)].leases, 1);
            stats.close_channel(channel, 5, now);
        }
        assert_eq!(stats.slots(now)[&slot(0)].leases, 0);
    }

    #[test]
    fn a_channel_that_ended_before_it_was_assigned_is_counted_in_its_slot() {
        let (stats, now) = (Stats::default(), Instant::now());
        stats.open_channel(1, now);
        stats.close_channel(1, 7, now);
        stats.assign(1, slot(2));
        assert_eq!(stats.slots(now)[&slot(2)].taken, 7);
    }
}
