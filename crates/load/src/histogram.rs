//! A log-linear histogram: 128 buckets for each power of two, so that any quantile is within 0.4 % of the true value.

use std::time::Duration;

/// Counts of durations. Memory is fixed (58 KiB), recording is one shift and one add.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    total: Duration,
    min: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            total: Duration::ZERO,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Adds one duration; beyond 584 years it is counted as 584 years.
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanoseconds)] += 1;
        self.count += 1;
        self.total += duration;
        self.min = self.min.min(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    /// Adds all that another histogram has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.total += other.total;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The exact mean, or zero when nothing was recorded.
    pub fn mean(&self) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(self.total.as_secs_f64() / crate::report::float(self.count))
    }

    /// The exact maximum, or zero when nothing was recorded.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The duration that `per_mille` thousandths of the recorded ones do not exceed; zero when nothing was recorded.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle_of(bucket).clamp(self.min, self.max));
            }
        }
        self.max()
    }
}

fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - 1 - SUB_BUCKET_BITS).saturating_sub(value.leading_zeros());
    // Below 256 after the shift by its construction, so the lowest byte is all of it.
    let mantissa = usize::from((value >> shift).to_le_bytes()[0]);
    ((shift as usize) << SUB_BUCKET_BITS) + mantissa
}

fn middle_of(bucket: usize) -> u64 {
    let shift = (bucket >> SUB_BUCKET_BITS).saturating_sub(1);
    let mantissa = bucket - (shift << SUB_BUCKET_BITS);
    let low = (mantissa as u64) << shift;
    low + ((1 << shift) >> 1)
}

const SUB_BUCKET_BITS: u32 = 7;
const BUCKETS: usize = ((u64::BITS - SUB_BUCKET_BITS + 1) as usize) << SUB_BUCKET_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_one_per_cent_of_every_value_in_it() {
        let mut value: u64 = 1;
        while value < u64::MAX / 3 {
            for probe in [value, value + value / 3, value * 2 - 1] {
                let middle = middle_of(bucket_of(probe));
                let error = probe.abs_diff(middle);
                assert!(error * 100 <= probe, "{probe} is counted as {middle}");
            }
            value *= 2;
        }
    }

    #[test]
    fn buckets_are_contiguous_and_end_with_the_largest_value() {
        for value in 1..100_000_u64 {
            let step = bucket_of(value) - bucket_of(value - 1);
            assert!(step <= 1, "{value} skips a bucket");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_uniform_spread_are_where_they_belong() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=10_000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        for (per_mille, expected) in [(500, 5_000), (900, 9_000), (990, 9_900), (999, 9_990), (1000, 10_000)] {
            let found = histogram.quantile(per_mille).as_micros();
            assert!(
                found.abs_diff(expected) * 100 <= expected,
                "{per_mille} per mille is {found} us"
            );
        }
        assert_eq!(histogram.max(), Duration::from_millis(10));
        assert_eq!(histogram.mean(), Duration::from_nanos(5_000_500));
    }

    #[test]
    fn merging_is_the_same_as_recording_everything_in_one() {
        let (mut left, mut right, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in 0..1000 {
            let duration = Duration::from_nanos(value * value);
            both.record(duration);
            if value % 2 == 0 {
                left.record(duration);
            } else {
                right.record(duration);
            }
        }
        left.merge(&right);
        assert_eq!(left.buckets, both.buckets);
        assert_eq!((left.count, left.min, left.max), (both.count, both.min, both.max));
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        let histogram = Histogram::new();
        assert_eq!(histogram.quantile(500), Duration::ZERO);
        assert_eq!(histogram.mean(), Duration::ZERO);
        assert_eq!(histogram.max(), Duration::ZERO);
    }

    #[test]
    fn a_single_value_is_every_quantile_exactly() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_nanos(123_456));
        assert_eq!(histogram.quantile(1), Duration::from_nanos(123_456));
        assert_eq!(histogram.quantile(1000), Duration::from_nanos(123_456));
    }
}
