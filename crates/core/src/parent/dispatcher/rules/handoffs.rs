//! The handoffs that a worker may not have read, and what the parent does about them.
//!
//! A worker that acks connections without reading their descriptors keeps the descriptors in flight, which count against the
//! limit of the worker's user (unix(7), `ETOOMANYREFS`). The driver can see whether a socket is empty, but not how much is unread.

use std::time::Instant;

use crate::ids::ChannelId;
use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::Channel;
use crate::parent::notice::EndReason;
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::records::CloseReason;

impl<C: Waiting, I> State<C, I> {
    /// Asks the driver whether a worker has read that gets nothing more otherwise.
    pub(super) fn limit_unread(&mut self, id: ChannelId, actions: &mut Vec<Action<C>>) {
        self.has_unread_limit = true;
        if let Some(channel) = self.channels.get_mut(id) {
            channel.ask_for_look(id, actions);
        }
    }

    /// Asks the driver whether a worker whose event loop turns has read the connections that were recalled from it.
    pub(super) fn check_recalled(&mut self, id: ChannelId, actions: &mut Vec<Action<C>>) {
        if let Some(channel) = self.channels.get_mut(id)
            && !channel.unread.is_empty()
        {
            channel.ask_for_look(id, actions);
        }
    }

    /// Asks the driver again whether the workers at the limit of unread handoffs have read, while connections wait.
    pub(super) fn check_limited(&mut self, now: Instant, actions: &mut Vec<Action<C>>) {
        if !self.has_unread_limit {
            return;
        }
        self.has_unread_limit = self.channels.values().any(Channel::is_at_unread_limit);
        if !self.awaits_reading() {
            return;
        }
        for (id, channel) in self.channels.iter_mut() {
            if channel.handoffs.asked_at.is_none() && channel.check_at().is_some_and(|at| at <= now) {
                channel.ask_for_look(id, actions);
            }
        }
    }

    /// Returns whether a connection waits that a worker at the limit of unread handoffs could be given.
    pub(super) fn awaits_reading(&self) -> bool {
        let mut untaken = self.channels.values().flat_map(Channel::untaken);
        self.has_unread_limit && (!self.queue.is_empty() || untaken.next().is_some())
    }

    /// Notes that a worker has not read everything. A worker that has answered all handoffs has read all, so the channel of one
    /// that has left a handoff unread is closed.
    pub(super) fn mark_unread(
        &mut self,
        id: ChannelId,
        ends_with_handoff: bool,
        now: Instant,
        actions: &mut Vec<Action<C>>,
    ) {
        let Some(channel) = self.channels.get_mut(id) else {
            return;
        };
        channel.handoffs.mark_unread(now);
        let has_answered_all = channel.in_flight.is_empty() && channel.unread.is_empty();
        if ends_with_handoff
            && has_answered_all
            && channel.lifecycle.close(EndReason::Protocol(ProtocolError::AckedUnread))
        {
            actions.push(Action::Close(id, CloseReason::Protocol));
        }
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Asks the driver after an answer to a handoff whether the worker has read, if there are many unread handoffs.
    pub(super) fn check_answered(&mut self, id: ChannelId, actions: &mut Vec<Action<C>>) {
        // From half of the limit on, each ack is an occasion to look.
        let check_from = (self.share as u64).div_ceil(2);
        if self.handoffs.sent - self.handoffs.read >= check_from
            && self.handoffs.asked_at.is_none()
            && self.unread_handoffs() >= check_from
        {
            self.ask_for_look(id, actions);
        }
    }

    /// Returns whether the worker gets more when it has read.
    pub(in crate::parent::dispatcher) fn is_held_unread(&self) -> bool {
        self.is_at_unread_limit() || !self.unread.is_empty()
    }

    /// Returns whether the worker gets nothing until it has read.
    pub(super) fn is_at_unread_limit(&self) -> bool {
        self.unread_handoffs() >= self.share as u64
    }

    /// Returns when to look again without an ack, if the worker gets nothing until then.
    pub(super) fn check_at(&self) -> Option<Instant> {
        self.handoffs.check_at.filter(|_| self.is_at_unread_limit())
    }

    /// Forgets the last handoffs, which were not sent.
    pub(super) fn forget_handoffs(&mut self, count: usize) {
        self.handoffs.remove(count);
    }

    /// Forgets the unread handoffs and recalls: the socket was empty.
    pub(super) fn clear_unread(&mut self) {
        self.unread.clear();
        self.handoffs.mark_read();
    }

    /// Returns the handoffs that the worker may not have read. Recalled connections count towards the window, see [`unread`](super::unread).
    fn unread_handoffs(&self) -> u64 {
        (self.handoffs.sent - self.handoffs.read).saturating_sub(self.unread.len() as u64)
    }

    fn ask_for_look(&mut self, id: ChannelId, actions: &mut Vec<Action<C>>) {
        self.handoffs.ask();
        actions.push(Action::CheckRead(id));
    }
}
