//! Error types. Each names the cause: an option, the operating system, or the peer.

use nix::errno::Errno;
use thiserror::Error;

/// A failed system call, with the call and the errno, as in Node's own errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{syscall} {errno:?}: {}", .errno.desc())]
pub struct SystemError {
    /// The name of the call, as in its man page.
    pub syscall: &'static str,
    /// The error number.
    pub errno: Errno,
}

impl SystemError {
    /// Returns a function for `map_err` that adds the name of the call to a [`nix`] error.
    pub fn of(syscall: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { syscall, errno }
    }

    /// Returns the symbolic code, such as `EADDRINUSE`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{:?}", self.errno)
    }
}

/// Adds the name of the call to an error of the standard library.
#[must_use]
pub fn system_error(syscall: &'static str, error: &std::io::Error) -> SystemError {
    SystemError {
        syscall,
        errno: errno_of(error),
    }
}

/// An invalid setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A number outside its range.
    #[error("{option} must be {expected}, not {value}")]
    OutOfRange {
        /// The public name of the option.
        option: &'static str,
        /// The range, in words.
        expected: &'static str,
        /// The invalid value.
        value: String,
    },
}

/// Why a server cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListenError {
    /// An option is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The server is draining or has ended.
    #[error("the server no longer listens: it is draining or has ended")]
    Closed,
}

impl From<Errno> for ListenError {
    /// Uses `listen` as the system call, as Node does for every step of listening.
    fn from(errno: Errno) -> Self {
        Self::System(SystemError {
            syscall: "listen",
            errno,
        })
    }
}

/// Returns the errno of an I/O error; EIO if the error did not come from a system call.
#[must_use]
pub fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
