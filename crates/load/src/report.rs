//! The report of a run, as JSON and as text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::arguments::{Arguments, Mode};
use crate::outcome::Outcome;
use crate::tally::Tally;

/// The report of a finished run. The README of this crate describes the members.
#[derive(Debug, Serialize)]
pub struct Report {
    mode: Mode,
    target: SocketAddr,
    parameters: Parameters,
    /// At least one connection was made, every outcome is ok, and no token was answered twice.
    pub clean: bool,
    total: u64,
    outcomes: BTreeMap<Outcome, u64>,
    answered_twice: u64,
    workers: BTreeMap<String, u64>,
    started_unix_us: u128,
    elapsed_seconds: f64,
    connections_per_second: f64,
    latency_us: Quantiles,
    lateness_us: Option<Quantiles>,
    response_us: Option<Quantiles>,
    opened: Option<u64>,
    idle_closed: Option<u64>,
    cpu_seconds: f64,
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Parameters {
    #[serde(flatten)]
    arguments: Arguments,
    replayed: bool,
}

/// Quantiles of a histogram, in microseconds.
#[derive(Debug, Serialize)]
struct Quantiles {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    /// Creates the report of a run that lasted `elapsed` and has just ended.
    pub fn new(arguments: &Arguments, tally: &Tally, elapsed: Duration) -> Self {
        let total = tally.total();
        let is_http = arguments.mode == Mode::Http;
        let scheduled = |histogram| (!tally.lateness.is_empty()).then(|| Quantiles::of(histogram));
        Self {
            mode: arguments.mode,
            target: arguments.target,
            parameters: Parameters {
                arguments: arguments.clone(),
                replayed: arguments.arrivals.is_some(),
            },
            clean: total > 0 && tally.count(Outcome::Ok) == total && tally.ledger.repeated() == 0,
            total,
            outcomes: Outcome::ALL.map(|outcome| (outcome, tally.count(outcome))).into(),
            answered_twice: tally.ledger.repeated(),
            workers: tally.workers.clone(),
            started_unix_us: wall_clock().saturating_sub(elapsed).as_micros(),
            elapsed_seconds: elapsed.as_secs_f64(),
            connections_per_second: float(total) / elapsed.as_secs_f64(),
            latency_us: Quantiles::of(&tally.latency),
            lateness_us: scheduled(&tally.lateness),
            response_us: scheduled(&tally.response),
            opened: is_http.then_some(tally.opened),
            idle_closed: is_http.then_some(tally.idle_closed),
            cpu_seconds: cpu_time().as_secs_f64(),
            failures: tally.failures.clone(),
        }
    }
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let quantile = |quantile| float(histogram.value_at_quantile(quantile)) / 1e3;
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: float(histogram.max()) / 1e3,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.mode == Mode::Http {
            "requests"
        } else {
            "connections"
        };
        writeln!(
            out,
            "{} {}: {} {unit} in {:.3} s, {:.0} per second, seed {}",
            self.mode,
            self.target,
            self.total,
            self.elapsed_seconds,
            self.connections_per_second,
            self.parameters.arguments.seed,
        )?;
        write!(out, "outcomes  ")?;
        for (outcome, count) in &self.outcomes {
            if *outcome == Outcome::Ok || *count > 0 {
                write!(out, "  {outcome} {count}")?;
            }
        }
        writeln!(out, "  (tokens answered twice: {})", self.answered_twice)?;
        if let (Some(opened), Some(idle_closed)) = (self.opened, self.idle_closed) {
            writeln!(
                out,
                "opened      {opened} connections; {idle_closed} closed by the server while idle"
            )?;
        }
        writeln!(out, "latency     {}", self.latency_us)?;
        if let (Some(lateness), Some(response)) = (&self.lateness_us, &self.response_us) {
            writeln!(out, "lateness    {lateness}")?;
            writeln!(out, "response    {response}")?;
        }
        if !self.workers.is_empty() {
            write!(out, "workers   ")?;
            for (name, count) in &self.workers {
                write!(out, "  {name}: {count}")?;
            }
            writeln!(out)?;
        }
        let each = self.cpu_seconds * 1e6 / float(self.total.max(1));
        writeln!(
            out,
            "own CPU     {:.2} s, {each:.1} us per connection",
            self.cpu_seconds
        )?;
        for failure in &self.failures {
            writeln!(out, "failure     {failure}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mean,
            p50,
            p90,
            p99,
            p999,
            max,
            ..
        } = self;
        write!(
            out,
            "mean {mean:.1}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p999 {p999:.1}  max {max:.1} us"
        )
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact below 2^53, which no count or duration here reaches"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[allow(
    clippy::disallowed_methods,
    reason = "the report is compared with records of other processes; no deadline depends on the wall clock"
)]
fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Returns the user and system time of this process: the cost of measuring on a machine shared with the server.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
