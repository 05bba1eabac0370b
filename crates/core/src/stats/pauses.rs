//! When and for how long accepting has paused.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The pauses of the acceptors of a server.
#[derive(Debug, Default)]
pub struct Pauses {
    /// The acceptors that pause now.
    active: AtomicU32,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    /// When the first of the acceptors that pause now began to pause.
    since: Option<Instant>,
    /// How long at least one acceptor has paused, without the current pause.
    total: Duration,
}

/// The pauses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseReport {
    /// The acceptors that pause now.
    pub active: u32,
    /// How long at least one acceptor has paused.
    pub total: Duration,
}

impl Pauses {
    /// Begins a pause of one acceptor, which ends when the guard is dropped.
    pub fn begin(&self) -> PausedAcceptor<'_> {
        let mut times = self.lock();
        if self.active.fetch_add(1, Relaxed) == 0 {
            times.since = Some(Instant::now());
        }
        PausedAcceptor(self)
    }

    /// Returns the pauses so far.
    #[must_use]
    pub fn report(&self) -> PauseReport {
        let times = self.lock();
        let current = times.since.map_or(Duration::ZERO, |since| since.elapsed());
        PauseReport {
            active: self.active.load(Relaxed),
            total: times.total + current,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A paused acceptor; dropping it ends the pause.
#[derive(Debug)]
pub struct PausedAcceptor<'a>(&'a Pauses);

impl Drop for PausedAcceptor<'_> {
    fn drop(&mut self) {
        let mut times = self.0.lock();
        if self.0.active.fetch_sub(1, Relaxed) == 1
            && let Some(since) = times.since.take()
        {
            times.total += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_pauses_count_once() {
        let pauses = Pauses::default();
        let began = Instant::now();
        let (first, second) = (pauses.begin(), pauses.begin());
        assert_eq!(pauses.report().active, 2);
        drop(first);
        assert_eq!(pauses.report().active, 1);
        drop(second);
        let report = pauses.report();
        assert_eq!(report.active, 0);
        assert!(report.total <= began.elapsed());
        assert_eq!(pauses.report().total, report.total);
    }
}
