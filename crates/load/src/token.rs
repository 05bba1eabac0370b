//! Tokens: the word that a client sends and that the answer must repeat.

use std::fmt;

/// The token of one connection or request: `<tag>-<serial>`, for example `1f03a9c2-0000000042`.
///
/// The tag identifies the run, so that an answer to another run is never accepted. The serial counts from 0. Both have a
/// fixed width, so that no token is a prefix of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Identifies the run.
    pub tag: u32,
    /// Identifies the connection within the run.
    pub serial: u64,
}

impl Token {
    /// Finds a token of the run `tag` among the words of an answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_an_answer() {
        let token = Token { tag: 0x1f, serial: 42 };
        assert_eq!(token.to_string(), "0000001f-0000000042");
        assert_eq!(Token::find(0x1f, "worker-7 0000001f-0000000042\n"), Some(token));
    }

    #[test]
    fn a_token_of_another_run_is_ignored() {
        assert_eq!(Token::find(0x20, "7 0000001f-0000000042"), None);
        assert_eq!(Token::find(0x1f, "7 0000001f-x"), None);
    }
}
