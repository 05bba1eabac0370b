//! How a connection returns to the queue: a worker refuses or hands back the connection, the parent recalls or
//! cannot send the connection, or the channel ends.

use std::time::{Duration, Instant};

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::dispatcher::message::{Action, SendFailure};
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::Health;
use crate::parent::queue::Waiting;
use crate::parent::routing::affinity::Affinity;
use crate::protocol::ProtocolError;
use crate::protocol::records::{Refusal, RefusalReason};
use crate::stats::RequeueReason;

/// How long a worker that is out of descriptors gets nothing, unless one of its leases ends.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A worker that is out of descriptors again within this time is in the same episode, which is reported once: at its limit
/// the worker takes one connection for each that it closes.
const EPISODE: Duration = Duration::from_secs(10);

/// How long all sends are held after ETOOMANYREFS, unless an ack arrives earlier. Descriptors in flight count against the
/// user's limit over all processes (unix(7)), so each received descriptor makes room for another.
pub const SEND_PAUSE: Duration = Duration::from_millis(10);

impl<C: Waiting, I> State<C, I> {
    /// A worker refuses a connection in flight.
    pub(super) fn refuse(
        &mut self,
        id: ChannelId,
        refusal: Refusal,
        now: Instant,
        actions: &mut Vec<Action<C>>,
    ) -> Result<(), ProtocolError> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        let sent = channel.remove_in_flight(refusal.id)?;
        channel.unread.answered(sent.number);
        if refusal.reason == RefusalReason::NoDescriptor {
            channel.health = Health::Exhausted(now + EXHAUSTED_PAUSE);
            channel.window = 1;
            let last = channel.exhausted_at.replace(now);
            if last.is_none_or(|last| now.saturating_duration_since(last) > EPISODE) {
                actions.push(Action::ReportNoDescriptors(id));
            }
        }
        self.requeue(
            sent.connection,
            match refusal.reason {
                RefusalReason::Recalled => RequeueReason::Recalled,
                RefusalReason::NoDescriptor => RequeueReason::NoDescriptor,
                RefusalReason::Unwanted => RequeueReason::Unwanted,
            },
        );
        Ok(())
    }

    /// A connection was recalled on the scoreboard. Its descriptor stays in the channel's socket until the worker reads it.
    pub(super) fn requeue_recalled(&mut self, id: ChannelId, connection: ConnectionId) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        if let Ok(sent) = channel.remove_in_flight(connection) {
            channel.unread.add(sent.number);
            self.requeue(sent.connection, RequeueReason::Recalled);
        }
    }

    /// A handoff failed: the connections return to the queue, and the credit is restored.
    pub(super) fn restore(&mut self, id: ChannelId, ids: Vec<ConnectionId>, failure: SendFailure, now: Instant) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        match failure {
            SendFailure::Full => channel.health = Health::Blocked,
            SendFailure::TooManyInFlight => self.sends_held_until = Some(now + SEND_PAUSE),
        }
        let unsent: Vec<_> = ids
            .into_iter()
            .filter_map(|id| channel.remove_in_flight(id).ok())
            .collect();
        channel.forget_handoffs(unsent.len());
        for sent in unsent {
            channel.credit.restore(sent.lane);
            self.queue.put(sent.connection);
        }
    }

    /// A worker hands back a connection that it had taken, which ends the lease.
    pub(super) fn hand_back(&mut self, id: ChannelId, mut connection: C, now: Instant) -> Result<(), ProtocolError> {
        let Some(channel) = self.channels.get_mut(id) else {
            return Ok(());
        };
        channel.forget_taken(connection.id())?;
        channel.end_leases(1, now)?;
        channel.counters.handed_back += 1;
        self.counts.handed_back += 1;
        connection.handed_back(id, now);
        if let Ok(counted) = channel.release_counted(connection.id()) {
            connection.set_counted(counted);
        }
        self.enqueue(connection);
        Ok(())
    }

    /// A channel has ended: its connections in flight return to the queue.
    pub(super) fn lose(&mut self, id: ChannelId) {
        let in_flight = self
            .channels
            .remove(id)
            .into_iter()
            .flat_map(|channel| channel.in_flight);
        for sent in in_flight {
            self.requeue(sent.connection, RequeueReason::WorkerLost);
        }
        self.share_descriptors();
    }

    /// Returns a connection that no worker took to its old position in the queue.
    fn requeue(&mut self, mut connection: C, reason: RequeueReason) {
        connection.mark_reissued();
        self.counts.requeued[reason as usize] += 1;
        self.enqueue(connection);
    }

    pub(super) fn enqueue(&mut self, mut connection: C) {
        if let Some(Affinity::Strict(hash, until)) = connection.affinity()
            && let Some(slot) = self.slot_of(hash, connection.lane())
        {
            connection.wait_for_slot(slot, until);
        }
        self.queue.put(connection);
        self.counts.max_queued = self.counts.max_queued.max(self.queue.len() as u64);
    }
}
