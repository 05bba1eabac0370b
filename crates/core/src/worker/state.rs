//! The state of a receiver: lanes, credit, refusals and unsent frames. Pure bookkeeping, no socket.

use std::collections::VecDeque;
use std::time::Duration;

use super::lane::{CreditChange, Lane, Taken};
use super::returns::Returns;
use crate::channel::scoreboard::Scoreboard;
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::limits::{MAX_CREDIT, MAX_LANES, MAX_RECORDS};
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::proxied_record::Proxied;
use crate::protocol::records::{CloseReason, Refusal};
use crate::protocol::ticket_keys::TicketKeys;
use crate::sys::scheduling::AcceptRate;

/// The lifecycle of a receiver. A receiver only moves down this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// The parent has not answered the HELLO yet.
    Joining,
    /// The parent sends connections against credit.
    Open,
    /// The server will drain, and accepts until then: HTTP responses should be the last on their connections.
    DrainingSoon,
    /// The server is draining: connections still arrive; idle ones should be closed.
    Draining,
    /// The parent sends no more connections: finish the leases, then close.
    Retired,
    /// The worker has sent LEAVE; no more connections arrive.
    Leaving,
    /// The channel has ended.
    Ended(End),
}

/// Why a channel has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The stream ended without CLOSE: the parent has died. Connections that have arrived belong to the worker.
    Gone,
    /// The parent closed the channel and took back every connection that had not been acknowledged.
    Closed(CloseReason),
    /// The parent broke the protocol.
    Protocol(ProtocolError),
    /// The worker closed the channel.
    Left,
}

/// The credit that one lane may have outstanding, so that all lanes together stay below `MAX_CREDIT`.
#[allow(clippy::cast_possible_truncation, reason = "64 lanes")]
const MAX_WINDOW: u32 = MAX_CREDIT / MAX_LANES as u32;

/// The state that the reading side and the taking side share.
#[derive(Debug)]
pub(super) struct ReceiverState {
    pub(super) phase: Phase,
    /// The frames to send next.
    pub(super) frames: Encoder,
    pub(super) returns: Returns,
    /// The version that the WELCOME names; 0 before it.
    pub(super) version: u16,
    /// The addresses of the server's listeners, in the order of listening.
    pub(super) listeners: Vec<ListenerAddress>,
    /// What proxies told about the clients of connections that have not arrived yet.
    pub(super) proxied: Vec<(ConnectionId, Box<Proxied>)>,
    /// The keys of TLS session tickets, if the parent has sent them.
    pub(super) ticket_keys: Option<TicketKeys>,
    pub(super) lanes: Vec<Lane>,
    pub(super) scoreboard: Option<Scoreboard>,
    /// Refusals to send.
    pub(super) refusals: Vec<Refusal>,
    /// The accept rate of the server, which decides how the thread of the event loop is scheduled.
    pub(super) accept_rate: AcceptRate,
    /// A connection was refused on the scoreboard since the parent was last notified.
    pub(super) has_refused: bool,
    /// Ended leases that have not been reported to the parent.
    ended: u32,
    /// Tracked connections whose leases have ended, and which have not been reported to the parent.
    tracked_ended: VecDeque<ConnectionId>,
    output: Output,
}

/// An exchange has frames to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// The change of the lane's credit in those frames.
    pub(super) change: Option<CreditChange>,
}

/// How the receiver sends frames.
#[derive(Debug)]
enum Output {
    /// A separate thread may block until the socket has room.
    Waiting,
    /// On an event loop; no bytes are waiting.
    Ready,
    /// On an event loop; the socket is full. These bytes are sent first.
    Blocked(VecDeque<u8>),
}

