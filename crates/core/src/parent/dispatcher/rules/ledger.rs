//! One channel as the dispatcher sees it: its credit, what is under way to it, and the leases it holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::ids::ConnectionId;
use crate::parent::dispatcher::rules::credit::CreditBook;
use crate::parent::dispatcher::rules::timeouts::RECALL_AFTER;
use crate::parent::dispatcher::rules::unread::Unread;
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::limits::{RETURNABLE, WINDOW};
use crate::protocol::records::{Credit, RefusalReason};
use crate::stats::ChannelCounters;

/// How long a worker that is out of descriptors is left alone, unless one of its leases ends before.
pub const REST: Duration = Duration::from_millis(100);

/// How long a worker may leave a recall unanswered. Whoever reads its channel answers at once; one that is stopped, or means
/// no good, would keep what it was sent from its client for ever.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A worker that is out of descriptors so soon after the last time is in the same episode, and that is not told again: at
/// its limit it takes one for each that it closes.
const EPISODE: Duration = Duration::from_secs(10);

/// A worker that left connections untaken and has given no sign of life since is tried with one after so long, should all
/// others be busy then: one of another make than ours might have nothing to say, and credit to spare.
pub const TRY_STALLED_AFTER: Duration = Duration::from_secs(1);

/// A worker that stalled is doubted for so many times as long as it did: as it may well do so again, and whoever it is given
/// then waits for the recall. One that is stuck most of the time so costs few of them that, and one that was busy once is
/// soon as good as any.
pub const DOUBT: u32 = 10;

/// But for no longer than this.
pub const LONGEST_DOUBT: Duration = Duration::from_secs(5);

/// How long a worker is not given again what it has handed back, while another may come to take it.
pub const NOT_AGAIN: Duration = Duration::from_millis(100);

/// A channel's ledger.
#[derive(Debug)]
pub struct Ledger<C: Waiting> {
    pub(super) credit: CreditBook,
    pub(super) phase: Phase,
    pub(super) fitness: Fitness,
    /// It has stalled lately: others first, until then.
    doubted_until: Option<Instant>,
    pub(super) leases: u32,
    pub(super) handed_off: u64,
    pub(super) handed_back: u64,
    /// As it stood when that was last asked for.
    pub(super) told: ChannelCounters,
    /// When it was last given a connection.
    pub(super) given_at: Option<Instant>,
    in_flight: VecDeque<InFlight<C>>,
    /// Handoffs so far, to number them.
    sent: u64,
    pub(super) unread: Unread,
    /// How many may be: the window, but from one upwards after the worker was out of descriptors. At its limit each more than
    /// it can take is a descriptor sent, refused and sent elsewhere.
    room: usize,
    /// The last that the worker has taken and not handed back.
    taken: VecDeque<(ConnectionId, C::Metadata)>,
    /// When the worker last was out of descriptors.
    exhausted_at: Option<Instant>,
}

/// A connection that has been sent and not been acked: its copy stays here until it is.
#[derive(Debug)]
pub struct InFlight<C> {
    /// The copy.
    pub connection: C,
    /// When it was sent.
    pub sent_at: Instant,
    /// The lane whose credit it used.
    pub lane: u16,
    recalled_at: Option<Instant>,
    /// Which handoff of the channel it was.
    number: u64,
}

/// Where a channel stands in its life. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No hello yet.
    Joining,
    /// Takes connections for its credit.
    Open,
    /// Takes no more, by the parent's wish or its own; finishes its leases.
    Retired,
    /// Has left a recall unanswered for too long, and loses its channel.
    Condemned,
}

/// Whether a channel that has credit should be given a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// Nothing is against it.
    Ready,
    /// It left a connection untaken for too long: nothing as long as others come to take such, until its event loop shows
    /// itself by an ack, credit or a beat; but one, for a try, after `try_at`.
    Stalled {
        /// When the first that it left was sent.
        since: Instant,
        /// Then.
        try_at: Instant,
    },
    /// Its socket is full: nothing until it is writable again.
    Blocked,
    /// It is out of descriptors: nothing before this time or the end of one of its leases, and then one.
    Resting(Instant),
}

/// How a channel ranks for the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Preferred.
    First,
    /// It has stalled lately: what that is worth, the policy says.
    Doubted,
    /// It has handed this one back before: others first.
    Again,
    /// If nobody else has credit.
    Last,
    /// If nobody else comes to take such, now or later.
    Unlikely,
    /// Not now.
    None,
}

impl<C: Waiting> Ledger<C> {
    /// Returns the channel's counters.
    pub(super) fn counters(&self) -> ChannelCounters {
        ChannelCounters {
            leases: self.leases,
            handed_off: self.handed_off,
            handed_back: self.handed_back,
        }
    }

