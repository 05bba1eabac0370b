//! The token ledger: which tokens were answered, one bit each.

/// The serials found in answers, and the number of repeated ones.
#[derive(Debug, Default)]
pub struct Ledger {
    words: Vec<u64>,
    repeated: u64,
}

impl Ledger {
    /// Marks a serial that was found in an answer.
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

    /// Adds the marks of another thread. A serial that both have marked is repeated.
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

    /// Returns how many answers carried a token that an earlier answer had carried.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_marked_twice_is_repeated_within_and_across_threads() {
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
