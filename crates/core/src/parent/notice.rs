//! Notices: events that the server reports to its owner, in order, in a bounded mailbox that wakes the owner.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use crate::error::SystemError;
use crate::ids::AppId;
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::ids::ShareId;
use crate::parent::listener::ListenerAddress;
use crate::protocol::ProtocolError;
use crate::sys::Credentials;
use crate::waker::Waker;

/// An event for the owner of the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A worker has sent HELLO.
    Joined {
        /// The worker's channel.
        channel: ChannelId,
        /// The process id in the HELLO.
        pid: u32,
    },
    /// A program has joined at a shared path. [`Notice::Joined`] follows, and then the notices of any other channel.
    Admitted {
        /// The worker's channel.
        channel: ChannelId,
        /// The shared path.
        share: ShareId,
        /// The credentials of the program.
        peer: Credentials,
    },
    /// A peer was refused at a shared path.
    Refused {
        /// The shared path.
        share: ShareId,
        /// The credentials of the peer, if the system reports them.
        peer: Option<Credentials>,
        /// Why the peer was refused.
        reason: Refused,
    },
    /// A worker that has not been retired takes no more connections. Its channel ends with its last lease.
    Leaving {
        /// The worker's channel.
        channel: ChannelId,
    },
    /// A channel has ended.
    Ended {
        /// The channel.
        channel: ChannelId,
        /// Why the channel ended.
        reason: EndReason,
        /// Leases that the worker held. If the worker still runs, it may finish them.
        leases: u32,
        /// Connections that the worker had taken.
        taken: u64,
    },
    /// A connection that no worker had taken was reset.
    Shed {
        /// The connection.
        id: ConnectionId,
        /// Why the connection was reset.
        reason: ShedReason,
        /// The address of the client; `None` for a Unix socket.
        remote: Option<SocketAddr>,
        /// The local port; 0 for a Unix socket.
        local_port: u16,
        /// The time since accept.
        waited: Duration,
    },
    /// Accepting fails. Reported once per episode, which ends after ten seconds without a failure.
    AcceptError {
        /// The address of the listener.
        address: ListenerAddress,
        /// The error.
        error: SystemError,
    },
    /// A worker is out of descriptors. Reported once per episode, which ends after ten seconds with enough descriptors.
    WorkerLimit {
        /// The worker's channel.
        channel: ChannelId,
    },
    /// A connection has reached a further step. Reported only with [`crate::Config::reporting_steps`].
    Step {
        /// The connection.
        id: ConnectionId,
        /// The step.
        step: Step,
        /// The channel of the worker, if the step has one.
        channel: Option<ChannelId>,
    },
    /// The server listens for an app that asked for it.
    Listening {
        /// The app.
        app: AppId,
        /// The address.
        address: ListenerAddress,
    },
    /// The last worker of an app has closed a listener, or the app has ended.
    ListeningEnded {
        /// The app.
        app: AppId,
        /// The address.
        address: ListenerAddress,
    },
    /// The metrics of the app are asked for. The answer is [`crate::parent::metrics::AppMetrics`].
    MetricsAsked {
        /// The number of the request.
        id: u32,
        /// Whether the text is OpenMetrics.
        is_open_metrics: bool,
    },
    /// A drain is complete.
    Drained,
    /// The server's thread has panicked. All listeners and channels are closed, and no further notices follow.
    Failed {
        /// The message of the panic.
        message: String,
    },
}

/// Why a connection was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// The connection waited longer than the queue timeout.
    Timeout,
    /// The server was destroyed.
    Destroyed,
}

/// A step of a connection on its way to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The connection is in the queue.
    Accepted,
    /// The connection was sent to a worker.
    HandedOff,
    /// The worker has taken the connection.
    Taken,
    /// The worker has handed the connection back.
    HandedBack,
}

/// The error of a worker without free descriptors: recvmsg(2) succeeds without the descriptor (MSG_CTRUNC).
pub const OUT_OF_DESCRIPTORS: SystemError = SystemError {
    syscall: "recvmsg",
    errno: Errno::EMFILE,
};

/// Why a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The worker closed the channel after RETIRE or LEAVE.
    Left,
    /// The worker closed the channel without an announcement, or died.
    Lost,
    /// The parent closed the channel.
    Dismissed,
    /// The worker broke the protocol.
    Protocol(ProtocolError),
}

/// Why a peer was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The user of the peer may not join.
    #[error("the user of the peer may not join")]
    NotAllowed,
    /// The maximum number of workers has joined.
    #[error("the maximum of {limit} workers has joined")]
    Full {
        /// The maximum number of workers.
        limit: u32,
    },
    /// The peer sent no HELLO in time, or a newer pending peer evicted it.
    #[error("no HELLO in time; the limit is {limit} ms")]
    Late {
        /// The HELLO timeout in milliseconds; 0 without a timeout.
        limit: u32,
    },
    /// The first frame was not a HELLO, or has no version in common.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// The maximum number of notices about shed connections, steps and refused peers. Further ones are counted but not reported,
/// so that the mailbox of a blocked owner does not grow without bound.
const MAX_WAITING: usize = 4096;

/// The mailbox: the server's thread posts notices, the owner takes them.
pub struct Notices {
    waiting: Mutex<VecDeque<Notice>>,
    waker: Waker,
}

impl Notices {
    /// Creates a mailbox. `wake` is called on the server's thread once for all notices until the next [`Notices::take`].
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            waiting: Mutex::default(),
            waker: Waker::new(wake),
        }
    }

    /// Adds a notice and wakes the owner.
    pub fn post(&self, notice: Notice) {
        let mut waiting = self.lock();
        let can_be_dropped = matches!(
            notice,
            Notice::Shed { .. } | Notice::Step { .. } | Notice::Refused { .. }
        );
        if can_be_dropped && waiting.len() >= MAX_WAITING {
            return;
        }
        waiting.push_back(notice);
        drop(waiting);
        self.wake();
    }

    /// Wakes the owner, which takes the notices, if any. Does nothing while an earlier call is unanswered.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Returns whether the mailbox is full, so that no further peer should join.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lock().len() >= MAX_WAITING
    }

    /// Removes and returns all notices.
    pub fn take(&self) -> Vec<Notice> {
        self.waker.rearm();
        self.lock().drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        // A panic cannot break an invariant of a list of notices.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Notices")
            .field("waiting", &self.lock().len())
            .finish_non_exhaustive()
    }
}
