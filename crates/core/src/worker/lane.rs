//! One lane of a receiver: the connections of one local port, or of any port, and their credit.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::channel::scoreboard::{Claim, Scoreboard};
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::connection_record::ConnectionHead;
use crate::protocol::encode::Encoder;
use crate::protocol::limits::MAX_LANES;
use crate::protocol::proxied_record::Proxied;
use crate::protocol::records::{Credit, Refusal, RefusalReason};
use crate::sys::ForeignFd;

/// A connection that the worker has acknowledged and now owns.
#[derive(Debug)]
pub struct Taken {
    /// The record that came with the descriptor.
    pub head: ConnectionHead,
    /// The connection.
    pub fd: OwnedFd,
    /// What a proxy told about the client, if there is a proxy.
    pub proxied: Option<Box<Proxied>>,
}

/// A connection that the worker has not acknowledged yet.
#[derive(Debug)]
struct Arrived {
    head: ConnectionHead,
    fd: ForeignFd,
    proxied: Option<Box<Proxied>>,
}

impl Arrived {
    fn take(self) -> Taken {
        Taken {
            head: self.head,
            fd: self.fd.into_owned(),
            proxied: self.proxied,
        }
    }
}

/// A change of a lane's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CreditChange {
    Grant(Credit),
    Cancel(Credit),
}

impl CreditChange {
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
    waiting: VecDeque<Arrived>,
    /// Granted and unused credit, as far as the worker knows.
    outstanding: u32,
    /// The credit that a pending CANCEL asks back. At most one CANCEL is pending.
    cancelling: Option<u32>,
}

