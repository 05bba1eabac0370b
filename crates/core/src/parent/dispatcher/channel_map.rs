//! What there is by channel, in the order in which the channels were opened.
//!
//! A sorted array, as there are few and the dispatcher goes through all of them several times in each turn.

use crate::ids::ChannelId;

/// Something for each channel.
#[derive(Debug)]
pub struct ChannelMap<T>(Vec<(ChannelId, T)>);

impl<T> ChannelMap<T> {
    /// For no channel.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a channel, in place of what was there for it.
    pub fn insert(&mut self, channel: ChannelId, one: T) {
        match self.place(channel) {
            Ok(place) => self.0[place].1 = one,
            Err(place) => self.0.insert(place, (channel, one)),
        }
    }

    /// Takes a channel out.
    pub fn remove(&mut self, channel: ChannelId) -> Option<T> {
        let place = self.place(channel).ok()?;
        Some(self.0.remove(place).1)
    }

    /// One channel's.
    pub fn get(&self, channel: ChannelId) -> Option<&T> {
        let place = self.place(channel).ok()?;
        Some(&self.0[place].1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, channel: ChannelId) -> Option<&mut T> {
        let place = self.place(channel).ok()?;
        Some(&mut self.0[place].1)
    }

    /// Whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The channels.
    pub fn channels(&self) -> Vec<ChannelId> {
        self.0.iter().map(|&(channel, _)| channel).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ChannelId, &T)> {
        self.0.iter().map(|(channel, one)| (*channel, one))
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ChannelId, &mut T)> {
        self.0.iter_mut().map(|(channel, one)| (*channel, one))
    }

    /// All without their channels.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, one)| one)
    }

    fn place(&self, channel: ChannelId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&channel, |&(channel, _)| channel)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_in_ascending_order(steps in prop::collection::vec((any::<bool>(), 0_u32..8, any::<u8>()), 0..64)) {
            let (mut channel_map, mut map) = (ChannelMap::new(), BTreeMap::new());
            for (comes, channel, one) in steps {
                if comes {
                    channel_map.insert(channel, one);
                    map.insert(channel, one);
                } else {
                    prop_assert_eq!(channel_map.remove(channel), map.remove(&channel));
                }
                prop_assert_eq!(channel_map.get(channel), map.get(&channel));
                prop_assert_eq!(channel_map.get_mut(channel), map.get_mut(&channel));
                prop_assert_eq!(channel_map.is_empty(), map.is_empty());
                prop_assert!(channel_map.iter().eq(map.iter().map(|(&channel, one)| (channel, one))));
                prop_assert!(channel_map.iter_mut().eq(map.iter_mut().map(|(&channel, one)| (channel, one))));
                prop_assert!(channel_map.values().eq(map.values()));
                prop_assert!(channel_map.channels().into_iter().eq(map.keys().copied()));
            }
        }
    }
}
