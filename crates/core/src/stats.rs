//! Counters and gauges: written by the server's thread, read from any other without stopping it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::ids::ChannelId;

/// What only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that entered the queue.
    pub accepted: u64,
    /// Times that a connection went back to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections given up.
    pub shed: u64,
    /// The most that ever waited.
    pub max_queued: u64,
}

/// The counters of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Leases that the worker holds.
    pub leases: u32,
    /// Connections that the worker has taken.
    pub taken: u64,
    /// Connections that the worker has taken and handed back.
    pub handed_back: u64,
}

/// What a worker itself counts, as far as the parent can read it at any time.
pub trait LiveCounters: std::fmt::Debug + Send + Sync {
    /// Returns how many connections the worker has taken.
    fn taken(&self) -> u64;
    /// Returns how many leases have ended.
    fn ended(&self) -> u64;
    /// Returns how often the worker's event loop has turned.
    fn beats(&self) -> u64;
}

/// What a server counts.
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
    resting_acceptors: AtomicU32,
    waits: Histogram,
    accept_errors: Mutex<BTreeMap<String, u64>>,
    channels: Mutex<Channels>,
}

/// What is counted by channel, those that have ended together.
#[derive(Debug, Default)]
struct Channels {
    open: BTreeMap<ChannelId, Arc<ChannelStats>>,
    taken_before: u64,
}

/// What is counted of one channel.
#[derive(Debug, Default)]
pub struct ChannelStats {
    leases: AtomicU32,
    taken: AtomicU64,
    handed_back: AtomicU64,
    page: OnceLock<Arc<dyn LiveCounters>>,
}

impl ChannelStats {
    /// What the dispatcher knows.
    pub fn publish(&self, counters: ChannelCounters) {
        self.leases.store(counters.leases, Relaxed);
        self.taken.store(counters.taken, Relaxed);
        self.handed_back.store(counters.handed_back, Relaxed);
    }

    /// The page on which the worker itself counts, as the dispatcher looks only when it has a reason.
    pub fn share(&self, page: Arc<dyn LiveCounters>) {
        // Set once, by the hello.
        let _ = self.page.set(page);
    }

    /// Leases held now.
    #[must_use]
    pub fn leases(&self) -> u64 {
        match self.page.get() {
            // Ended first: one that has ended has been taken before.
            Some(page) => {
                let ended = page.ended();
                let over = ended.saturating_add(self.handed_back.load(Relaxed));
                self.taken().saturating_sub(over)
            }
            None => self.leases.load(Relaxed).into(),
        }
    }

    /// Connections taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let seen = self.taken.load(Relaxed);
        // What the dispatcher has not looked at is counted by the worker, who might lie: no more than a few windows.
        self.page
            .get()
            .map_or(seen, |page| page.taken().clamp(seen, seen + MAX_UNSEEN))
    }

    /// Turns of its event loop, if its worker counts them.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.page.get().map_or(0, |page| page.beats())
    }
}

/// Four times the connections that may be in flight to one worker.
const MAX_UNSEEN: u64 = 256;

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that a worker has acked.
    pub handed_off: u64,
    /// Times that a connection went back to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections given up: that waited too long, or when the server was destroyed.
    pub shed: u64,
    /// Connections that wait now.
    pub queued: u64,
    /// The most that ever waited.
    pub max_queued: u64,
    /// Leases held now, over all workers.
    pub leases: u64,
    /// Workers that have joined.
    pub workers: u64,
    /// Peers turned away at shared paths.
    pub refused_peers: u64,
    /// Acceptors that rest, as the system is out of descriptors or memory.
    pub resting_acceptors: u32,
    /// From accept to the handoff that was acked.
    pub wait_p50: Duration,
    /// 99 of 100 waited no longer.
    pub wait_p99: Duration,
    /// The longest.
    pub wait_max: Duration,
    /// Failed accepts by their code.
    pub accept_errors: BTreeMap<String, u64>,
}

