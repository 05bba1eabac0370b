//! Arrival schedules: the time at which each connection is intended to start, measured from the start of the run.
//!
//! A schedule file has one arrival per line, in whole nanoseconds. The line number, from 0, is the serial in the token
//! of that connection. A simulated queue that reads the file therefore sees the same arrivals as the server.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;

/// Returns Poisson arrivals at `rate` per second: at most `count`, none later than `span`.
pub fn poisson(rate: f64, count: Option<u64>, span: Option<Duration>, seed: u64) -> Vec<Duration> {
    let mut rng = Rng::with_seed(seed);
    collect(count, span, || exponential_gap(&mut rng, rate))
}

/// Returns evenly spaced arrivals at `rate` per second.
pub fn even(rate: f64, count: u64) -> Vec<Duration> {
    let gap = Duration::from_secs_f64(1.0 / rate);
    collect(Some(count), None, || gap)
}

/// Draws the gap between two Poisson arrivals at `rate` per second.
pub fn exponential_gap(rng: &mut Rng, rate: f64) -> Duration {
    // `f64` is below 1, so the logarithm is finite.
    Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate)
}

/// Writes a schedule to a file.
pub fn save(schedule: &[Duration], path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for arrival in schedule {
        writeln!(file, "{}", arrival.as_nanos())?;
    }
    file.flush()
}

/// Reads a schedule from a file. Arrivals must be in ascending order.
pub fn read(path: &Path) -> io::Result<Vec<Duration>> {
    let mut schedule = Vec::new();
    let mut latest = Duration::ZERO;
    for (index, line) in fs::read_to_string(path)?.lines().enumerate() {
        latest = line
            .trim()
            .parse()
            .map(Duration::from_nanos)
            .ok()
            .filter(|arrival| *arrival >= latest)
            .ok_or_else(|| {
                let message = format!("line {} is not a later arrival in nanoseconds: '{line}'", index + 1);
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
        schedule.push(latest);
    }
    Ok(schedule)
}

fn collect(count: Option<u64>, span: Option<Duration>, mut gap: impl FnMut() -> Duration) -> Vec<Duration> {
    let mut schedule = Vec::new();
    let mut arrival = Duration::ZERO;
    loop {
        arrival += gap();
        let is_full = count.is_some_and(|count| schedule.len() as u64 >= count);
        if is_full || span.is_some_and(|span| arrival > span) {
            return schedule;
        }
        schedule.push(arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_arrivals_and_different_seeds_different_ones() {
        let first = poisson(500.0, Some(100), None, 3);
        assert_eq!(first, poisson(500.0, Some(100), None, 3));
        assert_ne!(first, poisson(500.0, Some(100), None, 4));
        assert!(first.is_sorted());
    }

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_an_exponential_distribution() {
        let mut rng = Rng::with_seed(7);
        let gaps: Vec<f64> = (0..100_000)
            .map(|_| exponential_gap(&mut rng, 1000.0).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / 100_000.0;
        let above_mean = gaps.iter().filter(|gap| **gap > 0.001).count();
        assert!((mean - 0.001).abs() < 0.000_02, "mean gap {mean}");
        // exp(-1) of the gaps, 36,788, are above the mean; the standard deviation of that count is 152.
        assert!((36_000..37_600).contains(&above_mean), "{above_mean} above the mean");
    }

    #[test]
    fn a_span_and_a_count_limit_a_schedule() {
        let span = Duration::from_secs(2);
        let schedule = poisson(1000.0, None, Some(span), 5);
        assert!((1800..2200).contains(&schedule.len()), "{} arrivals", schedule.len());
        assert!(schedule.iter().all(|arrival| *arrival <= span));
        assert_eq!(even(100.0, 3), [10, 20, 30].map(Duration::from_millis));
    }

    #[test]
    fn a_saved_schedule_can_be_read_and_an_invalid_line_is_reported() {
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
