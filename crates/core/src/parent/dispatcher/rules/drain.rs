//! The end of a server: a drain finishes the queue and the leases; a destroyed server sheds the waiting connections.

use crate::parent::dispatcher::message::Action;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::Channel;
use crate::parent::notice::ShedReason;
use crate::parent::queue::Waiting;

/// The progress of a drain, which moves only down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    /// The acceptors still accept what is in the backlogs.
    Accepting,
    /// Only the queue and the leases are left.
    Finishing,
    Done,
}

impl<C: Waiting, I> State<C, I> {
    /// Returns whether a drain was requested.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    pub(super) fn begin_drain(&mut self) {
        if self.drain == Drain::No {
            self.drain = Drain::Accepting;
        }
    }

    pub(super) fn listeners_closed(&mut self) {
        if self.drain == Drain::Accepting {
            self.drain = Drain::Finishing;
        }
    }

    pub(super) fn finish_drain(&mut self, actions: &mut Vec<Action<C>>) {
        if self.drain == Drain::Finishing && self.queue.is_empty() && self.channels.values().all(Channel::is_idle) {
            self.drain = Drain::Done;
            actions.push(Action::ReportDrained);
        }
    }

    /// Sheds all waiting connections, the oldest first.
    pub(super) fn shed_all(&mut self, actions: &mut Vec<Action<C>>) {
        while let Some((head, ())) = self.queue.find_first(|_| Some(()))
            && let Some(connection) = self.queue.take(head)
        {
            self.counts.destroyed += 1;
            actions.push(Action::Shed(connection, ShedReason::Destroyed));
        }
    }
}
