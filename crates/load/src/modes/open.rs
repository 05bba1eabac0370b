//! Open loop, for latency: connections arrive on schedule, regardless of the earlier connections.

use std::io;
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{join_all, reap};
use crate::dialer::Dialed;
use crate::exchange::exchange;
use crate::outcome::judge;
use crate::pacer::Pacer;
use crate::thread_context::{Start, ThreadContext};
use crate::token::Token;

/// Runs the part of the schedule that belongs to this thread.
pub async fn run(context: &Rc<ThreadContext>) -> io::Result<()> {
    let pacer = Pacer::new()?;
    let mut tasks = JoinSet::new();
    for (serial, arrival) in context.arrivals() {
        if context.run.halted() {
            break;
        }
        pacer.wait_until(context.run.started + arrival).await?;
        let token = context.token(serial);
        let line = format!("{token}\n");
        let start = Start::scheduled(arrival);
        // Dialed here and not in the task, so that no other task runs before.
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
    let arguments = &context.run.arguments;
    let mut answer = Vec::new();
    let finish = exchange(
        dialed,
        line.as_bytes(),
        arguments.until,
        arguments.timeout(),
        &mut answer,
    )
    .await?;
    let verdict = judge(arguments.expect, line.trim_end(), &answer, finish.reason);
    context.record(token, start, finish, verdict, &answer, None);
    Ok(())
}