impl Stats {
    /// The dispatcher's view, after each of its turns.
    pub fn publish(&self, counts: Counts, queued: usize, workers: usize) {
        self.accepted.store(counts.accepted, Relaxed);
        self.requeued.store(counts.requeued, Relaxed);
        self.handed_back.store(counts.handed_back, Relaxed);
        self.shed.store(counts.shed, Relaxed);
        self.max_queued.store(counts.max_queued, Relaxed);
        self.queued.store(queued as u64, Relaxed);
        self.workers.store(workers as u64, Relaxed);
    }

    /// One connection has been handed off after waiting so long.
    pub fn waited(&self, waited: Duration) {
        self.waits.record(waited);
    }

    /// An accept has failed.
    pub fn accept_failed(&self, code: String) {
        *self
            .accept_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(code)
            .or_default() += 1;
    }

    /// A peer has been turned away.
    pub fn peer_refused(&self) {
        self.refused_peers.fetch_add(1, Relaxed);
    }

    /// An acceptor rests, until the guard is dropped.
    pub fn rest(&self) -> Rest<'_> {
        self.resting_acceptors.fetch_add(1, Relaxed);
        Rest(self)
    }

    /// Begins to count a channel.
    pub fn open_channel(&self, channel: ChannelId) -> Arc<ChannelStats> {
        let stats = Arc::new(ChannelStats::default());
        self.channels().open.insert(channel, Arc::clone(&stats));
        stats
    }

    /// Forgets a channel and adds `taken`, the acks that the dispatcher has seen, to the total. The worker's own
    /// counter adds nothing here: a worker that lies and joins again and again would inflate the total each time.
    pub fn close_channel(&self, channel: ChannelId, taken: u64) {
        let mut channels = self.channels();
        if channels.open.remove(&channel).is_some() {
            channels.taken_before += taken;
        }
    }

    /// A channel's counters; `None` once it has ended.
    #[must_use]
    pub fn channel(&self, channel: ChannelId) -> Option<Arc<ChannelStats>> {
        self.channels().open.get(&channel).cloned()
    }

    /// All of it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let channels = self.channels();
        let open = channels.open.values();
        let leases = open.clone().map(|channel| channel.leases()).sum();
        let handed_off = channels.taken_before + open.map(|channel| channel.taken()).sum::<u64>();
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
            resting_acceptors: self.resting_acceptors.load(Relaxed),
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

/// While it lives, an acceptor rests.
#[derive(Debug)]
pub struct Rest<'a>(&'a Stats);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.resting_acceptors.fetch_sub(1, Relaxed);
    }
}

/// Microseconds in log-linear buckets: 16 to each power of two, so a quantile is at most 6 % too high.
#[derive(Debug)]
struct Histogram {
    buckets: Box<[AtomicU64]>,
    max: AtomicU64,
}

const SUB_BITS: u32 = 4;
/// Up to 2^36 microseconds, 19 hours; longer waits fall in the last bucket.
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
        // A share of a count: exact enough far beyond any number of connections.
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
    struct LyingPage;

    impl LiveCounters for LyingPage {
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
    fn channels_with_lying_pages_add_to_the_total_only_what_the_parent_has_seen() {
        let stats = Stats::default();
        for channel in 0..10 {
            let counters = stats.open_channel(channel);
            counters.share(Arc::new(LyingPage));
            stats.close_channel(channel, 1);
        }
        assert_eq!(stats.snapshot().handed_off, 10);
    }

    #[test]
    fn quantiles_come_from_the_ranks() {
        let histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!((50..=53).contains(&histogram.quantile(0.5).as_micros()));
        assert!((99..=100).contains(&histogram.quantile(0.99).as_micros()));
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn a_wait_beyond_the_last_bucket_is_still_counted() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(1_000_000));
        assert!(histogram.quantile(0.5) >= Duration::from_secs(60_000));
    }
}
