//! Time limits: when one has run out next, and what is done when it has. Rules, pure like the rest of [`State`].

use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::ledger::{Fitness, InFlight, Ledger, NOT_AGAIN, Phase, Rank};
use crate::parent::dispatcher::rules::unread::Unread;
use crate::parent::notice::ShedReason;
use crate::parent::queue::Waiting;

/// How long a worker may leave a connection untaken while another has credit, before it is asked to give it back.
/// Far above what an event loop at work needs for a turn, far below what a client notices.
pub const RECALL_AFTER: Duration = Duration::from_millis(5);

impl<C: Waiting> State<C> {
    /// When `advance` has to be called again if no event comes before.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let queued = (!self.queue.is_empty()).then(|| self.queue_deadline(now)).flatten();
        let recall = self.with_in_flight().filter_map(|(channel, ledger)| {
            let wanted = |one: &&InFlight<C>| self.another_is_ready(channel, &one.connection, now);
            ledger.untaken().find(wanted).map(|one| one.sent_at + RECALL_AFTER)
        });
        let answers = self.with_in_flight().filter_map(|(_, ledger)| ledger.answer_due());
        let expiry = self.queue_timeout.and_then(|limit| {
            let untaken = self.with_in_flight().flat_map(|(_, ledger)| ledger.untaken());
            untaken.map(|one| one.connection.since() + limit).min()
        });
        queued.into_iter().chain(recall).chain(answers).chain(expiry).min()
    }

    /// When something changes for what waits.
    fn queue_deadline(&self, now: Instant) -> Option<Instant> {
        let shed = self
            .queue_timeout
            .and_then(|limit| self.queue.oldest().map(|since| since + limit));
        let resting = self.channels.values().filter_map(|ledger| match ledger.fitness {
            Fitness::Resting(until) | Fitness::Stalled { try_at: until, .. } => Some(until),
            _ => None,
        });
        let tries = self.channels.values().map(|ledger| &ledger.unread);
        let tries = tries.filter(|unread| !unread.is_empty()).filter_map(Unread::try_at);
        let again = self.queue.given_back().filter_map(|connection| {
            let hand_back = connection.hand_back()?;
            let ledger = self.channels.get(hand_back.channel)?;
            let is_ready = ledger.rank(connection.lane(), now) != Rank::None && now >= hand_back.ready_at();
            let waits = is_ready && !self.may_have_again(connection, now);
            waits.then_some(hand_back.at + NOT_AGAIN)
        });
        let given_back = self.queue.given_back().filter_map(Waiting::hand_back);
        let paused = given_back.map(|hand_back| hand_back.ready_at()).filter(|&at| at > now);
        let due = shed
            .into_iter()
            .chain(resting.chain(tries).filter(|&until| until > now));
        due.chain(self.held_until).chain(again).chain(paused).min()
    }

    pub(super) fn shed(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        let Some(limit) = self.queue_timeout else { return };
        while let Some(connection) = self.queue.take_expired(limit, now) {
            self.counts.shed += 1;
            actions.push(Action::Shed(connection, ShedReason::Timeout));
        }
    }

    pub(super) fn condemn(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        for (channel, ledger) in self.channels.iter_mut().filter(|(_, ledger)| ledger.has_in_flight()) {
            if ledger.answer_due().is_some_and(|due| due <= now) {
                ledger.phase = Phase::Condemned;
                actions.push(Action::Unanswered(channel));
            }
        }
    }

    /// Recalls the connections in flight that are older than the queue timeout, whether or not another worker is ready:
    /// a client waits as long for a worker that has not taken its connection as it waits in the queue. Once recalled a
    /// connection is in the queue again, and is shed there. Returns whether any connection was recalled.
    pub(super) fn recall_expired(&mut self, now: Instant, actions: &mut Vec<Action<C>>) -> bool {
        let Some(limit) = self.queue_timeout else { return false };
        let mut any = false;
        for (channel, ledger) in self.channels.iter_mut().filter(|(_, ledger)| ledger.has_in_flight()) {
            let expired = |one: &&InFlight<C>| now.saturating_duration_since(one.connection.since()) >= limit;
            let ids: Vec<ConnectionId> = ledger
                .untaken()
                .filter(expired)
                .map(|one| one.connection.id())
                .collect();
            if !ids.is_empty() {
                ledger.recall(&ids, now);
                actions.push(Action::Recall(channel, ids));
                any = true;
            }
        }
        any
    }

    /// Takes back what has lain too long while another is ready; says whether there is something.
    pub(super) fn recall(&mut self, now: Instant, actions: &mut Vec<Action<C>>) -> bool {
        let mut any = false;
        let overdue = |one: &InFlight<C>| now.saturating_duration_since(one.sent_at) >= RECALL_AFTER;
        let slow = |ledger: &Ledger<C>| ledger.untaken().next().is_some_and(overdue);
        let channels = self.with_in_flight().filter(|(_, ledger)| slow(ledger));
        let channels: Vec<ChannelId> = channels.map(|(channel, _)| channel).collect();
        // One after the other: who has just been found to be stalled is no reason to recall anything from the next.
        for channel in channels {
            let untaken = self.channels.get(channel).into_iter().flat_map(Ledger::untaken);
            let ids: Vec<ConnectionId> = untaken
                .take_while(|one| overdue(one))
                .filter(|one| self.another_is_ready(channel, &one.connection, now))
                .map(|one| one.connection.id())
                .collect();
            if !ids.is_empty() {
                self.with(channel, |ledger| ledger.recall(&ids, now));
                actions.push(Action::Recall(channel, ids));
                let ledger = self.channels.get_mut(channel);
                if let Some(ledger) = ledger.filter(|ledger| ledger.unread.is_ignored()) {
                    ledger.phase = Phase::Condemned;
                    actions.push(Action::TakesNothing(channel));
                }
                any = true;
            }
        }
        any
    }

    /// The only channels on which a time limit runs. Of many there are few, and this is asked in each turn.
    fn with_in_flight(&self) -> impl Iterator<Item = (ChannelId, &Ledger<C>)> {
        self.channels.iter().filter(|(_, ledger)| ledger.has_in_flight())
    }
}
