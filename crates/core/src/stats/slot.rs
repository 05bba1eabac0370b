//! The totals of a worker slot, which continue when the worker of the slot is replaced.

use std::sync::Arc;

use crate::stats::channel::Load;

/// Names a slot of a pool, or all workers that joined at one shared path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotKey {
    /// The label of the pool.
    pub pool: Arc<str>,
    /// The slot; `None` for workers that joined, which have none.
    pub slot: Option<u32>,
}

/// The totals of the workers of one slot so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotTotals {
    /// Connections that the workers have taken.
    pub taken: u64,
    /// Connections that the workers have taken and handed back.
    pub handed_back: u64,
    /// Connections that the workers hold now.
    pub leases: u64,
    /// The measurements of the workers.
    pub load: Load,
}

impl SlotTotals {
    /// Adds the totals of another worker.
    pub fn add(&mut self, other: &Self) {
        self.taken = self.taken.saturating_add(other.taken);
        self.handed_back = self.handed_back.saturating_add(other.handed_back);
        self.leases = self.leases.saturating_add(other.leases);
        self.load.add(&other.load);
    }
}
