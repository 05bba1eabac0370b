//! The versions of the protocol.

/// The newest version that this code supports.
pub const VERSION: u16 = 6;
/// The oldest version that this code supports.
pub const OLDEST_VERSION: u16 = 1;
/// The first version with RETURN: a worker may hand back connections that it has acknowledged.
pub const RETURNS_SINCE: u16 = 2;
/// The first version with LISTENING: the parent sends the addresses of its listeners.
pub const LISTENING_SINCE: u16 = 3;
/// The first version with PROXIED: the parent sends what a proxy told about a client.
pub const PROXIED_SINCE: u16 = 4;
/// The first version with `TICKET_KEYS`: the parent sends the keys of TLS session tickets.
pub const TICKET_KEYS_SINCE: u16 = 4;
/// The first version with `DRAIN_SOON`: the parent announces a drain before it stops accepting.
pub const DRAIN_SOON_SINCE: u16 = 5;
/// The first version with `ENDED_IDS`: a worker reports the ends of tracked connections by their ids.
pub const ENDED_IDS_SINCE: u16 = 6;

/// Returns the newest version that this code and a peer with versions `oldest` to `newest` support; `None` if there is none.
#[must_use]
pub fn common_version(oldest: u16, newest: u16) -> Option<u16> {
    let version = newest.min(VERSION);
    (version >= oldest.max(OLDEST_VERSION)).then_some(version)
}
