//! One lane of a receiver: the connections of one local port, or of any, and the credit that is out for them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::channel::scoreboard::{Claim, Scoreboard};
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::records::{ConnectionHead, Credit, Refusal, RefusalReason};

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
    pub(super) fn write(self, frames: &mut Encoder) {
        match self {
            Self::Grant(credit) => frames.credit([credit]),
            Self::Cancel(credit) => frames.cancel([credit]),
        }
    }
}

/// The state of one lane.
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

    /// Takes up to `room` of those that nobody has taken back, the first to come first; the rest is unwanted.
    pub(super) fn take_claimed(&mut self, room: u32, scoreboard: &Scoreboard) -> Vec<Taken> {
        let mut taken = Vec::new();
        for one in self.waiting.drain(..) {
            let (slot, id) = (one.head.slot, one.head.id);
            if taken.len() >= usize::try_from(room).unwrap_or(usize::MAX) {
                // Fails for one that has been taken back, which comes to the same.
                let _ = scoreboard.claim(slot, id, Claim::Unwanted);
            } else if scoreboard.claim(slot, id, Claim::Taken) {
                taken.push(one);
            }
        }
        taken
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::parent::dispatcher::rules::credit::CreditBook;
    use crate::protocol::records::Family;

    /// Both sides of the credit of two lanes, and what is on its way between them.
    #[derive(Default)]
    struct TwoSides {
        lanes: Vec<Lane>,
        book: CreditBook,
        to_parent: VecDeque<Order>,
        to_worker: VecDeque<Word>,
        given: u64,
    }

    enum Word {
        Connection(u16),
        Cancelled(Credit),
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// The worker wants so much, and has room for so many.
        Want(u16, u32, u32),
        /// A connection comes in by this port.
        Accept(u16),
        ParentReads,
        WorkerReads,
    }

    fn step() -> impl Strategy<Value = Step> {
        let lane = prop::sample::select(vec![0_u16, 80]);
        prop_oneof![
            (lane, 0_u32..6, 0_u32..6).prop_map(|(lane, window, room)| Step::Want(lane, window, room)),
            prop::sample::select(vec![80_u16, 81]).prop_map(Step::Accept),
            Just(Step::ParentReads),
            Just(Step::WorkerReads),
        ]
    }

    impl TwoSides {
        fn play(&mut self, step: &Step) {
            match *step {
                Step::Want(port, window, room) => self.want(port, window, room),
                Step::Accept(port) => {
                    if let Some(lane) = self.book.spend(port) {
                        self.to_worker.push_back(Word::Connection(lane));
                    }
                }
                Step::ParentReads => match self.to_parent.pop_front() {
                    Some(Order::Grant(credit)) => self.book.grant(credit).unwrap(),
                    Some(Order::Cancel(credit)) => {
                        let answer = self.book.cancel(credit);
                        self.to_worker.push_back(Word::Cancelled(answer));
                    }
                    None => {}
                },
                Step::WorkerReads => match self.to_worker.pop_front() {
                    Some(Word::Connection(lane)) => {
                        self.given += 1;
                        let head = head(self.given, lane);
                        let fd = std::fs::File::open("/dev/null").unwrap().into();
                        Lane::of(&mut self.lanes, lane).arrive(head, fd).unwrap();
                    }
                    Some(Word::Cancelled(credit)) => {
                        Lane::of(&mut self.lanes, credit.lane).cancelled(credit.count).unwrap();
                    }
                    None => {}
                },
            }
        }

        /// As an exchange does it.
        fn want(&mut self, port: u16, window: u32, room: u32) {
            let lane = Lane::of(&mut self.lanes, port);
            let taken = u32::try_from(lane.offer(room)).unwrap();
            let order = lane.order(window.min(room - taken));
            self.to_parent.extend(order);
            lane.placed(order);
            lane.take(room);
            lane.drop_waiting();
        }

        fn settle(&mut self) {
            while !self.to_parent.is_empty() || !self.to_worker.is_empty() {
                self.play(&Step::ParentReads);
                self.play(&Step::WorkerReads);
            }
        }

        /// The worker's count is the parent's, and what is on its way.
        fn check(&mut self) {
            for port in [0, 80] {
                let orders = self.to_parent.iter().filter_map(|order| match order {
                    Order::Grant(credit) if credit.lane == port => Some(credit.count),
                    _ => None,
                });
                let words = self.to_worker.iter().filter_map(|word| match word {
                    Word::Connection(lane) if *lane == port => Some(1),
                    Word::Cancelled(credit) if credit.lane == port => Some(credit.count),
                    _ => None,
                });
                let in_flight: u32 = orders.chain(words).sum();
                // All of it, taken out and put back.
                let credit = Credit {
                    lane: port,
                    count: u32::MAX,
                };
                let held = self.book.cancel(credit).count;
                if held > 0 {
                    self.book
                        .grant(Credit {
                            lane: port,
                            count: held,
                        })
                        .unwrap();
                }
                assert_eq!(
                    Lane::of(&mut self.lanes, port).outstanding,
                    held + in_flight,
                    "lane {port}"
                );
            }
        }
    }

    fn head(id: ConnectionId, lane: u16) -> ConnectionHead {
        ConnectionHead {
            id,
            slot: crate::channel::scoreboard::NO_SLOT,
            reissued: false,
            waited: 0,
            lane,
            family: Family::Unix,
            remote: None,
            local_port: 0,
        }
    }

    proptest! {
        #[test]
        fn both_sides_count_the_same_credit(steps in prop::collection::vec(step(), 1..200), last in 0_u32..6) {
            let mut sides = TwoSides::default();
            for step in &steps {
                sides.play(step);
                sides.check();
            }
            // Once the worker's wish does not change, it is fulfilled: a cancel that found too little is repeated.
            sides.settle();
            for _ in 0..3 {
                for port in [0, 80] {
                    sides.want(port, last, last);
                }
                sides.settle();
            }
            for port in [0, 80] {
                prop_assert_eq!(Lane::of(&mut sides.lanes, port).outstanding, last);
            }
            sides.check();
        }
    }
}
