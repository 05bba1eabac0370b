//! Whether connections come so fast that the thread which takes them had better wait its turn.
//!
//! A thread that is woken pushes aside what runs on its CPU, and what runs there at such a time is mostly the accepting
//! thread, a worker, or a client on the same machine, each about to make more for the others to do. Woken at every
//! connection, all of them change places for each, and nothing comes in batches. Measured with 64 and 8 clients at a time
//! and 2 workers on 2 cores, Node 24: 43 and 49 us of processor time a connection if nobody waits, 36 and 45 if the accepting
//! thread does, 29 and 37 if the workers do too.
//!
//! It is not for times when few come: one that waits its turn beside a program that never sleeps waits for 3 ms and more,
//! where one that does not gets by in 0.1 ms.

use std::time::{Duration, Instant};

use crate::sys::Sys;

/// In the accepting thread: connections a second. What a thousand of them would save is less than a hundredth of a core.
pub(crate) const ACCEPTED: u32 = 10_000;
/// In a worker.
pub(crate) const TAKEN: u32 = 4_000;

/// Looked at together.
const SAMPLE: u32 = 64;

/// The pace at which one thread takes connections.
#[derive(Debug)]
pub(crate) struct Rush {
    /// For a sample, if it is one.
    within: Duration,
    count: u32,
    since: Option<Instant>,
    /// This has made the thread wait its turn.
    waits: bool,
}

impl Rush {
    /// More than so many a second are one.
    pub(crate) fn of_more_than(a_second: u32) -> Self {
        Self {
            within: Duration::from_secs(1) * SAMPLE / a_second,
            count: 0,
            since: None,
            waits: false,
        }
    }

    /// The calling thread has taken so many more.
    pub(crate) fn took<S: Sys>(&mut self, count: usize, sys: &S) {
        self.count = self.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.count < SAMPLE {
            return;
        }
        let now = sys.now();
        let is_rush = self.is_rush(now);
        if is_rush != self.waits {
            self.waits = sys.wait_turn(is_rush);
        }
    }

    fn is_rush(&mut self, now: Instant) -> bool {
        let within = self.within * self.count / SAMPLE;
        self.count = 0;
        let since = self.since.replace(now);
        since.is_some_and(|since| now.saturating_duration_since(since) < within)
    }
}
