//! Who gets the next connection, among the channels that have credit for it.

use crate::channel::ChannelId;
use crate::config::PolicyName;

/// Picks a channel. It remembers whose turn it was, so that equals are served in turn and not always the first.
#[derive(Debug, Clone)]
pub struct Policy {
    name: PolicyName,
    last: Option<ChannelId>,
}

/// A channel that may be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub channel: ChannelId,
    /// Its leases, handoffs under way included.
    pub busy: u64,
}

impl Policy {
    /// A policy that has not picked yet.
    #[must_use]
    pub fn new(name: PolicyName) -> Self {
        Self { name, last: None }
    }

    /// Picks one of `candidates`, which come in ascending order of their channel.
    pub fn pick(&mut self, candidates: impl Iterator<Item = Candidate>) -> Option<ChannelId> {
        // Turns go upwards from the last one picked: those above it come before those up to it.
        let turn = |channel: ChannelId| (self.last.is_some_and(|last| channel <= last), channel);
        let picked = match self.name {
            PolicyName::LeastBusy => candidates.min_by_key(|one| (one.busy, turn(one.channel))),
            PolicyName::RoundRobin => candidates.min_by_key(|one| turn(one.channel)),
        }?;
        self.last = Some(picked.channel);
        Some(picked.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(busy: &[u64]) -> impl Iterator<Item = Candidate> + '_ {
        (1..).zip(busy).map(|(channel, &busy)| Candidate { channel, busy })
    }

    #[test]
    fn round_robin_takes_turns_whoever_is_busy() {
        let mut policy = Policy::new(PolicyName::RoundRobin);
        let picks: Vec<_> = (0..4).filter_map(|_| policy.pick(candidates(&[9, 0, 0]))).collect();
        assert_eq!(picks, [1, 2, 3, 1]);
    }

    #[test]
    fn least_busy_takes_the_fewest_leases_and_turns_among_equals() {
        let mut policy = Policy::new(PolicyName::LeastBusy);
        assert_eq!(policy.pick(candidates(&[2, 1, 3])), Some(2));
        let picks: Vec<_> = (0..3).filter_map(|_| policy.pick(candidates(&[1, 1, 1]))).collect();
        assert_eq!(picks, [3, 1, 2]);
    }

    #[test]
    fn nobody_is_picked_from_nobody() {
        assert_eq!(Policy::new(PolicyName::LeastBusy).pick(candidates(&[])), None);
    }
}
