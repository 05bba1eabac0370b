//! A set of sources: networks in CIDR notation, and Unix sockets.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The sources that may send the client's address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    networks: Vec<Network>,
    has_unix: bool,
}

/// A network: the addresses whose first `length` bits are those of `address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    length: u32,
}

/// The word for all connections of Unix sockets.
const UNIX: &str = "unix";

impl Sources {
    /// Parses `192.0.2.0/24`, `192.0.2.1`, `2001:db8::/32` and `unix`. Returns the first word that is none of these.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut sources = Self::default();
        for word in words {
            if word == UNIX {
                sources.has_unix = true;
            } else {
                sources.networks.push(word.parse().map_err(|()| word)?);
            }
        }
        Ok(sources)
    }

    /// Returns whether the peer of a socket is one of the sources; `None` is a Unix socket. An IPv4-mapped address is an IPv4
    /// address.
    #[must_use]
    pub fn contain(&self, peer: Option<SocketAddr>) -> bool {
        let Some(peer) = peer else {
            return self.has_unix;
        };
        let ip = peer.ip().to_canonical();
        self.networks.iter().any(|network| network.contains(ip))
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                // A shift by all bits would overflow: every address is in the network of length 0.
                let differing = (network.to_bits() ^ ip.to_bits()).checked_shr(u32::BITS - self.length);
                differing.unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let differing = (network.to_bits() ^ ip.to_bits()).checked_shr(u128::BITS - self.length);
                differing.unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let (address, length) = match word.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (word, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let max = if address.is_ipv4() { u32::BITS } else { u128::BITS };
        let length = match length {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().map_err(drop)?,
            Some(_) => return Err(()),
            None => max,
        };
        (length <= max).then_some(Self { address, length }).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(words: &[&str], ip: &str) -> bool {
        let peer = SocketAddr::new(ip.parse().unwrap(), 1);
        Sources::parse(words.iter().copied()).unwrap().contain(Some(peer))
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
        assert!(contains(&["10.0.0.0/8"], "10.255.0.1"));
        assert!(!contains(&["10.0.0.0/8"], "11.0.0.1"));
        assert!(contains(&["192.0.2.7"], "192.0.2.7"));
        assert!(!contains(&["192.0.2.7"], "192.0.2.6"));
        assert!(contains(&["192.0.2.7/32", "2001:db8::/33"], "2001:db8:7fff::1"));
        assert!(!contains(&["2001:db8::/33"], "2001:db8:8000::1"));
        assert!(contains(&["0.0.0.0/0"], "255.255.255.255"));
        assert!(contains(&["::/0"], "::1"));
        assert!(!contains(&["0.0.0.0/0"], "::1"));
        assert!(!contains(&["::/0"], "192.0.2.1"));
    }

    #[test]
    fn an_ipv4_mapped_address_is_an_ipv4_address() {
        assert!(contains(&["192.0.2.0/24"], "::ffff:192.0.2.1"));
        assert!(!contains(&["::/0"], "::ffff:192.0.2.1"));
    }

    #[test]
    fn only_the_word_unix_contains_unix_sockets() {
        let all = Sources::parse(["0.0.0.0/0", "::/0"]).unwrap();
        assert!(!all.contain(None));
        assert!(Sources::parse(["unix"]).unwrap().contain(None));
    }

    #[test]
    fn anything_else_is_an_error() {
        for word in [
            "",
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "*",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(Sources::parse(["10.0.0.0/8", word]), Err(word));
        }
    }
}
