//! Validated settings: an invalid setting cannot be constructed.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::error::ConfigError;
use crate::protocol::ticket_keys::TicketKeys;

/// What the metrics of a server show about its owner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// The version of this package.
    pub version: String,
    /// The version of the owner's runtime.
    pub runtime: String,
    /// When the server was created, as the owner formats times.
    pub started_at: String,
    /// The same in milliseconds since 1970.
    pub started_at_ms: f64,
}

/// How the dispatcher selects one of the channels with credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyName {
    /// The channel with the fewest leases; channels with equally many take turns.
    #[default]
    LeastBusy,
    /// One channel after another.
    RoundRobin,
    /// The channel that was opened first, so that as few workers as possible are used.
    First,
}

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    max_queue: usize,
    queue_timeout: Option<Duration>,
    policy: PolicyName,
    reports_steps: bool,
    about: About,
    ticket_keys: Option<TicketKeys>,
}

impl Config {
    /// Creates the settings. `max_queue` is the number of accepted connections that may wait for a worker, at least 1. After
    /// `queue_timeout` a waiting connection is reset; `None` and 0 mean no limit.
    pub fn new(max_queue: u32, queue_timeout: Option<Duration>, policy: PolicyName) -> Result<Self, ConfigError> {
        let limit = usize::try_from(max_queue).unwrap_or(usize::MAX);
        if max_queue == 0 || limit > Semaphore::MAX_PERMITS {
            return Err(ConfigError::OutOfRange {
                option: "maxQueue",
                expected: "at least 1 and at most 4294967295",
                value: max_queue.to_string(),
            });
        }
        Ok(Self {
            max_queue: limit,
            queue_timeout: queue_timeout.filter(|limit| !limit.is_zero()),
            policy,
            reports_steps: false,
            about: About::default(),
            ticket_keys: None,
        })
    }

    /// Sets what the server's metrics show about its owner.
    #[must_use]
    pub fn describing(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// Returns what the server's metrics show about its owner.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Reports each step of each connection by [`crate::parent::notice::Notice::Step`], for debugging.
    #[must_use]
    pub fn reporting_steps(mut self, reports_steps: bool) -> Self {
        self.reports_steps = reports_steps;
        self
    }

    /// Returns whether each step of each connection is reported.
    #[must_use]
    pub fn reports_steps(&self) -> bool {
        self.reports_steps
    }

    /// Sends these keys to every worker that the parent has started, so that all resume each other's TLS sessions.
    #[must_use]
    pub fn sharing_ticket_keys(mut self, keys: TicketKeys) -> Self {
        self.ticket_keys = Some(keys);
        self
    }

    /// Returns the keys of TLS session tickets that the workers share.
    #[must_use]
    pub fn ticket_keys(&self) -> Option<TicketKeys> {
        self.ticket_keys
    }

    /// Returns how many accepted connections may wait.
    #[must_use]
    pub fn max_queue(&self) -> usize {
        self.max_queue
    }

    /// Returns how long a connection may wait; `None` means no limit.
    #[must_use]
    pub fn queue_timeout(&self) -> Option<Duration> {
        self.queue_timeout
    }

    /// Returns how the next worker is selected.
    #[must_use]
    pub fn policy(&self) -> PolicyName {
        self.policy
    }
}

/// The address or socket to listen on.
#[derive(Debug)]
pub enum ListenSpec {
    /// A TCP port.
    Tcp {
        /// The address to bind. `None` means all addresses of both families, or of IPv4 if the system has no IPv6.
        host: Option<IpAddr>,
        /// The port; 0 lets the system choose.
        port: u16,
        /// The length of the kernel's queue (listen(2)). The kernel limits it to `net.core.somaxconn`.
        backlog: i32,
        /// Makes an IPv6 listener reject IPv4 connections.
        ipv6_only: bool,
    },
    /// A Unix socket: a path, or on Linux an abstract name.
    Unix {
        /// The path; at most 107 bytes on Linux, 103 on macOS.
        path: PathBuf,
        /// The length of the kernel's queue, as for TCP.
        backlog: i32,
        /// Makes the socket readable for all users, as Node's option of this name does.
        readable_all: bool,
        /// Makes the socket writable for all users, as Node's option of this name does.
        writable_all: bool,
    },
    /// An inherited listening socket, for example from systemd or from a predecessor of this process.
    Inherited(OwnedFd),
}
