//! Waits for conditions, with a bound.

use std::time::{Duration, Instant};

/// Much longer than any condition takes on a loaded machine, so that only a condition that never holds exceeds it.
pub const BOUND: Duration = Duration::from_secs(60);

/// Calls `ask` until it returns a value.
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

/// Waits until a condition holds.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}
