//! Who gets a connection: how the channels rank for it, and who may take it instead. Rules, pure like the rest of [`State`].

use std::time::Instant;

use crate::ids::ChannelId;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::ledger::{Ledger, NOT_AGAIN, Rank};
use crate::parent::dispatcher::rules::policy::Candidate;
use crate::parent::queue::{FifoKey, Waiting};

/// So many more than it holds a worker that has stalled lately counts as holding. If it stalls again whoever it was given waits
/// for the recall, so a few short connections do not come to it; but while others have work, it has its share.
const DOUBTED: u64 = 2;

impl<C: Waiting> State<C> {
    pub(super) fn pick(&mut self, place: FifoKey, now: Instant) -> Option<ChannelId> {
        let mut policy = self.policy.clone();
        let head = self.queue.head(place)?;
        let ranks = [Rank::First, Rank::Doubted, Rank::Again, Rank::Last, Rank::Unlikely];
        let picked = ranks.into_iter().find_map(|wanted| {
            let weighed = self.policy.weighs() && wanted == Rank::First;
            let is_wanted = |rank| rank == wanted || weighed && rank == Rank::Doubted;
            let ranked = self.ranks(head, now).filter(|&(.., rank)| is_wanted(rank));
            let candidates = ranked.map(|(channel, ledger, rank)| Candidate {
                channel,
                busy: ledger.busy() + if rank == Rank::Doubted { DOUBTED } else { 0 },
                given_at: ledger.given_at,
            });
            policy.pick(candidates, now)
        });
        self.policy = policy;
        picked
    }

    /// How the channels rank for a connection.
    pub(super) fn ranks<'a>(
        &'a self,
        connection: &'a C,
        now: Instant,
    ) -> impl Iterator<Item = (ChannelId, &'a Ledger<C>, Rank)> {
        let hand_back = connection.hand_back().map(|hand_back| hand_back.channel);
        let is_paused = connection
            .hand_back()
            .is_some_and(|hand_back| now < hand_back.ready_at());
        self.channels.iter().map(move |(channel, ledger)| {
            let rank = match ledger.rank(connection.lane(), now) {
                Rank::First | Rank::Doubted if hand_back == Some(channel) => Rank::Again,
                // A worker that misses its turns stays behind the others for good.
                Rank::Doubted if self.policy.takes_turns() => Rank::First,
                rank => rank,
            };
            let withheld = match rank {
                _ if is_paused => true,
                Rank::None => true,
                Rank::Unlikely if self.another_serves(channel, connection.lane()) => true,
                _ => hand_back == Some(channel) && !self.may_have_again(connection, now),
            };
            (channel, ledger, if withheld { Rank::None } else { rank })
        })
    }

    /// Whether the worker that has handed a connection back may be given it once more: if nobody else takes connections
    /// of its port, or nobody has for a while. Without that while, a worker that hands back because all are busy would be
    /// given it again and again as fast as it can.
    pub(super) fn may_have_again(&self, connection: &C, now: Instant) -> bool {
        connection.hand_back().is_none_or(|hand_back| {
            now.saturating_duration_since(hand_back.at) >= NOT_AGAIN
                || !self.another_serves(hand_back.channel, connection.lane())
        })
    }

    pub(super) fn another_serves(&self, channel: ChannelId, lane: u16) -> bool {
        let mut others = self.channels.iter().filter(|&(other, _)| other != channel);
        others.any(|(_, ledger)| ledger.serves(lane))
    }

    pub(super) fn another_is_ready(&self, channel: ChannelId, connection: &C, now: Instant) -> bool {
        self.ranks(connection, now)
            .any(|(other, _, rank)| other != channel && matches!(rank, Rank::First | Rank::Doubted | Rank::Again))
    }
}
