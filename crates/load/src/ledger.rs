//! Which tokens have been answered, one bit each.

/// The serials that came back in answers, and how many came back more than once.
#[derive(Debug, Default)]
pub struct Ledger {
    words: Vec<u64>,
    repeated: u64,
}

impl Ledger {
    /// Notes that this serial came back in an answer.
    pub fn mark(&mut self, serial: u64) {
        let Ok(word) = usize::try_from(serial / 64) else {
            return;
        };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (serial % 64);
        self.repeated += u64::from(self.words[word] & bit != 0);
        self.words[word] |= bit;
    }

    /// Takes over another thread's marks; a serial that both have seen is a repeated one.
    pub fn merge(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            self.repeated += u64::from((*mine & theirs).count_ones());
            *mine |= theirs;
        }
        self.repeated += other.repeated;
    }

    /// How many answers carried a token that another answer had carried before.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_seen_twice_is_repeated_within_and_across_threads() {
        let (mut left, mut right) = (Ledger::default(), Ledger::default());
        left.mark(3);
        left.mark(200);
        assert_eq!(left.repeated(), 0);
        left.mark(3);
        assert_eq!(left.repeated(), 1);
        right.mark(200);
        right.mark(9_000);
        left.merge(&right);
        assert_eq!(left.repeated(), 2);
    }
}
