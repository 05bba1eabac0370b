//! What became of a connection, and how an answer is judged.

use std::io;

use nix::errno::Errno;

/// What became of one connection (in `http`, of one request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The expected answer, once, and an orderly end.
    Ok,
    /// Nobody listens.
    Refused,
    /// Ended by a reset, before or after an answer.
    Reset,
    /// An end without one byte of answer.
    Empty,
    /// Another answer than the expected one, or a part of it.
    Wrong,
    /// The expected answer, and more after it.
    Doubled,
    /// No end within the time limit.
    Timeout,
    /// Answered, but ended by the server while it was to be held open.
    Dropped,
}

impl Outcome {
    /// All of them, in the order of reports.
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

    /// The word for it in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Empty => "empty",
            Self::Wrong => "wrong",
            Self::Doubled => "doubled",
            Self::Timeout => "timeout",
            Self::Dropped => "dropped",
        }
    }
}

/// What a right answer looks like; one newline at its end is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `<worker> <token>`, the worker's name being one word.
    Worker,
    /// `<token>`.
    Echo,
    /// `<worker> ` and all of the request's body, which the token begins.
    Body,
    /// No answer at all: connections that wait in a queue.
    Nothing,
}

/// How the reading of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server's orderly end, or as many bytes as no answer has.
    Eof,
    /// The server's reset.
    Reset,
    /// No listener.
    Refused,
    /// Our time limit.
    Timeout,
    /// We let a held connection go.
    Released,
    /// The server ended a connection that was to be held.
    Dropped,
}

impl Ending {
    /// The ending that a system error stands for; `None` when the error is this machine's or ours (EMFILE,
    /// EADDRNOTAVAIL), which ends the run: it says nothing about the server.
    pub fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error().map(Errno::from_raw)? {
            Errno::ECONNREFUSED => Some(Self::Refused),
            // ENOTCONN is macOS's word for shutdown(2) after a reset.
            Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE | Errno::ENOTCONN => Some(Self::Reset),
            Errno::ETIMEDOUT => Some(Self::Timeout),
            _ => None,
        }
    }
}

/// The judgement on one answer: its outcome, and who gave it if it was right.
pub fn judge<'a>(expect: Expect, token: &str, answer: &'a [u8], ending: Ending) -> (Outcome, Option<&'a str>) {
    match ending {
        Ending::Refused => return (Outcome::Refused, None),
        Ending::Reset => return (Outcome::Reset, None),
        Ending::Timeout => return (Outcome::Timeout, None),
        Ending::Eof | Ending::Released | Ending::Dropped => {}
    }
    if expect == Expect::Nothing {
        let outcome = match (answer.is_empty(), ending) {
            (true, Ending::Released) => Outcome::Ok,
            (true, _) => Outcome::Empty,
            (false, _) => Outcome::Wrong,
        };
        return (outcome, None);
    }
    if answer.is_empty() {
        return (Outcome::Empty, None);
    }
    let (worker, rest) = match expect {
        Expect::Worker | Expect::Body => match split_worker(answer) {
            Some((worker, rest)) => (Some(worker), rest),
            None => return (Outcome::Wrong, None),
        },
        Expect::Echo | Expect::Nothing => (None, answer),
    };
    match rest.strip_prefix(token.as_bytes()) {
        None => (Outcome::Wrong, None),
        Some(b"" | b"\n") if ending == Ending::Dropped => (Outcome::Dropped, worker),
        Some(b"" | b"\n") => (Outcome::Ok, worker),
        Some(_) => (Outcome::Doubled, None),
    }
}

fn split_worker(answer: &[u8]) -> Option<(&str, &[u8])> {
    let space = answer.iter().position(|byte| *byte == b' ')?;
    let worker = str::from_utf8(&answer[..space]).ok()?;
    let one_word = !worker.is_empty() && !worker.contains(char::is_whitespace);
    one_word.then_some((worker, &answer[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0000001f-0000000042";

    fn worker(answer: &str, ending: Ending) -> (Outcome, Option<&str>) {
        judge(Expect::Worker, TOKEN, answer.as_bytes(), ending)
    }

    #[test]
    fn the_right_answer_names_its_worker_with_or_without_a_newline() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", Ending::Eof),
            (Outcome::Ok, Some("w7"))
        );
        assert_eq!(
            worker("w7 0000001f-0000000042", Ending::Released),
            (Outcome::Ok, Some("w7"))
        );
        assert_eq!(
            judge(Expect::Echo, TOKEN, TOKEN.as_bytes(), Ending::Eof),
            (Outcome::Ok, None)
        );
    }

    #[test]
    fn an_end_without_a_byte_is_empty() {
        assert_eq!(worker("", Ending::Eof), (Outcome::Empty, None));
        assert_eq!(worker("", Ending::Released), (Outcome::Empty, None));
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
            assert_eq!(worker(answer, Ending::Eof), (Outcome::Wrong, None), "{answer:?}");
        }
    }

    #[test]
    fn anything_after_the_right_answer_is_doubled() {
        for more in ["\nw7 0000001f-0000000042\n", "x", "\n\n"] {
            let answer = format!("w7 {TOKEN}{more}");
            assert_eq!(worker(&answer, Ending::Eof), (Outcome::Doubled, None), "{answer:?}");
        }
        let twice = format!("{TOKEN}{TOKEN}");
        assert_eq!(
            judge(Expect::Echo, TOKEN, twice.as_bytes(), Ending::Eof),
            (Outcome::Doubled, None)
        );
    }

    #[test]
    fn a_reset_is_a_reset_even_after_the_right_answer() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", Ending::Reset),
            (Outcome::Reset, None)
        );
        assert_eq!(worker("", Ending::Timeout), (Outcome::Timeout, None));
        assert_eq!(worker("", Ending::Refused), (Outcome::Refused, None));
    }

    #[test]
    fn silence_is_right_where_silence_is_expected_until_the_server_breaks_it() {
        assert_eq!(
            judge(Expect::Nothing, TOKEN, b"", Ending::Released),
            (Outcome::Ok, None)
        );
        assert_eq!(judge(Expect::Nothing, TOKEN, b"", Ending::Eof), (Outcome::Empty, None));
        assert_eq!(
            judge(Expect::Nothing, TOKEN, b"hello", Ending::Released),
            (Outcome::Wrong, None)
        );
    }

    #[test]
    fn a_held_connection_that_the_server_ends_is_dropped() {
        assert_eq!(
            worker("w7 0000001f-0000000042\n", Ending::Dropped),
            (Outcome::Dropped, Some("w7"))
        );
        assert_eq!(
            worker("w7 0000001f-0000000042\n\n", Ending::Dropped),
            (Outcome::Doubled, None)
        );
    }

    #[test]
    fn a_local_error_is_never_the_servers_outcome() {
        assert_eq!(Ending::of(&Errno::EMFILE.into()), None);
        assert_eq!(Ending::of(&Errno::EADDRNOTAVAIL.into()), None);
        assert_eq!(Ending::of(&Errno::ECONNREFUSED.into()), Some(Ending::Refused));
        assert_eq!(Ending::of(&Errno::EPIPE.into()), Some(Ending::Reset));
    }
}
