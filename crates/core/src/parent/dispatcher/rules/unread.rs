//! The recalled connections whose descriptors still lie in a channel's socket, and how long a worker may go on so.
//!
//! A recall by the scoreboard takes a connection back, but its descriptor stays under way until the worker has read it, and
//! counts against the limit of the worker's user (unix(7), `ETOOMANYREFS`). A worker that never reads could so use up the limit.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::parent::dispatcher::rules::ledger::TRY_STALLED_AFTER;
use crate::protocol::limits::MAX_IGNORED_ROUNDS;

/// The longest that a worker which takes nothing is left alone before it is tried with one connection again.
pub const LONGEST_TRY: Duration = Duration::from_secs(30);

const TRIES: Backoff = Backoff::new(TRY_STALLED_AFTER, LONGEST_TRY);

/// What is recalled and unread on one channel.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// By the number of their handoff on the channel, in ascending order.
    recalled: Vec<u64>,
    /// Recalls in a row without a connection taken; what is recalled together or was sent before the last is one round.
    rounds: u32,
    round_at: Option<Instant>,
    /// Rounds in which the worker has shown life and not read.
    ignored: u32,
    has_lived: bool,
    try_at: Option<Instant>,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.recalled.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.recalled.len()
    }

    /// Adds a connection that has been taken back by the scoreboard.
    pub(super) fn add(&mut self, number: u64) {
        let place = self.recalled.partition_point(|one| *one < number);
        self.recalled.insert(place, number);
    }

    /// Notes an answer to a handoff: a worker reads in order, so it has read those before.
    pub(super) fn answered(&mut self, number: u64) {
        if !self.recalled.is_empty() {
            self.recalled.retain(|one| *one > number);
        }
    }

    /// Begins anew: the worker has taken a connection, or read everything.
    pub(super) fn end_rounds(&mut self) {
        (self.rounds, self.ignored, self.has_lived) = (0, 0, false);
    }

    /// Notes that everything has been read.
    pub(super) fn clear(&mut self) {
        self.recalled.clear();
        self.end_rounds();
    }

    /// Notes a recall of connections, of which the latest was sent at `sent_at`; true if a new round begins.
    pub(super) fn recall(&mut self, sent_at: Instant, now: Instant) -> bool {
        let is_new = self.rounds == 0 || self.round_at.is_none_or(|round_at| sent_at > round_at);
        if is_new {
            self.rounds = self.rounds.saturating_add(1);
            self.round_at = Some(now);
            if std::mem::take(&mut self.has_lived) {
                self.ignored += 1;
            }
        }
        self.try_at = Some(now + TRIES.delay(self.rounds));
        is_new
    }

    /// Notes a sign of life; true if that is no reason to send more, as the last ones have not been read either.
    pub(super) fn lives(&mut self) -> bool {
        self.has_lived |= !self.is_empty();
        !self.is_empty() && self.rounds > 1
    }

    /// When the worker may be tried with one, however much it has not read.
    pub(super) fn try_at(&self) -> Option<Instant> {
        self.try_at
    }

    /// Whether the worker takes nothing although it lives.
    pub(super) fn is_ignored(&self) -> bool {
        self.ignored >= MAX_IGNORED_ROUNDS
    }
}