    pub(super) fn new() -> Self {
        Self {
            credit: CreditBook::default(),
            phase: Phase::Joining,
            fitness: Fitness::Ready,
            doubted_until: None,
            leases: 0,
            handed_off: 0,
            handed_back: 0,
            told: ChannelCounters::default(),
            given_at: None,
            in_flight: VecDeque::new(),
            sent: 0,
            unread: Unread::default(),
            room: WINDOW,
            taken: VecDeque::new(),
            exhausted_at: None,
        }
    }

    /// Its rank for a connection that came in by `port`.
    pub(super) fn rank(&self, port: u16, now: Instant) -> Rank {
        if self.phase != Phase::Open || self.in_flight.len() >= self.room || !self.credit.covers(port) {
            return Rank::None;
        }
        let may_try = self.in_flight.is_empty() && self.unread.try_at().is_some_and(|at| now >= at);
        if self.is_clogged() && !may_try {
            return Rank::None;
        }
        match self.fitness {
            Fitness::Stalled { try_at, .. } if now >= try_at && self.in_flight.is_empty() => Rank::Last,
            Fitness::Stalled { .. } => Rank::Unlikely,
            Fitness::Blocked => Rank::None,
            Fitness::Resting(until) if now < until => Rank::None,
            Fitness::Ready | Fitness::Resting(_) if self.doubted_until.is_some_and(|until| now < until) => {
                Rank::Doubted
            }
            Fitness::Ready | Fitness::Resting(_) => Rank::First,
        }
    }

    /// Whether so much is recalled and unread that no more may be sent: descriptors under way count against a limit of the
    /// worker's user.
    fn is_clogged(&self) -> bool {
        !self.unread.is_empty() && self.in_flight.len() + self.unread.len() >= self.room
    }

    /// Leases held and to come.
    pub(super) fn busy(&self) -> u64 {
        u64::from(self.leases) + self.in_flight.len() as u64
    }

