//! Recalls: a connection that its worker leaves untaken goes to a worker that is ready. A stalled worker recovers when its event
//! loop turns. The parent closes the channel of a worker that never takes a recalled connection.

use std::time::{Duration, Instant};

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::{Channel, Health, InFlight};
use crate::parent::dispatcher::rules::unread::PROBE_AFTER;
use crate::parent::notice::EndReason;
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::records::CloseReason;

/// How long a worker may leave a connection untaken while another worker is ready. Much longer than one turn of a busy event
/// loop, much shorter than a delay that a client notices.
pub const RECALL_AFTER: Duration = Duration::from_millis(5);

/// After a stall of T the worker is suspect for `SUSPECT_FACTOR * T`: it often stalls again, and its connections would wait for
/// the recall. A worker that is blocked most of the time gets few connections. A worker that was blocked once soon gets its
/// share again.
pub const SUSPECT_FACTOR: u32 = 10;

/// The longest time for which a worker is suspect.
pub const LONGEST_SUSPICION: Duration = Duration::from_secs(5);

impl<C: Waiting, I> State<C, I> {
    /// Recalls connections in flight that are older than the queue timeout, whether or not another worker is ready: a client
    /// waits no longer for a worker than in the queue. In the queue the connection is shed. Returns whether any was recalled.
    pub(super) fn recall_expired(&mut self, now: Instant, actions: &mut Vec<Action<C>>) -> bool {
        let Some(limit) = self.queue_timeout else { return false };
        let mut any = false;
        for (id, channel) in self.channels.iter_mut().filter(|(_, one)| !one.in_flight.is_empty()) {
            let is_expired = |sent: &InFlight<C>| now.saturating_duration_since(sent.connection.since()) >= limit;
            let ids = ids_of(channel.untaken().filter(|sent| is_expired(sent)));
            if !ids.is_empty() {
                any = true;
                channel.mark_recalled(&ids, now);
                actions.push(Action::Recall(id, ids));
            }
        }
        any
    }

    /// Recalls connections that were left untaken for too long while another worker is ready. Returns whether any was recalled.
    pub(super) fn recall_overdue(&mut self, now: Instant, actions: &mut Vec<Action<C>>) -> bool {
        let is_overdue = |sent: &&InFlight<C>| now.saturating_duration_since(sent.sent_at) >= RECALL_AFTER;
        let late = self.channels.iter().filter(|(_, one)| !one.in_flight.is_empty());
        let late = late.filter(|(_, one)| one.untaken().next().as_ref().is_some_and(is_overdue));
        let late: Vec<ChannelId> = late.map(|(id, _)| id).collect();
        let mut any = false;
        // Check one worker after the other: a worker that was just marked as stalled is not ready for the connections of the next.
        for id in late {
            let Some(channel) = self.channels.get(id) else { continue };
            let overdue = channel.untaken().take_while(is_overdue);
            let ids = ids_of(overdue.filter(|sent| self.another_is_ready(id, &sent.connection, now)));
            let Some(channel) = self.channels.get_mut(id).filter(|_| !ids.is_empty()) else {
                continue;
            };
            any = true;
            channel.mark_recalled(&ids, now);
            actions.push(Action::Recall(id, ids));
            if channel.unread.is_ignored()
                && channel
                    .lifecycle
                    .close(EndReason::Protocol(ProtocolError::TakesNothing))
            {
                actions.push(Action::Close(id, CloseReason::Protocol));
            }
        }
        any
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Marks connections as recalled. The worker stalls if it had one of them for [`RECALL_AFTER`]. A connection that exceeded
    /// the queue timeout earlier does not show that the worker stalls.
    fn mark_recalled(&mut self, ids: &[ConnectionId], now: Instant) {
        let (mut first, mut last) = (now, None);
        for sent in &mut self.in_flight {
            if ids.contains(&sent.connection.id()) {
                sent.recalled_at = Some(now);
                first = first.min(sent.sent_at);
                last = last.max(Some(sent.sent_at));
            }
        }
        if now.saturating_duration_since(first) < RECALL_AFTER {
            return;
        }
        if self.unread.recall(last.unwrap_or(now), now) {
            self.window = (self.window / 2).max(1);
        }
        let since = match self.health {
            Health::Ready => first,
            Health::Stalled { since, .. } => since,
            Health::Blocked | Health::Exhausted(_) => return,
        };
        let probe_at = self.unread.probe_at().unwrap_or(now + PROBE_AFTER);
        self.health = Health::Stalled { since, probe_at };
    }

    /// Returns whether the worker left a connection untaken, and its event loop has not turned since.
    pub(in crate::parent::dispatcher) fn is_stalled(&self) -> bool {
        matches!(self.health, Health::Stalled { .. })
    }

    /// Records that the event loop of the worker turns.
    pub(super) fn mark_alive(&mut self, now: Instant) {
        if self.unread.mark_active() {
            return;
        }
        if let Health::Stalled { since, .. } = self.health {
            self.health = Health::Ready;
            let suspicion = now.saturating_duration_since(since).saturating_mul(SUSPECT_FACTOR);
            self.suspect_until = Some(now + suspicion.min(LONGEST_SUSPICION));
        }
    }

    /// Records that the worker has read everything that was sent.
    pub(super) fn mark_all_read(&mut self, now: Instant) {
        self.clear_unread();
        self.mark_alive(now);
    }
}

fn ids_of<'a, C: Waiting + 'a>(sent: impl Iterator<Item = &'a InFlight<C>>) -> Vec<ConnectionId> {
    sent.map(|sent| sent.connection.id()).collect()
}
