//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, value_parser};
use serde::Serialize;

/// Opens connections to a server on loopback and checks every answer.
///
/// Each connection sends one line with a unique token, '<tag>-<serial>'. By default the server must answer
/// '<worker> <token>' and close the connection.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "socketserver-load", after_help = AFTER_HELP, arg_required_else_help = true, allow_negative_numbers = true)]
pub struct Arguments {
    /// Kind of load
    #[serde(skip)]
    pub mode: Mode,
    /// Server to connect to; IPv4 or [IPv6]
    #[serde(skip)]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub target: SocketAddr,
    /// Number of connections to open (http: of requests)
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub connections: Option<u64>,
    /// Start no connection after this time; connections in progress are finished
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub seconds: Option<f64>,
    /// closed, http: number of concurrent clients
    #[arg(long, value_name = "C", default_value_t = 64, value_parser = value_parser!(u32).range(1..))]
    pub clients: u32,
    /// Rotate over the source addresses 127.0.0.1 to 127.0.0.K, each with about 28,000 ports; above 1 for Linux only
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = value_parser!(u8).range(1..=254))]
    pub sources: u8,
    /// Arrivals per second
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Time limit of one connection or request; 0 means no limit
    #[arg(long = "timeout", value_name = "MS", default_value_t = 10_000)]
    pub timeout_ms: u64,
    /// Expected answer
    #[arg(long, value_name = "MODE", default_value = "worker")]
    pub expect: Expect,
    /// End of an answer
    #[arg(long, value_name = "END", default_value = "eof")]
    pub until: Until,
    /// closed: bytes to send before the token, such as a PROXY header; two hexadecimal digits each
    #[arg(long, value_name = "HEX", value_parser = parse_preamble)]
    pub preamble: Option<Preamble>,
    /// http: bytes of padding after the token line
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub body: usize,
    /// http: requests per connection; the last one says 'Connection: close' [default: no limit]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// http: send each request in five pieces with this pause before each piece after the first
    #[arg(long = "dribble", value_name = "MS", default_value_t = 0)]
    pub dribble_ms: u64,
    /// Seed of arrivals and pauses; the report contains it [default: random]
    // 32 random bits, because many JSON readers keep integers exactly only up to 2^53.
    #[arg(long, value_name = "N", hide_default_value = true, default_value_t = fastrand::u32(..).into())]
    pub seed: u64,
    /// Number of threads; each has its own runtime and shares nothing with the others
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub threads: usize,
    /// open: replay arrival times from a file (one per line, nanoseconds; the line number from 0 is the serial)
    #[serde(skip)]
    #[arg(long, value_name = "FILE")]
    pub arrivals: Option<PathBuf>,
    /// open: write the arrival times to a file
    #[serde(skip)]
    #[arg(long, value_name = "FILE")]
    pub save_arrivals: Option<PathBuf>,
    /// Write one line per connection: serial, intended, start and end (microseconds), outcome, worker, client port (http)
    #[serde(skip)]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Print one JSON object instead of a summary
    #[serde(skip)]
    #[arg(long)]
    pub json: bool,
    /// Exit with 0 regardless of the outcomes
    #[serde(skip)]
    #[arg(long)]
    pub allow_errors: bool,
}

/// Bytes that a client sends before the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preamble(pub Vec<u8>);

/// When connections start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each client connects, sends, reads the answer, closes and starts again, until --connections or --seconds
    Closed,
    /// Poisson arrivals at --rate; latency counts from the intended arrival, so that queueing is not hidden
    Open,
    /// Open --connections evenly at --rate (default 1000), print 'holding N' on standard error when all are open, and keep
    /// them open until standard input closes or --seconds have passed
    Hold,
    /// POST /<token> with the token in the body, HTTP/1.1 keep-alive over --clients connections; with --rate each client
    /// pauses at random between requests
    Http,
}

/// The correct answer; one newline at the end is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// '<worker> <token>'; the worker name is one word
    Worker,
    /// '<token>'
    Echo,
    /// http: '<worker> ' and the complete request body, which starts with the token
    Body,
    /// hold: no answer; for connections that wait in a queue
    Nothing,
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// The server closes the connection
    Eof,
    /// The first newline; the client then closes its side, and the server must send nothing more
    Newline,
}

impl Arguments {
    /// Parses a command line that starts with the program name, and rejects options that contradict each other.
    pub fn parse_words(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = Self::try_parse_from(words)?;
        match arguments.contradiction() {
            None => Ok(arguments),
            Some(message) => Err(Self::command().error(ErrorKind::ArgumentConflict, message)),
        }
    }

    /// Returns how long to start new connections; in `hold`, how long to hold them.
    pub fn span(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }

    /// Returns the time limit of one connection or request.
    pub fn timeout(&self) -> Option<Duration> {
        (self.timeout_ms > 0).then(|| Duration::from_millis(self.timeout_ms))
    }

    /// Returns the pause before each piece of a request after the first; `None` sends each request in one piece.
    pub fn dribble(&self) -> Option<Duration> {
        (self.dribble_ms > 0).then(|| Duration::from_millis(self.dribble_ms))
    }

