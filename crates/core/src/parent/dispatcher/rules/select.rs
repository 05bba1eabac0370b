//! Selects the channel that gets the next connection: the channel with the lowest score.

use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::parent::config::PolicyName;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::{Channel, Health, Lifecycle};
use crate::parent::queue::{Head, Waiting};
use crate::parent::routing::affinity::Affinity;
use crate::parent::routing::rendezvous::weight;

/// The caches of a worker are warm for this long after its last connection. With one client that connects anew every 0.1 ms,
/// the warm worker answers in 0.9 of the time of another worker, with 0.87 of the processor time.
const WARM: Duration = Duration::from_millis(10);

/// A suspect worker is scored as if it held this many more connections. If it stalls again, its connections wait for the
/// recall. So the worker gets no connection at a low load, and its share if the other workers hold connections too.
const SUSPECT_LOAD: u32 = 2;

/// How long a connection is withheld from the worker that handed it back while another worker serves its port. Without this
/// pause, a worker that hands back because all workers are busy would get the connection again as fast as it can.
pub const WITHHELD_FOR: Duration = Duration::from_millis(100);

/// A worker may have this many connections because of their hash, however few the others have: a browser opens six at once.
const LEAST_LIMIT: u64 = 8;

/// The score of a channel for a connection; the lowest score wins. The score is one number, because the dispatcher compares all
/// channels for each connection. From the highest bits to the lowest: the group, the load, the age of the caches, the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score(u128);

impl Score {
    /// `load` counts leases held and to come. `cache_age` is [`COLD`], or the microseconds since the last handoff.
    fn new(group: Group, load: u32, cache_age: u16, had_turn: bool, id: ChannelId) -> Self {
        let (group, load, cache_age) = (u128::from(group as u8), u128::from(load), u128::from(cache_age));
        let (turn, id) = (u128::from(had_turn), u128::from(id));
        Self(group << 96 | load << 64 | cache_age << 48 | turn << 32 | id)
    }
}

/// The age of cold caches.
const COLD: u16 = u16::MAX;

/// The lower group wins, regardless of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// The worker can take connections.
    Ready,
    /// The same, but the worker has stalled recently. Only the policy `first` has this group, as it counts no load.
    Suspect,
    /// The worker has handed this connection back before.
    HandedBackHere,
    /// The worker stalls, and this is its one probe connection.
    Probe,
    /// The worker stalls, but no other worker serves this port.
    LastResort,
}

/// Selects a channel by the configured policy.
#[derive(Debug)]
pub(super) struct Policy {
    name: PolicyName,
    last: Option<ChannelId>,
}

impl Policy {
    pub(super) fn new(name: PolicyName) -> Self {
        Self { name, last: None }
    }

    /// Returns the score of a channel that could be given a connection. Turns go upwards from the channel that was selected last.
    fn score<C: Waiting, I>(&self, group: Group, id: ChannelId, channel: &Channel<C, I>, now: Instant) -> Score {
        let had_turn = self.last.is_some_and(|last| id <= last);
        match self.name {
            PolicyName::LeastBusy => {
                let load = channel.load() + if channel.is_suspect(now) { SUSPECT_LOAD } else { 0 };
                Score::new(group, load, channel.cache_age(now), had_turn, id)
            }
            // A suspect worker has its turn too. Otherwise it would always be selected last.
            PolicyName::RoundRobin => Score::new(group, 0, COLD, had_turn, id),
            PolicyName::First if group == Group::Ready && channel.is_suspect(now) => {
                Score::new(Group::Suspect, 0, COLD, false, id)
            }
            PolicyName::First => Score::new(group, 0, COLD, false, id),
        }
    }
}

impl<C: Waiting, I> State<C, I> {
    /// Returns the oldest connection that a channel can be given, and the channel that gets the connection.
    pub(super) fn select(&mut self, now: Instant) -> Option<(Head, ChannelId)> {
        let (head, channel) = self.queue.find_first(|connection| self.best_channel(connection, now))?;
        self.policy.last = Some(channel);
        Some((head, channel))
    }

    fn best_channel(&self, connection: &C, now: Instant) -> Option<ChannelId> {
        let preference = match connection.affinity() {
            // Strict only before a pool is known to serve the port.
            Some(Affinity::Hash(hash) | Affinity::Strict(hash, _)) => Some((hash, self.load_limit(connection.lane()))),
            Some(Affinity::Slot(..)) | None => None,
        };
        let mut best: Option<(Score, ChannelId)> = None;
        for (id, channel) in self.channels.iter() {
            if let Some(group) = self.group(connection, id, channel, now) {
                let score = match preference {
                    Some((hash, limit)) => channel.score_for(hash, limit, group, id),
                    None => self.policy.score(group, id, channel, now),
                };
                if best.is_none_or(|(best, _)| score < best) {
                    best = Some((score, id));
                }
            }
        }
        best.map(|(_, id)| id)
    }

