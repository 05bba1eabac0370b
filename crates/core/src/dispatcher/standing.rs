//! The rules' counters, and how one channel stands: what is told of them.

use super::ledger::Ledger;
use crate::queue::Waiting;

/// What only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that entered the queue.
    pub accepted: u64,
    /// Acks.
    pub handed_off: u64,
    /// Times that a connection went back to the queue.
    pub requeued: u64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: u64,
    /// Connections given up.
    pub shed: u64,
    /// The most that ever waited.
    pub max_queued: u64,
}

/// How a channel stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Leases that its worker holds.
    pub leases: u32,
    /// Its acks.
    pub handed_off: u64,
    /// What it has handed back of these.
    pub handed_back: u64,
}

impl Standing {
    pub(super) fn of<C: Waiting>(ledger: &Ledger<C>) -> Self {
        Self {
            leases: ledger.leases,
            handed_off: ledger.handed_off,
            handed_back: ledger.handed_back,
        }
    }
}