impl Lane {
    /// Returns the lane of a port, which is created on first use.
    #[inline]
    pub(super) fn of(lanes: &mut Vec<Self>, port: u16) -> &mut Self {
        let index = lanes.iter().position(|lane| lane.port == port).unwrap_or_else(|| {
            if lanes.len() >= MAX_LANES {
                lanes.retain(|lane| !lane.is_idle());
            }
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

    /// Whether the lane holds nothing and nothing can arrive for it.
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.outstanding == 0 && self.cancelling.is_none()
    }

    /// Adds a connection that arrived against this lane's credit.
    pub(super) fn arrive(
        &mut self,
        head: ConnectionHead,
        fd: ForeignFd,
        proxied: Option<Box<Proxied>>,
    ) -> Result<(), ProtocolError> {
        if self.outstanding == 0 {
            return Err(ProtocolError::TooMuchCredit { credit: 1, limit: 0 });
        }
        self.outstanding -= 1;
        self.waiting.push_back(Arrived { head, fd, proxied });
        Ok(())
    }

    /// Uses up the credit of a connection whose descriptor did not arrive.
    pub(super) fn missed(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Returns how many waiting connections fit in `room`.
    pub(super) fn fitting(&self, room: u32) -> usize {
        self.waiting.len().min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// Returns the ids of the first `count` waiting connections.
    pub(super) fn ids(&self, count: usize) -> impl Iterator<Item = ConnectionId> + '_ {
        self.waiting.iter().take(count).map(|one| one.head.id)
    }

    /// Returns refusals for the connections beyond the first `count`: the worker no longer has room.
    pub(super) fn surplus(&self, count: usize) -> impl Iterator<Item = Refusal> + '_ {
        self.waiting.iter().skip(count).map(|one| Refusal {
            id: one.head.id,
            reason: RefusalReason::Unwanted,
        })
    }

    /// Takes up to `room` connections, oldest first.
    pub(super) fn take(&mut self, room: u32) -> Vec<Taken> {
        let count = self.fitting(room);
        self.waiting.drain(..count).map(Arrived::take).collect()
    }

    /// Claims up to `room` connections, oldest first, and refuses the rest.
    pub(super) fn take_claimed(&mut self, room: u32, scoreboard: &Scoreboard) -> Vec<Taken> {
        let mut taken = Vec::new();
        for one in self.waiting.drain(..) {
            let (slot, id) = (one.head.slot, one.head.id);
            if taken.len() >= usize::try_from(room).unwrap_or(usize::MAX) {
                // Fails if the parent has recalled the connection, which has the same effect.
                let _ = scoreboard.claim(slot, id, Claim::Unwanted);
            } else if scoreboard.claim(slot, id, Claim::Taken) {
                taken.push(one.take());
            }
        }
        taken
    }

    /// Closes the waiting connections.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Closes the waiting connections and returns their refusals.
    pub(super) fn refuse_waiting(&mut self) -> Vec<Refusal> {
        self.forget_credit();
        let refusals = self.surplus(0).collect();
        self.drop_waiting();
        refusals
    }

    /// Closes a waiting connection that the parent has recalled. Returns false if the connection is not waiting here.
    pub(super) fn recall(&mut self, id: ConnectionId) -> bool {
        let index = self.waiting.iter().position(|one| one.head.id == id);
        index.and_then(|index| self.waiting.remove(index)).is_some()
    }

    /// Returns the change that brings the outstanding credit to `target`.
    pub(super) fn credit_change(&self, target: u32) -> Option<CreditChange> {
        // A pending CANCEL may cancel as much as it asks for.
        let certain = self.outstanding - self.cancelling.unwrap_or(0).min(self.outstanding);
        if target > certain {
            Some(CreditChange::Grant(Credit {
                lane: self.port,
                count: target - certain,
            }))
        } else if target < certain && self.cancelling.is_none() {
            Some(CreditChange::Cancel(Credit {
                lane: self.port,
                count: certain - target,
            }))
        } else {
            None
        }
    }

    /// Records a change that has been sent.
    pub(super) fn credit_sent(&mut self, change: Option<CreditChange>) {
        match change {
            Some(CreditChange::Grant(credit)) => self.outstanding += credit.count,
            Some(CreditChange::Cancel(credit)) => self.cancelling = Some(credit.count),
            None => {}
        }
    }

    /// Takes the answer to a CANCEL.
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

    /// Forgets the credit: no more connections arrive.
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
    use crate::protocol::connection_record::Family;

    /// Both sides of the credit of two lanes, and the messages in flight.
    #[derive(Default)]
    struct TwoSides {
        lanes: Vec<Lane>,
        book: CreditBook,
        to_parent: VecDeque<CreditChange>,
        to_worker: VecDeque<Message>,
        sent: u64,
    }

    enum Message {
        Connection(u16),
        Cancelled(Credit),
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// The worker wants this credit and has room for this many connections.
        Want(u16, u32, u32),
        /// A connection arrives on this port.
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
                        self.to_worker.push_back(Message::Connection(lane));
                    }
                }
                Step::ParentReads => match self.to_parent.pop_front() {
                    Some(CreditChange::Grant(credit)) => self.book.grant(credit).unwrap(),
                    Some(CreditChange::Cancel(credit)) => {
                        let answer = self.book.cancel(credit);
                        self.to_worker.push_back(Message::Cancelled(answer));
                    }
                    None => {}
                },
                Step::WorkerReads => match self.to_worker.pop_front() {
                    Some(Message::Connection(lane)) => {
                        self.sent += 1;
                        let head = head(self.sent, lane);
                        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap()).into();
                        Lane::of(&mut self.lanes, lane).arrive(head, fd, None).unwrap();
                    }
                    Some(Message::Cancelled(credit)) => {
                        Lane::of(&mut self.lanes, credit.lane).cancelled(credit.count).unwrap();
                    }
                    None => {}
                },
            }
        }

        /// Performs the steps of an exchange.
        fn want(&mut self, port: u16, window: u32, room: u32) {
            let lane = Lane::of(&mut self.lanes, port);
            let taken = u32::try_from(lane.fitting(room)).unwrap();
            let change = lane.credit_change(window.min(room - taken));
            self.to_parent.extend(change);
            lane.credit_sent(change);
            lane.take(room);
            lane.drop_waiting();
        }

        fn settle(&mut self) {
            while !self.to_parent.is_empty() || !self.to_worker.is_empty() {
                self.play(&Step::ParentReads);
                self.play(&Step::WorkerReads);
            }
        }

        /// Checks that the worker counts the parent's credit plus the credit in flight.
        fn check(&mut self) {
            for port in [0, 80] {
                let changes = self.to_parent.iter().filter_map(|change| match change {
                    CreditChange::Grant(credit) if credit.lane == port => Some(credit.count),
                    _ => None,
                });
                let messages = self.to_worker.iter().filter_map(|message| match message {
                    Message::Connection(lane) if *lane == port => Some(1),
                    Message::Cancelled(credit) if credit.lane == port => Some(credit.count),
                    _ => None,
                });
                let in_flight: u32 = changes.chain(messages).sum();
                // Cancel all of the credit to see its amount, and grant it again.
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
            tracked: false,
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
            // A stable target is reached in the end: a CANCEL that found too little unused credit is repeated.
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
