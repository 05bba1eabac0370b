//! The name of a shared path: a file's, or, on Linux, one that is in no file system.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, UnixAddr, connect};

use crate::error::SystemError;
use crate::listener::stream_socket;

/// Where a Unix socket can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// In the file system.
    File(&'a Path),
    /// In the abstract namespace of Linux, without the null byte that it begins with.
    Abstract(&'a [u8]),
}

impl<'a> Name<'a> {
    /// Reads a name. Only Linux has names that begin with a null byte.
    pub fn of(path: &'a Path) -> Result<Self, Errno> {
        match path.as_os_str().as_bytes() {
            [] => Err(Errno::EINVAL),
            [0, ..] if cfg!(not(target_os = "linux")) => Err(Errno::EOPNOTSUPP),
            // Without more than the null byte the kernel would choose a name (unix(7), autobind).
            [0] => Err(Errno::EINVAL),
            [0, name @ ..] => Ok(Self::Abstract(name)),
            _ => Ok(Self::File(path)),
        }
    }

    /// What bind(2) and connect(2) take; ENAMETOOLONG for more than 107 bytes (103 on macOS).
    pub(super) fn address(self) -> Result<UnixAddr, Errno> {
        match self {
            Self::File(path) => UnixAddr::new(path),
            #[cfg(target_os = "linux")]
            Self::Abstract(name) => UnixAddr::new_abstract(name),
            #[cfg(not(target_os = "linux"))]
            Self::Abstract(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Connects, without waiting: a listener whose backlog is full says EAGAIN.
    pub(super) fn connect(self) -> Result<OwnedFd, Errno> {
        let socket = stream_socket(AddressFamily::Unix)?;
        connect(socket.as_raw_fd(), &self.address()?)?;
        Ok(socket)
    }
}

/// Connects to a shared path, to become a worker there: what comes back is the worker's end of a channel. It does not wait:
/// ENOENT and ECONNREFUSED say that nobody is there, EAGAIN that too many others wait to be let in.
pub fn dial(path: &Path) -> Result<OwnedFd, SystemError> {
    Name::of(path)
        .and_then(Name::connect)
        .map_err(SystemError::of("connect"))
}
