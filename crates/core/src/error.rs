//! Typed errors. A variant says who is at fault: the option, the system, or the peer.

use nix::errno::Errno;
use thiserror::Error;

use crate::channel::frame::{FrameError, OLDEST_VERSION};

/// A system call that failed, with its name and errno, as Node's own errors carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{syscall} {errno:?}: {}", .errno.desc())]
pub struct SystemError {
    /// The call as its man page names it.
    pub syscall: &'static str,
    /// What it set `errno` to.
    pub errno: Errno,
}

impl SystemError {
    /// Names the call that a [`nix`] error came from; made for `map_err`.
    pub fn of(syscall: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { syscall, errno }
    }

    /// The symbolic code, such as `EADDRINUSE`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{:?}", self.errno)
    }
}

/// Names the call that an error of the standard library came from.
#[must_use]
pub fn system_error(syscall: &'static str, error: &std::io::Error) -> SystemError {
    SystemError {
        syscall,
        errno: crate::sys::errno_of(error),
    }
}

/// A setting that no server can be built from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A number outside its range.
    #[error("{option} must be {expected}, not {value}")]
    OutOfRange {
        /// The option's public name.
        option: &'static str,
        /// The range in words.
        expected: &'static str,
        /// What was given.
        value: String,
    },
}

/// Why a listener could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListenError {
    /// The request itself is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system refused it.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The server is draining or has ended.
    #[error("the server no longer listens: it is draining or has ended")]
    Closed,
}

impl From<Errno> for ListenError {
    /// Told as `listen`, as Node tells every failure of it.
    fn from(errno: Errno) -> Self {
        Self::System(SystemError {
            syscall: "listen",
            errno,
        })
    }
}

/// What a channel's peer did against `PROTOCOL.md`. It always ends the channel.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first frame has to be a hello.
    #[error("the first frame was not a hello")]
    NoHello,
    /// A second hello.
    #[error("a second hello")]
    SecondHello,
    /// No version in common.
    #[error("the peer speaks versions {theirs_min} to {theirs_max}, this side speaks {OLDEST_VERSION} to {ours}")]
    Version {
        /// The oldest version that the peer speaks.
        theirs_min: u16,
        /// The newest version that the peer speaks.
        theirs_max: u16,
        /// The newest version of this side.
        ours: u16,
    },
    /// An ack or a refusal of a connection that the peer does not hold.
    #[error("connection {id} is not under way on this channel")]
    UnknownConnection {
        /// The id that the peer named.
        id: u64,
    },
    /// The return of a connection that is not leased to the peer, or was so too long ago.
    #[error("connection {id} is not leased on this channel")]
    NotLeased {
        /// The id that the peer named.
        id: u64,
    },
    /// A returned connection's descriptor is of something else.
    #[error("the descriptor returned for connection {id} is not of that connection")]
    NotTheConnection {
        /// The id that the peer named.
        id: u64,
    },
    /// More leases ended than there were.
    #[error("{ended} leases ended, {leases} were held")]
    TooManyEnded {
        /// As told by the peer.
        ended: u32,
        /// As counted here.
        leases: u32,
    },
    /// Credit beyond what a channel may hold.
    #[error("credit of {credit} is beyond the limit of {limit}")]
    TooMuchCredit {
        /// What the credit would have become.
        credit: u64,
        /// [`crate::dispatcher::credit::MAX_CREDIT`].
        limit: u32,
    },
    /// Credit on more lanes than one worker may serve.
    #[error("credit on more than {limit} lanes")]
    TooManyLanes {
        /// [`crate::dispatcher::credit::MAX_LANES`].
        limit: usize,
    },
    /// More descriptors than the frames declare, or any at all where none belong.
    #[error("descriptors arrived that no frame declares")]
    SurplusDescriptors,
    /// Fewer descriptors than the frames declare, with no truncation by the kernel to explain it.
    #[error("a frame declares {declared} descriptors, {received} arrived")]
    MissingDescriptors {
        /// As the frame says.
        declared: usize,
        /// As received.
        received: usize,
    },
    /// The scoreboard that was promised did not come or cannot be mapped.
    #[error("the scoreboard did not arrive or cannot be mapped")]
    NoScoreboard,
    /// The scoreboard says what cannot be.
    #[error("the scoreboard says what cannot be of connection {id}")]
    Scoreboard {
        /// The connection in the slot.
        id: u64,
    },
    /// A frame for what the scoreboard says.
    #[error("a frame that has no place on a channel with a scoreboard")]
    NotByFrame,
    /// A recall that was answered neither by an ack nor by a refusal.
    #[error("a recall was not answered within 5 seconds")]
    Unanswered,
    /// The stream ended within a frame.
    #[error("the channel ended within a frame")]
    CutFrame,
}
