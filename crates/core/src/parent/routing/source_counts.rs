//! Counts the connections of each source, and limits them.
//!
//! A [`CountedSource`] belongs to one connection and moves with it: from the acceptor to the queue, to the channel whose worker has
//! taken the connection, and back to the queue if the worker hands the connection back. Dropping the value ends the count, so the
//! counts can neither fall below zero nor stay above the number of connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A source: an IPv4 address, or the first 64 bits of an IPv6 address, because one host commonly has a whole network of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Ipv4(u32),
    Ipv6(u64),
}

impl Source {
    /// Returns the source of an address. An IPv4-mapped address is an IPv4 address.
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::Ipv4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                let network = [a, b, c, d];
                Self::Ipv6(network.iter().fold(0, |bits, &word| bits << 16 | u64::from(word)))
            }
        }
    }
}

/// The number of connections of each source that has any. Clones share the counts.
#[derive(Debug, Clone)]
pub struct SourceCounts {
    limit: NonZeroU32,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<Source, NonZeroU32>>);

/// One counted connection of a source. Dropping the value ends the count.
#[derive(Debug)]
pub struct CountedSource {
    source: Source,
    counts: Arc<Counts>,
}

impl SourceCounts {
    /// Creates counts without connections. `limit` applies to each source.
    #[must_use]
    pub fn new(limit: NonZeroU32) -> Self {
        Self {
            limit,
            counts: Arc::default(),
        }
    }

    /// Counts a connection of a client. Returns `None` if the source has as many connections as allowed.
    #[must_use]
    pub fn add(&self, client: SocketAddr) -> Option<CountedSource> {
        let source = Source::of(client);
        match self.counts.lock().entry(source) {
            Entry::Vacant(entry) => drop(entry.insert(NonZeroU32::MIN)),
            Entry::Occupied(entry) if *entry.get() >= self.limit => return None,
            Entry::Occupied(mut entry) => {
                // Below the limit, so one more is a number too.
                *entry.get_mut() = entry.get().saturating_add(1);
            }
        }
        Some(CountedSource {
            source,
            counts: Arc::clone(&self.counts),
        })
    }

    /// Returns the number of sources that have connections.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.counts.lock().len()
    }

    /// Returns the number of connections that are counted for a client's source.
    #[must_use]
    pub fn of(&self, client: SocketAddr) -> u32 {
        let counts = self.counts.lock();
        counts.get(&Source::of(client)).map_or(0, |count| count.get())
    }
}

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Source, NonZeroU32>> {
        // Each statement under this lock leaves the map consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedSource {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        let Entry::Occupied(mut entry) = counts.entry(self.source) else {
            return;
        };
        match NonZeroU32::new(entry.get().get() - 1) {
            Some(rest) => drop(entry.insert(rest)),
            // The memory is bounded by the number of sources that have connections.
            None => drop(entry.remove()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    fn counts(limit: u32) -> SourceCounts {
        SourceCounts::new(NonZeroU32::new(limit).unwrap())
    }

    #[test]
    fn a_source_has_at_most_the_limit_and_others_have_their_own() {
        let counts = counts(2);
        let held: Vec<_> = (0..3).map(|_| counts.add(client("192.0.2.1"))).collect();
        assert!(held[1].is_some() && held[2].is_none());
        assert!(counts.add(client("192.0.2.2")).is_some());
        assert_eq!(counts.of(client("192.0.2.1")), 2);
        drop(held);
        assert_eq!(counts.sources(), 0);
    }

    #[test]
    fn an_end_makes_room_for_another_connection() {
        let counts = counts(1);
        let first = counts.add(client("192.0.2.1"));
        assert!(counts.add(client("192.0.2.1")).is_none());
        drop(first);
        assert!(counts.add(client("192.0.2.1")).is_some());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_of_64_bits_are_one_source() {
        let counts = counts(1);
        let _first = counts.add(client("2001:db8:0:1::1")).unwrap();
        assert!(counts.add(client("2001:db8:0:1:ffff::2")).is_none());
        assert!(counts.add(client("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn an_ipv4_mapped_address_is_an_ipv4_address() {
        let counts = counts(1);
        let _first = counts.add(client("::ffff:192.0.2.1")).unwrap();
        assert!(counts.add(client("192.0.2.1")).is_none());
        // All mapped addresses are in one network of 64 bits.
        assert!(counts.add(client("::ffff:192.0.2.2")).is_some());
    }
}
