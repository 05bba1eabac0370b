//! Rendezvous hashing: each slot has a weight for a key, and the key belongs to the slot with the highest weight. If a slot is
//! added or removed, only the keys of that slot move.

/// Returns the weight of a slot for a key. The key is the result of a keyed hash, so a client cannot choose its slot.
#[must_use]
pub fn weight(key: u64, slot: u32) -> u64 {
    // The finalizer of SplitMix64, which changes half of the bits for a change of any bit.
    let mut mixed = key ^ u64::from(slot).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot_of(key: u64, slots: u32) -> u32 {
        (0..slots).max_by_key(|&slot| weight(key, slot)).unwrap()
    }

    proptest! {
        #[test]
        fn a_new_slot_takes_keys_and_moves_no_others(keys in prop::collection::vec(any::<u64>(), 1..50), slots in 1_u32..64) {
            for key in keys {
                let (before, after) = (slot_of(key, slots), slot_of(key, slots + 1));
                prop_assert!(after == before || after == slots);
            }
        }

        #[test]
        fn each_slot_has_its_share_of_the_keys(seed in any::<u64>(), slots in 2_u32..16) {
            let mut counts = vec![0_u32; slots as usize];
            for index in 0..slots * 1000 {
                counts[slot_of(weight(seed, index), slots) as usize] += 1;
            }
            // Five standard deviations of a binomial distribution are below 16 %.
            prop_assert!(counts.iter().all(|count| (840..=1160).contains(count)), "{counts:?}");
        }
    }
}
