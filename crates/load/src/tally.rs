//! The tally: the counters of one thread, or the sum of all threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::token::Token;

/// A finished connection or request. Times count from the start of the run.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Identifies the connection.
    pub token: Token,
    /// The scheduled start, if there is a schedule.
    pub intended: Option<Duration>,
    /// The actual start.
    pub start: Duration,
    /// When the answer was complete.
    pub end: Duration,
    /// The outcome.
    pub outcome: Outcome,
    /// The name of the worker, if the answer is correct.
    pub worker: Option<&'a str>,
    /// The bytes received.
    pub answer: &'a [u8],
    /// The port of the client; known in `http`.
    pub port: Option<u16>,
}

/// Counters of everything that a report contains.
#[derive(Debug)]
pub struct Tally {
    outcomes: [u64; Outcome::ALL.len()],
    /// Correct answers by worker.
    pub workers: BTreeMap<String, u64>,
    /// Nanoseconds from the intended start (without a schedule, from the actual start) to the end of a correct answer.
    pub latency: Histogram<u64>,
    /// Nanoseconds from the intended to the actual start: the part of the latency that this program causes.
    pub lateness: Histogram<u64>,
    /// Nanoseconds from the actual start of a scheduled connection to the end of a correct answer.
    pub response: Histogram<u64>,
    /// The tokens that were answered.
    pub ledger: Ledger,
    /// `http`: connections opened.
    pub opened: u64,
    /// `http`: idle connections that the server closed between two requests, which RFC 9112 permits.
    pub idle_closed: u64,
    /// Descriptions of the first failures.
    pub failures: Vec<String>,
    log: Option<Vec<String>>,
}

impl Tally {
    /// Creates an empty tally. With `logging` the tally keeps one line per connection.
    pub fn new(logging: bool) -> Self {
        Self {
            outcomes: [0; Outcome::ALL.len()],
            workers: BTreeMap::new(),
            latency: empty_histogram(),
            lateness: empty_histogram(),
            response: empty_histogram(),
            ledger: Ledger::default(),
            opened: 0,
            idle_closed: 0,
            failures: Vec::new(),
            log: logging.then(Vec::new),
        }
    }

    /// Returns the number of connections with this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Returns the number of connections.
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Counts a finished connection.
    pub fn record(&mut self, sample: &Sample<'_>) {
        self.outcomes[sample.outcome as usize] += 1;
        if let Some(worker) = sample.worker {
            // entry() would allocate a String for every connection.
            match self.workers.get_mut(worker) {
                Some(count) => *count += 1,
                None => drop(self.workers.insert(worker.to_owned(), 1)),
            }
        }
        let response = sample.end.saturating_sub(sample.start);
        let mut latency = response;
        if let Some(intended) = sample.intended {
            record(&mut self.lateness, sample.start.saturating_sub(intended));
            latency = sample.end.saturating_sub(intended);
            if sample.outcome == Outcome::Ok {
                record(&mut self.response, response);
            }
        }
        if sample.outcome == Outcome::Ok {
            record(&mut self.latency, latency);
            self.ledger.mark(sample.token.serial);
        } else {
            self.record_failure(sample);
        }
        if let Some(log) = &mut self.log {
            let intended = sample.intended.unwrap_or(sample.start).as_micros();
            log.push(format!(
                "{}\t{intended}\t{}\t{}\t{}\t{}\t{}",
                sample.token.serial,
                sample.start.as_micros(),
                sample.end.as_micros(),
                sample.outcome,
                sample.worker.unwrap_or("-"),
                sample.port.map_or_else(|| "-".to_owned(), |port| port.to_string()),
            ));
        }
    }

    /// Changes an outcome from ok to doubled, because more bytes arrived later on the same connection.
    pub fn change_to_doubled(&mut self, token: Token) {
        self.outcomes[Outcome::Ok as usize] -= 1;
        self.outcomes[Outcome::Doubled as usize] += 1;
        self.add_failure(format!("{token}: doubled, bytes arrived after the complete answer"));
    }

