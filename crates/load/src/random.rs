//! Seeded randomness, so that a run can be repeated.

use std::time::Duration;

/// `SplitMix64` (Steele, Lea, Flood 2014): passes `BigCrush`, and has no state to seed badly.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An exponentially distributed duration: the gap between two Poisson arrivals at this rate per second.
    pub fn gap(&mut self, rate: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what a double holds")]
        let unit = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-unit.ln() / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        // First outputs of the reference implementation for seed 1234567 (prng.di.unimi.it/splitmix64.c).
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let mut random = Random::new(7);
        let gaps: Vec<f64> = (0..100_000).map(|_| random.gap(1000.0).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / 100_000.0;
        let beyond_mean = gaps.iter().filter(|gap| **gap > 0.001).count();
        assert!((mean - 0.001).abs() < 0.000_02, "mean gap {mean}");
        // exp(-1) of them, 36,788, lie beyond the mean; the standard deviation of that count is 152.
        assert!((36_000..37_600).contains(&beyond_mean), "{beyond_mean} beyond the mean");
    }
}
