//! The counters of the listeners.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The backlog of a listener: connections that are established and not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The connections in the backlog now.
    pub length: u32,
    /// The maximum number.
    pub limit: u32,
}

/// The counters of one listener.
#[derive(Debug, Default)]
pub struct ListenerStats {
    accepted: AtomicU64,
}

impl ListenerStats {
    /// Counts an accepted connection. Only one thread calls this.
    pub fn accepted(&self) {
        self.accepted.store(self.accepted.load(Relaxed) + 1, Relaxed);
    }
}

/// A listener at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerReport {
    /// The address.
    pub address: String,
    /// Connections accepted.
    pub accepted: u64,
    /// Whether the listener is open.
    pub is_open: bool,
    /// The backlog; `None` for a closed listener, and if the system does not report it.
    pub backlog: Option<Backlog>,
}

/// Returns the backlog of a listener, if the system reports it; `None` once the listener is closed.
type ReadBacklog = Box<dyn Fn() -> Option<Option<Backlog>> + Send + Sync>;

/// The counters of all listeners by address. A listener that is opened again continues its counters.
#[derive(Default)]
pub struct Listeners(Mutex<BTreeMap<String, (Arc<ListenerStats>, ReadBacklog)>>);

/// The limit of addresses. An app that listens on one random port after another is counted under [`OTHER`] from then on.
const MAX_ADDRESSES: usize = 256;

/// The name of the listeners beyond [`MAX_ADDRESSES`].
const OTHER: &str = "other";

impl Listeners {
    /// Returns the counters of a listener that opens.
    pub fn open(
        &self,
        address: String,
        backlog: impl Fn() -> Option<Option<Backlog>> + Send + Sync + 'static,
    ) -> Arc<ListenerStats> {
        let mut known = self.lock();
        let is_full = known.len() >= MAX_ADDRESSES && !known.contains_key(&address);
        let address = if is_full { OTHER.to_owned() } else { address };
        let stats = known
            .get(&address)
            .map_or_else(Arc::default, |(stats, _)| Arc::clone(stats));
        known.insert(address, (Arc::clone(&stats), Box::new(backlog)));
        stats
    }

    /// Returns the listeners by address.
    #[must_use]
    pub fn report(&self) -> Vec<ListenerReport> {
        let known = self.lock();
        let listeners = known.iter().map(|(address, (stats, read))| {
            let backlog = read();
            ListenerReport {
                address: address.clone(),
                accepted: stats.accepted.load(Relaxed),
                is_open: backlog.is_some(),
                backlog: backlog.flatten(),
            }
        });
        listeners.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Arc<ListenerStats>, ReadBacklog)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.lock().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_is_opened_again_continues_its_counters() {
        let listeners = Listeners::default();
        listeners.open("127.0.0.1:80".to_owned(), || None).accepted();
        listeners.open("127.0.0.1:80".to_owned(), || None).accepted();
        let report = listeners.report();
        assert_eq!((report.len(), report[0].accepted), (1, 2));
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let listeners = Listeners::default();
        for port in 0..2000 {
            listeners.open(format!("127.0.0.1:{port}"), || None).accepted();
        }
        let report = listeners.report();
        assert!(report.len() <= MAX_ADDRESSES + 1);
        assert_eq!(report.iter().map(|listener| listener.accepted).sum::<u64>(), 2000);
    }
}
