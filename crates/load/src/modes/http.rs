//! HTTP/1.1 keep-alive: every client sends requests one after another on its connection.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::join_all;
use crate::arguments::Expect;
use crate::arrivals::exponential_gap;
use crate::dialer::send_remaining;
use crate::exchange::{EndReason, Finish, classify, read_some, read_to_end, reset_on_close, with_limit};
use crate::outcome::{Outcome, judge};
use crate::response::Response;
use crate::thread_context::{Start, ThreadContext};
use crate::token::Token;

/// Runs the clients of this thread until no more requests are to be started.
pub async fn run(context: &Rc<ThreadContext>) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for number in context.clients() {
        let seed = context.run.arguments.seed.wrapping_add(u64::from(number) << 32);
        let client = Client {
            context: Rc::clone(context),
            rng: Rng::with_seed(seed),
            idle: None,
            answer: Vec::new(),
        };
        tasks.spawn_local(client.run());
    }
    join_all(tasks).await
}

struct Client {
    context: Rc<ThreadContext>,
    rng: Rng,
    /// The connection for the next request.
    idle: Option<IdleConnection>,
    answer: Vec<u8>,
}

/// A connection that can carry another request.
struct IdleConnection {
    stream: TcpStream,
    /// The token of the last request.
    last: Token,
    /// The number of requests answered so far.
    answered: u64,
}

impl Client {
    async fn run(mut self) -> io::Result<()> {
        self.pause().await;
        while let Some(serial) = self.context.run.next_serial() {
            let token = self.context.token(serial);
            let arguments = &self.context.run.arguments;
            let expect = arguments.expect;
            let body = format!("{token}\n{}", "x".repeat(arguments.body));
            self.drop_closed();
            let request = self.request(token, &body);
            let start = Start::now();
            let (finish, port) = self.exchange(token, request.as_bytes()).await?;
            let expected = if expect == Expect::Body {
                body
            } else {
                token.to_string()
            };
            let (outcome, worker) = judge_response(expect, &expected, &self.answer, finish.reason);
            if outcome != Outcome::Ok {
                self.idle = None;
            }
            let verdict = (outcome, worker.as_deref());
            self.context.record(token, start, finish, verdict, &self.answer, port);
            self.pause().await;
        }
        self.drop_closed();
        Ok(())
    }

    fn request(&self, token: Token, body: &str) -> String {
        let arguments = &self.context.run.arguments;
        let answered = self.idle.as_ref().map_or(0, |idle| idle.answered);
        let is_last = arguments.requests.is_some_and(|requests| answered + 1 >= requests);
        let close = if is_last { "Connection: close\r\n" } else { "" };
        format!(
            "POST /{token} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n{close}Content-Length: {}\r\n\r\n{body}",
            arguments.target,
            body.len(),
        )
    }

    /// Sends a request on the idle connection or on a new one, and reads the response. Returns the port of the client,
    /// too, if there is a connection.
    async fn exchange(&mut self, token: Token, request: &[u8]) -> io::Result<(Finish, Option<u16>)> {
        self.answer.clear();
        let arguments = &self.context.run.arguments;
        let dribble = arguments.dribble();
        let pieces = if dribble.is_some() { PIECES } else { 1 };
        let (first, rest) = request.split_at(request.len() / pieces);
        let (mut stream, answered, sent) = match self.idle.take() {
            Some(IdleConnection { stream, answered, .. }) => (stream, answered, None),
            None => match self.context.dialer.dial(first) {
                Ok(dialed) => {
                    self.context.tally.borrow_mut().opened += 1;
                    let (stream, sent) = dialed.register()?;
                    (stream, 0, Some(sent))
                }
                Err(error) => {
                    // As in `exchange::exchange`: a client that only meets refusals must not starve the others.
                    tokio::task::yield_now().await;
                    return Ok((classify(Err(error))?, None));
                }
            },
        };
        let port = stream.local_addr().ok().map(|address| address.port());
        let answer = &mut self.answer;
        let conversation = async {
            match sent {
                None => stream.write_all(first).await?,
                Some(sent) => send_remaining(&mut stream, &first[sent..]).await?,
            }
            for piece in rest.chunks(first.len().max(1)) {
                tokio::time::sleep(dribble.unwrap_or_default()).await;
                stream.write_all(piece).await?;
            }
            read_response(&mut stream, answer).await
        };
        let finish = classify(with_limit(arguments.timeout(), conversation).await)?;
        match finish.reason {
            EndReason::Released => {
                self.idle = Some(IdleConnection {
                    stream,
                    last: token,
                    answered: answered + 1,
                });
            }
            EndReason::Timeout => reset_on_close(&stream),
            _ => {}
        }
        Ok((finish, port))
    }

    /// Drops an idle connection that the server has closed. Bytes that no request asked for make the last answer doubled.
    fn drop_closed(&mut self) {
        let Some(IdleConnection { stream, last, .. }) = &self.idle else {
            return;
        };
        let mut tally = self.context.tally.borrow_mut();
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(1..) => tally.change_to_doubled(*last),
            Ok(0) | Err(_) => tally.idle_closed += 1,
        }
        self.idle = None;
    }

    /// Pauses at random, so that all clients together send at the requested rate.
    async fn pause(&mut self) {
        let arguments = &self.context.run.arguments;
        if let Some(rate) = arguments.rate {
            let mut gap = exponential_gap(&mut self.rng, rate / f64::from(arguments.clients));
            if let Some(span) = arguments.span() {
                // The last pause ends right after the run, when no request is started any more.
                gap = gap.min((span + AFTER_THE_END).saturating_sub(self.context.run.started.elapsed()));
            }
            tokio::time::sleep(gap).await;
        }
    }
}

/// Reads one response. [`EndReason::Released`] means that the connection can carry another request.
async fn read_response(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    loop {
        let ended = read_some(stream, answer).await? == 0;
        let close = match Response::parse(answer, ended) {
            Ok(Some(response)) => response.close,
            Ok(None) if !ended => continue,
            Ok(None) | Err(_) => return Ok(Finish::now(EndReason::Eof)),
        };
        let finish = Finish::now(EndReason::Released);
        if !close {
            return Ok(finish);
        }
        let Finish { reason, .. } = read_to_end(stream, answer).await?;
        return Ok(Finish { reason, ..finish });
    }
}

fn judge_response(expect: Expect, expected: &str, answer: &[u8], reason: EndReason) -> (Outcome, Option<String>) {
    let judge = |answer| {
        let (outcome, worker) = judge(expect, expected, answer, reason);
        (outcome, worker.map(str::to_owned))
    };
    if answer.is_empty() || !matches!(reason, EndReason::Eof | EndReason::Released) {
        return judge(answer);
    }
    match Response::parse(answer, true) {
        Ok(Some(response)) if response.status == 200 && response.length < answer.len() => (Outcome::Doubled, None),
        Ok(Some(response)) if response.status == 200 => judge(&response.body),
        _ => (Outcome::Wrong, None),
    }
}

/// The pieces of a dribbled request; the remainder of the division is one more.
const PIECES: usize = 5;

const AFTER_THE_END: Duration = Duration::from_millis(1);
