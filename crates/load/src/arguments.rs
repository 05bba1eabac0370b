//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::outcome::Expect;
use crate::token;

/// What `--help` prints.
pub const HELP: &str = "\
socketserver-load <mode> --target ADDRESS:PORT [options]

Makes connections to a server on loopback and checks every answer. Each connection sends a line with a token of its
own, <tag>-<serial>; by default the server is to answer '<worker> <token>' and to close.

Modes
  closed   --clients clients, each: connect, send, read the whole answer, close; again until --connections or --seconds
  open     Poisson arrivals at --rate; latency counts from the intended arrival, so that no waiting is hidden
  hold     opens --connections at --rate (default 1000), evenly, and keeps them open until standard input closes, or for
           --seconds after the last was answered; says 'holding N' on standard error when all are open
  http     POST /<token> with the token in the body, HTTP/1.1 keep-alive over --clients connections, reconnecting after
           'Connection: close'; --connections counts requests; with --rate each client pauses at random in between

Options
  --target ADDRESS:PORT   the server; IPv4 or [IPv6]
  --connections N         connections to make (http: requests)
  --seconds S             begin no more after so long; what has begun is finished
  --clients C             closed, http: clients at a time [64]
  --sources K             source addresses 127.0.0.1 to 127.0.0.K in turn, each with its own 28,000 or so ports [1]
                          (more than one is for Linux, where all of 127.0.0.0/8 is local)
  --rate R                arrivals per second
  --timeout MS            time limit of one connection or request; 0 = none [10000]
  --expect MODE           worker ('<worker> <token>'), echo ('<token>'), body (http: '<worker> ' and the request's whole
                          body) or nothing (hold only: no answer) [worker]
  --until END             eof (the server closes), or newline (then we close our side, for servers that keep open) [eof]
  --body BYTES            http: bytes of padding after the token's line [0]
  --requests N            http: requests on one connection, the last of which says 'Connection: close' [no limit]
  --dribble MS            http: sends each request in five pieces, with so long a pause before all but the first [0]
  --seed N                of arrivals and pauses [at random; reported]
  --threads T             threads, each with its own runtime, sharing nothing [1]
  --arrivals FILE         open: replay arrival times (one a line, nanoseconds; line number = serial, from 0)
  --save-arrivals FILE    open: write them
  --log FILE              one line a connection: serial, intended, started and ended (microseconds), outcome, worker,
                          and in http the client's port
  --json                  one JSON object instead of a summary
  --allow-errors          exit with 0 whatever the outcomes
  --help

Outcomes: ok, refused, reset, empty (end without answer), wrong, doubled (more than one answer), timeout, dropped (ended
by the server while held). Exit codes: 0 every outcome is ok; 1 some are not; 2 the run could not be made.
";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// To be told the options.
    Help,
    /// A run.
    Run(Box<Arguments>),
}

/// Where connections come from and go to, and when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Clients that begin anew when they have ended.
    Closed,
    /// Arrivals that do not wait for one another.
    Open,
    /// Connections that stay.
    Hold,
    /// Requests on kept connections.
    Http,
}

impl Mode {
    /// The word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Hold => "hold",
            Self::Http => "http",
        }
    }
}

/// What ends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The server closes.
    Eof,
    /// Its first newline; we then close our side, and nothing more may come.
    Newline,
}

/// A run's parameters, checked: a contradictory set cannot be had from [`Arguments::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// The kind of run.
    pub mode: Mode,
    /// The server.
    pub target: SocketAddr,
    /// How many connections (or requests) to make.
    pub connections: Option<u64>,
    /// How long to begin new ones; in `hold`, how long to hold.
    pub span: Option<Duration>,
    /// Clients at a time, at least 1.
    pub clients: usize,
    /// Source addresses, 1 to 254.
    pub sources: u8,
    /// Arrivals per second, above 0.
    pub rate: Option<f64>,
    /// The limit of one connection or request; `None` = for ever.
    pub timeout: Option<Duration>,
    /// What a right answer looks like.
    pub expect: Expect,
    /// What ends an answer.
    pub until: Until,
    /// Bytes of padding in a request's body.
    pub body: usize,
    /// Requests on one connection, at least 1.
    pub requests: Option<u64>,
    /// The pause before each piece of a request but the first; `None` = in one piece.
    pub dribble: Option<Duration>,
    /// The seed of arrivals and pauses.
    pub seed: u64,
    /// Threads, at least 1.
    pub threads: usize,
    /// Arrival times to replay.
    pub arrivals: Option<PathBuf>,
    /// Where to write arrival times.
    pub save_arrivals: Option<PathBuf>,
    /// Where to write a line for each connection.
    pub log: Option<PathBuf>,
    /// Whether the report is JSON.
    pub json: bool,
    /// Whether errors leave the exit code at 0.
    pub allow_errors: bool,
}

