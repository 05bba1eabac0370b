//! Exponential backoff.

use std::time::Duration;

/// Delays that double from `first` up to `longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// Creates a backoff; `longest` is at least `first`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// Returns the delay after `failures` failures in a row; none after 0.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .first
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_double_up_to_the_longest(failures in 0_u32..200) {
            let (first, longest) = (Duration::from_millis(1), Duration::from_millis(100));
            let backoff = Backoff::new(first, longest);
            let delay = backoff.delay(failures);
            prop_assert!(delay <= longest);
            prop_assert!(backoff.delay(failures + 1) == (delay * 2).clamp(first, longest));
        }
    }
}
