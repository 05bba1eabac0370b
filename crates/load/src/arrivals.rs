//! Schedules: when each connection is meant to arrive, counted from the start of the run.
//!
//! On file a schedule is one arrival a line, in whole nanoseconds; the line number, from 0, is the serial in that
//! connection's token. A simulated queue fed with the same file therefore sees the arrivals that the server saw.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::random::Random;

/// Poisson arrivals at `rate` per second: at most `count` of them, none later than `span`.
pub fn poisson(rate: f64, count: Option<u64>, span: Option<Duration>, seed: u64) -> Vec<Duration> {
    let mut random = Random::new(seed);
    gather(count, span, || random.gap(rate))
}

/// Arrivals at even distances at `rate` per second, limited likewise.
pub fn even(rate: f64, count: Option<u64>, span: Option<Duration>) -> Vec<Duration> {
    let gap = Duration::from_secs_f64(1.0 / rate);
    gather(count, span, || gap)
}

/// Writes a schedule to a file.
pub fn save(schedule: &[Duration], path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for arrival in schedule {
        writeln!(file, "{}", arrival.as_nanos())?;
    }
    file.flush()
}

/// Reads a schedule back; arrivals must not go back in time.
pub fn read(path: &Path) -> io::Result<Vec<Duration>> {
    let mut schedule = Vec::new();
    let mut latest = Duration::ZERO;
    for (index, line) in fs::read_to_string(path)?.lines().enumerate() {
        let arrival = line.trim().parse().map(Duration::from_nanos);
        match arrival {
            Ok(arrival) if arrival >= latest => {
                latest = arrival;
                schedule.push(arrival);
            }
            _ => {
                let what = format!("line {} is no later arrival in nanoseconds: '{line}'", index + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
    }
    Ok(schedule)
}

fn gather(count: Option<u64>, span: Option<Duration>, mut gap: impl FnMut() -> Duration) -> Vec<Duration> {
    let mut schedule = Vec::new();
    let mut arrival = Duration::ZERO;
    loop {
        arrival += gap();
        let enough = count.is_some_and(|count| schedule.len() as u64 >= count);
        if enough || span.is_some_and(|span| arrival > span) {
            return schedule;
        }
        schedule.push(arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_seed_others() {
        let first = poisson(500.0, Some(100), None, 3);
        assert_eq!(first, poisson(500.0, Some(100), None, 3));
        assert_ne!(first, poisson(500.0, Some(100), None, 4));
        assert!(first.is_sorted());
    }

    #[test]
    fn a_span_and_a_count_limit_a_schedule() {
        let span = Duration::from_secs(2);
        let schedule = poisson(1000.0, None, Some(span), 5);
        assert!((1800..2200).contains(&schedule.len()), "{} arrivals", schedule.len());
        assert!(schedule.iter().all(|arrival| *arrival <= span));
        assert_eq!(
            even(100.0, Some(3), Some(span)),
            [10, 20, 30].map(Duration::from_millis)
        );
        assert_eq!(even(100.0, None, Some(span)).len(), 200);
    }

    #[test]
    fn a_file_brings_back_what_was_saved_and_a_spoilt_one_is_refused_by_line() {
        let path = std::env::temp_dir().join(format!("socketserver-load-arrivals-{}", std::process::id()));
        let schedule = poisson(1000.0, Some(50), None, 9);
        save(&schedule, &path).expect("the temporary folder is writable");
        assert_eq!(read(&path).expect("just written"), schedule);
        fs::write(&path, "5\n4\n").expect("the temporary folder is writable");
        let error = read(&path).expect_err("4 is earlier than 5");
        assert!(error.to_string().contains("line 2"), "{error}");
        fs::remove_file(&path).expect("just written");
    }
}