    /// Whether something has been sent that the worker has not taken yet.
    pub(super) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Nothing under way and no lease held.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.leases == 0
    }

    /// Notes a handoff; its credit has been spent on `lane`.
    pub(super) fn hand_off(&mut self, connection: C, lane: u16, now: Instant) {
        self.given_at = Some(now);
        self.in_flight.push_back(InFlight {
            connection,
            sent_at: now,
            lane,
            recalled_at: None,
            number: self.sent,
        });
        self.sent += 1;
    }

    /// What is under way under this id.
    pub(super) fn in_flight(&self, id: ConnectionId) -> Option<&InFlight<C>> {
        self.in_flight.iter().find(|one| one.connection.id() == id)
    }

    /// An ack: the lease begins, and the copy may be closed.
    pub(super) fn ack(&mut self, id: ConnectionId, now: Instant) -> Result<InFlight<C>, ProtocolError> {
        let one = self.remove(id)?;
        self.unread.answered(one.number);
        self.unread.end_rounds();
        self.leases += 1;
        self.handed_off += 1;
        // The worker counts in the order in which it takes, this side as it comes to know: they differ by a window at most.
        if self.taken.len() == RETURNABLE + WINDOW {
            self.taken.pop_front();
        }
        self.taken.push_back((id, one.connection.metadata()));
        self.room = (2 * self.room).min(WINDOW);
        self.lives(now);
        // It had a descriptor to spare. A full socket stays full until it is writable.
        if self.fitness != Fitness::Blocked {
            self.fitness = Fitness::Ready;
        }
        Ok(one)
    }

    /// A refusal: the connection goes back. Says whether this is news: the worker has just run out of descriptors.
    pub(super) fn refuse(
        &mut self,
        id: ConnectionId,
        reason: RefusalReason,
        now: Instant,
    ) -> Result<(C, bool), ProtocolError> {
        let InFlight { connection, number, .. } = self.remove(id)?;
        self.unread.answered(number);
        let exhausted = reason == RefusalReason::NoDescriptor;
        let mut news = false;
        if exhausted {
            self.fitness = Fitness::Resting(now + REST);
            self.room = 1;
            let last = self.exhausted_at.replace(now);
            news = last.is_none_or(|last| now.saturating_duration_since(last) > EPISODE);
        }
        Ok((connection, news))
    }

    /// Takes back what the worker has not taken; its descriptor is still to be read.
    pub(super) fn take_back(&mut self, id: ConnectionId) -> Option<C> {
        let one = self.remove(id).ok()?;
        self.unread.add(one.number);
        Some(one.connection)
    }

    /// Leases that are over.
    pub(super) fn end(&mut self, ended: u32, now: Instant) -> Result<(), ProtocolError> {
        let leases = self.leases;
        self.leases = leases
            .checked_sub(ended)
            .ok_or(ProtocolError::TooManyEnded { ended, leases })?;
        // A lease that ends gives a descriptor back.
        if let Fitness::Resting(until) = &mut self.fitness {
            *until = now;
        }
        Ok(())
    }

    /// What is remembered of a connection that the worker has taken.
    pub(super) fn metadata(&self, id: ConnectionId) -> Option<&C::Metadata> {
        let taken = self.taken.iter().rev();
        taken
            .filter(|_| self.leases > 0)
            .find(|one| one.0 == id)
            .map(|one| &one.1)
    }

    /// A worker hands back what it has taken, and its lease is over.
    pub(super) fn hand_back(&mut self, id: ConnectionId, now: Instant) -> Result<(), ProtocolError> {
        let place = self.taken.iter().rposition(|one| one.0 == id);
        let place = place
            .filter(|_| self.leases > 0)
            .ok_or(ProtocolError::NotLeased { id })?;
        self.end(1, now)?;
        self.taken.remove(place);
        self.handed_back += 1;
        Ok(())
    }

    /// A handoff that could not be sent: the credit is as before.
    pub(super) fn undo(&mut self, id: ConnectionId) -> Option<C> {
        let one = self.remove(id).ok()?;
        self.credit.restore(one.lane);
        Some(one.connection)
    }

    /// Whether it can be expected to take connections that came in by `port`, now or when it is less busy.
    pub(super) fn serves(&self, port: u16) -> bool {
        self.phase == Phase::Open
            && !matches!(self.fitness, Fitness::Stalled { .. })
            && !self.is_clogged()
            && self.credit.serves(port)
    }

    /// The worker's event loop turns.
    pub(super) fn lives(&mut self, now: Instant) {
        if self.unread.lives() {
            return;
        }
        if let Fitness::Stalled { since, .. } = self.fitness {
            self.fitness = Fitness::Ready;
            let doubt = now.saturating_duration_since(since).saturating_mul(DOUBT);
            self.doubted_until = Some(now + doubt.min(LONGEST_DOUBT));
        }
    }

    /// Credit: only a worker's own event loop grants it, so a stalled one has come back.
    pub(super) fn grant(&mut self, credit: Credit, now: Instant) -> Result<(), ProtocolError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        self.credit.grant(credit)?;
        self.lives(now);
        Ok(())
    }

    /// What is under way without a recall, from the one that has been so longest.
    pub(super) fn untaken(&self) -> impl Iterator<Item = &InFlight<C>> {
        self.in_flight.iter().filter(|one| one.recalled_at.is_none())
    }

    /// Notes that the worker has read everything that was sent.
    pub(super) fn read(&mut self, now: Instant) {
        self.unread.clear();
        self.lives(now);
    }

    /// Marks these as recalled. The worker counts as stalled if it has had one of them for [`RECALL_AFTER`]; a connection
    /// that was old when it was sent says nothing about the worker.
    pub(super) fn recall(&mut self, ids: &[ConnectionId], now: Instant) {
        let (mut first, mut last) = (now, None);
        for one in &mut self.in_flight {
            if ids.contains(&one.connection.id()) {
                one.recalled_at = Some(now);
                first = first.min(one.sent_at);
                last = last.max(Some(one.sent_at));
            }
        }
        if now.saturating_duration_since(first) < RECALL_AFTER {
            return;
        }
        if self.unread.recall(last.unwrap_or(now), now) {
            self.room = (self.room / 2).max(1);
        }
        let since = match self.fitness {
            Fitness::Ready => first,
            Fitness::Stalled { since, .. } => since,
            Fitness::Blocked | Fitness::Resting(_) => return,
        };
        let try_at = self.unread.try_at().unwrap_or(now + TRY_STALLED_AFTER);
        self.fitness = Fitness::Stalled { since, try_at };
    }

    /// When a recall will have gone unanswered for too long.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        if self.phase == Phase::Condemned {
            return None;
        }
        let recalled = self.in_flight.iter().filter_map(|one| one.recalled_at);
        recalled.min().map(|at| at + ANSWER_WITHIN)
    }

    /// Everything that is under way, to be given to others: the channel has ended.
    pub(super) fn into_in_flight(self) -> impl Iterator<Item = C> {
        self.in_flight.into_iter().map(|one| one.connection)
    }

    fn remove(&mut self, id: ConnectionId) -> Result<InFlight<C>, ProtocolError> {
        let place = self.in_flight.iter().position(|one| one.connection.id() == id);
        place
            .and_then(|place| self.in_flight.remove(place))
            .ok_or(ProtocolError::UnknownConnection { id })
    }
}
