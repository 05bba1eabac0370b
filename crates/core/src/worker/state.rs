//! What a receiver keeps account of, whoever reads and whoever asks: pure bookkeeping, no socket.

use std::collections::VecDeque;

use super::lane::{Lane, Order, Taken};
use super::returns::Returns;
use crate::channel::scoreboard::Scoreboard;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::limits::{MAX_CREDIT, MAX_LANES};
use crate::protocol::records::{CloseReason, Refusal};
use crate::sys::scheduling::AcceptRate;

/// Where a receiver stands in its life. It only moves down this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The hello has not been answered yet.
    Joining,
    /// Connections come for the credit that is granted.
    Open,
    /// They still do, but the server is draining: end what idles.
    Draining,
    /// No more will come: finish the leases, then close.
    Retired,
    /// The worker has said that it leaves; no more will come.
    Leaving,
    /// The channel is over.
    Ended(End),
}

/// Why a channel is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The parent has died, or gone without a word. What has been received belongs to the worker alone.
    Gone,
    /// The parent has ended this channel, and taken back what had not been acked.
    Closed(CloseReason),
    /// The parent broke the protocol.
    Protocol(ProtocolError),
    /// The worker has closed it.
    Left,
}

/// The most that one lane may have outstanding: with as many lanes as there may be, no more than a channel may hold.
#[allow(clippy::cast_possible_truncation, reason = "64 lanes")]
const MAX_WINDOW: u32 = MAX_CREDIT / MAX_LANES as u32;

/// A receiver's state.
#[derive(Debug)]
pub(super) struct ReceiverState {
    pub(super) phase: Phase,
    /// What is to be sent next.
    pub(super) frames: Encoder,
    pub(super) returns: Returns,
    pub(super) lanes: Vec<Lane>,
    pub(super) scoreboard: Option<Scoreboard>,
    /// Refusals that have not been sent yet.
    pub(super) refusals: Vec<Refusal>,
    /// Of the event loop that it is attached to.
    pub(super) rush: AcceptRate,
    /// Something went back by the scoreboard since the parent was last told.
    pub(super) gave_back: bool,
    /// Leases that are over, not told yet.
    ended: u32,
    output: Output,
}

/// The frames of an exchange are to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// What they say about credit.
    pub(super) order: Option<Order>,
}

/// How the receiver sends.
#[derive(Debug)]
enum Output {
    /// It may wait for room: it has a thread.
    Waiting,
    /// It is attached to an event loop, and has nothing to put off.
    Ready,
    /// It is attached, and the socket is full. These bytes come first when it no longer is.
    Blocked(VecDeque<u8>),
}

impl ReceiverState {
    pub(super) fn new(attached: bool) -> Self {
        Self {
            phase: Phase::Joining,
            frames: Encoder::new(),
            returns: Returns::default(),
            lanes: Vec::new(),
            scoreboard: None,
            refusals: Vec::new(),
            rush: AcceptRate::default(),
            gave_back: false,
            ended: 0,
            output: if attached { Output::Ready } else { Output::Waiting },
        }
    }

    pub(super) fn has_scoreboard(&self) -> bool {
        self.scoreboard.is_some()
    }

    pub(super) fn beat(&self) {
        if let Some(scoreboard) = &self.scoreboard {
            scoreboard.beat();
        }
    }

    /// Counts a lease as over; true if the parent waits for the next exchange to hear of it.
    ///
    /// Not once the channel is over: what a worker ends because its time is up has been cut, and the parent takes its last
    /// look at the page at about this moment.
    pub(super) fn lease_ended(&mut self) -> bool {
        if matches!(self.phase, Phase::Ended(_)) {
            return false;
        }
        let Some(scoreboard) = &self.scoreboard else {
            self.ended += 1;
            return true;
        };
        scoreboard.add(0, 1, 0);
        scoreboard.is_wanted()
    }

    /// An exchange of which the scoreboard says nearly all. What only a frame can say is left in `frames`.
    pub(super) fn exchange_by_scoreboard(
        &mut self,
        lane: u16,
        room: u32,
        window: u32,
        ended: u32,
    ) -> (Vec<Taken>, Option<Due>) {
        let may_ask = self.may_ask();
        let is_over = matches!(self.phase, Phase::Ended(_));
        let ended = if is_over {
            0
        } else {
            ended + std::mem::take(&mut self.ended)
        };
        let Self {
            lanes,
            scoreboard: Some(scoreboard),
            frames,
            returns,
            ..
        } = self
        else {
            return (Vec::new(), None);
        };
        let lane = Lane::of(lanes, lane);
        let taken = lane.take_claimed(room, scoreboard);
        returns.took(taken.iter().map(|one| one.head.id));
        let count = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        let order = if may_ask {
            lane.order(window.min(MAX_WINDOW).min(room - count))
        } else {
            None
        };
        let granted = match order {
            Some(Order::Grant(credit)) if credit.lane == 0 => credit.count,
            _ => 0,
        };
        scoreboard.add(count.into(), ended.into(), granted.into());
        if is_over {
            return (taken, None);
        }
        frames.clear();
        if granted > 0 {
            lane.placed(order);
        }
        let order = order.filter(|_| granted == 0);
        match order {
            Some(order) => order.write(frames),
            // If the socket is full, the parent has frames of ours to read, and looks when it does.
            None if scoreboard.take_wanted() => frames.nudge(),
            None => return (taken, None),
        }
        (taken, Some(Due { order }))
    }