    /// Returns the load above which a worker gets no more connections because of their hash: 1.25 times the mean of the workers
    /// that serve a port, with the next connection.
    fn load_limit(&self, port: u16) -> u32 {
        let serving = self.channels.values().filter(|channel| channel.serves(port));
        let (total, count) = serving.fold((1, 0), |(total, count), channel| {
            (total + u64::from(channel.load()), count + 1_u64)
        });
        let limit = (5 * total).div_ceil(4 * count.max(1)).max(LEAST_LIMIT);
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    /// Returns the group of a channel for a connection; `None` if the channel cannot be given the connection now.
    fn group(&self, connection: &C, id: ChannelId, channel: &Channel<C, I>, now: Instant) -> Option<Group> {
        let group = channel.group(connection.lane(), now)?;
        if let Some(Affinity::Slot(slot, until)) = connection.affinity()
            && now < until
            && channel.slot != Some(slot)
        {
            return None;
        }
        if group == Group::LastResort && self.another_serves(id, connection.lane()) {
            return None;
        }
        let Some(hand_back) = connection.hand_back() else {
            return Some(group);
        };
        if now < hand_back.ready_at() || hand_back.channel == id && !self.may_be_given_again(connection, now) {
            return None;
        }
        Some(if hand_back.channel == id && group == Group::Ready {
            Group::HandedBackHere
        } else {
            group
        })
    }

    /// Returns whether the worker that handed a connection back may be given the connection again.
    pub(super) fn may_be_given_again(&self, connection: &C, now: Instant) -> bool {
        connection.hand_back().is_none_or(|hand_back| {
            now.saturating_duration_since(hand_back.at) >= WITHHELD_FOR
                || !self.another_serves(hand_back.channel, connection.lane())
        })
    }

    /// Returns whether a channel other than `than` serves a port.
    fn another_serves(&self, than: ChannelId, port: u16) -> bool {
        self.channels
            .iter()
            .any(|(id, channel)| id != than && channel.serves(port))
    }

    /// Returns whether the worker of a channel other than `than` could take a connection at once.
    pub(super) fn another_is_ready(&self, than: ChannelId, connection: &C, now: Instant) -> bool {
        self.channels.iter().any(|(id, channel)| {
            let group = || self.group(connection, id, channel, now);
            id != than && group().is_some_and(|group| group < Group::Probe)
        })
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Returns the group of the channel for connections of `port`; `None` if the channel cannot be given one now.
    fn group(&self, port: u16, now: Instant) -> Option<Group> {
        let has_room = self.in_flight.len() < self.window.min(self.share);
        if !matches!(self.lifecycle, Lifecycle::Open) || !has_room || !self.credit.covers(port) {
            return None;
        }
        if self.is_at_unread_limit() {
            return None;
        }
        if self.is_window_unread() && !self.may_probe(self.unread.probe_at(), now) {
            return None;
        }
        match self.health {
            Health::Blocked => None,
            Health::Exhausted(until) if now < until => None,
            Health::Ready | Health::Exhausted(_) => Some(Group::Ready),
            Health::Stalled { probe_at, .. } if self.may_probe(Some(probe_at), now) => Some(Group::Probe),
            Health::Stalled { .. } => Some(Group::LastResort),
        }
    }

    /// Returns the score of the channel for a connection with a hash. The load counts only above `limit`.
    fn score_for(&self, hash: u64, limit: u32, group: Group, id: ChannelId) -> Score {
        // The highest weight is the lowest score. A worker that joined has no slot and comes last.
        let weight = self.slot.map_or(0, |slot| weight(hash, slot) >> 33);
        let preference = u32::try_from(weight).map_or(0, |weight| (u32::MAX >> 1) - weight);
        let is_above = u32::from(self.load() >= limit);
        Score::new(group, is_above << 31 | preference, COLD, false, id)
    }

    /// Returns the leases held and to come.
    fn load(&self) -> u32 {
        let in_flight = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX);
        self.counters.leases.saturating_add(in_flight)
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.suspect_until.is_some_and(|until| now < until)
    }

    /// Returns the microseconds since the last handoff if the caches of the worker are warm, or else [`COLD`].
    fn cache_age(&self, now: Instant) -> u16 {
        let age = self.last_handoff_at.map(|at| now.saturating_duration_since(at));
        let warm = age.filter(|age| *age < WARM).map(|age| u16::try_from(age.as_micros()));
        warm.and_then(Result::ok).unwrap_or(COLD)
    }

    fn may_probe(&self, probe_at: Option<Instant>, now: Instant) -> bool {
        self.in_flight.is_empty() && probe_at.is_some_and(|at| now >= at)
    }

    /// Returns whether the channel could be given a connection of `port` that no worker has handed back.
    pub(super) fn can_be_given(&self, port: u16, now: Instant) -> bool {
        self.group(port, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;
    use crate::parent::queue::HandBack;

    /// Stands in for a connection.
    #[derive(Debug)]
    struct Nothing;

    impl Waiting for Nothing {
        type Metadata = ();

        fn id(&self) -> ConnectionId {
            0
        }

        fn lane(&self) -> u16 {
            0
        }

        fn since(&self) -> Instant {
            Instant::now()
        }

        fn leave_queue(&mut self) {}

        fn mark_reissued(&mut self) {}

        fn metadata(&self) {}

        fn hand_back(&self) -> Option<HandBack> {
            None
        }

        fn handed_back(&mut self, _: ChannelId, _: Instant) {}
    }

    /// Channels 1, 2 and so on, which hold so many leases, and the policy that selects among them.
    struct Pool {
        policy: Policy,
        channels: Vec<Channel<Nothing, ()>>,
    }

    impl Pool {
        fn new(name: PolicyName, leases: &[u32]) -> Self {
            let mut pool = Self {
                policy: Policy::new(name),
                channels: leases.iter().map(|_| Channel::new(())).collect(),
            };
            pool.hold(leases);
            pool
        }

        fn hold(&mut self, leases: &[u32]) {
            for (channel, &leases) in self.channels.iter_mut().zip(leases) {
                channel.counters.leases = leases;
            }
        }

        fn select(&mut self, now: Instant) -> ChannelId {
            let channels = (1..).zip(&self.channels);
            let score = |&(id, channel): &(ChannelId, _)| self.policy.score(Group::Ready, id, channel, now);
            let (selected, _) = channels.min_by_key(score).unwrap();
            self.policy.last = Some(selected);
            self.channels[usize::try_from(selected).unwrap() - 1].last_handoff_at = Some(now);
            selected
        }
    }

    #[test]
    fn round_robin_takes_turns_at_any_load() {
        let (mut pool, now) = (Pool::new(PolicyName::RoundRobin, &[9, 0, 0]), Instant::now());
        let selected: Vec<_> = (0..4).map(|_| pool.select(now)).collect();
        assert_eq!(selected, [1, 2, 3, 1]);
    }

    #[test]
    fn first_selects_the_lowest_channel_at_any_load() {
        let (mut pool, now) = (Pool::new(PolicyName::First, &[9, 0, 0]), Instant::now());
        assert_eq!((pool.select(now), pool.select(now)), (1, 1));
    }

    #[test]
    fn least_busy_selects_the_channel_with_the_fewest_leases() {
        let (mut pool, now) = (Pool::new(PolicyName::LeastBusy, &[2, 1, 3]), Instant::now());
        assert_eq!(pool.select(now), 2);
        pool.hold(&[1, 2, 3]);
        assert_eq!(pool.select(now), 1);
    }

    #[test]
    fn a_suspect_counts_as_two_leases_more() {
        let (mut pool, now) = (Pool::new(PolicyName::LeastBusy, &[0, 1]), Instant::now());
        pool.channels[0].suspect_until = Some(now + WARM);
        assert_eq!(pool.select(now), 2);
        pool.hold(&[0, 3]);
        assert_eq!(pool.select(now), 1);
        pool.hold(&[0, 1]);
        assert_eq!(pool.select(now + WARM), 1);
    }

    #[test]
    fn among_equals_the_warmest_channel_wins_and_cold_channels_take_turns() {
        let (mut pool, began) = (Pool::new(PolicyName::LeastBusy, &[0, 0, 0]), Instant::now());
        let mut select = |leases: [u32; 3], at: u32| {
            pool.hold(&leases);
            pool.select(began + WARM * at / 4)
        };
        assert_eq!(select([0, 0, 0], 0), 1);
        assert_eq!(select([1, 0, 0], 1), 2, "the load comes before warm caches");
        assert_eq!(select([0, 0, 0], 2), 2);
        assert_eq!(select([0, 1, 0], 3), 1, "the next warmest");
        assert_eq!(select([0, 0, 0], 6), 1, "channel 2 is no longer warm");
        assert_eq!(select([0, 0, 0], 10), 2, "no channel is warm");
        assert_eq!(select([0, 0, 0], 14), 3);
        assert_eq!(select([0, 0, 0], 18), 1);
    }

    #[test]
    fn a_better_group_wins_at_any_load() {
        let policy = Policy::new(PolicyName::LeastBusy);
        let now = Instant::now();
        let [mut busy, idle] = [(), ()].map(Channel::<Nothing, ()>::new);
        busy.counters.leases = 100;
        let groups = [Group::Ready, Group::HandedBackHere, Group::Probe, Group::LastResort];
        for pair in groups.windows(2) {
            assert!(policy.score(pair[0], 2, &busy, now) < policy.score(pair[1], 1, &idle, now));
        }
    }
}
