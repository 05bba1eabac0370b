//! The slots of the pools, for connections that wait for the slot of a hash. A slot stays while its worker restarts.

use std::ops::Range;

use crate::parent::dispatcher::rules::State;
use crate::parent::queue::Waiting;
use crate::parent::routing::rendezvous::weight;

/// The slots of one pool.
#[derive(Debug)]
pub(super) struct PoolSlots {
    slots: Range<u32>,
    /// The ports that workers of the pool have been seen to serve, as far as connections asked for a slot.
    lanes: Vec<u16>,
}

impl<C: Waiting, I> State<C, I> {
    /// Sets the number of slots of the pool whose first slot has this number.
    pub fn set_slots(&mut self, first: u32, count: u32) {
        let slots = first..first.saturating_add(count);
        match self.pools.iter_mut().find(|pool| pool.slots.start == first) {
            Some(pool) => pool.slots = slots,
            None => self.pools.push(PoolSlots {
                slots,
                lanes: Vec::new(),
            }),
        }
        self.pools.retain(|pool| !pool.slots.is_empty());
    }

    /// Returns the slot with the highest weight for a hash, among the slots of the pools that serve a port. `None` if no pool is
    /// known to serve the port and there are several.
    pub(super) fn slot_of(&mut self, hash: u64, lane: u16) -> Option<u32> {
        let channels = &self.channels;
        let is_only = self.pools.len() == 1;
        let mut best = None;
        for pool in &mut self.pools {
            // A pool whose workers all restart still serves its ports.
            if !pool.lanes.contains(&lane) {
                let mut of_pool = channels
                    .values()
                    .filter(|channel| channel.slot.is_some_and(|slot| pool.slots.contains(&slot)));
                if of_pool.any(|channel| channel.serves(lane)) {
                    pool.lanes.push(lane);
                } else if !is_only {
                    continue;
                }
            }
            let of_pool = pool.slots.clone().map(|slot| (weight(hash, slot), slot));
            best = best.max(of_pool.max());
        }
        best.map(|(_, slot)| slot)
    }
}
