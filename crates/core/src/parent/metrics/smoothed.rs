//! The weight that the agent-check reports, smoothed: a balancer that follows each change of the share would move many clients at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time constant. After this time, 63 % of a change is reported, after three times this time 95 %.
pub const TIME_CONSTANT: Duration = Duration::from_secs(2);

/// A value that follows its samples: in a time t, the difference between the value and the sample shrinks to e^(-t / [`TIME_CONSTANT`])
/// of itself. The number of samples in that time does not matter, so several balancers can ask.
#[derive(Debug, Default)]
pub struct Smoothed(Mutex<Option<(Instant, f64)>>);

impl Smoothed {
    /// Returns the value after a sample at `now`. The first value is the first sample.
    pub fn add(&self, sample: f64, now: Instant) -> f64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = last.map_or(sample, |(at, value)| {
            let elapsed = now.saturating_duration_since(at).as_secs_f64();
            sample + (value - sample) * (-elapsed / TIME_CONSTANT.as_secs_f64()).exp()
        });
        *last = Some((now, value));
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the values after samples at times in milliseconds since the first.
    fn values(samples: impl IntoIterator<Item = (u64, f64)>) -> Vec<f64> {
        let (smoothed, began) = (Smoothed::default(), Instant::now());
        let add = |(at, sample)| smoothed.add(sample, began + Duration::from_millis(at));
        samples.into_iter().map(add).collect()
    }

    proptest! {
        #[test]
        fn no_step_is_larger_than_its_time_allows(steps in prop::collection::vec((0_u64..10_000, 0.0..=100.0), 1..50)) {
            let mut at = 0;
            let samples: Vec<_> = steps.iter().map(|&(after, sample)| { at += after; (at, sample) }).collect();
            let values = values(samples.clone());
            prop_assert!((values[0] - samples[0].1).abs() < 1e-9);
            for (index, pair) in values.windows(2).enumerate() {
                let ((before, _), (now, sample)) = (samples[index], samples[index + 1]);
                #[allow(clippy::cast_precision_loss, reason = "below 500,000 ms")]
                let share = 1.0 - (-((now - before) as f64) / 2000.0).exp();
                let (step, gap) = (pair[1] - pair[0], sample - pair[0]);
                prop_assert!((step - gap * share).abs() < 1e-9);
                prop_assert!((0.0..=100.0).contains(&pair[1]));
            }
        }

        #[test]
        fn more_samples_of_the_same_value_change_nothing(first in 0.0..=100.0, then in 0.0..=100.0, mut times in prop::collection::vec(0_u64..5000, 0..20)) {
            times.sort_unstable();
            let ends = [(0, first), (5000, then)];
            let between = times.into_iter().map(|at| (at, then));
            let many = values([ends[0]].into_iter().chain(between).chain([ends[1]]));
            prop_assert!((many[many.len() - 1] - values(ends)[1]).abs() < 1e-9);
        }
    }
}
