//! Histograms of microseconds: log-linear buckets for quantiles, and the fixed buckets that Prometheus reads.
//!
//! Each histogram has one writer, so that recording needs no locked instruction.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The number of buckets of a [`Buckets`], with the one without an upper bound.
pub const BUCKETS: usize = 17;

/// The upper bounds of a [`Buckets`] in microseconds.
pub type Bounds = [u64; BUCKETS - 1];

/// The bounds for the wait from accept to handoff. An idle worker takes a connection in about 0.1 ms.
pub const WAIT_BOUNDS: Bounds = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The bounds for the time that a worker holds a connection: one request, or a connection that is kept open.
pub const LEASE_BOUNDS: Bounds = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Returns the index of the bucket of a value in microseconds.
#[must_use]
pub fn bucket_of(bounds: &Bounds, micros: u64) -> usize {
    // Most values are in the first buckets, so a scan is faster than a search.
    bounds.iter().position(|&bound| micros <= bound).unwrap_or(BUCKETS - 1)
}

/// The counts of a [`Buckets`] at one moment. The buckets are not cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BucketCounts {
    /// The values in each bucket.
    pub counts: [u64; BUCKETS],
    /// The sum of all values in microseconds.
    pub sum_micros: u64,
}

impl BucketCounts {
    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.sum_micros = self.sum_micros.saturating_add(other.sum_micros);
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// A histogram with fixed buckets. The layout is part of the scoreboard's.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Buckets {
    counts: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

impl Buckets {
    /// Counts a value in microseconds.
    pub fn record(&self, bounds: &Bounds, micros: u64) {
        increase(&self.counts[bucket_of(bounds, micros)], 1);
        increase(&self.sum_micros, micros);
    }

    /// Returns the counts.
    #[must_use]
    pub fn counts(&self) -> BucketCounts {
        let mut counts = [0; BUCKETS];
        for (count, cell) in counts.iter_mut().zip(&self.counts) {
            *count = cell.load(Relaxed);
        }
        BucketCounts {
            counts,
            sum_micros: self.sum_micros.load(Relaxed),
        }
    }
}

/// Adds to a counter that has one writer.
fn increase(cell: &AtomicU64, amount: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// A histogram of microseconds in log-linear buckets: 16 per power of two, so a quantile is at most 6 % too high.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    max: AtomicU64,
}

const SUB_BITS: u32 = 4;
/// The range is 2^36 microseconds, 19 hours; longer waits go to the last bucket.
const MAX_BITS: u32 = 36;
const FINE_BUCKETS: usize = ((MAX_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..FINE_BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts a value in microseconds.
    pub fn record(&self, micros: u64) {
        increase(&self.buckets[Self::bucket(micros)], 1);
        if micros > self.max.load(Relaxed) {
            self.max.store(micros, Relaxed);
        }
    }

    /// Returns the largest value.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max.load(Relaxed))
    }

    /// Returns the value below which this share of the values is; 0 without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
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
            .map_or(FINE_BUCKETS - 1, |bucket| bucket.min(FINE_BUCKETS - 1))
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
        fn a_fine_bucket_holds_its_values_within_six_percent(micros in 0_u64..(1 << MAX_BITS)) {
            let edge = Histogram::upper_edge(Histogram::bucket(micros));
            prop_assert!(edge >= micros);
            prop_assert!(edge - micros <= micros / 16);
        }

        #[test]
        fn a_value_is_counted_in_the_first_bucket_whose_bound_it_does_not_exceed(micros in 0_u64..20_000_000) {
            let bucket = bucket_of(&WAIT_BOUNDS, micros);
            prop_assert!(bucket == BUCKETS - 1 || micros <= WAIT_BOUNDS[bucket]);
            prop_assert!(bucket == 0 || micros > WAIT_BOUNDS[bucket - 1]);
        }
    }

    #[test]
    fn a_quantile_is_the_value_at_its_rank() {
        let histogram = Histogram::default();
        for micros in 1..=100 {
            histogram.record(micros);
        }
        assert!((50..=53).contains(&histogram.quantile(0.5).as_micros()));
        assert!((99..=100).contains(&histogram.quantile(0.99).as_micros()));
        assert_eq!(Histogram::default().quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn a_wait_beyond_the_range_is_counted_in_the_last_bucket() {
        let histogram = Histogram::default();
        histogram.record(1_000_000_000_000);
        assert!(histogram.quantile(0.5) >= Duration::from_secs(60_000));
    }

    #[test]
    fn buckets_keep_the_sum_and_the_count_of_their_values() {
        let buckets = Buckets::default();
        for micros in [50, 100, 101, 99_000_000] {
            buckets.record(&WAIT_BOUNDS, micros);
        }
        let counts = buckets.counts();
        assert_eq!(
            (counts.counts[0], counts.counts[1], counts.counts[BUCKETS - 1]),
            (2, 1, 1)
        );
        assert_eq!((counts.count(), counts.sum_micros), (4, 99_000_251));
    }
}
