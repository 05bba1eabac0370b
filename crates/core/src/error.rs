//! Typed errors. A variant says who is at fault: the option, the system, or the peer.

use nix::errno::Errno;
use thiserror::Error;

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
        errno: errno_of(error),
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

/// The errno of an I/O error; EIO for one that no system call made.
#[must_use]
pub fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
