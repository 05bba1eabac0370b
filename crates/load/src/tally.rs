//! Counting: what each thread keeps of its connections, and the sum of all threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::histogram::Histogram;
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::token::Token;

/// One connection, or one request, that has ended. Times count from the start of the run.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Who it was.
    pub token: Token,
    /// When it should have begun, if that was laid down.
    pub intended: Option<Duration>,
    /// When it began.
    pub begun: Duration,
    /// When its answer was complete.
    pub ended: Duration,
    /// What became of it.
    pub outcome: Outcome,
    /// Who answered, if it was answered rightly.
    pub worker: Option<&'a str>,
    /// What came.
    pub answer: &'a [u8],
    /// The client's port, where that is known.
    pub port: Option<u16>,
}

/// Counts of everything that a report tells.
#[derive(Debug)]
pub struct Tally {
    outcomes: [u64; Outcome::ALL.len()],
    /// Right answers by worker.
    pub workers: BTreeMap<String, u64>,
    /// Of right answers: from the intended (else the real) beginning until the answer was complete.
    pub latency: Histogram,
    /// From the intended beginning until the real one: this program's own share in the latency.
    pub lateness: Histogram,
    /// Of right answers to scheduled connections: from the real beginning, without that share.
    pub response: Histogram,
    /// Which tokens were answered.
    pub ledger: Ledger,
    /// Connections made, more than one request going over each in `http`.
    pub opened: u64,
    /// Kept connections that the server ended between two requests, which is its right.
    pub idle_closed: u64,
    /// The first failures, in words.
    pub failures: Vec<String>,
    log: Option<Vec<String>>,
}

impl Tally {
    /// Nothing counted yet; `logging` keeps a line for each connection.
    pub fn new(logging: bool) -> Self {
        Self {
            outcomes: [0; Outcome::ALL.len()],
            workers: BTreeMap::new(),
            latency: Histogram::new(),
            lateness: Histogram::new(),
            response: Histogram::new(),
            ledger: Ledger::default(),
            opened: 0,
            idle_closed: 0,
            failures: Vec::new(),
            log: logging.then(Vec::new),
        }
    }

    /// How many ended in this way.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// How many ended at all.
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Counts one.
    pub fn record(&mut self, sample: &Sample<'_>) {
        self.outcomes[sample.outcome as usize] += 1;
        if let Some(worker) = sample.worker {
            // No entry(): it would take a String for every connection.
            match self.workers.get_mut(worker) {
                Some(count) => *count += 1,
                None => drop(self.workers.insert(worker.to_owned(), 1)),
            }
        }
        let response = sample.ended.saturating_sub(sample.begun);
        let mut latency = response;
        if let Some(intended) = sample.intended {
            self.lateness.record(sample.begun.saturating_sub(intended));
            latency = sample.ended.saturating_sub(intended);
            if sample.outcome == Outcome::Ok {
                self.response.record(response);
            }
        }
        if sample.outcome == Outcome::Ok {
            self.latency.record(latency);
            self.ledger.mark(sample.token.serial);
        } else {
            self.examine(sample);
        }
        if let Some(log) = &mut self.log {
            let intended = sample.intended.unwrap_or(sample.begun).as_micros();
            log.push(format!(
                "{}\t{intended}\t{}\t{}\t{}\t{}\t{}",
                sample.token.serial,
                sample.begun.as_micros(),
                sample.ended.as_micros(),
                sample.outcome.name(),
                sample.worker.unwrap_or("-"),
                sample.port.map_or_else(|| "-".to_owned(), |port| port.to_string()),
            ));
        }
    }

    /// Counts as doubled what was counted as ok, because more bytes came later on the same connection.
    pub fn double(&mut self, token: Token) {
        self.outcomes[Outcome::Ok as usize] -= 1;
        self.outcomes[Outcome::Doubled as usize] += 1;
        self.complain(format!("{token}: doubled, bytes came after the whole answer"));
    }

    /// Adds what another thread has counted.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *mine += theirs;
        }
        for (worker, count) in other.workers {
            *self.workers.entry(worker).or_default() += count;
        }
        self.latency.merge(&other.latency);
        self.lateness.merge(&other.lateness);
        self.response.merge(&other.response);
        self.ledger.merge(&other.ledger);
        self.opened += other.opened;
        self.idle_closed += other.idle_closed;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_KEPT);
        if let (Some(mine), Some(theirs)) = (&mut self.log, other.log) {
            mine.extend(theirs);
        }
    }

    /// Writes the log, in the order in which answers were complete on each thread.
    pub fn save_log(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for line in self.log.iter().flatten() {
            writeln!(file, "{line}")?;
        }
        file.flush()
    }

    /// A wrong answer may carry another connection's token: the ledger then sees that token twice.
    fn examine(&mut self, sample: &Sample<'_>) {
        let shown = &sample.answer[..sample.answer.len().min(ANSWER_SHOWN)];
        let text = String::from_utf8_lossy(shown);
        if let Some(found) = Token::find(sample.token.tag, &text) {
            self.ledger.mark(found.serial);
        }
        let after = sample.ended.saturating_sub(sample.begun);
        self.complain(format!(
            "{}: {} after {after:.1?}, answer {text:?}",
            sample.token,
            sample.outcome.name()
        ));
    }

    fn complain(&mut self, failure: String) {
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(failure);
        }
    }
}

const FAILURES_KEPT: usize = 10;
const ANSWER_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(serial: u64, outcome: Outcome, answer: &str) -> Sample<'_> {
        Sample {
            token: Token { tag: 0x1f, serial },
            intended: Some(Duration::from_millis(1)),
            begun: Duration::from_millis(2),
            ended: Duration::from_millis(5),
            outcome,
            worker: (outcome == Outcome::Ok).then_some("w1"),
            answer: answer.as_bytes(),
            port: None,
        }
    }

    #[test]
    fn latency_counts_from_the_intended_beginning() {
        let mut tally = Tally::new(false);
        tally.record(&sample(0, Outcome::Ok, ""));
        assert_eq!(tally.latency.max(), Duration::from_millis(4));
        assert_eq!(tally.lateness.max(), Duration::from_millis(1));
        assert_eq!(tally.response.max(), Duration::from_millis(3));
        assert_eq!(tally.workers["w1"], 1);
    }

    #[test]
    fn an_answer_that_strayed_to_another_connection_is_seen_twice() {
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
    fn only_the_first_failures_are_kept_in_words() {
        let (mut tally, mut other) = (Tally::new(false), Tally::new(false));
        for serial in 0..100 {
            tally.record(&sample(serial, Outcome::Empty, ""));
            other.record(&sample(100 + serial, Outcome::Reset, ""));
        }
        tally.merge(other);
        assert_eq!(tally.failures.len(), FAILURES_KEPT);
        assert_eq!(tally.total(), 200);
    }

    #[test]
    fn bytes_that_come_later_turn_ok_into_doubled() {
        let mut tally = Tally::new(false);
        tally.record(&sample(4, Outcome::Ok, ""));
        tally.double(Token { tag: 0x1f, serial: 4 });
        assert_eq!((tally.count(Outcome::Ok), tally.count(Outcome::Doubled)), (0, 1));
    }
}
