//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Far beyond what anything here takes on a loaded machine, so that only what never happens runs into it.
pub const BOUND: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits until it holds.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}
