//! Closed loop, for throughput: every client has one connection at a time.

use std::io;
use std::rc::Rc;

use tokio::task::JoinSet;

use super::join_all;
use crate::exchange::exchange;
use crate::outcome::judge;
use crate::thread_context::{Start, ThreadContext};

/// Runs the clients of this thread until no more connections are to be started.
pub async fn run(context: &Rc<ThreadContext>) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in context.clients() {
        tasks.spawn_local(client(Rc::clone(context)));
    }
    join_all(tasks).await
}

async fn client(context: Rc<ThreadContext>) -> io::Result<()> {
    let arguments = &context.run.arguments;
    let mut answer = Vec::new();
    let mut request = arguments
        .preamble
        .as_ref()
        .map(|preamble| preamble.0.clone())
        .unwrap_or_default();
    let preamble = request.len();
    while let Some(serial) = context.run.next_serial() {
        let token = context.token(serial);
        let line = format!("{token}\n");
        let start = Start::now();
        request.truncate(preamble);
        request.extend_from_slice(line.as_bytes());
        let dialed = context.dialer.dial(&request);
        let finish = exchange(dialed, &request, arguments.until, arguments.timeout(), &mut answer).await?;
        let verdict = judge(arguments.expect, line.trim_end(), &answer, finish.reason);
        context.record(token, start, finish, verdict, &answer, None);
    }
    Ok(())
}
