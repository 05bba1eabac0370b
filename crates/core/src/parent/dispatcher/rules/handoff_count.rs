//! Counts the handoffs of a channel, and which of them its worker has read. [`super::handoffs`] limits those that it has not.

use std::time::{Duration, Instant};

/// How long after a look the parent looks again, if the worker gets nothing more and connections wait.
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Counts the handoffs of a channel.
#[derive(Debug, Default)]
pub(super) struct HandoffCount {
    pub(super) sent: u64,
    /// So many handoffs were sent before the socket was last seen empty.
    pub(super) read: u64,
    /// The number of handoffs when the driver was asked for a look, if it has not answered.
    pub(super) asked_at: Option<u64>,
    /// Earliest time to look again without an ack.
    pub(super) check_at: Option<Instant>,
}

impl HandoffCount {
    /// Adds a handoff and returns its number.
    pub(super) fn add(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    /// Removes the last handoffs, which were not sent.
    pub(super) fn remove(&mut self, count: usize) {
        self.sent = self.sent.saturating_sub(count as u64).max(self.read);
    }

    pub(super) fn ask(&mut self) {
        self.asked_at = Some(self.sent);
    }

    pub(super) fn mark_read(&mut self) {
        // Handoffs that were decided since have not been sent.
        self.read = self.asked_at.take().unwrap_or(self.read).min(self.sent);
        self.check_at = None;
    }

    pub(super) fn mark_unread(&mut self, now: Instant) {
        self.asked_at = None;
        self.check_at = Some(now + CHECK_AGAIN_AFTER);
    }
}
