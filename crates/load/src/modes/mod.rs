//! The modes: one module for each kind of load.

mod closed;
mod hold;
mod http;
mod open;

use std::io;
use std::rc::Rc;

use tokio::task::{JoinError, JoinSet};

use crate::arguments::Mode;
use crate::thread_context::ThreadContext;

/// Runs the part of the load that belongs to one thread. Fails only with errors of this machine.
pub async fn run(context: &Rc<ThreadContext>) -> io::Result<()> {
    match context.run.arguments.mode {
        Mode::Closed => closed::run(context).await,
        Mode::Open => open::run(context).await,
        Mode::Hold => hold::run(context).await,
        Mode::Http => http::run(context).await,
    }
}

/// Waits for every task. The first error ends the wait, and dropping the set cancels the other tasks.
async fn join_all(mut tasks: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(joined) = tasks.join_next().await {
        unwrap_joined(joined)?;
    }
    Ok(())
}

/// Removes the finished tasks from a set, so that the set contains only running tasks.
fn reap(tasks: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(joined) = tasks.try_join_next() {
        unwrap_joined(joined)?;
    }
    Ok(())
}

fn unwrap_joined(joined: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
