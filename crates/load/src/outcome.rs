//! The outcome of a connection, judged by its answer.

use std::fmt;

use serde::Serialize;

use crate::arguments::Expect;
use crate::exchange::EndReason;

/// The outcome of one connection (in `http`, of one request).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The expected answer, once, and an orderly end.
    Ok,
    /// No process listens.
    Refused,
    /// The server reset the connection, before or after an answer.
    Reset,
    /// The connection ended without an answer.
    Empty,
    /// Not the expected answer, or only a part of it.
    Wrong,
    /// The expected answer, and more bytes after it.
    Doubled,
    /// The time limit was exceeded.
    Timeout,
    /// The server answered, but closed the connection while the client was holding it.
    Dropped,
}

impl Outcome {
    /// Every outcome, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Refused,
        Self::Reset,
        Self::Empty,
        Self::Wrong,
        Self::Doubled,
        Self::Timeout,
        Self::Dropped,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Judges an answer. Returns its outcome, and the name of the worker if the answer is correct.
pub fn judge<'a>(expect: Expect, token: &str, answer: &'a [u8], reason: EndReason) -> (Outcome, Option<&'a str>) {
    match reason {
        EndReason::Refused => return (Outcome::Refused, None),
        EndReason::Reset => return (Outcome::Reset, None),
        EndReason::Timeout => return (Outcome::Timeout, None),
        EndReason::Eof | EndReason::Released | EndReason::Dropped => {}
    }
    let (worker, rest) = match expect {
        Expect::Nothing if !answer.is_empty() => return (Outcome::Wrong, None),
        Expect::Nothing if reason == EndReason::Released => return (Outcome::Ok, None),
        _ if answer.is_empty() => return (Outcome::Empty, None),
        Expect::Worker | Expect::Body => match split_worker(answer) {
            Some((worker, rest)) => (Some(worker), rest),
            None => return (Outcome::Wrong, None),
        },
        Expect::Echo | Expect::Nothing => (None, answer),
    };
    match rest.strip_prefix(token.as_bytes()) {
        None => (Outcome::Wrong, None),
        Some(b"" | b"\n") if reason == EndReason::Dropped => (Outcome::Dropped, worker),
        Some(b"" | b"\n") => (Outcome::Ok, worker),
        Some(_) => (Outcome::Doubled, None),
    }
}

fn split_worker(answer: &[u8]) -> Option<(&str, &[u8])> {
    let space = answer.iter().position(|byte| *byte == b' ')?;
    let worker = str::from_utf8(&answer[..space]).ok()?;
    let is_one_word = !worker.is_empty() && !worker.contains(char::is_whitespace);
    is_one_word.then_some((worker, &answer[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0000001f-0000000042";

    fn worker(answer: &str, reason: EndReason) -> (Outcome, Option<&str>) {
        judge(Expect::Worker, TOKEN, answer.as_bytes(), reason)
    }

    #[test]
    fn a_correct_answer_names_its_worker_with_or_without_a_newline() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", EndReason::Eof),
            (Outcome::Ok, Some("w7"))
        );
        assert_eq!(
            worker("w7 0000001f-0000000042", EndReason::Released),
            (Outcome::Ok, Some("w7"))
        );
        assert_eq!(
            judge(Expect::Echo, TOKEN, TOKEN.as_bytes(), EndReason::Eof),
            (Outcome::Ok, None)
        );
    }

    #[test]
    fn an_end_without_an_answer_is_empty() {
        assert_eq!(worker("", EndReason::Eof), (Outcome::Empty, None));
        assert_eq!(worker("", EndReason::Released), (Outcome::Empty, None));
    }

    #[test]
    fn a_part_of_an_answer_or_another_answer_is_wrong() {
        for answer in [
            "w7 0000001f-00000",
            "w7 0000001f-0000000043\n",
            "w7",
            " 0000001f-0000000042",
            "\n",
            "a\nb ",
        ] {
            assert_eq!(worker(answer, EndReason::Eof), (Outcome::Wrong, None), "{answer:?}");
        }
    }

    #[test]
    fn any_byte_after_the_correct_answer_is_doubled() {
        for more in ["\nw7 0000001f-0000000042\n", "x", "\n\n"] {
            let answer = format!("w7 {TOKEN}{more}");
            assert_eq!(worker(&answer, EndReason::Eof), (Outcome::Doubled, None), "{answer:?}");
        }
        let twice = format!("{TOKEN}{TOKEN}");
        assert_eq!(
            judge(Expect::Echo, TOKEN, twice.as_bytes(), EndReason::Eof),
            (Outcome::Doubled, None)
        );
    }

    #[test]
    fn a_reset_is_a_reset_even_after_the_correct_answer() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", EndReason::Reset),
            (Outcome::Reset, None)
        );
        assert_eq!(worker("", EndReason::Timeout), (Outcome::Timeout, None));
        assert_eq!(worker("", EndReason::Refused), (Outcome::Refused, None));
    }

    #[test]
    fn no_answer_is_correct_where_none_is_expected() {
        assert_eq!(
            judge(Expect::Nothing, TOKEN, b"", EndReason::Released),
            (Outcome::Ok, None)
        );
        assert_eq!(
            judge(Expect::Nothing, TOKEN, b"", EndReason::Eof),
            (Outcome::Empty, None)
        );
        assert_eq!(
            judge(Expect::Nothing, TOKEN, b"hello", EndReason::Released),
            (Outcome::Wrong, None)
        );
    }

    #[test]
    fn a_held_connection_that_the_server_closes_is_dropped() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", EndReason::Dropped),
            (Outcome::Dropped, Some("w7"))
        );
        assert_eq!(
            worker("w7 0000001f-0000000042\n\n", EndReason::Dropped),
            (Outcome::Doubled, None)
        );
    }
}
