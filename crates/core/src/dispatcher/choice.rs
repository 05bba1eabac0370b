//! Who gets a connection: how the channels rank for it, and who may take it instead. Rules, pure like the rest of [`State`].

use std::time::Instant;

use super::ledger::{Ledger, NOT_AGAIN, Rank};
use super::policy::Candidate;
use super::state::State;
use crate::channel::ChannelId;
use crate::queue::{Place, Waiting};

/// So many more than it holds a worker that has stalled lately counts as holding. If it stalls again whoever it was given waits
/// for the recall, so a few short connections do not come to it; but while others have work, it has its share.
const DOUBTED: u64 = 2;

impl<C: Waiting> State<C> {
    pub(super) fn pick(&mut self, place: Place, now: Instant) -> Option<ChannelId> {
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
        let giver = connection.giver().map(|giver| giver.channel);
        let is_paused = connection.giver().is_some_and(|giver| now < giver.ready_at());
        self.channels.iter().map(move |(channel, ledger)| {
            let rank = match ledger.rank(connection.lane(), now) {
                Rank::First | Rank::Doubted if giver == Some(channel) => Rank::Again,
                // A worker that misses its turns stays behind the others for good.
                Rank::Doubted if self.policy.takes_turns() => Rank::First,
                rank => rank,
            };
            let withheld = match rank {
                _ if is_paused => true,
                Rank::None => true,
                Rank::Unlikely if self.another_serves(channel, connection.lane()) => true,
                _ => giver == Some(channel) && !self.may_have_again(connection, now),
            };
            (channel, ledger, if withheld { Rank::None } else { rank })
        })
    }

    /// Whether the worker that has handed a connection back may be given it once more: if nobody else takes connections
    /// of its port, or nobody has for a while. Without that while, a worker that hands back because all are busy would be
    /// given it again and again as fast as it can.
    pub(super) fn may_have_again(&self, connection: &C, now: Instant) -> bool {
        connection.giver().is_none_or(|giver| {
            now.saturating_duration_since(giver.at) >= NOT_AGAIN
                || !self.another_serves(giver.channel, connection.lane())
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
