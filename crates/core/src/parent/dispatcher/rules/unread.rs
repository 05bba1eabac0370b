//! The recalled connections whose descriptors a worker has not read, and how often the parent probes such a worker.
//!
//! A recall on the scoreboard succeeds at once, but the descriptor stays in flight until the worker reads it, and counts
//! against the limit of the worker's user (unix(7), `ETOOMANYREFS`). A worker that never reads could use up that limit.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::protocol::limits::MAX_IGNORED_ROUNDS;

/// After this time without a frame a stalled worker gets one probe connection, if all other workers are busy. A worker in
/// another language may have unused credit and nothing to send.
pub const PROBE_AFTER: Duration = Duration::from_secs(1);

/// The longest pause between two probe connections to a worker that takes no connection.
pub const LONGEST_PROBE_PAUSE: Duration = Duration::from_secs(30);

const PROBE_PAUSES: Backoff = Backoff::new(PROBE_AFTER, LONGEST_PROBE_PAUSE);

/// The recalled and unread connections of one channel.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// The numbers of the handoffs on the channel, in ascending order.
    recalled: Vec<u64>,
    /// Rounds of recalls since the worker last took a connection. Recalls of connections that were sent before the last round
    /// began belong to that round.
    rounds: u32,
    round_at: Option<Instant>,
    /// Rounds in which the event loop of the worker turned and the worker read nothing.
    ignored: u32,
    was_active: bool,
    probe_at: Option<Instant>,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.recalled.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.recalled.len()
    }

    /// Adds a handoff that was recalled on the scoreboard.
    pub(super) fn add(&mut self, number: u64) {
        let index = self.recalled.partition_point(|one| *one < number);
        self.recalled.insert(index, number);
    }

    /// Records the answer to a handoff. A worker reads in order, so the worker has also read all earlier handoffs.
    pub(super) fn answered(&mut self, number: u64) {
        if !self.recalled.is_empty() {
            self.recalled.retain(|one| *one > number);
        }
    }

    /// Forgets the rounds: the worker has taken a connection, or read everything.
    pub(super) fn end_rounds(&mut self) {
        (self.rounds, self.ignored, self.was_active) = (0, 0, false);
    }

    /// Records that everything has been read.
    pub(super) fn clear(&mut self) {
        self.recalled.clear();
        self.end_rounds();
    }

    /// Records a recall of connections, the last of which was sent at `sent_at`. Returns whether a new round begins.
    pub(super) fn recall(&mut self, sent_at: Instant, now: Instant) -> bool {
        let is_new = self.rounds == 0 || self.round_at.is_none_or(|round_at| sent_at > round_at);
        if is_new {
            self.rounds = self.rounds.saturating_add(1);
            self.round_at = Some(now);
            if std::mem::take(&mut self.was_active) {
                self.ignored += 1;
            }
        }
        self.probe_at = Some(now + PROBE_PAUSES.delay(self.rounds));
        is_new
    }

    /// Records that the event loop of the worker turned. Returns true if the parent must not send more yet, because the worker
    /// has left the recalled connections of more than one round unread.
    pub(super) fn mark_active(&mut self) -> bool {
        self.was_active |= !self.is_empty();
        !self.is_empty() && self.rounds > 1
    }

    /// Returns the earliest time of a probe connection, however much the worker has not read.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.probe_at
    }

    /// Returns whether the worker takes no connection although its event loop turns.
    pub(super) fn is_ignored(&self) -> bool {
        self.ignored >= MAX_IGNORED_ROUNDS
    }
}
