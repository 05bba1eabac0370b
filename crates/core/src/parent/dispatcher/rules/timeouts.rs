//! Time limits: what is done when one has run out, and when the next one runs out.

use std::time::{Duration, Instant};

use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::{Channel, Health, Lifecycle};
use crate::parent::dispatcher::rules::select::NOT_AGAIN;
use crate::parent::notice::{EndReason, ShedReason};
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::records::CloseReason;

/// How long a worker may leave a recall unanswered. A worker that reads its channel answers at once. One that is stopped or
/// hostile would keep its connections for ever.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl<C: Waiting, I> State<C, I> {
    /// Sheds connections that have waited for the queue timeout.
    pub(super) fn shed_expired(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        let Some(limit) = self.queue_timeout else { return };
        while let Some(connection) = self.queue.take_expired(limit, now) {
            self.counts.shed += 1;
            actions.push(Action::Shed(connection, ShedReason::Timeout));
        }
    }

    /// Closes channels whose workers have left a recall unanswered.
    pub(super) fn close_unanswered(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        for (id, channel) in self.channels.iter_mut().filter(|(_, one)| !one.in_flight.is_empty()) {
            if channel.answer_due().is_some_and(|due| due <= now)
                && channel.lifecycle.close(EndReason::Protocol(ProtocolError::Unanswered))
            {
                actions.push(Action::Close(id, CloseReason::Protocol));
            }
        }
    }

    /// Returns when [`State::advance`] has to be called again if no event comes before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let queued = (!self.queue.is_empty()).then(|| self.queue_deadline(now)).flatten();
        let mut due = queued;
        for (id, channel) in self.channels.iter().filter(|(_, one)| !one.in_flight.is_empty()) {
            let expiry = self.queue_timeout.and_then(|limit| {
                let since = channel.untaken().map(|sent| sent.connection.since());
                since.min().map(|since| since + limit)
            });
            let of_channel = [self.next_recall(id, channel, now), channel.answer_due(), expiry];
            due = due.into_iter().chain(of_channel.into_iter().flatten()).min();
        }
        due
    }

    /// Returns when something changes for the connections that wait.
    fn queue_deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = self.queue_timeout;
        let shed = timeout.and_then(|limit| self.queue.oldest().map(|since| since + limit));
        let recovery = self.channels.values().flat_map(|channel| {
            let health = match channel.health {
                Health::Exhausted(until) => Some(until),
                Health::Stalled { probe_at, .. } => Some(probe_at),
                Health::Ready | Health::Blocked => None,
            };
            let unread = channel.unread.probe_at().filter(|_| !channel.unread.is_empty());
            [health, unread].into_iter().flatten()
        });
        let handed_back = self.queue.handed_back().filter_map(|connection| {
            let hand_back = connection.hand_back()?;
            if now < hand_back.ready_at() {
                return Some(hand_back.ready_at());
            }
            let channel = self.channels.get(hand_back.channel)?;
            let is_withheld = channel.can_be_given(connection.lane(), now) && !self.may_have_again(connection, now);
            is_withheld.then_some(hand_back.at + NOT_AGAIN)
        });
        let recovery = recovery.filter(|&at| at > now);
        let due = shed.into_iter().chain(self.sends_held_until);
        due.chain(recovery).chain(handed_back).min()
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Returns when a recall will have gone unanswered for too long.
    fn answer_due(&self) -> Option<Instant> {
        if matches!(self.lifecycle, Lifecycle::Closing { .. }) {
            return None;
        }
        let recalled = self.in_flight.iter().filter_map(|sent| sent.recalled_at);
        recalled.min().map(|at| at + ANSWER_WITHIN)
    }
}
