//! The context of one thread: the shared run, and the dialer and the tally that only this thread uses.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dialer::Dialer;
use crate::exchange::Finish;
use crate::outcome::Outcome;
use crate::run::Run;
use crate::tally::{Sample, Tally};
use crate::token::Token;

/// The context of one thread.
#[derive(Debug)]
pub struct ThreadContext {
    /// The run that all threads share.
    pub run: Arc<Run>,
    /// The number of this thread, from 0.
    pub index: usize,
    /// Opens the connections of this thread.
    pub dialer: Dialer,
    /// Counts the connections of this thread.
    pub tally: RefCell<Tally>,
}

/// The start of a connection or request.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    intended: Option<Duration>,
    at: Instant,
}

impl Start {
    /// Returns a start at the current time, without a schedule.
    pub fn now() -> Self {
        Self {
            intended: None,
            at: Instant::now(),
        }
    }

    /// Returns a start at the current time that was intended for `arrival`.
    pub fn scheduled(arrival: Duration) -> Self {
        Self {
            intended: Some(arrival),
            ..Self::now()
        }
    }
}

impl ThreadContext {
    /// Creates the context of thread number `index`.
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

    /// Takes the tally. Called after the runtime, and with it every task, has ended.
    pub fn take_tally(&self) -> Tally {
        self.tally.replace(Tally::new(false))
    }

    /// Returns the token of the connection number `serial`.
    pub fn token(&self, serial: u64) -> Token {
        Token {
            tag: self.run.tag,
            serial,
        }
    }

    /// Returns the numbers of the clients that this thread runs.
    pub fn clients(&self) -> impl Iterator<Item = u32> {
        (0..self.run.arguments.clients)
            .skip(self.index)
            .step_by(self.run.arguments.threads)
    }

    /// Returns the arrivals that this thread serves, with their serials.
    pub fn arrivals(&self) -> impl Iterator<Item = (u64, Duration)> {
        let schedule = self.run.schedule.iter().copied();
        (0..).zip(schedule).skip(self.index).step_by(self.run.arguments.threads)
    }

    /// Counts a finished connection or request in the tally.
    pub fn record(
        &self,
        token: Token,
        start: Start,
        finish: Finish,
        (outcome, worker): (Outcome, Option<&str>),
        answer: &[u8],
        port: Option<u16>,
    ) {
        let since_start = |instant: Instant| instant.saturating_duration_since(self.run.started);
        self.tally.borrow_mut().record(&Sample {
            token,
            intended: start.intended,
            start: since_start(start.at),
            end: since_start(finish.at),
            outcome,
            worker,
            answer,
            port,
        });
    }
}
