//! Keep-alive HTTP/1.1: requests one after another on each client's connection.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Beginning, Station, finish_all};
use crate::dialer::send_rest;
use crate::exchange::{Finish, abandon, read_some, read_to_end, settle, within};
use crate::outcome::{Ending, Expect, Outcome, judge};
use crate::random::Random;
use crate::report::float;
use crate::response::{Parsed, parse};
use crate::token::Token;

/// Runs this thread's clients until no more requests are to begin.
pub async fn run(station: &Rc<Station>) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for client in 0..station.clients() {
        let number = (client * station.run.arguments.threads + station.index) as u64;
        let random = Random::new(station.run.arguments.seed.wrapping_add(number << 32));
        tasks.spawn_local(
            Client {
                station: Rc::clone(station),
                random,
                kept: None,
                answer: Vec::new(),
            }
            .run(),
        );
    }
    finish_all(tasks).await
}

struct Client {
    station: Rc<Station>,
    random: Random,
    /// The connection for the next request.
    kept: Option<Kept>,
    answer: Vec<u8>,
}

/// A connection that can carry another request.
struct Kept {
    stream: TcpStream,
    /// The request that it answered last.
    last: Token,
    /// How many it has answered.
    answered: u64,
}

/// A request as it is sent.
struct Request {
    text: String,
    body: String,
}

impl Client {
    async fn run(mut self) -> io::Result<()> {
        self.pause().await;
        while let Some(serial) = self.station.run.next_serial() {
            let token = self.station.token(serial);
            self.drop_ended();
            let request = self.request(token);
            let beginning = Beginning::now();
            let mut port = None;
            let finish = self.exchange(token, request.text.as_bytes(), &mut port).await?;
            let expect = self.station.run.arguments.expect;
            let verdict = judge_response(expect, token, &request.body, &self.answer, finish.ending);
            if verdict.0 != Outcome::Ok {
                self.kept = None;
            }
            let verdict = (verdict.0, verdict.1.as_deref());
            self.station
                .record_at(port, token, beginning, finish, verdict, &self.answer);
            self.pause().await;
        }
        self.drop_ended();
        Ok(())
    }

    fn request(&self, token: Token) -> Request {
        let arguments = &self.station.run.arguments;
        let body = format!("{token}\n{}", "x".repeat(arguments.body));
        let answered = self.kept.as_ref().map_or(0, |kept| kept.answered);
        let is_last = arguments.requests.is_some_and(|requests| answered + 1 >= requests);
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let text = format!(
            "POST /{token} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n{close}Content-Length: {}\r\n\r\n{body}",
            arguments.target,
            body.len(),
        );
        Request { text, body }
    }

    /// Sends a request on the kept connection or a new one, and reads its response. `port` becomes the client's.
    async fn exchange(&mut self, token: Token, request: &[u8], port: &mut Option<u16>) -> io::Result<Finish> {
        self.answer.clear();
        let dribble = self.station.run.arguments.dribble;
        let pieces = if dribble.is_some() { PIECES } else { 1 };
        let (first, rest) = request.split_at(request.len() / pieces);
        let (mut stream, answered, sent) = match self.kept.take() {
            Some(Kept { stream, answered, .. }) => (stream, answered, None),
            None => match self.station.dialer.dial(first) {
                Ok(dialed) => {
                    self.station.tally.borrow_mut().opened += 1;
                    let (stream, sent) = dialed.register()?;
                    (stream, 0, Some(sent))
                }
                Err(error) => {
                    // As in `converse`: a refusal must not keep other clients waiting.
                    tokio::task::yield_now().await;
                    return settle(Err(error));
                }
            },
        };
        *port = stream.local_addr().ok().map(|address| address.port());
        let answer = &mut self.answer;
        let talk = async {
            match sent {
                None => stream.write_all(first).await?,
                Some(sent) => send_rest(&mut stream, &first[sent..]).await?,
            }
            for piece in rest.chunks(first.len().max(1)) {
                tokio::time::sleep(dribble.unwrap_or_default()).await;
                stream.write_all(piece).await?;
            }
            read_response(&mut stream, answer).await
        };
        let finish = settle(within(self.station.run.arguments.timeout, talk).await)?;
        match finish.ending {
            Ending::Released => {
                self.kept = Some(Kept {
                    stream,
                    last: token,
                    answered: answered + 1,
                });
            }
            Ending::Timeout => abandon(&stream),
            _ => {}
        }
        Ok(finish)
    }

    /// Gives up a kept connection that the server has ended, as every client does, and notes bytes nobody asked for.
    fn drop_ended(&mut self) {
        let Some(Kept { stream, last, .. }) = &self.kept else {
            return;
        };
        let mut byte = [0];
        match stream.try_read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(1..) => self.station.tally.borrow_mut().double(*last),
            Ok(0) | Err(_) => self.station.tally.borrow_mut().idle_closed += 1,
        }
        self.kept = None;
    }

    /// Waits at random, so that all clients together send at the rate, if one is given.
    async fn pause(&mut self) {
        let arguments = &self.station.run.arguments;
        if let Some(rate) = arguments.rate {
            let mut gap = self.random.gap(rate / float(arguments.clients as u64));
            if let Some(span) = arguments.span {
                gap = gap.min((span + AFTER_THE_END).saturating_sub(self.station.run.started.elapsed()));
            }
            tokio::time::sleep(gap).await;
        }
    }
}

/// Reads one response. `Released` means that the connection can carry another request.
async fn read_response(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    loop {
        let ended = read_some(stream, answer).await? == 0;
        let close = match parse(answer, ended) {
            Parsed::Complete(response) => response.close,
            Parsed::Partial if !ended => continue,
            Parsed::Partial | Parsed::Malformed => return Ok(Finish::now(Ending::Eof)),
        };
        let finish = Finish::now(Ending::Released);
        if !close {
            return Ok(finish);
        }
        let last = read_to_end(stream, answer).await?;
        return Ok(Finish {
            ending: last.ending,
            at: finish.at,
        });
    }
}

fn judge_response(
    expect: Expect,
    token: Token,
    body: &str,
    answer: &[u8],
    ending: Ending,
) -> (Outcome, Option<String>) {
    let owned = |(outcome, worker): (Outcome, Option<&str>)| (outcome, worker.map(str::to_owned));
    let token = if expect == Expect::Body {
        body.to_owned()
    } else {
        token.to_string()
    };
    if answer.is_empty() || !matches!(ending, Ending::Eof | Ending::Released) {
        return owned(judge(expect, &token, answer, ending));
    }
    match parse(answer, true) {
        Parsed::Complete(response) if response.status == 200 && response.length < answer.len() => {
            (Outcome::Doubled, None)
        }
        Parsed::Complete(response) if response.status == 200 => owned(judge(expect, &token, &response.body, ending)),
        Parsed::Complete(_) | Parsed::Partial | Parsed::Malformed => (Outcome::Wrong, None),
    }
}

/// Of a request that is dribbled; one more for what does not divide.
const PIECES: usize = 5;

/// So that a pause at the end of the run ends with it, and no later than it must.
const AFTER_THE_END: Duration = Duration::from_millis(1);