impl Arguments {
    /// Reads the words after the program's name; the error is a sentence for the user.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Request, String> {
        let mut words = words.into_iter();
        let mode = match words.next().as_deref() {
            None | Some("--help" | "-h") => return Ok(Request::Help),
            Some("closed") => Mode::Closed,
            Some("open") => Mode::Open,
            Some("hold") => Mode::Hold,
            Some("http") => Mode::Http,
            Some(other) => return Err(format!("'{other}' is no mode: closed, open, hold or http")),
        };
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut arguments = Self {
            mode,
            target: unset,
            connections: None,
            span: None,
            clients: 64,
            sources: 1,
            rate: None,
            timeout: Some(Duration::from_secs(10)),
            expect: Expect::Worker,
            until: Until::Eof,
            body: 0,
            requests: None,
            dribble: None,
            seed: token::fresh_seed(),
            threads: 1,
            arrivals: None,
            save_arrivals: None,
            log: None,
            json: false,
            allow_errors: false,
        };
        while let Some(option) = words.next() {
            if option == "--help" || option == "-h" {
                return Ok(Request::Help);
            }
            arguments.set(&option, &mut words)?;
        }
        if arguments.target == unset {
            return Err("--target ADDRESS:PORT is missing".into());
        }
        arguments.check()?;
        Ok(Request::Run(Box::new(arguments)))
    }

    fn set(&mut self, option: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        let mut value = || words.next().ok_or_else(|| format!("{option} needs a value"));
        match option {
            "--target" => self.target = number(option, &value()?)?,
            "--connections" => self.connections = Some(number(option, &value()?)?),
            "--seconds" => self.span = Some(seconds(option, &value()?)?),
            "--clients" => self.clients = number(option, &value()?)?,
            "--sources" => self.sources = number(option, &value()?)?,
            "--rate" => self.rate = Some(number(option, &value()?)?),
            "--timeout" => {
                let milliseconds = number(option, &value()?)?;
                self.timeout = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
            }
            "--expect" => {
                self.expect = match value()?.as_str() {
                    "worker" => Expect::Worker,
                    "echo" => Expect::Echo,
                    "body" => Expect::Body,
                    "nothing" => Expect::Nothing,
                    other => return Err(format!("--expect is worker, echo, body or nothing, not '{other}'")),
                };
            }
            "--until" => {
                self.until = match value()?.as_str() {
                    "eof" => Until::Eof,
                    "newline" => Until::Newline,
                    other => return Err(format!("--until is eof or newline, not '{other}'")),
                };
            }
            "--body" => self.body = number(option, &value()?)?,
            "--requests" => self.requests = Some(number(option, &value()?)?),
            "--dribble" => {
                let milliseconds = number(option, &value()?)?;
                self.dribble = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
            }
            "--seed" => self.seed = number(option, &value()?)?,
            "--threads" => self.threads = number(option, &value()?)?,
            "--arrivals" => self.arrivals = Some(value()?.into()),
            "--save-arrivals" => self.save_arrivals = Some(value()?.into()),
            "--log" => self.log = Some(value()?.into()),
            "--json" => self.json = true,
            "--allow-errors" => self.allow_errors = true,
            other => return Err(format!("'{other}' is no option")),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let refuse = |complaint: &str| Err(complaint.to_owned());
        if self.clients == 0 || self.threads == 0 || self.connections == Some(0) || self.requests == Some(0) {
            return refuse("--clients, --threads, --connections and --requests are at least 1");
        }
        if !(1..=254).contains(&self.sources) {
            return refuse("--sources is 1 to 254");
        }
        if self.sources > 1 && (!self.target.ip().is_loopback() || self.target.is_ipv6()) {
            return refuse("more than one of --sources needs a target in 127.0.0.0/8");
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate < 0.001) {
            return refuse("--rate is a number of arrivals per second, at least 0.001");
        }
        if self.rate.is_some() && self.mode == Mode::Closed {
            return refuse("--rate is not for closed, whose clients begin anew when they have ended");
        }
        if self.expect == Expect::Nothing && self.mode != Mode::Hold {
            return refuse("--expect nothing is for hold");
        }
        if self.mode != Mode::Http && (self.requests.is_some() || self.dribble.is_some() || self.expect == Expect::Body)
        {
            return refuse("--requests, --dribble and --expect body are for http");
        }
        if (self.arrivals.is_some() || self.save_arrivals.is_some()) && self.mode != Mode::Open {
            return refuse("--arrivals and --save-arrivals are for open");
        }
        match self.mode {
            Mode::Open if self.rate.is_some() == self.arrivals.is_some() => refuse("open needs --rate or --arrivals"),
            Mode::Open if self.arrivals.is_some() => Ok(()),
            Mode::Hold if self.connections.is_none() => refuse("hold needs --connections"),
            _ if self.connections.is_none() && self.span.is_none() => {
                refuse("one of --connections and --seconds says when to stop")
            }
            _ => Ok(()),
        }
    }
}

