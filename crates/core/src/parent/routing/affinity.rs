//! Which worker a connection belongs to.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use siphasher::sip::SipHasher24;

use crate::protocol::session_id::{self, Key};

/// Which worker a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// The connection prefers the slot with the highest weight for this hash, and goes to another slot at once if that one
    /// cannot take it or has too many connections.
    Hash(u64),
    /// The connection waits until this time for the slot with the highest weight for this hash, also while the worker of the slot
    /// restarts. The dispatcher replaces this value by [`Affinity::Slot`] when the connection enters the queue.
    Strict(u64, Instant),
    /// The connection waits for this slot until this time.
    Slot(u32, Instant),
}

/// Returns the hash of a client's address, without the port. An IPv4-mapped address is an IPv4 address.
#[must_use]
pub fn of_address(key: &Key, client: SocketAddr) -> u64 {
    match client.ip().to_canonical() {
        IpAddr::V4(ip) => hash(key, &ip.octets()),
        IpAddr::V6(ip) => hash(key, &ip.octets()),
    }
}

/// Returns the slot that a session id of this server names, if a value is such an id.
#[must_use]
pub fn session_slot(key: &Key, value: &[u8]) -> Option<u32> {
    session_id::slot_of(key, value)
}

/// Returns the hash of a value that a client has sent.
#[must_use]
pub fn of_value(key: &Key, value: &[u8]) -> u64 {
    hash(key, value)
}

/// Returns the hash of a host name, in any case.
#[must_use]
pub fn of_host(key: &Key, name: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    for byte in name {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.finish()
}

/// A keyed hash, so that no client can choose its slot.
fn hash(key: &Key, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(bytes);
    hasher.finish()
}
