//! The routing settings of a listener.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::parent::routing::affinity::Affinity;
use crate::parent::routing::request_head::Place;
use crate::parent::routing::server_names::ServerNames;
use crate::parent::routing::sources::Sources;
use crate::protocol::session_id::Key;

/// The routing settings of a listener.
#[derive(Debug, Clone)]
pub struct RoutingSpec {
    /// The proxies that send the client's address.
    pub proxy: Option<ProxySpec>,
    /// The host names of TLS whose connections belong to the workers of another port.
    pub names: Option<NamesSpec>,
    /// How connections are assigned to workers.
    pub sticky: Option<StickySpec>,
    /// The maximum number of connections of one source that wait or that workers hold.
    pub max_per_source: Option<NonZeroU32>,
    /// The maximum number of connections that are pending at a time.
    pub max_pending: usize,
}

/// The proxies that send the client's address by the PROXY protocol.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// The addresses of the proxies.
    pub from: Sources,
    /// The treatment of connections from other addresses.
    pub others: Others,
    /// The time from accept in which the header must be complete.
    pub timeout: Duration,
}

/// The host names of TLS whose connections belong to the workers of another port.
#[derive(Debug, Clone)]
pub struct NamesSpec {
    /// The lanes of the names.
    pub names: ServerNames,
    /// The time from accept in which a client must send its host name.
    pub timeout: Duration,
}

/// How connections are assigned to workers.
#[derive(Debug, Clone)]
pub struct StickySpec {
    /// The value that determines the worker.
    pub by: StickyBy,
    /// The key of the hashes and of the session ids.
    pub key: Key,
    /// The time from accept in which a client must send the value.
    pub timeout: Duration,
    /// Whether a connection waits for the slot of its hash, as for the slot of a session id.
    pub strict: bool,
    /// The time from accept for which a connection waits for its slot.
    pub wait: Duration,
}

impl StickySpec {
    /// Returns the affinity of a hash for a connection that was accepted at this time.
    #[must_use]
    pub fn affinity(&self, hash: u64, accepted_at: Instant) -> Affinity {
        if self.strict {
            Affinity::Strict(hash, accepted_at + self.wait)
        } else {
            Affinity::Hash(hash)
        }
    }
}

/// The value that determines which worker gets a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyBy {
    /// The client's address.
    Address,
    /// The server name in the ClientHello of TLS.
    ServerName,
    /// A value in the first HTTP request.
    Request(Place),
}

/// The treatment of connections that do not come from a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// The peer is the client.
    Direct,
    /// The connection is reset.
    Refuse,
}

/// The default of [`RoutingSpec::max_pending`].
pub const MAX_PENDING: usize = 1024;

impl Default for RoutingSpec {
    fn default() -> Self {
        Self {
            proxy: None,
            names: None,
            sticky: None,
            max_per_source: None,
            max_pending: MAX_PENDING,
        }
    }
}
