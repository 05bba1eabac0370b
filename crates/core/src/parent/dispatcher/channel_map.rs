//! A map from channels, in the order in which the channels were opened.
//!
//! A sorted array, because there are few channels and the dispatcher visits all of them several times in each turn.

use crate::ids::ChannelId;

/// One value for each channel.
#[derive(Debug)]
pub struct ChannelMap<T>(Vec<(ChannelId, T)>);

impl<T> ChannelMap<T> {
    /// Creates an empty map.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Inserts a value, which replaces the channel's earlier value.
    pub fn insert(&mut self, channel: ChannelId, value: T) {
        match self.index(channel) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (channel, value)),
        }
    }

    /// Removes and returns the value of a channel.
    pub fn remove(&mut self, channel: ChannelId) -> Option<T> {
        let index = self.index(channel).ok()?;
        Some(self.0.remove(index).1)
    }

    /// Returns the value of a channel.
    pub fn get(&self, channel: ChannelId) -> Option<&T> {
        let index = self.index(channel).ok()?;
        Some(&self.0[index].1)
    }

    /// Returns the value of a channel for a change.
    pub fn get_mut(&mut self, channel: ChannelId) -> Option<&mut T> {
        let index = self.index(channel).ok()?;
        Some(&mut self.0[index].1)
    }

    /// Returns whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the channels.
    pub fn ids(&self) -> Vec<ChannelId> {
        self.0.iter().map(|&(channel, _)| channel).collect()
    }

    /// Returns the channels with their values.
    pub fn iter(&self) -> impl Iterator<Item = (ChannelId, &T)> {
        self.0.iter().map(|(channel, value)| (*channel, value))
    }

    /// Returns the channels with their values for a change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ChannelId, &mut T)> {
        self.0.iter_mut().map(|(channel, value)| (*channel, value))
    }

    /// Returns the values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    fn index(&self, channel: ChannelId) -> Result<usize, usize> {
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
            for (is_inserted, channel, value) in steps {
                if is_inserted {
                    channel_map.insert(channel, value);
                    map.insert(channel, value);
                } else {
                    prop_assert_eq!(channel_map.remove(channel), map.remove(&channel));
                }
                prop_assert_eq!(channel_map.get(channel), map.get(&channel));
                prop_assert_eq!(channel_map.get_mut(channel), map.get_mut(&channel));
                prop_assert_eq!(channel_map.is_empty(), map.is_empty());
                prop_assert!(channel_map.iter().eq(map.iter().map(|(&channel, value)| (channel, value))));
                prop_assert!(channel_map.iter_mut().eq(map.iter_mut().map(|(&channel, value)| (channel, value))));
                prop_assert!(channel_map.values().eq(map.values()));
                prop_assert!(channel_map.ids().into_iter().eq(map.keys().copied()));
            }
        }
    }
}