fn number<T: FromStr>(option: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{option} cannot be '{text}'"))
}

fn seconds(option: &str, text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(option, text)?).map_err(|_| format!("{option} cannot be '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    fn run(line: &str) -> Arguments {
        match parse(line) {
            Ok(Request::Run(arguments)) => *arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_full_line_sets_everything() {
        let arguments = run(
            "open --target 127.0.0.1:8888 --rate 12.5 --seconds 1.5 --sources 4 --timeout 250 \
             --expect echo --until newline --seed 7 --threads 2 --save-arrivals a --log b --json --allow-errors",
        );
        assert_eq!(arguments.mode, Mode::Open);
        assert_eq!(arguments.target.port(), 8888);
        assert_eq!(arguments.rate, Some(12.5));
        assert_eq!(arguments.span, Some(Duration::from_millis(1500)));
        assert_eq!(arguments.timeout, Some(Duration::from_millis(250)));
        assert_eq!((arguments.expect, arguments.until), (Expect::Echo, Until::Newline));
        assert_eq!((arguments.sources, arguments.seed, arguments.threads), (4, 7, 2));
        assert!(arguments.json && arguments.allow_errors);
    }

    #[test]
    fn a_timeout_of_zero_is_none_at_all() {
        assert_eq!(run("closed --target [::1]:1 --connections 1 --timeout 0").timeout, None);
    }

    #[test]
    fn requests_may_be_few_and_slow() {
        let arguments = run("http --target [::1]:1 --connections 1 --requests 3 --dribble 20 --expect body");
        assert_eq!((arguments.requests, arguments.expect), (Some(3), Expect::Body));
        assert_eq!(arguments.dribble, Some(Duration::from_millis(20)));
    }

    #[test]
    fn help_is_had_by_asking_and_by_saying_nothing() {
        assert_eq!(parse(""), Ok(Request::Help));
        assert_eq!(parse("--help"), Ok(Request::Help));
        assert_eq!(parse("closed --help"), Ok(Request::Help));
    }

    #[test]
    fn every_bad_line_is_refused_in_words_that_name_the_option() {
        for (line, part) in [
            ("ajar", "'ajar' is no mode"),
            ("closed --connections 1", "--target"),
            (
                "closed --target localhost:80 --connections 1",
                "--target cannot be 'localhost:80'",
            ),
            ("closed --target 127.0.0.1:1", "--seconds"),
            ("closed --target 127.0.0.1:1 --connections 0", "at least 1"),
            ("closed --target 127.0.0.1:1 --connections", "needs a value"),
            (
                "closed --target 127.0.0.1:1 --connections 1 --wat",
                "'--wat' is no option",
            ),
            ("closed --target 127.0.0.1:1 --connections 1 --clients 0", "--clients"),
            ("closed --target 127.0.0.1:1 --connections 1 --sources 255", "--sources"),
            ("closed --target [::1]:1 --connections 1 --sources 2", "--sources"),
            ("closed --target 127.0.0.1:1 --seconds -1", "--seconds cannot be '-1'"),
            (
                "closed --target 127.0.0.1:1 --connections 1 --expect nothing",
                "--expect",
            ),
            ("closed --target 127.0.0.1:1 --connections 1 --arrivals x", "--arrivals"),
            ("closed --target 127.0.0.1:1 --connections 1 --rate 5", "--rate"),
            ("closed --target 127.0.0.1:1 --connections 1 --requests 5", "--requests"),
            ("closed --target 127.0.0.1:1 --connections 1 --dribble 5", "--dribble"),
            (
                "open --target 127.0.0.1:1 --rate 1 --connections 1 --expect body",
                "--expect body",
            ),
            ("http --target 127.0.0.1:1 --connections 1 --requests 0", "--requests"),
            ("open --target 127.0.0.1:1 --connections 1", "--rate"),
            ("open --target 127.0.0.1:1 --connections 1 --rate 0", "--rate"),
            ("open --target 127.0.0.1:1 --connections 1 --rate NaN", "--rate"),
            ("open --target 127.0.0.1:1 --rate 5", "--connections"),
            ("hold --target 127.0.0.1:1 --seconds 1", "--connections"),
        ] {
            let complaint = parse(line).expect_err(line);
            assert!(complaint.contains(part), "{line}: {complaint}");
        }
    }

    #[test]
    fn help_names_every_option_that_is_understood() {
        for option in [
            "--body",
            "--requests",
            "--dribble",
            "--log",
            "--save-arrivals",
            "--allow-errors",
            "--until",
            "--threads",
        ] {
            assert!(HELP.contains(option), "{option}");
        }
    }
}
