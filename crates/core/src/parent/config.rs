//! Parsed settings: one that is invalid cannot be built.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::error::ConfigError;

/// How the dispatcher chooses among the channels that have credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PolicyName {
    /// The channel with the fewest leases; equals take turns.
    #[default]
    LeastBusy,
    /// One after the other.
    RoundRobin,
    /// The channel that was opened first, so that as few are used as can be.
    First,
}

/// The settings of a server.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    max_queue: usize,
    queue_timeout: Option<Duration>,
    policy: PolicyName,
    tells_steps: bool,
}

impl Config {
    /// `max_queue`: accepted connections that may wait for a worker, at least 1. `queue_timeout`: how long one may
    /// wait before it is reset; `None` is for ever.
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
            tells_steps: false,
        })
    }

    /// Tells each step of each connection, by [`crate::parent::notice::Notice::Step`]: for those who look for a fault.
    #[must_use]
    pub fn telling_steps(mut self, tells_steps: bool) -> Self {
        self.tells_steps = tells_steps;
        self
    }

    /// Whether each step of each connection is told.
    #[must_use]
    pub fn tells_steps(&self) -> bool {
        self.tells_steps
    }

    /// Accepted connections that may wait.
    #[must_use]
    pub fn max_queue(&self) -> usize {
        self.max_queue
    }

    /// How long one may wait.
    #[must_use]
    pub fn queue_timeout(&self) -> Option<Duration> {
        self.queue_timeout
    }

    /// Who gets the next one.
    #[must_use]
    pub fn policy(&self) -> PolicyName {
        self.policy
    }
}

/// What to listen on.
#[derive(Debug)]
pub enum ListenSpec {
    /// A TCP port.
    Tcp {
        /// The address to bind; `None` is every address of both families, or IPv4's where the system has no IPv6.
        host: Option<IpAddr>,
        /// 0 lets the system choose.
        port: u16,
        /// The kernel's queue, `listen(2)`; the kernel caps it at `net.core.somaxconn`.
        backlog: i32,
        /// For an IPv6 address: no IPv4 beside it.
        ipv6_only: bool,
    },
    /// A Unix socket in the file system.
    Unix {
        /// Where; at most 107 bytes on Linux, 103 on macOS.
        path: PathBuf,
        /// As for TCP.
        backlog: i32,
        /// Lets every user connect-read, as Node's option of this name.
        readable_all: bool,
        /// Lets every user connect-write, as Node's option of this name.
        writable_all: bool,
    },
    /// A listening socket that this process inherited, for example from systemd or from its predecessor.
    Inherited(OwnedFd),
}
