//! Tokens: what a client says, and what the answer must repeat.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// One connection's (or request's) own word: `<tag>-<serial>`, for instance `1f03a9c2-0000000042`.
///
/// The tag is the run's, so that an answer meant for another run is never taken for ours. The serial counts from 0.
/// Both have a fixed width, so that no token is the beginning of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The run.
    pub tag: u32,
    /// The connection within the run.
    pub serial: u64,
}

impl Token {
    /// Reads a token of the run `tag` from the words of an answer, wherever in it the token stands.
    pub fn find(tag: u32, answer: &str) -> Option<Self> {
        answer.split_whitespace().find_map(|word| {
            let (found, serial) = word.split_once('-')?;
            let found = u32::from_str_radix(found, 16).ok()?;
            (found == tag).then_some(Self {
                tag,
                serial: serial.parse().ok()?,
            })
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}-{:010}", self.tag, self.serial)
    }
}

/// A tag for a run, also different between runs of one seed.
pub fn fresh_tag() -> u32 {
    let [tag @ .., _, _, _, _] = chance().to_be_bytes();
    u32::from_be_bytes(tag)
}

/// A seed for runs that were given none.
pub fn fresh_seed() -> u64 {
    // Half of the bits: JSON's readers keep integers exactly only up to 2^53.
    chance() >> 32
}

/// What the operating system gives hash maps for their keys.
fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_again_in_an_answer() {
        let token = Token { tag: 0x1f, serial: 42 };
        assert_eq!(token.to_string(), "0000001f-0000000042");
        assert_eq!(Token::find(0x1f, "worker-7 0000001f-0000000042\n"), Some(token));
    }

    #[test]
    fn a_token_of_another_run_is_not_ours() {
        assert_eq!(Token::find(0x20, "7 0000001f-0000000042"), None);
        assert_eq!(Token::find(0x1f, "7 0000001f-x"), None);
    }
}
