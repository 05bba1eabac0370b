//! Connections that stay open, for fairness and for the cost of idle ones.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Beginning, Station, finish_all, reap};
use crate::dialer::{Dialed, send_rest};
use crate::exchange::{Finish, abandon, read_line, read_to_end, settle, within};
use crate::outcome::{Ending, Expect, judge};
use crate::pacer::Pacer;
use crate::run::Run;
use crate::token::Token;

/// Opens this thread's part of the connections, and keeps them until the release.
pub async fn run(station: &Rc<Station>) -> io::Result<()> {
    let pacer = Pacer::new()?;
    let mut release = station.run.release.subscribe();
    let mut tasks = JoinSet::new();
    match station.run.arguments.span {
        _ if station.index != 0 => {}
        None => release_at_end_of_input(Arc::clone(&station.run)),
        Some(span) => drop(tasks.spawn_local(release_after(Arc::clone(&station.run), span))),
    }
    for (serial, intended) in station.arrivals() {
        tokio::select! {
            biased;
            () = released(&mut release) => break,
            waited = pacer.wait_until(station.run.started + intended) => waited?,
        }
        let token = station.token(serial);
        let line = format!("{token}\n");
        let beginning = Beginning::late_for(intended);
        let dialed = station.dialer.dial(line.as_bytes());
        tasks.spawn_local(keep(Rc::clone(station), token, line, beginning, dialed));
        reap(&mut tasks)?;
    }
    finish_all(tasks).await
}

async fn keep(
    station: Rc<Station>,
    token: Token,
    line: String,
    beginning: Beginning,
    dialed: io::Result<Dialed>,
) -> io::Result<()> {
    let expect = station.run.arguments.expect;
    let mut release = station.run.release.subscribe();
    let mut answer = Vec::new();
    let finish = match dialed {
        Err(error) => {
            let finish = settle(Err(error))?;
            station.run.note_settled();
            finish
        }
        Ok(dialed) => {
            let (mut stream, sent) = dialed.register()?;
            let rest = &line.as_bytes()[sent..];
            let limit = station.run.arguments.timeout;
            let finish = tokio::select! {
                first = within(limit, first_answer(&mut stream, rest, expect, &mut answer)) => settle(first)?,
                () = released(&mut release) => Finish::now(Ending::Released),
            };
            station.run.note_settled();
            if finish.ending == Ending::Timeout {
                abandon(&stream);
            }
            let to_be_held = expect == Expect::Nothing || answer.contains(&b'\n');
            if to_be_held && matches!(finish.ending, Ending::Eof) {
                let ending = until_release(&mut stream, &mut release, expect, &mut answer).await?;
                Finish { ending, at: finish.at }
            } else {
                finish
            }
        }
    };
    let verdict = judge(expect, line.trim_end(), &answer, finish.ending);
    station.record(token, beginning, finish, verdict, &answer);
    Ok(())
}

/// Sends the token and reads the first line, where one is expected.
async fn first_answer(stream: &mut TcpStream, rest: &[u8], expect: Expect, answer: &mut Vec<u8>) -> io::Result<Finish> {
    send_rest(stream, rest).await?;
    if expect == Expect::Nothing {
        return Ok(Finish::now(Ending::Eof));
    }
    read_line(stream, answer).await
}

/// Holds a connection; whatever still comes on it is added to the answer.
async fn until_release(
    stream: &mut TcpStream,
    release: &mut watch::Receiver<bool>,
    expect: Expect,
    answer: &mut Vec<u8>,
) -> io::Result<Ending> {
    tokio::select! {
        biased;
        ended = read_to_end(stream, answer) => Ok(match settle(ended)?.ending {
            Ending::Eof if expect != Expect::Nothing => Ending::Dropped,
            ending => ending,
        }),
        () = released(release) => Ok(Ending::Released),
    }
}

async fn released(release: &mut watch::Receiver<bool>) {
    // The sender lives in the run, which outlives every receiver.
    let _ = release.wait_for(|released| *released).await;
}

async fn release_after(run: Arc<Run>, span: Duration) -> io::Result<()> {
    let mut release = run.release.subscribe();
    tokio::select! {
        () = released(&mut release) => {}
        () = async { run.all_settled.notified().await; tokio::time::sleep(span).await } => {}
    }
    run.release.send_replace(true);
    Ok(())
}

fn release_at_end_of_input(run: Arc<Run>) {
    // Blocking, and never joined: it ends with the process if the input does not.
    thread::spawn(move || {
        let mut discarded = [0; 256];
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut discarded), Ok(1..)) {}
        run.release.send_replace(true);
    });
}

impl Run {
    /// Notes one more connection that is open and answered, or lost; the last one says so.
    fn note_settled(&self) {
        let settled = self.settled.fetch_add(1, Ordering::Relaxed) + 1;
        if settled < self.schedule.len() as u64 || *self.release.borrow() {
            return;
        }
        eprintln!("holding {settled}");
        // Keeps the word if nobody waits for it yet.
        self.all_settled.notify_one();
    }
}
