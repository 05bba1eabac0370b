//! The counters of one channel: those that the dispatcher has checked, and those that the worker writes to its page.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::stats::histogram::BucketCounts;

/// The counters of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// Leases that the worker holds now.
    pub leases: u32,
    /// Connections that the worker has taken.
    pub taken: u64,
    /// Connections that the worker has taken and handed back.
    pub handed_back: u64,
    /// Whether the worker leaves connections untaken.
    pub is_stalled: bool,
}

/// The counters that a worker itself writes, and that the parent can read at any time.
pub trait LiveCounters: std::fmt::Debug + Send + Sync {
    /// Returns how many connections the worker has taken.
    fn taken(&self) -> u64;
    /// Returns how many leases have ended.
    fn ended(&self) -> u64;
    /// Returns how often the worker's event loop has turned.
    fn beats(&self) -> u64;
    /// Returns the measurements of the worker; `None` if it measures nothing.
    fn load(&self) -> Option<Load>;
    /// Returns the id of the thread of the event loop; `None` if it is not known.
    fn thread(&self) -> Option<u32>;
}

/// The measurements of a worker about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// How long the event loop has been busy.
    pub busy: Duration,
    /// How long the ended leases have lasted.
    pub leases: BucketCounts,
    /// For how long the turns of the event loop ran callbacks.
    pub turns: BucketCounts,
}

impl Load {
    /// Adds another load.
    pub fn add(&mut self, other: &Self) {
        self.busy = self.busy.saturating_add(other.busy);
        self.leases.add(&other.leases);
        self.turns.add(&other.turns);
    }
}

/// The counters of one channel.
#[derive(Debug)]
pub struct ChannelStats {
    opened_at: Instant,
    leases: AtomicU32,
    taken: AtomicU64,
    handed_back: AtomicU64,
    is_stalled: AtomicBool,
    page: OnceLock<Arc<dyn LiveCounters>>,
    seen: Mutex<Seen>,
}

/// The load of a worker, as far as the parent has read it.
#[derive(Debug)]
struct Seen {
    load: Load,
    /// Two samples, at least [`WINDOW`] apart unless the channel is new.
    earlier: Sample,
    later: Sample,
}

/// The measurements of an event loop at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    busy: Duration,
    turns: u64,
    /// The time in which the thread ran or was ready to run.
    scheduled: Option<Duration>,
}

/// The shortest time over which the utilization of an event loop is computed.
const WINDOW: Duration = Duration::from_secs(1);

impl ChannelStats {
    /// Creates the counters of a channel that opens now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            opened_at: now,
            leases: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            handed_back: AtomicU64::new(0),
            is_stalled: AtomicBool::new(false),
            page: OnceLock::new(),
            seen: Mutex::new(Seen {
                load: Load::default(),
                earlier: Sample::new(now),
                later: Sample::new(now),
            }),
        }
    }

    /// Stores the counters that the dispatcher has seen.
    pub fn publish(&self, counters: ChannelCounters) {
        self.leases.store(counters.leases, Relaxed);
        self.taken.store(counters.taken, Relaxed);
        self.handed_back.store(counters.handed_back, Relaxed);
        self.is_stalled.store(counters.is_stalled, Relaxed);
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

    /// Returns the connections that the worker has taken and handed back.
    #[must_use]
    pub fn handed_back(&self) -> u64 {
        self.handed_back.load(Relaxed)
    }

    /// Returns the turns of the worker's event loop; 0 if the worker does not count them.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.page.get().map_or(0, |page| page.beats())
    }

    /// Returns whether the worker leaves connections untaken.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Relaxed)
    }

    /// Returns what the worker has measured about itself. A hostile worker may write any number, so the result never decreases,
    /// and is at most what the time since the opening and the taken connections allow.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        self.read_load(now, &mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the share of time in which the event loop was busy, 0 to 1, since the last call that was at least [`WINDOW`] ago.
    /// `None` if the worker does not measure it.
    ///
    /// The worker measures at the end of each turn. `scheduled` returns the time in which a thread ran or was ready to run: an event
    /// loop that has not turned since the last look either waits for events or is blocked in a turn, and then its thread runs.
    #[must_use]
    pub fn utilization(&self, now: Instant, scheduled: impl FnOnce(u32) -> Option<Duration>) -> Option<f64> {
        let page = self.page.get()?;
        page.load()?;
        if self.is_stalled() {
            return Some(1.0);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let load = self.read_load(now, &mut seen);
        let mut sample = Sample {
            at: now,
            busy: load.busy,
            turns: load.turns.count(),
            scheduled: None,
        };
        let is_due = now.saturating_duration_since(seen.later.at) >= WINDOW;
        if is_due || sample.turns == seen.earlier.turns {
            sample.scheduled = page.thread().and_then(scheduled);
        }
        if is_due {
            seen.earlier = seen.later;
            seen.later = sample;
        }
        Some(sample.share_since(&seen.earlier))
    }

    fn read_load(&self, now: Instant, seen: &mut Seen) -> Load {
        let age = now.saturating_duration_since(self.opened_at);
        if let Some(load) = self.page.get().and_then(|page| page.load()) {
            let known = &mut seen.load;
            known.busy = known.busy.max(load.busy.min(age));
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            let count = load.leases.count();
            if count <= self.taken() {
                raise(&mut known.leases, &load.leases, age.saturating_mul(count));
            }
            // No event loop turns each microsecond.
            if load.turns.count() <= age {
                raise(&mut known.turns, &load.turns, age);
            }
        }
        seen.load
    }
}

