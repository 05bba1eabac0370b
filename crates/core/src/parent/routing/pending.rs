//! The connections whose bytes are awaited, in the order of their arrival. Their number is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ids::ConnectionId;

/// The pending connections of one listener. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct PendingList(Arc<Mutex<BTreeMap<ConnectionId, Entry>>>);

/// One pending connection.
#[derive(Debug)]
struct Entry {
    is_silent: bool,
    evicted: Arc<Notify>,
}

impl PendingList {
    /// Adds a connection, and evicts another one if there are more than `limit`: the longest pending of those that have sent
    /// nothing, or else the longest pending. Returns what is notified if this connection is evicted.
    #[must_use]
    pub fn add(&self, id: ConnectionId, is_silent: bool, limit: usize) -> Arc<Notify> {
        let mut entries = self.lock();
        if entries.len() >= limit {
            let silent = entries.iter().find(|(_, entry)| entry.is_silent).map(|(&id, _)| id);
            let oldest = silent.or_else(|| entries.keys().next().copied());
            if let Some(evicted) = oldest.and_then(|id| entries.remove(&id)) {
                evicted.evicted.notify_one();
            }
        }
        let evicted = Arc::new(Notify::new());
        entries.insert(
            id,
            Entry {
                is_silent,
                evicted: Arc::clone(&evicted),
            },
        );
        evicted
    }

    /// Records that a connection has sent bytes.
    pub fn has_spoken(&self, id: ConnectionId) {
        if let Some(entry) = self.lock().get_mut(&id) {
            entry.is_silent = false;
        }
    }

    /// Removes a connection.
    pub fn remove(&self, id: ConnectionId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Entry>> {
        // Between any two statements under this lock the map is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the ids that have left the list.
    fn gone(list: &PendingList, ids: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        ids.filter(|id| !list.lock().contains_key(id)).collect()
    }

    #[test]
    fn the_longest_silent_connection_leaves_first() {
        let list = PendingList::default();
        for id in 1..=4 {
            let _ = list.add(id, id != 1, 4);
        }
        list.has_spoken(2);
        let _ = list.add(5, true, 4);
        assert_eq!(gone(&list, 1..=5), [3]);
        let _ = list.add(6, true, 4);
        assert_eq!(gone(&list, 1..=6), [3, 4]);
    }

    #[test]
    fn without_a_silent_connection_the_oldest_leaves() {
        let list = PendingList::default();
        for id in 1..=3 {
            let _ = list.add(id, false, 2);
        }
        assert_eq!(gone(&list, 1..=3), [1]);
    }

    #[tokio::test]
    async fn a_connection_is_told_of_its_eviction() {
        let list = PendingList::default();
        let evicted = list.add(1, true, 1);
        let _ = list.add(2, true, 1);
        evicted.notified().await;
        list.remove(2);
        let _ = list.add(3, true, 1);
        assert_eq!(gone(&list, 1..=3), [1, 2]);
    }
}
