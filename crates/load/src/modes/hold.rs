//! Held connections, for fairness and for the cost of idle connections.

use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{join_all, reap};
use crate::arguments::Expect;
use crate::dialer::{Dialed, send_remaining};
use crate::exchange::{EndReason, Finish, classify, read_line, read_to_end, reset_on_close, with_limit};
use crate::outcome::judge;
use crate::pacer::Pacer;
use crate::run::Run;
use crate::thread_context::{Start, ThreadContext};
use crate::token::Token;

/// Opens the connections of this thread, and holds them until the release.
pub async fn run(context: &Rc<ThreadContext>) -> io::Result<()> {
    let pacer = Pacer::new()?;
    let mut release = context.run.release.subscribe();
    let mut tasks = JoinSet::new();
    match context.run.arguments.span() {
        _ if context.index != 0 => {}
        None => release_at_end_of_input(Arc::clone(&context.run)),
        Some(span) => drop(tasks.spawn_local(release_after(Arc::clone(&context.run), span))),
    }
    for (serial, arrival) in context.arrivals() {
        tokio::select! {
            biased;
            () = released(&mut release) => break,
            waited = pacer.wait_until(context.run.started + arrival) => waited?,
        }
        let token = context.token(serial);
        let line = format!("{token}\n");
        let start = Start::scheduled(arrival);
        let dialed = context.dialer.dial(line.as_bytes());
        tasks.spawn_local(connection(Rc::clone(context), token, line, start, dialed));
        reap(&mut tasks)?;
    }
    join_all(tasks).await
}

async fn connection(
    context: Rc<ThreadContext>,
    token: Token,
    line: String,
    start: Start,
    dialed: io::Result<Dialed>,
) -> io::Result<()> {
    let expect = context.run.arguments.expect;
    let mut answer = Vec::new();
    let finish = match dialed {
        Err(error) => {
            let finish = classify(Err(error))?;
            context.run.count_settled();
            finish
        }
        Ok(dialed) => {
            let (stream, sent) = dialed.register()?;
            hold(&context, stream, &line.as_bytes()[sent..], &mut answer).await?
        }
    };
    let verdict = judge(expect, line.trim_end(), &answer, finish.reason);
    context.record(token, start, finish, verdict, &answer, None);
    Ok(())
}

/// Waits for the answer, then holds the connection until the release.
async fn hold(
    context: &ThreadContext,
    mut stream: TcpStream,
    remaining: &[u8],
    answer: &mut Vec<u8>,
) -> io::Result<Finish> {
    let expect = context.run.arguments.expect;
    let mut release = context.run.release.subscribe();
    let limit = context.run.arguments.timeout();
    let finish = tokio::select! {
        first = with_limit(limit, first_answer(&mut stream, remaining, expect, answer)) => classify(first)?,
        () = released(&mut release) => Finish::now(EndReason::Released),
    };
    context.run.count_settled();
    if finish.reason == EndReason::Timeout {
        reset_on_close(&stream);
    }
    let is_open = expect == Expect::Nothing || answer.contains(&b'\n');
    if !is_open || finish.reason != EndReason::Eof {
        return Ok(finish);
    }
    // Later bytes are appended to the answer.
    let reason = tokio::select! {
        biased;
        end = read_to_end(&mut stream, answer) => match classify(end)?.reason {
            EndReason::Eof if expect != Expect::Nothing => EndReason::Dropped,
            reason => reason,
        },
        () = released(&mut release) => EndReason::Released,
    };
    Ok(Finish { reason, ..finish })
}

/// Sends the token, and reads the first line if an answer is expected.
async fn first_answer(
    stream: &mut TcpStream,
    remaining: &[u8],
    expect: Expect,
    answer: &mut Vec<u8>,
) -> io::Result<Finish> {
    send_remaining(stream, remaining).await?;
    if expect == Expect::Nothing {
        return Ok(Finish::now(EndReason::Eof));
    }
    read_line(stream, answer).await
}

async fn released(release: &mut watch::Receiver<bool>) {
    // Cannot fail: the sender is part of the run, which outlives every receiver.
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
    // Never joined, because the read blocks: the thread ends with the process if standard input stays open.
    thread::spawn(move || {
        let mut discarded = [0; 256];
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut discarded), Ok(1..)) {}
        run.release.send_replace(true);
    });
}