impl ReceiverState {
    pub(super) fn new(attached: bool) -> Self {
        Self {
            phase: Phase::Joining,
            frames: Encoder::new(),
            returns: Returns::default(),
            version: 0,
            listeners: Vec::new(),
            proxied: Vec::new(),
            ticket_keys: None,
            lanes: Vec::new(),
            scoreboard: None,
            refusals: Vec::new(),
            accept_rate: AcceptRate::default(),
            has_refused: false,
            ended: 0,
            tracked_ended: VecDeque::new(),
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

    pub(super) fn turn_ended(&self, busy: Duration, turn: Duration, thread: u32) {
        if let Some(scoreboard) = &self.scoreboard {
            scoreboard.set_thread(thread);
            let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
            scoreboard.turn_ended(busy, u64::try_from(turn.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Counts an ended lease, which has lasted this long. Returns true if the parent waits for the report.
    ///
    /// A lease that ends after the channel does not count: the parent has already reported such leases as cut.
    pub(super) fn lease_ended(&mut self, lasted: Duration) -> bool {
        if matches!(self.phase, Phase::Ended(_)) {
            return false;
        }
        let Some(scoreboard) = &self.scoreboard else {
            self.ended += 1;
            return true;
        };
        scoreboard.add_lease(u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX));
        scoreboard.add(0, 1, 0);
        scoreboard.is_wanted()
    }

    /// Adds a tracked connection whose lease has ended to the next report.
    pub(super) fn tracked_ended(&mut self, id: ConnectionId) {
        if !matches!(self.phase, Phase::Ended(_)) {
            self.tracked_ended.push_back(id);
        }
    }

    /// Returns whether tracked connections are to be reported.
    #[inline]
    pub(super) fn has_tracked_ended(&self) -> bool {
        !self.tracked_ended.is_empty()
    }

    /// Writes a frame with the tracked connections to report next. Returns their number.
    pub(super) fn write_tracked_ended(&mut self) -> usize {
        let count = self.tracked_ended.len().min(MAX_RECORDS);
        self.frames.clear();
        self.frames.ended_ids(self.tracked_ended.range(..count).copied());
        count
    }

    /// Forgets the tracked connections that have been reported.
    pub(super) fn tracked_ended_sent(&mut self, count: usize) {
        self.tracked_ended.drain(..count);
    }

    /// Performs an exchange on the scoreboard. Leaves in `frames` only what the scoreboard cannot express.
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
        let change = if may_ask {
            lane.credit_change(window.min(MAX_WINDOW).min(room - count))
        } else {
            None
        };
        let granted = match change {
            Some(CreditChange::Grant(credit)) if credit.lane == 0 => credit.count,
            _ => 0,
        };
        scoreboard.add(count.into(), ended.into(), granted.into());
        if is_over {
            return (taken, None);
        }
        frames.clear();
        if granted > 0 {
            lane.credit_sent(change);
        }
        let change = change.filter(|_| granted == 0);
        match change {
            Some(change) => change.write(frames),
            // A NUDGE may be lost when the socket is full: the parent reads the scoreboard with any frame.
            None if scoreboard.take_wanted() => frames.nudge(),
            None => return (taken, None),
        }
        (taken, Some(Due { change }))
    }

    /// Writes the frames of an exchange. Returns `None` if there is nothing to send.
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
        let take = lane.fitting(room);
        frames.ack(lane.ids(take));
        frames.refuse(refusals.iter().copied().chain(lane.surplus(take)));
        if *ended > 0 {
            frames.ended(*ended);
        }
        let count = u32::try_from(take).unwrap_or(u32::MAX);
        let change = if may_ask {
            lane.credit_change(window.min(MAX_WINDOW).min(room - count))
        } else {
            None
        };
        if let Some(change) = change {
            change.write(frames);
        }
        if frames.is_empty() { None } else { Some(Due { change }) }
    }

    /// Takes the connections that the sent frames of [`ReceiverState::prepare_exchange`] have acknowledged.
    pub(super) fn take_acked(&mut self, lane: u16, room: u32, change: Option<CreditChange>) -> Vec<Taken> {
        self.refusals.clear();
        self.ended = 0;
        let lane = Lane::of(&mut self.lanes, lane);
        lane.credit_sent(change);
        let taken = lane.take(room);
        lane.drop_waiting();
        self.returns.took(taken.iter().map(|one| one.head.id));
        taken
    }

    /// Takes connections without an acknowledgement: those of a dead parent, whose copies died with it.
    pub(super) fn take_unacked(&mut self, lane: u16, room: u32) -> Vec<Taken> {
        let parent_died = self.phase == Phase::Ended(End::Gone);
        Lane::of(&mut self.lanes, lane).take(if parent_died { room } else { 0 })
    }

    /// Records a credit change that has been sent.
    pub(super) fn credit_sent(&mut self, lane: u16, change: Option<CreditChange>) {
        Lane::of(&mut self.lanes, lane).credit_sent(change);
    }

    /// Refuses every waiting connection. Returns false if no frame has to be sent.
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
                None => refusals.extend(lane.refuse_waiting()),
            }
        }
        true
    }

    pub(super) fn end(&mut self, end: End) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        if end != End::Gone {
            // The parent has its own copies.
            self.lanes.iter_mut().for_each(Lane::drop_waiting);
        }
        self.returns.end();
        self.tracked_ended.clear();
        self.phase = Phase::Ended(end);
    }

    /// Whether refusals must be sent before the next exchange.
    pub(super) fn has_refusals(&self) -> bool {
        !self.refusals.is_empty() || self.has_refused
    }

    /// Starts `frames` with the refusals.
    pub(super) fn write_refusals(&mut self) {
        self.frames.clear();
        self.frames.refuse(self.refusals.iter().copied());
        if std::mem::take(&mut self.has_refused) && self.scoreboard.as_ref().is_some_and(Scoreboard::take_wanted) {
            self.frames.nudge();
        }
    }

    /// Forgets the refusals that have been sent.
    pub(super) fn refused(&mut self) {
        self.refusals.clear();
    }

    fn may_ask(&self) -> bool {
        matches!(
            self.phase,
            Phase::Joining | Phase::Open | Phase::DrainingSoon | Phase::Draining
        )
    }

    pub(super) fn is_attached(&self) -> bool {
        !matches!(self.output, Output::Waiting)
    }

    pub(super) fn wants_room(&self) -> bool {
        matches!(self.output, Output::Blocked(_)) && !matches!(self.phase, Phase::Ended(_))
    }

    /// Marks the socket as full. Returns false if the caller must wait for room.
    pub(super) fn block(&mut self) -> bool {
        if matches!(self.output, Output::Ready) {
            self.output = Output::Blocked(VecDeque::new());
        }
        self.is_attached()
    }

    /// Appends `frames` to the unsent bytes.
    pub(super) fn queue_frames(&mut self) {
        self.block();
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.extend(self.frames.bytes());
        }
        self.refused();
    }

    /// Keeps the unsent rest of `frames`, to be sent before anything else.
    pub(super) fn keep_rest(&mut self, sent: usize) {
        self.block();
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.extend(&self.frames.bytes()[sent..]);
        }
    }

    /// Returns the bytes to send first.
    pub(super) fn unsent(&mut self) -> &[u8] {
        match &mut self.output {
            Output::Blocked(unsent) => unsent.make_contiguous(),
            Output::Waiting | Output::Ready => &[],
        }
    }

    /// Removes bytes that have been sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Output::Blocked(unsent) = &mut self.output {
            unsent.drain(..bytes);
        }
    }

    /// Marks the socket as writable.
    pub(super) fn unblock(&mut self) {
        if self.is_attached() {
            self.output = Output::Ready;
        }
    }
}
