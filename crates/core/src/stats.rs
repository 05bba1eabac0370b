//! Counters and gauges. The server's thread writes them; any thread can read them without blocking the server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::ids::ChannelId;

/// The counters of the dispatcher, which never decrease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that entered the queue.
    pub accepted: u64,
    /// How often a connection returned to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections that were reset before any worker took them.
    pub shed: u64,
    /// The maximum length of the queue so far.
    pub max_queued: u64,
}

/// The counters of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Leases that the worker holds now.
    pub leases: u32,
    /// Connections that the worker has taken.
    pub taken: u64,
    /// Connections that the worker has taken and handed back.
    pub handed_back: u64,
}

/// The counters that a worker itself writes, and that the parent can read at any time.
pub trait LiveCounters: std::fmt::Debug + Send + Sync {
    /// Returns how many connections the worker has taken.
    fn taken(&self) -> u64;
    /// Returns how many leases have ended.
    fn ended(&self) -> u64;
    /// Returns how often the worker's event loop has turned.
    fn beats(&self) -> u64;
}

/// The counters of a server.
#[derive(Debug, Default)]
pub struct Stats {
    accepted: AtomicU64,
    requeued: AtomicU64,
    handed_back: AtomicU64,
    shed: AtomicU64,
    max_queued: AtomicU64,
    queued: AtomicU64,
    workers: AtomicU64,
    refused_peers: AtomicU64,
    paused_acceptors: AtomicU32,
    waits: Histogram,
    accept_errors: Mutex<BTreeMap<String, u64>>,
    channels: Mutex<Channels>,
}

/// The counters of the open channels, and the sum over the ended channels.
#[derive(Debug, Default)]
struct Channels {
    open: BTreeMap<ChannelId, Arc<ChannelStats>>,
    taken_on_ended: u64,
}

/// The counters of one channel.
#[derive(Debug, Default)]
pub struct ChannelStats {
    leases: AtomicU32,
    taken: AtomicU64,
    handed_back: AtomicU64,
    page: OnceLock<Arc<dyn LiveCounters>>,
}

impl ChannelStats {
    /// Stores the counters that the dispatcher has seen.
    pub fn publish(&self, counters: ChannelCounters) {
        self.leases.store(counters.leases, Relaxed);
        self.taken.store(counters.taken, Relaxed);
        self.handed_back.store(counters.handed_back, Relaxed);
    }

    /// Sets the page on which the worker counts. The dispatcher reads the page rarely, so readers of statistics read it too.
    pub fn share(&self, page: Arc<dyn LiveCounters>) {
        // Fails only if set before, and a channel has one handshake.
        let _ = self.page.set(page);
    }

    /// Returns the leases that the worker holds now.
    #[must_use]
    pub fn leases(&self) -> u64 {
        match self.page.get() {
            // Read the ended leases first: each of them was counted as taken before.
            Some(page) => {
                let ended = page.ended();
                let over = ended.saturating_add(self.handed_back.load(Relaxed));
                self.taken().saturating_sub(over)
            }
            None => self.leases.load(Relaxed).into(),
        }
    }

    /// Returns the connections taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let seen = self.taken.load(Relaxed);
        // The dispatcher has not checked the rest, and a hostile worker may write any number.
        self.page
            .get()
            .map_or(seen, |page| page.taken().clamp(seen, seen + MAX_UNSEEN))
    }

    /// Returns the turns of the worker's event loop; 0 if the worker does not count them.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.page.get().map_or(0, |page| page.beats())
    }
}

/// The maximum difference to the dispatcher's counter: four times the connections that may be in flight to one worker.
const MAX_UNSEEN: u64 = 256;

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that workers have taken.
    pub handed_off: u64,
    /// How often a connection returned to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections that were reset: they waited too long, or the server was destroyed.
    pub shed: u64,
    /// Connections that wait in the queue now.
    pub queued: u64,
    /// The maximum length of the queue so far.
    pub max_queued: u64,
    /// Leases that all workers hold now.
    pub leases: u64,
    /// Workers that have joined and are connected.
    pub workers: u64,
    /// Peers that were refused at shared paths.
    pub refused_peers: u64,
    /// Acceptors that pause, because the system is out of descriptors or memory.
    pub paused_acceptors: u32,
    /// Median time from accept to the handoff that a worker acknowledged.
    pub wait_p50: Duration,
    /// 99th percentile of that time.
    pub wait_p99: Duration,
    /// Maximum of that time.
    pub wait_max: Duration,
    /// Failed calls of accept(2), by error code.
    pub accept_errors: BTreeMap<String, u64>,
}

impl Stats {
    /// Stores the counters of the dispatcher, after each of its turns.
    pub fn publish(&self, counts: Counts, queued: usize, workers: usize) {
        self.accepted.store(counts.accepted, Relaxed);
        self.requeued.store(counts.requeued, Relaxed);
        self.handed_back.store(counts.handed_back, Relaxed);
        self.shed.store(counts.shed, Relaxed);
        self.max_queued.store(counts.max_queued, Relaxed);
        self.queued.store(queued as u64, Relaxed);
        self.workers.store(workers as u64, Relaxed);
    }

