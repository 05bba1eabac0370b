//! Counts and times as JavaScript numbers.

use std::time::Duration;

/// Converts a count. The number is exact up to 2^53, which takes a century at three million a second.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn count(count: u64) -> f64 {
    count as f64
}

/// Converts a number that [`count`] has made back to the connection's id.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number below 2^53, from `count`"
)]
pub fn id_of(count: f64) -> u64 {
    count as u64
}

/// Converts a duration to milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