    /// Adds the counters of another thread.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
        for (worker, count) in other.workers {
            *self.workers.entry(worker).or_default() += count;
        }
        self.latency += &other.latency;
        self.lateness += &other.lateness;
        self.response += &other.response;
        self.ledger.merge(&other.ledger);
        self.opened += other.opened;
        self.idle_closed += other.idle_closed;
        self.failures.extend(other.failures);
        self.failures.truncate(MAX_FAILURES);
        if let (Some(mine), Some(theirs)) = (&mut self.log, other.log) {
            mine.extend(theirs);
        }
    }

    /// Writes the log; the lines of each thread are in the order in which the answers were complete.
    pub fn save_log(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for line in self.log.iter().flatten() {
            writeln!(file, "{line}")?;
        }
        file.flush()
    }

    /// Describes a failure. A wrong answer may carry the token of another connection, so that token is marked too.
    fn record_failure(&mut self, sample: &Sample<'_>) {
        let shown = &sample.answer[..sample.answer.len().min(MAX_ANSWER_SHOWN)];
        let text = String::from_utf8_lossy(shown);
        if let Some(found) = Token::find(sample.token.tag, &text) {
            self.ledger.mark(found.serial);
        }
        let after = sample.end.saturating_sub(sample.start);
        self.add_failure(format!(
            "{}: {} after {after:.1?}, answer {text:?}",
            sample.token, sample.outcome
        ));
    }

    fn add_failure(&mut self, failure: String) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure);
        }
    }
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new(SIGNIFICANT_DIGITS).expect("hdrhistogram accepts 0 to 5 significant digits")
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    // An auto-resizing histogram accepts up to 146 years, longer than any run.
    let _ = histogram.record(nanoseconds);
}

/// Every value is within 0.1 % of the recorded one, and a histogram of durations up to 1 s takes 170 KiB.
const SIGNIFICANT_DIGITS: u8 = 3;
const MAX_FAILURES: usize = 10;
const MAX_ANSWER_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(serial: u64, outcome: Outcome, answer: &str) -> Sample<'_> {
        Sample {
            token: Token { tag: 0x1f, serial },
            intended: Some(Duration::from_millis(1)),
            start: Duration::from_millis(2),
            end: Duration::from_millis(5),
            outcome,
            worker: (outcome == Outcome::Ok).then_some("w1"),
            answer: answer.as_bytes(),
            port: None,
        }
    }

    #[test]
    fn latency_counts_from_the_intended_start() {
        let mut tally = Tally::new(false);
        tally.record(&sample(0, Outcome::Ok, ""));
        for (histogram, milliseconds) in [(&tally.latency, 4), (&tally.lateness, 1), (&tally.response, 3)] {
            assert!(histogram.equivalent(histogram.max(), milliseconds * 1_000_000));
        }
        assert_eq!(tally.workers["w1"], 1);
    }

    #[test]
    fn quantiles_have_three_significant_digits() {
        let mut histogram = empty_histogram();
        for microseconds in 1..=10_000 {
            record(&mut histogram, Duration::from_micros(microseconds));
        }
        for (quantile, expected) in [
            (0.5, 5_000_000),
            (0.99, 9_900_000),
            (0.999, 9_990_000),
            (1.0, 10_000_000_u64),
        ] {
            let found = histogram.value_at_quantile(quantile);
            assert!(
                found.abs_diff(expected) * 1000 <= expected,
                "quantile {quantile}: {found} ns"
            );
        }
    }

    #[test]
    fn a_token_answered_on_another_connection_is_repeated() {
        let mut tally = Tally::new(false);
        tally.record(&sample(4, Outcome::Ok, ""));
        tally.record(&sample(5, Outcome::Wrong, "w1 0000001f-0000000004\n"));
        assert_eq!(tally.ledger.repeated(), 1);
        assert_eq!(
            (tally.count(Outcome::Ok), tally.count(Outcome::Wrong), tally.total()),
            (1, 1, 2)
        );
        assert!(tally.failures[0].contains("wrong"), "{:?}", tally.failures);
    }

    #[test]
    fn only_the_first_failures_are_described() {
        let (mut tally, mut other) = (Tally::new(false), Tally::new(false));
        for serial in 0..100 {
            tally.record(&sample(serial, Outcome::Empty, ""));
            other.record(&sample(100 + serial, Outcome::Reset, ""));
        }
        tally.merge(other);
        assert_eq!(tally.failures.len(), MAX_FAILURES);
        assert_eq!(tally.total(), 200);
    }

    #[test]
    fn later_bytes_change_ok_to_doubled() {
        let mut tally = Tally::new(false);
        tally.record(&sample(4, Outcome::Ok, ""));
        tally.change_to_doubled(Token { tag: 0x1f, serial: 4 });
        assert_eq!((tally.count(Outcome::Ok), tally.count(Outcome::Doubled)), (0, 1));
    }
}
