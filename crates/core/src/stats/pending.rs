//! The connections whose first bytes are awaited before they enter the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The number of pending connections of a server. Clones share the number.
#[derive(Debug, Clone, Default)]
pub struct PendingCount(Arc<AtomicU64>);

impl PendingCount {
    /// Counts a connection until the guard is dropped.
    #[must_use]
    pub fn begin(&self) -> PendingConnection {
        self.0.fetch_add(1, Relaxed);
        PendingConnection(self.clone())
    }

    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A pending connection; dropping it ends the count.
#[derive(Debug)]
pub struct PendingConnection(PendingCount);

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
