//! One run: the state that all threads share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::arguments::{Arguments, Mode};
use crate::arrivals;

/// The state that all threads of a run share.
#[derive(Debug)]
pub struct Run {
    /// The parameters.
    pub arguments: Arguments,
    /// The tag of this run, which is part of every token.
    pub tag: u32,
    /// Intended arrivals; empty in the modes without a schedule.
    pub schedule: Vec<Duration>,
    /// The start of the run.
    pub started: Instant,
    /// `hold`: notified when every connection was answered or has failed.
    pub all_settled: Notify,
    /// `hold`: becomes true when the connections are to be closed.
    pub release: watch::Sender<bool>,
    settled: AtomicU64,
    serials: AtomicU64,
    halted: AtomicBool,
}

/// A run was not possible, or did not finish: an error of this machine or of the parameters, never of the server.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}: {source}")]
pub struct RunError {
    action: String,
    source: io::Error,
}

impl RunError {
    /// Creates an error from the failed action, for example `read FILE`, and its cause.
    pub fn new(action: impl Into<String>, source: io::Error) -> Self {
        Self {
            action: action.into(),
            source,
        }
    }
}

impl Run {
    /// Creates a run, and generates or reads its schedule.
    pub fn new(arguments: Arguments) -> Result<Self, RunError> {
        let rate = arguments.rate.unwrap_or(DEFAULT_RATE);
        let schedule = match (arguments.mode, &arguments.arrivals) {
            (Mode::Closed | Mode::Http, _) => Vec::new(),
            (Mode::Hold, _) => arrivals::even(rate, arguments.connections.unwrap_or(0)),
            (Mode::Open, None) => arrivals::poisson(rate, arguments.connections, arguments.span(), arguments.seed),
            (Mode::Open, Some(path)) => {
                let mut schedule =
                    arrivals::read(path).map_err(|source| RunError::new(format!("read {}", path.display()), source))?;
                schedule.retain(|arrival| arguments.span().is_none_or(|span| *arrival <= span));
                schedule.truncate(usize::try_from(arguments.connections.unwrap_or(u64::MAX)).unwrap_or(usize::MAX));
                schedule
            }
        };
        Ok(Self {
            tag: fastrand::u32(..),
            arguments,
            schedule,
            started: Instant::now(),
            all_settled: Notify::new(),
            release: watch::Sender::new(false),
            settled: AtomicU64::new(0),
            serials: AtomicU64::new(0),
            halted: AtomicBool::new(false),
        })
    }

    /// Returns the serial of the next connection, or `None` when no more are to be started.
    pub fn next_serial(&self) -> Option<u64> {
        if self.halted() || self.arguments.span().is_some_and(|span| self.started.elapsed() >= span) {
            return None;
        }
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        self.arguments
            .connections
            .is_none_or(|limit| serial < limit)
            .then_some(serial)
    }

    /// Returns whether a thread has failed, so that the other threads must stop.
    pub fn halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    /// `hold`: counts a connection that was answered or has failed. The last one is announced on standard error.
    pub fn count_settled(&self) {
        let settled = self.settled.fetch_add(1, Ordering::Relaxed) + 1;
        if settled < self.schedule.len() as u64 || *self.release.borrow() {
            return;
        }
        eprintln!("holding {settled}");
        // Stores the notification if no task waits for it yet.
        self.all_settled.notify_one();
    }

    /// Stops all threads, because one has failed.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Relaxed);
        self.release.send_replace(true);
    }
}

const DEFAULT_RATE: f64 = 1000.0;
