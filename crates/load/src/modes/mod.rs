//! The kinds of run, and what they have in common: one station on each thread.

mod closed;
mod hold;
mod http;
mod open;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use crate::arguments::Mode;
use crate::dialer::Dialer;
use crate::exchange::Finish;
use crate::outcome::Outcome;
use crate::run::Run;
use crate::tally::{Sample, Tally};
use crate::token::Token;

/// One thread's means: a dialer and a tally that only it touches.
#[derive(Debug)]
pub struct Station {
    run: Arc<Run>,
    index: usize,
    dialer: Dialer,
    tally: RefCell<Tally>,
}

/// When a connection was to begin, and when it did.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    intended: Option<Duration>,
    at: Instant,
}

impl Beginning {
    fn now() -> Self {
        Self {
            intended: None,
            at: Instant::now(),
        }
    }

    fn late_for(intended: Duration) -> Self {
        Self {
            intended: Some(intended),
            at: Instant::now(),
        }
    }
}

impl Station {
    /// The station of thread number `index`.
    pub fn new(run: Arc<Run>, index: usize) -> Rc<Self> {
        let dialer = Dialer::new(run.arguments.target, run.arguments.sources);
        let tally = RefCell::new(Tally::new(run.arguments.log.is_some()));
        Rc::new(Self {
            run,
            index,
            dialer,
            tally,
        })
    }

    /// What was counted here, once the runtime and so every task is gone.
    pub fn take_tally(&self) -> Tally {
        self.tally.replace(Tally::new(false))
    }

    fn token(&self, serial: u64) -> Token {
        Token {
            tag: self.run.tag,
            serial,
        }
    }

    /// This thread's part of the clients.
    fn clients(&self) -> usize {
        let (clients, threads) = (self.run.arguments.clients, self.run.arguments.threads);
        clients / threads + usize::from(self.index < clients % threads)
    }

    /// This thread's part of the schedule, with serials.
    fn arrivals(&self) -> impl Iterator<Item = (u64, Duration)> {
        let schedule = self.run.schedule.iter().copied();
        (0..).zip(schedule).skip(self.index).step_by(self.run.arguments.threads)
    }

    fn record(
        &self,
        token: Token,
        beginning: Beginning,
        finish: Finish,
        verdict: (Outcome, Option<&str>),
        answer: &[u8],
    ) {
        self.record_at(None, token, beginning, finish, verdict, answer);
    }

    fn record_at(
        &self,
        port: Option<u16>,
        token: Token,
        beginning: Beginning,
        finish: Finish,
        verdict: (Outcome, Option<&str>),
        answer: &[u8],
    ) {
        let (outcome, worker) = verdict;
        let since = |instant: Instant| instant.saturating_duration_since(self.run.started);
        self.tally.borrow_mut().record(&Sample {
            token,
            intended: beginning.intended,
            begun: since(beginning.at),
            ended: since(finish.at),
            outcome,
            worker,
            answer,
            port,
        });
    }
}

/// Runs this station's part of the run to its end; an error means that this machine cannot go on.
pub async fn run(station: &Rc<Station>) -> io::Result<()> {
    match station.run.arguments.mode {
        Mode::Closed => closed::run(station).await,
        Mode::Open => open::run(station).await,
        Mode::Hold => hold::run(station).await,
        Mode::Http => http::run(station).await,
    }
}

/// Waits for every task; the first error ends the wait, and the set's drop the others.
async fn finish_all(mut tasks: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(joined) = tasks.join_next().await {
        unwrap_joined(joined)?;
    }
    Ok(())
}

/// Takes the tasks that have ended out of a set, so that it holds no more than are under way.
fn reap(tasks: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(joined) = tasks.try_join_next() {
        unwrap_joined(joined)?;
    }
    Ok(())
}

fn unwrap_joined(joined: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    match joined {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
