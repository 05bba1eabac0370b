//! A load generator for servers on loopback: fast enough to saturate a server, and strict about every answer.
//!
//! ```text
//! schedule -> dialer -> exchange -> outcome -> tally -> report
//! ```
//!
//! Every connection carries a unique token, and every answer is compared with that token. A lost, doubled or misrouted
//! answer is therefore a failure of the run, never a number in the results. Threads share only a counter of serials: each
//! thread has its own runtime, dialer and tally, and the tallies are merged at the end.

mod arguments;
mod arrivals;
mod dialer;
mod exchange;
mod ledger;
mod modes;
mod outcome;
mod pacer;
mod report;
mod response;
mod run;
mod tally;
mod thread_context;
mod threads;
mod token;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::arguments::Arguments;
use crate::report::Report;
use crate::run::{Run, RunError};

fn main() -> ExitCode {
    let arguments = match Arguments::parse_words(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Fails only if the standard streams are closed; then the message is lost.
            let _ = error.print();
            return if error.use_stderr() {
                IMPOSSIBLE.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&arguments) {
        Ok(is_clean) if is_clean || arguments.allow_errors => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("socketserver-load: {error}");
            IMPOSSIBLE.into()
        }
    }
}

/// Runs the load and prints the report. Returns whether the run was clean.
fn run(arguments: &Arguments) -> Result<bool, RunError> {
    raise_descriptor_limit();
    let run = Run::new(arguments.clone())?;
    if let Some(path) = &arguments.save_arrivals {
        arrivals::save(&run.schedule, path)
            .map_err(|source| RunError::new(format!("write {}", path.display()), source))?;
    }
    let (tally, elapsed) = threads::execute(run)?;
    // Before the log is written, whose CPU time is not part of the load.
    let report = Report::new(arguments, &tally, elapsed);
    if let Some(path) = &arguments.log {
        tally
            .save_log(path)
            .map_err(|source| RunError::new(format!("write {}", path.display()), source))?;
    }
    if arguments.json {
        let json = serde_json::to_string(&report).map_err(|error| RunError::new("write the report", error.into()))?;
        println!("{json}");
    } else {
        print!("{report}");
    }
    Ok(report.clean)
}

/// Raises the soft descriptor limit to the hard limit. The usual soft limit, 1024, is too low for one run.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // macOS refuses a hard limit of "unlimited". The run then continues, and fails with EMFILE if the limit is too low.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The exit code of a run that was not possible, as opposed to a run with errors (1).
const IMPOSSIBLE: u8 = 2;
