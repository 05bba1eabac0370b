//! What a run found, for people and for programs.

use std::fmt;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::arguments::{Arguments, Mode, Until};
use crate::histogram::Histogram;
use crate::json::{Object, array};
use crate::outcome::{Expect, Outcome};
use crate::tally::Tally;

/// A finished run.
#[derive(Debug)]
pub struct Report {
    /// The parameters it was run with.
    pub arguments: Arguments,
    /// What was counted.
    pub tally: Tally,
    /// Since 1970.
    started: Duration,
    elapsed: Duration,
    processor: Duration,
}

impl Report {
    /// A report on a run that lasted `elapsed` and ends now; the processor time is this process's so far.
    pub fn new(arguments: Arguments, tally: Tally, elapsed: Duration) -> Self {
        let now = wall_clock();
        Self {
            arguments,
            tally,
            started: now.saturating_sub(elapsed),
            elapsed,
            processor: processor_time(),
        }
    }

    /// Whether something was asked and everything was answered rightly and once.
    pub fn is_clean(&self) -> bool {
        let total = self.tally.total();
        total > 0 && self.tally.count(Outcome::Ok) == total && self.tally.ledger.repeated() == 0
    }

    /// One JSON object on one line; its members are named in the README of this crate.
    pub fn to_json(&self) -> String {
        let tally = &self.tally;
        let outcomes = Outcome::ALL.iter().fold(Object::default(), |object, outcome| {
            object.raw(outcome.name(), tally.count(*outcome))
        });
        let workers = tally
            .workers
            .iter()
            .fold(Object::default(), |object, (name, count)| object.raw(name, count));
        let scheduled = |histogram| (tally.lateness.count() > 0).then(|| quantiles(histogram));
        Object::default()
            .text("mode", self.arguments.mode.name())
            .text("target", &self.arguments.target.to_string())
            .raw("parameters", parameters(&self.arguments))
            .raw("clean", self.is_clean())
            .raw("total", tally.total())
            .raw("outcomes", outcomes.finish())
            .raw("answered_twice", tally.ledger.repeated())
            .raw("workers", workers.finish())
            .raw("started_unix_us", self.started.as_micros())
            .raw("elapsed_seconds", format!("{:.6}", self.elapsed.as_secs_f64()))
            .raw("connections_per_second", format!("{:.1}", self.rate()))
            .raw("latency_us", quantiles(&tally.latency))
            .optional("lateness_us", scheduled(&tally.lateness))
            .optional("response_us", scheduled(&tally.response))
            .optional("opened", self.is_http().then_some(tally.opened))
            .optional("idle_closed", self.is_http().then_some(tally.idle_closed))
            .raw("cpu_seconds", format!("{:.3}", self.processor.as_secs_f64()))
            .raw("failures", array(&tally.failures))
            .finish()
    }

    fn rate(&self) -> f64 {
        float(self.tally.total()) / self.elapsed.as_secs_f64()
    }

    fn is_http(&self) -> bool {
        self.arguments.mode == Mode::Http
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let what = if self.is_http() { "requests" } else { "connections" };
        writeln!(
            out,
            "{} {}: {} {what} in {:.3} s, {:.0} per second, seed {}",
            self.arguments.mode.name(),
            self.arguments.target,
            tally.total(),
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.arguments.seed,
        )?;
        write!(out, "outcomes  ")?;
        for outcome in Outcome::ALL
            .into_iter()
            .filter(|outcome| *outcome == Outcome::Ok || tally.count(*outcome) > 0)
        {
            write!(out, "  {} {}", outcome.name(), tally.count(outcome))?;
        }
        if tally.ledger.repeated() > 0 {
            write!(out, "  (tokens answered twice: {})", tally.ledger.repeated())?;
        }
        writeln!(out)?;
        if self.is_http() {
            writeln!(
                out,
                "opened      {} connections; {} ended by the server while idle",
                tally.opened, tally.idle_closed
            )?;
        }
        write_quantiles(out, "latency", &tally.latency)?;
        write_quantiles(out, "lateness", &tally.lateness)?;
        write_quantiles(out, "response", &tally.response)?;
        if !tally.workers.is_empty() {
            write!(out, "workers   ")?;
            for (name, count) in &tally.workers {
                write!(out, "  {name}: {count}")?;
            }
            writeln!(out)?;
        }
        let each = self.processor.as_secs_f64() * 1e6 / float(tally.total().max(1));
        writeln!(
            out,
            "own CPU     {:.2} s, {each:.1} us each",
            self.processor.as_secs_f64()
        )?;
        for failure in &tally.failures {
            writeln!(out, "failure     {failure}")?;
        }
        Ok(())
    }
}

/// A count as a floating-point number.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact below 2^53, and no count here comes near"
)]
pub fn float(count: u64) -> f64 {
    count as f64
}

fn parameters(arguments: &Arguments) -> String {
    let expect = match arguments.expect {
        Expect::Worker => "worker",
        Expect::Echo => "echo",
        Expect::Body => "body",
        Expect::Nothing => "nothing",
    };
    let until = match arguments.until {
        Until::Eof => "eof",
        Until::Newline => "newline",
    };
    Object::default()
        .optional("connections", arguments.connections)
        .optional("seconds", arguments.span.map(|span| span.as_secs_f64()))
        .raw("clients", arguments.clients)
        .raw("sources", arguments.sources)
        .optional("rate", arguments.rate)
        .raw("timeout_ms", arguments.timeout.map_or(0, |limit| limit.as_millis()))
        .text("expect", expect)
        .text("until", until)
        .raw("body", arguments.body)
        .optional("requests", arguments.requests)
        .raw("dribble_ms", arguments.dribble.map_or(0, |pause| pause.as_millis()))
        .raw("seed", arguments.seed)
        .raw("threads", arguments.threads)
        .raw("replayed", arguments.arrivals.is_some())
        .finish()
}

fn quantiles(histogram: &Histogram) -> String {
    let object = Object::default()
        .raw("count", histogram.count())
        .raw("mean", microseconds(histogram.mean()));
    QUANTILES
        .iter()
        .fold(object, |object, (name, per_mille)| {
            object.raw(name, microseconds(histogram.quantile(*per_mille)))
        })
        .raw("max", microseconds(histogram.max()))
        .finish()
}

fn write_quantiles(out: &mut fmt::Formatter<'_>, name: &str, histogram: &Histogram) -> fmt::Result {
    if histogram.count() == 0 {
        return Ok(());
    }
    write!(out, "{name:<10}  mean {}", microseconds(histogram.mean()))?;
    for (name, per_mille) in QUANTILES {
        write!(out, "  {name} {}", microseconds(histogram.quantile(per_mille)))?;
    }
    writeln!(out, "  max {} us", microseconds(histogram.max()))
}

fn microseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e6)
}

/// Time since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "only other processes' notes are compared with it, and no deadline hangs on it"
)]
fn wall_clock() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// User and system time of this process: on a machine shared with the server, what the measuring itself has cost.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    let duration = |time: TimeVal| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0));
        seconds + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
    };
    duration(usage.user_time()) + duration(usage.system_time())
}

const QUANTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)];
