//! Timeouts: the actions after a timeout, and the time of the next timeout.

use std::time::{Duration, Instant};

use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::{Channel, Health, Lifecycle};
use crate::parent::dispatcher::rules::recall::RECALL_AFTER;
use crate::parent::dispatcher::rules::select::WITHHELD_FOR;
use crate::parent::notice::{EndReason, ShedReason};
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::records::CloseReason;

/// How long a worker may leave a recall unanswered. A worker that reads its channel answers at once. A stopped or hostile
/// worker would keep its connections forever.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl<C: Waiting, I> State<C, I> {
    /// Sheds connections that have waited for the queue timeout.
    pub(super) fn shed_expired(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        let Some(limit) = self.queue_timeout else { return };
        while let Some(connection) = self.queue.take_expired(limit, now) {
            self.counts.timed_out += 1;
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
        let mut due = self.queue_deadline(now);
        // A worker that recovers can take queued connections, and connections that another worker leaves untaken.
        let mut needs_worker = !self.queue.is_empty();
        for (id, channel) in self.channels.iter().filter(|(_, one)| !one.in_flight.is_empty()) {
            let expiry = self.queue_timeout.and_then(|limit| {
                let since = channel.untaken().map(|sent| sent.connection.since());
                since.min().map(|since| since + limit)
            });
            let movable = channel
                .untaken()
                .position(|sent| self.another_is_ready(id, &sent.connection, now));
            let recall = movable.and_then(|index| channel.untaken().nth(index));
            let recall = recall.map(|sent| sent.sent_at + RECALL_AFTER);
            needs_worker |= movable != Some(0) && channel.untaken().next().is_some();
            let again = channel.untaken().filter_map(|sent| sent.connection.hand_back());
            let again = again
                .map(|hand_back| hand_back.at + WITHHELD_FOR)
                .filter(|&at| at > now);
            let of_channel = [recall, channel.answer_due(), expiry].into_iter().flatten();
            due = due.into_iter().chain(of_channel).chain(again).min();
        }
        let checks = self.channels.values().filter_map(Channel::check_at);
        due = due.into_iter().chain(checks.filter(|_| self.awaits_reading())).min();
        if needs_worker {
            let recovery = self.channels.values().filter_map(|channel| channel.next_recovery(now));
            due = due.into_iter().chain(recovery).min();
        }
        due
    }

    /// Returns the next deadline of the queued connections that does not depend on the workers.
    fn queue_deadline(&self, now: Instant) -> Option<Instant> {
        if self.queue.is_empty() {
            return None;
        }
        let timeout = self.queue_timeout;
        let shed = timeout.and_then(|limit| self.queue.oldest().map(|since| since + limit));
        let handed_back = self.queue.handed_back().filter_map(|connection| {
            let hand_back = connection.hand_back()?;
            if now < hand_back.ready_at() {
                return Some(hand_back.ready_at());
            }
            let channel = self.channels.get(hand_back.channel)?;
            let is_withheld = channel.can_be_given(connection.lane(), now) && !self.may_be_given_again(connection, now);
            is_withheld.then_some(hand_back.at + WITHHELD_FOR)
        });
        let due = shed.into_iter().chain(self.sends_held_until).chain(handed_back);
        let slots = self.queue.slot_deadlines().filter(|&until| until > now);
        due.chain(slots).min()
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Returns when the worker can be given a connection again without a further event.
    fn next_recovery(&self, now: Instant) -> Option<Instant> {
        let health = match self.health {
            Health::Exhausted(until) => Some(until),
            Health::Stalled { probe_at, .. } => Some(probe_at),
            Health::Ready | Health::Blocked => None,
        };
        let unread = self.unread.probe_at().filter(|_| !self.unread.is_empty());
        let recovery = health.into_iter().chain(unread);
        recovery.filter(|&at| at > now).min()
    }

    /// Returns the deadline for the answer to the oldest recall.
    fn answer_due(&self) -> Option<Instant> {
        if matches!(self.lifecycle, Lifecycle::Closing { .. }) {
            return None;
        }
        let recalled = self.in_flight.iter().filter_map(|sent| sent.recalled_at);
        recalled.min().map(|at| at + ANSWER_WITHIN)
    }
}
