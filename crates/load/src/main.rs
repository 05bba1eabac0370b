//! A load generator for servers on loopback: fast enough to saturate one, and honest about what came back.
//!
//! ```text
//! schedule -> dialer -> exchange -> outcome -> tally -> report
//! (arrivals) (sources)  (one connection) (judged) (one a thread)
//! ```
//!
//! Every connection carries a token of its own, and every answer is judged against it, so that a lost, doubled or
//! mixed-up answer is a failure of the run and never a number in it. Threads share nothing but a counter of serials:
//! each has a runtime, a dialer and a tally of its own, merged when all have ended.

mod arguments;
mod arrivals;
mod dialer;
mod exchange;
mod histogram;
mod json;
mod ledger;
mod modes;
mod outcome;
mod pacer;
mod random;
mod report;
mod response;
mod run;
mod tally;
mod token;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::arguments::{Arguments, HELP, Request};
use crate::report::Report;
use crate::run::{Failure, Run};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Request::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(arguments)) => *arguments,
        Err(complaint) => {
            eprintln!("socketserver-load: {complaint} (--help lists the options)");
            return ExitCode::from(EXIT_UNUSABLE);
        }
    };
    match load(arguments) {
        Ok(report) => {
            if report.arguments.json {
                println!("{}", report.to_json());
            } else {
                print!("{report}");
            }
            if report.is_clean() || report.arguments.allow_errors {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(failure) => {
            eprintln!("socketserver-load: {failure}");
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}

fn load(arguments: Arguments) -> Result<Report, Failure> {
    raise_descriptor_limit();
    let run = Run::prepare(arguments)?;
    if let Some(path) = &run.arguments.save_arrivals {
        arrivals::save(&run.schedule, path)
            .map_err(|error| Failure::new(&format!("cannot write {}", path.display()), &error))?;
    }
    let report = run.execute()?;
    if let Some(path) = &report.arguments.log {
        report
            .tally
            .save_log(path)
            .map_err(|error| Failure::new(&format!("cannot write {}", path.display()), &error))?;
    }
    Ok(report)
}

/// Lifts the soft descriptor limit to the hard one: 1024, the usual soft limit, is fewer than one run may hold open.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // macOS refuses a hard limit of "unlimited"; the run then goes on with what it has, and says EMFILE if that is too few.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The exit code of a run that could not be made, as opposed to one that saw errors (1).
const EXIT_UNUSABLE: u8 = 2;