    fn contradiction(&self) -> Option<&'static str> {
        let mode = self.mode;
        let is_ipv4_loopback = matches!(self.target.ip(), IpAddr::V4(address) if address.is_loopback());
        let has_http_option = self.requests.is_some() || self.dribble_ms > 0 || self.expect == Expect::Body;
        let has_open_option = self.arrivals.is_some() || self.save_arrivals.is_some();
        let is_limited = self.connections.is_some() || self.seconds.is_some() || self.arrivals.is_some();
        let rules = [
            (
                self.sources == 1 || is_ipv4_loopback,
                "--sources above 1 requires a --target in 127.0.0.0/8",
            ),
            (
                mode == Mode::Closed || self.preamble.is_none(),
                "--preamble is available only in closed mode",
            ),
            (
                mode != Mode::Closed || self.rate.is_none(),
                "--rate is not available in closed mode",
            ),
            (
                mode == Mode::Hold || self.expect != Expect::Nothing,
                "--expect nothing is available only in hold mode",
            ),
            (
                mode == Mode::Http || !has_http_option,
                "--requests, --dribble and --expect body are available only in http mode",
            ),
            (
                mode == Mode::Open || !has_open_option,
                "--arrivals and --save-arrivals are available only in open mode",
            ),
            (
                mode != Mode::Open || self.rate.is_some() != self.arrivals.is_some(),
                "open mode requires either --rate or --arrivals",
            ),
            (
                mode != Mode::Hold || self.connections.is_some(),
                "hold mode requires --connections",
            ),
            (is_limited, "--connections or --seconds is required, to limit the run"),
        ];
        rules
            .into_iter()
            .find_map(|(holds, message)| (!holds).then_some(message))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    Ok(seconds)
}

fn parse_preamble(text: &str) -> Result<Preamble, String> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let digits = digits.ok_or_else(|| "not pairs of hexadecimal digits".to_owned())?;
    let bytes = digits.chunks_exact(2).map(|pair| u8::try_from(16 * pair[0] + pair[1]));
    bytes
        .collect::<Result<_, _>>()
        .map(Preamble)
        .map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: Result<f64, _> = text.parse();
    rate.ok()
        .filter(|rate| rate.is_finite() && *rate >= 0.001)
        .ok_or_else(|| "not a number of at least 0.001".to_owned())
}

const AFTER_HELP: &str = "\
Outcomes: ok, refused, reset, empty (end without an answer), wrong, doubled (more than one answer), timeout, dropped
(closed by the server while held).

Exit codes: 0 every outcome is ok; 1 some are not; 2 the run was not possible.";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("socketserver-load").chain(line.split_whitespace());
        Arguments::parse_words(words.map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_command_line_sets_everything() {
        let arguments = parse(
            "open --target 127.0.0.1:8888 --rate 12.5 --seconds 1.5 --sources 4 --timeout 250 \
             --expect echo --until newline --seed 7 --threads 2 --save-arrivals a --log b --json --allow-errors",
        )
        .expect("the command line is valid");
        assert_eq!((arguments.mode, arguments.target.port()), (Mode::Open, 8888));
        assert_eq!(arguments.rate, Some(12.5));
        assert_eq!(arguments.span(), Some(Duration::from_millis(1500)));
        assert_eq!(arguments.timeout(), Some(Duration::from_millis(250)));
        assert_eq!((arguments.expect, arguments.until), (Expect::Echo, Until::Newline));
        assert_eq!((arguments.sources, arguments.seed, arguments.threads), (4, 7, 2));
        assert_eq!(
            (arguments.save_arrivals, arguments.log),
            (Some("a".into()), Some("b".into()))
        );
        assert!(arguments.json && arguments.allow_errors);
    }

    #[test]
    fn a_timeout_of_zero_is_no_limit() {
        let arguments = parse("closed --target [::1]:1 --connections 1 --timeout 0").expect("0 is valid");
        assert_eq!(arguments.timeout(), None);
    }

    #[test]
    fn requests_can_be_few_and_slow() {
        let arguments = parse("http --target [::1]:1 --connections 1 --requests 3 --dribble 20 --expect body")
            .expect("the command line is valid");
        assert_eq!((arguments.requests, arguments.expect), (Some(3), Expect::Body));
        assert_eq!(arguments.dribble(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn every_invalid_command_line_is_refused_with_the_name_of_the_option() {
        for (line, part) in [
            ("ajar --target 127.0.0.1:1", "invalid value 'ajar' for '<MODE>'"),
            ("closed --connections 1", "--target"),
            (
                "closed --target localhost:80 --connections 1",
                "invalid value 'localhost:80' for '--target",
            ),
            ("closed --target 127.0.0.1:1", "--seconds"),
            (
                "closed --target 127.0.0.1:1 --connections 0",
                "'--connections <N>': 0 is not in 1..",
            ),
            (
                "closed --target 127.0.0.1:1 --connections",
                "a value is required for '--connections <N>'",
            ),
            (
                "closed --target 127.0.0.1:1 --connections 1 --wat",
                "unexpected argument '--wat'",
            ),
            ("closed --target 127.0.0.1:1 --connections 1 --clients 0", "--clients"),
            ("closed --target 127.0.0.1:1 --connections 1 --threads 0", "--threads"),
            ("closed --target 127.0.0.1:1 --connections 1 --sources 255", "--sources"),
            ("closed --target [::1]:1 --connections 1 --sources 2", "--sources"),
            (
                "closed --target 127.0.0.1:1 --seconds -1",
                "invalid value '-1' for '--seconds",
            ),
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
            (
                "open --target 127.0.0.1:1 --connections 1 --rate 0",
                "invalid value '0' for '--rate",
            ),
            ("open --target 127.0.0.1:1 --connections 1 --rate NaN", "--rate"),
            ("open --target 127.0.0.1:1 --rate 5", "--connections"),
            ("hold --target 127.0.0.1:1 --seconds 1", "--connections"),
        ] {
            let message = parse(line).expect_err(line);
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