    /// Records how long a connection waited from accept to its acknowledged handoff.
    pub fn waited(&self, waited: Duration) {
        self.waits.record(waited);
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

    /// Counts a refused peer.
    pub fn peer_refused(&self) {
        self.refused_peers.fetch_add(1, Relaxed);
    }

    /// Counts a paused acceptor until the guard is dropped.
    pub fn acceptor_paused(&self) -> PausedAcceptor<'_> {
        self.paused_acceptors.fetch_add(1, Relaxed);
        PausedAcceptor(self)
    }

    /// Returns the counters of a new channel.
    pub fn open_channel(&self, channel: ChannelId) -> Arc<ChannelStats> {
        let stats = Arc::new(ChannelStats::default());
        self.channels().open.insert(channel, Arc::clone(&stats));
        stats
    }

    /// Removes a channel and adds `taken`, the acks that the dispatcher has seen, to the total. The worker's own counter is
    /// not used here: a worker that writes wrong numbers and joins again and again would inflate the total each time.
    pub fn close_channel(&self, channel: ChannelId, taken: u64) {
        let mut channels = self.channels();
        if channels.open.remove(&channel).is_some() {
            channels.taken_on_ended += taken;
        }
    }

    /// Returns the counters of a channel; `None` after the channel has ended.
    #[must_use]
    pub fn channel(&self, channel: ChannelId) -> Option<Arc<ChannelStats>> {
        self.channels().open.get(&channel).cloned()
    }

    /// Returns all counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let channels = self.channels();
        let open = channels.open.values();
        let leases = open.clone().map(|channel| channel.leases()).sum();
        let handed_off = channels.taken_on_ended + open.map(|channel| channel.taken()).sum::<u64>();
        drop(channels);
        Snapshot {
            accepted: self.accepted.load(Relaxed),
            handed_off,
            requeued: self.requeued.load(Relaxed),
            handed_back: self.handed_back.load(Relaxed),
            shed: self.shed.load(Relaxed),
            queued: self.queued.load(Relaxed),
            max_queued: self.max_queued.load(Relaxed),
            leases,
            workers: self.workers.load(Relaxed),
            refused_peers: self.refused_peers.load(Relaxed),
            paused_acceptors: self.paused_acceptors.load(Relaxed),
            wait_p50: self.waits.quantile(0.5),
            wait_p99: self.waits.quantile(0.99),
            wait_max: Duration::from_micros(self.waits.max.load(Relaxed)),
            accept_errors: self
                .accept_errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one paused acceptor; dropping it ends the pause.
#[derive(Debug)]
pub struct PausedAcceptor<'a>(&'a Stats);

impl Drop for PausedAcceptor<'_> {
    fn drop(&mut self) {
        self.0.paused_acceptors.fetch_sub(1, Relaxed);
    }
}

/// A histogram of microseconds in log-linear buckets: 16 per power of two, so a quantile is at most 6 % too high.
#[derive(Debug)]
struct Histogram {
    buckets: Box<[AtomicU64]>,
    max: AtomicU64,
}

const SUB_BITS: u32 = 4;
/// The range is 2^36 microseconds, 19 hours; longer waits go to the last bucket.
const MAX_BITS: u32 = 36;
const BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    fn record(&self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(micros)].fetch_add(1, Relaxed);
        self.max.fetch_max(micros, Relaxed);
    }

    fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        // f64 is exact up to 2^53 connections.
        let rank = ((total as f64) * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return Duration::from_micros(Self::upper_edge(index).min(self.max.load(Relaxed)));
            }
        }
        Duration::ZERO
    }

    fn bucket(micros: u64) -> usize {
        let micros = micros.min((1 << MAX_BITS) - 1);
        let bits = u64::BITS - micros.leading_zeros();
        let shift = bits.saturating_sub(SUB_BITS + 1);
        usize::try_from((u64::from(shift) << SUB_BITS) + (micros >> shift))
            .map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
    }

    fn upper_edge(index: usize) -> u64 {
        let index = index as u64;
        let linear = 2 << SUB_BITS;
        if index < linear {
            return index;
        }
        let shift = (index >> SUB_BITS) - 1;
        let mantissa = (index & ((1 << SUB_BITS) - 1)) + (1 << SUB_BITS);
        ((mantissa + 1) << shift) - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_values_within_six_percent(micros in 0_u64..(1 << MAX_BITS)) {
            let edge = Histogram::upper_edge(Histogram::bucket(micros));
            prop_assert!(edge >= micros);
            prop_assert!(edge - micros <= micros / 16);
        }
    }

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
    }

    #[test]
    fn an_ended_channel_adds_only_the_acks_that_the_parent_has_seen() {
        let stats = Stats::default();
        for channel in 0..10 {
            let counters = stats.open_channel(channel);
            counters.share(Arc::new(InflatedPage));
            stats.close_channel(channel, 1);
        }
        assert_eq!(stats.snapshot().handed_off, 10);
    }

    #[test]
    fn a_quantile_is_the_value_at_its_rank() {
        let histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!((50..=53).contains(&histogram.quantile(0.5).as_micros()));
        assert!((99..=100).contains(&histogram.quantile(0.99).as_micros()));
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn a_wait_beyond_the_range_is_counted_in_the_last_bucket() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(1_000_000));
        assert!(histogram.quantile(0.5) >= Duration::from_secs(60_000));
    }
}
