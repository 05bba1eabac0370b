//! One run: what all threads share, and the threads themselves.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};

use crate::arguments::{Arguments, Mode};
use crate::arrivals;
use crate::modes::{self, Station};
use crate::report::Report;
use crate::tally::Tally;
use crate::token;

/// What all threads of a run see.
#[derive(Debug)]
pub struct Run {
    /// The parameters.
    pub arguments: Arguments,
    /// This run's tag, in every token.
    pub tag: u32,
    /// Intended arrivals; empty where clients begin when they please.
    pub schedule: Vec<Duration>,
    /// When time began.
    pub started: Instant,
    /// Held connections that have been answered, or have failed to be.
    pub settled: AtomicU64,
    /// Told when all held connections have settled.
    pub all_settled: Notify,
    /// Becomes true when held connections are to be let go.
    pub release: watch::Sender<bool>,
    serials: AtomicU64,
    halted: AtomicBool,
}

impl Run {
    /// Draws or reads the schedule.
    pub fn prepare(arguments: Arguments) -> Result<Self, Failure> {
        let schedule = match (arguments.mode, &arguments.arrivals) {
            (Mode::Closed | Mode::Http, _) => Vec::new(),
            (Mode::Hold, _) => arrivals::even(arguments.rate.unwrap_or(HOLD_RATE), arguments.connections, None),
            (Mode::Open, Some(path)) => {
                let mut schedule = arrivals::read(path)
                    .map_err(|error| Failure::new(&format!("cannot read {}", path.display()), &error))?;
                schedule.retain(|arrival| arguments.span.is_none_or(|span| *arrival <= span));
                schedule.truncate(usize::try_from(arguments.connections.unwrap_or(u64::MAX)).unwrap_or(usize::MAX));
                schedule
            }
            (Mode::Open, None) => {
                let rate = arguments.rate.unwrap_or(HOLD_RATE);
                arrivals::poisson(rate, arguments.connections, arguments.span, arguments.seed)
            }
        };
        Ok(Self {
            tag: token::fresh_tag(),
            arguments,
            schedule,
            started: Instant::now(),
            settled: AtomicU64::new(0),
            all_settled: Notify::new(),
            release: watch::Sender::new(false),
            serials: AtomicU64::new(0),
            halted: AtomicBool::new(false),
        })
    }

    /// Runs every thread to its end, and sums up what they counted.
    pub fn execute(mut self) -> Result<Report, Failure> {
        // So that the threads are there before the first arrival is due.
        let lead = if self.schedule.is_empty() { Duration::ZERO } else { LEAD };
        self.started = Instant::now() + lead;
        let run = Arc::new(self);
        let threads: Vec<_> = (0..run.arguments.threads)
            .map(|index| {
                let run = Arc::clone(&run);
                thread::spawn(move || run.drive(index))
            })
            .collect();
        let mut tally = Tally::new(run.arguments.log.is_some());
        let mut failure = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(counted)) => tally.merge(counted),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        let elapsed = run.started.elapsed();
        match failure {
            Some(error) => Err(Failure::new("cannot go on", &error)),
            None => Ok(Report::new(run.arguments.clone(), tally, elapsed)),
        }
    }

    /// The next connection's serial, or `None` when no more are to begin.
    pub fn next_serial(&self) -> Option<u64> {
        if self.halted() || self.arguments.span.is_some_and(|span| self.started.elapsed() >= span) {
            return None;
        }
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        self.arguments
            .connections
            .is_none_or(|limit| serial < limit)
            .then_some(serial)
    }

    /// Whether some thread cannot go on, so that none should.
    pub fn halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    fn drive(self: Arc<Self>, index: usize) -> io::Result<Tally> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())?;
        let station = Station::new(Arc::clone(&self), index);
        let result = runtime.block_on(modes::run(&station));
        drop(runtime);
        if let Err(error) = result {
            self.halted.store(true, Ordering::Relaxed);
            self.release.send_replace(true);
            return Err(error);
        }
        Ok(station.take_tally())
    }
}

/// Why a run could not be made or finished: a matter of this machine or of the parameters, never of the server.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// What was attempted, and the error that it met.
    pub fn new(what: &str, error: &io::Error) -> Self {
        Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const LEAD: Duration = Duration::from_millis(20);
const HOLD_RATE: f64 = 1000.0;
