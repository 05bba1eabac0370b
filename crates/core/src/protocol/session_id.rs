//! A session id that names the slot of the worker that created it, so that the parent finds the slot without a table.
//!
//! 24 bytes as 32 characters of base64url: the slot, random bytes, and a code that only a holder of the key can compute. A client
//! that guessed the code could do no more than choose a slot.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// The number of random bytes: 104 bits cannot be guessed.
pub const RANDOM: usize = 13;

const SLOT: usize = 4;
const CODE: usize = 7;
const BYTES: usize = SLOT + RANDOM + CODE;
/// The number of characters.
pub const LENGTH: usize = BYTES / 3 * 4;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The key of a server.
pub type Key = [u8; 16];

/// Returns a session id.
#[must_use]
pub fn session_id(key: &Key, slot: u32, random: &[u8; RANDOM]) -> String {
    let mut bytes = [0; BYTES];
    bytes[..SLOT].copy_from_slice(&slot.to_be_bytes());
    bytes[SLOT..SLOT + RANDOM].copy_from_slice(random);
    let code = code(key, &bytes[..SLOT + RANDOM]);
    bytes[SLOT + RANDOM..].copy_from_slice(&code);
    let characters = bytes.chunks_exact(3).flat_map(|three| {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    });
    characters.collect()
}

/// Returns the slot that a session id of this server names; `None` for any other value.
#[must_use]
pub fn slot_of(key: &Key, value: &[u8]) -> Option<u32> {
    if value.len() != LENGTH {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (four, three) in value.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
        let mut bits = 0;
        for character in four {
            bits = bits << 6 | digit(*character)?;
        }
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    let (signed, given) = bytes.split_at(SLOT + RANDOM);
    if code(key, signed) != given {
        return None;
    }
    let (slot, _) = signed.split_first_chunk::<SLOT>()?;
    Some(u32::from_be_bytes(*slot))
}

fn digit(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    }))
}

/// Returns the first bytes of SipHash-2-4.
fn code(key: &Key, bytes: &[u8]) -> [u8; CODE] {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    let [code @ .., _] = hasher.finish().to_be_bytes();
    code
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_names_its_slot_to_the_holder_of_the_key_only(
            key in any::<Key>(),
            other in any::<Key>(),
            slot in any::<u32>(),
            random in any::<[u8; RANDOM]>(),
            at in 0..LENGTH,
        ) {
            let id = session_id(&key, slot, &random);
            prop_assert_eq!(id.len(), LENGTH);
            prop_assert_eq!(slot_of(&key, id.as_bytes()), Some(slot));
            prop_assume!(key != other);
            prop_assert_eq!(slot_of(&other, id.as_bytes()), None);
            let mut forged = id.into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(slot_of(&key, &forged), None);
        }

        #[test]
        fn any_other_value_names_no_slot(key in any::<Key>(), value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(slot_of(&key, &value), None);
        }
    }
}
