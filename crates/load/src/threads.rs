//! The threads of a run.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};

use crate::modes;
use crate::run::{Run, RunError};
use crate::tally::Tally;
use crate::thread_context::ThreadContext;

/// Runs every thread to its end. Returns the merged tally and the elapsed time.
pub fn execute(mut run: Run) -> Result<(Tally, Duration), RunError> {
    // Gives the threads time to start before the first arrival is due.
    let lead = if run.schedule.is_empty() { Duration::ZERO } else { LEAD };
    run.started = Instant::now() + lead;
    let run = Arc::new(run);
    let threads: Vec<_> = (0..run.arguments.threads)
        .map(|index| {
            let run = Arc::clone(&run);
            thread::spawn(move || run_thread(&run, index))
        })
        .collect();
    let mut tally = Tally::new(run.arguments.log.is_some());
    let mut failure = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(counted)) => tally.merge(counted),
            Ok(Err(error)) => failure = failure.or(Some(error)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    match failure {
        None => Ok((tally, run.started.elapsed())),
        Some(source) => Err(RunError::new("continue", source)),
    }
}

fn run_thread(run: &Arc<Run>, index: usize) -> io::Result<Tally> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    let context = ThreadContext::new(Arc::clone(run), index);
    let result = runtime.block_on(modes::run(&context));
    drop(runtime);
    if let Err(error) = result {
        run.halt();
        return Err(error);
    }
    Ok(context.take_tally())
}

const LEAD: Duration = Duration::from_millis(20);
