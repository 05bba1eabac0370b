//! The routing settings of a listener.

use std::time::Duration;

use crate::parent::routing::sources::Sources;

/// The routing settings of a listener.
#[derive(Debug, Clone)]
pub struct RoutingSpec {
    /// The proxies that name the client.
    pub proxy: Option<ProxySpec>,
    /// The maximum number of connections that are pending at a time.
    pub max_pending: usize,
}

/// The proxies that name the client by the PROXY protocol.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// The addresses of the proxies.
    pub from: Sources,
    /// What happens to connections from other addresses.
    pub others: Others,
    /// The time from accept in which the header must be complete.
    pub timeout: Duration,
}

/// What happens to connections that do not come from a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// The peer is the client.
    Direct,
    /// The connection is reset.
    Refuse,
}

/// The default of [`RoutingSpec::max_pending`].
pub const MAX_PENDING: usize = 1024;

impl RoutingSpec {
    /// Returns the time from accept after which nothing is awaited any more.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.proxy.as_ref().map_or(Duration::ZERO, |proxy| proxy.timeout)
    }
}

impl Default for RoutingSpec {
    fn default() -> Self {
        Self {
            proxy: None,
            max_pending: MAX_PENDING,
        }
    }
}