impl Sample {
    fn new(now: Instant) -> Self {
        Self {
            at: now,
            busy: Duration::ZERO,
            turns: 0,
            scheduled: None,
        }
    }

    /// Returns the share of the time since an earlier sample in which the event loop was busy.
    fn share_since(&self, earlier: &Self) -> f64 {
        let elapsed = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        let busy = match (earlier.scheduled, self.scheduled) {
            (Some(before), Some(now)) if earlier.turns == self.turns => now.saturating_sub(before),
            _ => self.busy.saturating_sub(earlier.busy),
        };
        (busy.as_secs_f64() / elapsed.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }
}

/// Raises known counts to those of a page. The sum stays below `longest`.
fn raise(known: &mut BucketCounts, read: &BucketCounts, longest: u64) {
    for (known, count) in known.counts.iter_mut().zip(read.counts) {
        *known = (*known).max(count);
    }
    known.sum_micros = known.sum_micros.max(read.sum_micros.min(longest));
}

/// The maximum difference to the dispatcher's counter: four times the connections that may be in flight to one worker.
const MAX_UNSEEN: u64 = 256;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Page(Mutex<Load>);

    impl Page {
        fn write(&self, busy: Duration, leases: u64, sum_micros: u64) {
            let mut load = Load {
                busy,
                ..Load::default()
            };
            load.leases.counts[0] = leases;
            load.leases.sum_micros = sum_micros;
            (load.turns.counts[1], load.turns.sum_micros) = (leases, sum_micros);
            *self.0.lock().unwrap() = load;
        }
    }

    impl LiveCounters for Page {
        fn taken(&self) -> u64 {
            3
        }

        fn ended(&self) -> u64 {
            0
        }

        fn beats(&self) -> u64 {
            0
        }

        fn load(&self) -> Option<Load> {
            Some(*self.0.lock().unwrap())
        }

        fn thread(&self) -> Option<u32> {
            Some(7)
        }
    }

    fn with_page(now: Instant) -> (ChannelStats, Arc<Page>) {
        let (stats, page) = (ChannelStats::new(now), Arc::new(Page::default()));
        stats.share(Arc::<Page>::clone(&page));
        (stats, page)
    }

    #[test]
    fn the_utilization_is_that_of_the_last_second() {
        let began = Instant::now();
        let (stats, page) = with_page(began);
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        page.write(Duration::from_millis(500), 0, 0);
        assert_eq!(stats.utilization(at(1), |_| None), Some(0.5));
        assert_eq!(stats.utilization(at(2), |_| None), Some(0.0));
        page.write(Duration::from_millis(1500), 0, 0);
        assert_eq!(stats.utilization(at(3), |_| None), Some(1.0));
    }

    #[test]
    fn an_event_loop_that_is_blocked_in_a_turn_counts_as_busy() {
        let began = Instant::now();
        let (stats, page) = with_page(began);
        let share = |seconds: u64, scheduled: u64| {
            let at = began + Duration::from_secs(seconds);
            stats.utilization(at, |thread| (thread == 7).then(|| Duration::from_millis(scheduled)))
        };
        page.write(Duration::from_millis(100), 1, 1000);
        assert_eq!(share(1, 100), Some(0.1), "the first sample of the thread");
        assert_eq!(share(2, 1000), Some(0.9), "no turn since");
        assert_eq!(share(3, 1000), Some(0.0), "the loop waits");
        page.write(Duration::from_millis(200), 2, 2000);
        assert_eq!(
            share(4, 2000),
            Some(0.1),
            "a turn has ended, and the page tells its duration"
        );
    }

    #[test]
    fn a_stalled_worker_counts_as_busy() {
        let began = Instant::now();
        let (stats, _page) = with_page(began);
        stats.publish(ChannelCounters {
            is_stalled: true,
            ..ChannelCounters::default()
        });
        assert_eq!(stats.utilization(began + Duration::from_secs(5), |_| None), Some(1.0));
    }

    #[test]
    fn a_page_with_impossible_numbers_changes_nothing_beyond_what_is_possible() {
        let began = Instant::now();
        let (stats, page) = with_page(began);
        let now = began + Duration::from_secs(2);
        page.write(Duration::from_secs(1), 3, 30);
        let honest = stats.load(now);
        page.write(Duration::MAX, u64::MAX, u64::MAX);
        let hostile = stats.load(now);
        assert_eq!(hostile.busy, Duration::from_secs(2));
        assert_eq!(hostile.leases, honest.leases);
        assert_eq!(hostile.turns, honest.turns);
        page.write(Duration::ZERO, 0, 0);
        assert_eq!(stats.load(now), hostile);
        page.write(Duration::ZERO, 3, u64::MAX);
        assert_eq!(stats.load(now).leases.sum_micros, 6_000_000);
        assert_eq!(stats.load(now).turns.sum_micros, 2_000_000);
    }
}
