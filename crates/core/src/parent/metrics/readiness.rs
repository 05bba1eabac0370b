//! Whether the server should get new clients, for probes and balancers.

use std::fmt::Write;
use std::time::Instant;

use super::Metrics;

/// The conditions under which a server is ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadyWhen {
    /// The number of ready workers.
    pub min_ready: u32,
    /// The share of the queue, 0 to 1, at which the server counts as full.
    pub max_queue: f64,
}

/// The checks of a probe, each with whether it passed and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks(Vec<(bool, String)>);

impl Checks {
    /// Creates the checks of a probe.
    #[must_use]
    pub fn new(checks: Vec<(bool, String)>) -> Self {
        Self(checks)
    }

    /// Returns whether all checks passed.
    #[must_use]
    pub fn have_passed(&self) -> bool {
        self.0.iter().all(|(has_passed, _)| *has_passed)
    }

    /// Returns one line for each check.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (has_passed, sentence) in &self.0 {
            // A String never fails.
            let _ = writeln!(text, "[{}] {sentence}", if *has_passed { '+' } else { '-' });
        }
        text
    }
}

impl Metrics {
    /// Checks whether the server should get new clients.
    #[must_use]
    pub fn readiness(&self, when: ReadyWhen) -> Checks {
        let stats = self.stats.snapshot();
        let is_listening = self.stats.listeners().report().iter().any(|listener| listener.is_open);
        let ready = self.facts.ready();
        let unready = self.facts.unready();
        #[allow(clippy::cast_precision_loss, reason = "f64 is exact up to 2^53 connections")]
        let is_below = (stats.queued as f64) < self.max_queue as f64 * when.max_queue;
        Checks::new(vec![
            (
                is_listening,
                if is_listening { "listening" } else { "not listening" }.to_owned(),
            ),
            (
                ready >= when.min_ready as usize,
                format!("{ready} ready workers, at least {} needed", when.min_ready),
            ),
            (unready.is_none(), unready.unwrap_or("not draining").to_owned()),
            (
                is_below,
                format!("{} of {} connections in the queue", stats.queued, self.max_queue),
            ),
        ])
    }

    /// Checks whether the server has started, which remains so.
    #[must_use]
    pub fn startup(&self) -> Checks {
        let has_started = self.facts.has_started();
        let sentence = if has_started {
            "all pools have been ready"
        } else {
            "a pool has not been ready yet"
        };
        Checks::new(vec![(has_started, sentence.to_owned())])
    }

    /// Returns the answer to HAProxy's agent-check (configuration manual, `agent-check`), without the end of the line.
    /// `concurrency` is how many connections each worker takes at a time, if this is limited.
    #[must_use]
    pub fn agent_answer(&self, concurrency: Option<u32>) -> String {
        if self.facts.unready().is_some() {
            return "drain".to_owned();
        }
        if self.facts.none_ready_for() >= super::DOWN_AFTER {
            return "down#no ready worker".to_owned();
        }
        let (able, expected) = self.capacity();
        #[allow(clippy::cast_precision_loss, reason = "f64 is exact up to 2^53 workers")]
        let share = able as f64 * 100.0 / expected.max(1) as f64;
        // HAProxy shows a weight of 0 as DRAIN.
        let percent = self.capacity.add(share.min(100.0), Instant::now()).round().max(1.0);
        let mut answer = format!("up ready {percent}%");
        if let Some(concurrency) = concurrency {
            // HAProxy would read 0 as no limit.
            let limit = u64::from(concurrency).saturating_mul(able).max(1);
            // A String never fails.
            let _ = write!(answer, " maxconn:{limit}");
        }
        answer
    }

    /// Returns how many workers take connections, and how many there should be.
    fn capacity(&self) -> (u64, u64) {
        let workers = self.facts.workers();
        let able = workers.iter().filter(|(channel, worker)| {
            let stats = self.stats.channel(*channel);
            worker.state == super::WorkerState::Ready && !stats.is_some_and(|stats| stats.is_stalled())
        });
        let joined = workers.iter().filter(|(_, worker)| worker.slot.is_none()).count() as u64;
        let pools = self.facts.pools();
        let expected = pools.values().map(|pool| u64::from(pool.size)).sum::<u64>() + joined;
        (able.count() as u64, expected)
    }
}
