//! One lane of a receiver: the connections of one local port, or of any, and the credit that is out for them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::channel::frame::Writer;
use crate::channel::record::{ConnectionHead, Credit, Refusal, RefusalReason};
use crate::connection::ConnectionId;
use crate::error::ProtocolError;

/// A connection that the worker has acked: it is the worker's now.
#[derive(Debug)]
pub struct Taken {
    /// What the parent told of it.
    pub head: ConnectionHead,
    /// The connection itself.
    pub fd: OwnedFd,
}

/// What is to be done about a lane's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Grant(Credit),
    Cancel(Credit),
}

impl Order {
    pub(super) fn write(self, frames: &mut Writer) {
        match self {
            Self::Grant(credit) => frames.credit([credit]),
            Self::Cancel(credit) => frames.cancel([credit]),
        }
    }
}

/// The books of one lane.
#[derive(Debug)]
pub(super) struct Lane {
    port: u16,
    waiting: VecDeque<Taken>,
    /// Granted and not used, as far as this side knows.
    outstanding: u32,
    /// The part of it that has been asked back, until the parent says how much of that was unused. One at a time.
    cancelling: Option<u32>,
}

impl Lane {
    /// The lane of a port, made when it is first named.
    pub(super) fn of(lanes: &mut Vec<Self>, port: u16) -> &mut Self {
        let index = lanes.iter().position(|lane| lane.port == port).unwrap_or_else(|| {
            lanes.push(Self {
                port,
                waiting: VecDeque::new(),
                outstanding: 0,
                cancelling: None,
            });
            lanes.len() - 1
        });
        &mut lanes[index]
    }

    /// A connection has come in for this lane's credit.
    pub(super) fn arrive(&mut self, head: ConnectionHead, fd: OwnedFd) -> Result<(), ProtocolError> {
        if self.outstanding == 0 {
            return Err(ProtocolError::TooMuchCredit { credit: 1, limit: 0 });
        }
        self.outstanding -= 1;
        self.waiting.push_back(Taken { head, fd });
        Ok(())
    }

    /// One came without its descriptor; its credit is used all the same.
    pub(super) fn missed(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// How many of those that wait fit in `room`.
    pub(super) fn offer(&self, room: u32) -> usize {
        self.waiting.len().min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// The ids of the first `count` that wait.
    pub(super) fn ids(&self, count: usize) -> impl Iterator<Item = ConnectionId> + '_ {
        self.waiting.iter().take(count).map(|one| one.head.id)
    }

    /// Those beyond the first `count`, as refusals: the worker has no room for them any more.
    pub(super) fn surplus(&self, count: usize) -> impl Iterator<Item = Refusal> + '_ {
        self.waiting.iter().skip(count).map(|one| Refusal {
            id: one.head.id,
            reason: RefusalReason::Unwanted,
        })
    }

    /// Takes up to `room`, the first to come first.
    pub(super) fn take(&mut self, room: u32) -> Vec<Taken> {
        let count = self.offer(room);
        self.waiting.drain(..count).collect()
    }

    /// Closes what waits.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Closes what waits, and says which.
    pub(super) fn give_up(&mut self) -> Vec<Refusal> {
        self.forget_credit();
        let refusals = self.surplus(0).collect();
        self.drop_waiting();
        refusals
    }

    /// Closes the one with this id, if it waits here.
    pub(super) fn give_back(&mut self, id: ConnectionId) -> bool {
        let place = self.waiting.iter().position(|one| one.head.id == id);
        place.and_then(|place| self.waiting.remove(place)).is_some()
    }

    /// What brings the outstanding credit to `target`.
    pub(super) fn order(&self, target: u32) -> Option<Order> {
        let sure = self.outstanding - self.cancelling.unwrap_or(0).min(self.outstanding);
        if target > sure {
            Some(Order::Grant(Credit {
                lane: self.port,
                count: target - sure,
            }))
        } else if target < sure && self.cancelling.is_none() {
            Some(Order::Cancel(Credit {
                lane: self.port,
                count: sure - target,
            }))
        } else {
            None
        }
    }

    /// An order has been sent.
    pub(super) fn placed(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Grant(credit)) => self.outstanding += credit.count,
            Some(Order::Cancel(credit)) => self.cancelling = Some(credit.count),
            None => {}
        }
    }

    /// The answer to a cancel.
    pub(super) fn cancelled(&mut self, count: u32) -> Result<(), ProtocolError> {
        let asked = self.cancelling.take().unwrap_or(0);
        if count > asked.min(self.outstanding) {
            return Err(ProtocolError::TooMuchCredit {
                credit: count.into(),
                limit: asked,
            });
        }
        self.outstanding -= count;
        Ok(())
    }

    /// No more will come, whatever was granted.
    pub(super) fn forget_credit(&mut self) {
        self.outstanding = 0;
        self.cancelling = None;
    }
}