    /// Writes the frames of an exchange; `None` if there are none to send.
    pub(super) fn prepare_exchange(&mut self, lane: u16, room: u32, window: u32, ended: u32) -> Option<Due> {
        self.ended += ended;
        if matches!(self.phase, Phase::Ended(_)) {
            return None;
        }
        let may_ask = self.may_ask();
        let Self {
            lanes,
            refusals,
            ended,
            frames,
            ..
        } = self;
        let lane = Lane::of(lanes, lane);
        frames.clear();
        let take = lane.offer(room);
        frames.ack(lane.ids(take));
        frames.refuse(refusals.iter().copied().chain(lane.surplus(take)));
        if *ended > 0 {
            frames.ended(*ended);
        }
        let count = u32::try_from(take).unwrap_or(u32::MAX);
        let order = if may_ask {
            lane.order(window.min(MAX_WINDOW).min(room - count))
        } else {
            None
        };
        if let Some(order) = order {
            order.write(frames);
        }
        if frames.is_empty() { None } else { Some(Due { order }) }
    }

    /// The frames of [`ReceiverState::prepare_exchange`] have been sent.
    pub(super) fn take_acked(&mut self, lane: u16, room: u32, order: Option<Order>) -> Vec<Taken> {
        self.refusals.clear();
        self.ended = 0;
        let lane = Lane::of(&mut self.lanes, lane);
        lane.placed(order);
        let taken = lane.take(room);
        lane.drop_waiting();
        self.returns.took(taken.iter().map(|one| one.head.id));
        taken
    }

    /// Nothing is to be said: what a dead parent had sent is ours, as its own copies died with it.
    pub(super) fn take_unsaid(&mut self, lane: u16, room: u32) -> Vec<Taken> {
        let gone = self.phase == Phase::Ended(End::Gone);
        Lane::of(&mut self.lanes, lane).take(if gone { room } else { 0 })
    }

    /// An order has been sent.
    pub(super) fn placed(&mut self, lane: u16, order: Option<Order>) {
        Lane::of(&mut self.lanes, lane).placed(order);
    }

    /// Gives everything up that waits; false if there is nobody to be told.
    pub(super) fn leave(&mut self) -> bool {
        if matches!(self.phase, Phase::Leaving | Phase::Ended(_)) {
            return false;
        }
        self.phase = Phase::Leaving;
        let Self {
            lanes,
            scoreboard,
            refusals,
            ..
        } = self;
        for lane in lanes {
            lane.forget_credit();
            match scoreboard {
                Some(scoreboard) => drop(lane.take_claimed(0, scoreboard)),
                None => refusals.extend(lane.give_up()),
            }
        }
        true
    }

    pub(super) fn end(&mut self, end: End) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        if end != End::Gone {
            // Withdrawn, or never to be served: the parent has its copies.
            self.lanes.iter_mut().for_each(Lane::drop_waiting);
        }
        self.returns.end();
        self.phase = Phase::Ended(end);
    }

    /// Whether something went back that the parent is to hear of before the next exchange.
    pub(super) fn must_speak(&self) -> bool {
        !self.refusals.is_empty() || self.gave_back
    }

    /// Begins `frames` with what went back.
    pub(super) fn write_refusals(&mut self) {
        self.frames.clear();
        self.frames.refuse(self.refusals.iter().copied());
        if std::mem::take(&mut self.gave_back) && self.scoreboard.as_ref().is_some_and(Scoreboard::take_wanted) {
            self.frames.nudge();
        }
    }

    /// The refusals have been sent.
    pub(super) fn refused(&mut self) {
        self.refusals.clear();
    }

    fn may_ask(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::Open | Phase::Draining)
    }

    pub(super) fn is_attached(&self) -> bool {
        !matches!(self.output, Output::Waiting)
    }

    pub(super) fn wants_room(&self) -> bool {
        matches!(self.output, Output::Blocked(_)) && !matches!(self.phase, Phase::Ended(_))
    }

    /// The socket is full; false if somebody has to wait for it.
    pub(super) fn block(&mut self) -> bool {
        if matches!(self.output, Output::Ready) {
            self.output = Output::Blocked(VecDeque::new());
        }
        self.is_attached()
    }

    /// Moves `frames` behind what waits to be sent.
    pub(super) fn queue_frames(&mut self) {
        self.block();
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.extend(self.frames.bytes());
        }
        self.refused();
    }

    /// Puts the rest of what could be sent of `frames` before everything else.
    pub(super) fn put_off_rest(&mut self, sent: usize) {
        self.block();
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.extend(&self.frames.bytes()[sent..]);
        }
    }

    /// What has to be sent first.
    pub(super) fn unsent(&mut self) -> &[u8] {
        match &mut self.output {
            Output::Blocked(unsent) => unsent.make_contiguous(),
            Output::Waiting | Output::Ready => &[],
        }
    }

    /// So much of it has been.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.drain(..bytes);
        }
    }

    /// All of it has been.
    pub(super) fn unblock(&mut self) {
        if self.is_attached() {
            self.output = Output::Ready;
        }
    }
}
