//! What the server reports to its owner, in order: a bounded mailbox that wakes the owner.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use crate::error::SystemError;
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::ids::ShareId;
use crate::parent::listener::ListenerAddress;
use crate::protocol::ProtocolError;
use crate::sys::Credentials;
use crate::waker::Waker;

/// Something that the owner may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A worker has said hello.
    Joined {
        /// Its channel.
        channel: ChannelId,
        /// The process id that it named.
        pid: u32,
    },
    /// A program has joined at a shared path, and what follows of its channel is as of any other; [`Notice::Joined`] comes
    /// next.
    Admitted {
        /// Its channel.
        channel: ChannelId,
        /// Where.
        share: ShareId,
        /// Who.
        peer: Credentials,
    },
    /// What connected to a shared path was turned away.
    Refused {
        /// Where.
        share: ShareId,
        /// Who, as far as the system says.
        peer: Option<Credentials>,
        /// Why.
        reason: Refused,
    },
    /// A worker that has not been retired takes no more connections; its channel ends with its last lease.
    Leaving {
        /// Its channel.
        channel: ChannelId,
    },
    /// A channel is over.
    Ended {
        /// Which.
        channel: ChannelId,
        /// Why.
        reason: EndReason,
        /// Leases that its worker held then: what they are worth to their clients now is the worker's own end to tell.
        leases: u32,
        /// Connections that its worker had taken.
        taken: u64,
    },
    /// A connection that no worker had was reset.
    Shed {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: ShedReason,
        /// Its client; `None` for a Unix socket.
        remote: Option<SocketAddr>,
        /// The port it came in by; 0 for a Unix socket.
        local_port: u16,
        /// How long it waited.
        waited: Duration,
    },
    /// Accepting fails for lack of descriptors or memory. Said once, until it has worked for ten seconds.
    AcceptError {
        /// The listener.
        address: ListenerAddress,
        /// What accept says.
        error: SystemError,
    },
    /// A worker is out of descriptors. Said once, until it has had enough for ten seconds.
    WorkerLimit {
        /// Its channel.
        channel: ChannelId,
    },
    /// A connection has come a step further; only if the configuration has asked for it.
    Step {
        /// Which.
        id: ConnectionId,
        /// How far.
        step: Step,
        /// The channel that it was handed to, or back from.
        channel: Option<ChannelId>,
    },
    /// A drain is complete.
    Drained,
    /// The server's thread has panicked. It has closed everything, and nothing more happens.
    Failed {
        /// What the panic said.
        message: String,
    },
}

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// It had waited too long.
    Timeout,
    /// The server ended at once.
    Destroyed,
}

/// How far a connection has come in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is in the queue.
    Accepted,
    /// It has been sent to a worker.
    HandedOff,
    /// That worker has taken it.
    Taken,
    /// That worker has handed it back.
    HandedBack,
}

/// What a worker without descriptors meets: its recvmsg(2) succeeds, and the descriptor is gone (MSG_CTRUNC).
pub const OUT_OF_DESCRIPTORS: SystemError = SystemError {
    syscall: "recvmsg",
    errno: Errno::EMFILE,
};

/// Why a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The worker closed it after it had been retired or had said that it leaves.
    Left,
    /// The worker closed it, or died, unannounced.
    Lost,
    /// The parent ended it.
    Dismissed,
    /// The worker broke the protocol.
    Protocol(ProtocolError),
}

/// Why a peer was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// Its user may not join there.
    #[error("its user may not join here")]
    NotAllowed,
    /// As many as may join there have.
    #[error("as many workers as may join have joined: {limit}")]
    Full {
        /// How many may.
        limit: u32,
    },
    /// It said no hello in time, or before others came that needed its place.
    #[error("it said no hello in time, which is {limit} ms")]
    Late {
        /// Milliseconds; 0 if its place alone was the limit.
        limit: u32,
    },
    /// What it said first was no hello, or one of another version.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Shed connections, steps and refused peers beyond this are counted but no longer told one by one, as an owner that is stuck
/// must not make this grow without bound.
const MAX_TOLD: usize = 4096;

/// The mailbox: the server's thread posts, the owner takes.
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

    /// Adds one.
    pub fn post(&self, notice: Notice) {
        let mut waiting = self.lock();
        let can_be_left_out = matches!(
            notice,
            Notice::Shed { .. } | Notice::Step { .. } | Notice::Refused { .. }
        );
        if can_be_left_out && waiting.len() >= MAX_TOLD {
            return;
        }
        waiting.push_back(notice);
        drop(waiting);
        self.waker.wake();
    }

    /// Whether the owner is so far behind that nobody should join who then has to be told of.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.lock().len() >= MAX_TOLD
    }

    /// Takes all.
    pub fn take(&self) -> Vec<Notice> {
        self.waker.rearm();
        self.lock().drain(..).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        // A list of notices has no invariant that a panic could break.
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
