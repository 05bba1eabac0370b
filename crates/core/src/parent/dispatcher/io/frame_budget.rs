//! Limits the rate of frames that one channel can make the parent read.

use std::time::{Duration, Instant};

/// The time between two frames: 125,000 frames a second are three frames for each of 41,000 connections. Without a limit, one
/// worker that sent frames in a loop took a third of a CPU from all other workers.
const COST: Duration = Duration::from_micros(8);

/// Frames may arrive this far ahead of the rate: 1,024 frames, more than one read can return.
const BURST: Duration = Duration::from_millis(8);

/// The budget of one channel (a generic cell rate algorithm).
#[derive(Debug, Default)]
pub struct FrameBudget {
    /// When the rate allows the next frame without a burst.
    allowed_at: Option<Instant>,
}

impl FrameBudget {
    /// Spends `frames`. Returns how long to leave the channel unread, if the budget is used up.
    pub fn spend(&mut self, frames: u32, now: Instant) -> Option<Duration> {
        let allowed_at = self.allowed_at.map_or(now, |at| at.max(now)) + COST * frames;
        self.allowed_at = Some(allowed_at);
        Some(allowed_at.saturating_duration_since(now)).filter(|&debt| debt > BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_causes_no_pause_and_a_flood_pauses_until_the_rate_allows_it() {
        let (mut budget, now) = (FrameBudget::default(), Instant::now());
        assert_eq!(budget.spend(1000, now), None);
        assert_eq!(budget.spend(1000, now), Some(COST * 2000));
        assert_eq!(budget.spend(1000, now + COST * 2000), None);
    }

    #[test]
    fn an_idle_time_does_not_increase_the_burst() {
        let (mut budget, now) = (FrameBudget::default(), Instant::now());
        budget.spend(1, now);
        let later = now + Duration::from_secs(60);
        assert_eq!(budget.spend(1025, later), Some(COST * 1025));
    }
}
