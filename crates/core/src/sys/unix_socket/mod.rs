//! AF_UNIX stream sockets by name: a path, or on Linux an abstract name, which starts with NUL (unix(7)).

mod bind;
mod long_path;
mod own_path;
mod permissions;
mod private_directory;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{self, AddressFamily, UnixAddr};

pub(crate) use self::bind::listen;
pub(crate) use self::long_path::bind_long;
pub(crate) use self::own_path::OwnPath;
pub(crate) use self::permissions::add_permissions;
use crate::error::SystemError;
use crate::sys::is_backlog_empty;
use crate::sys::stream_socket;
use crate::sys::{ForeignFd, Os, Sys, prepare};

/// A listening AF_UNIX stream socket. Dropping it stops listening and removes the socket file that it created, if any.
#[derive(Debug)]
pub struct UnixListener {
    fd: ForeignFd,
    _path: Option<OwnPath>,
}

/// Connects without blocking. ENOENT and ECONNREFUSED mean that no process listens, and EAGAIN on Linux that the backlog is full,
/// in which case no event reports when it has room again.
pub fn connect(name: &[u8]) -> Result<OwnedFd, SystemError> {
    let fd = address(name)
        .and_then(|address| connect_to(&address))
        .map_err(SystemError::of("connect"))?;
    prepare(&fd)?;
    Ok(fd)
}

fn connect_to(address: &UnixAddr) -> Result<OwnedFd, Errno> {
    let fd = stream_socket(AddressFamily::Unix)?;
    socket::connect(fd.as_raw_fd(), address)?;
    Ok(fd)
}

impl UnixListener {
    /// Binds and listens. A socket file never has wider permissions than `mode`. An existing socket file is replaced if no
    /// process listens on it; otherwise the call fails with EADDRINUSE. All errors name `listen` as the system call, as Node's do.
    pub fn bind(name: &[u8], mode: u32, backlog: i32) -> Result<Self, SystemError> {
        let (fd, path) = listen(name, mode, backlog).map_err(SystemError::of("listen"))?;
        Ok(Self {
            fd: fd.into(),
            _path: path,
        })
    }

    /// Adopts a descriptor, which must be a [`crate::descriptors::kind::Kind::Listener`]. Does not remove its socket file.
    pub fn adopt(fd: OwnedFd) -> Result<Self, SystemError> {
        let adopt = || {
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        };
        adopt().map_err(SystemError::of("fcntl"))?;
        Ok(Self {
            fd: fd.into(),
            _path: None,
        })
    }

    /// Accepts a connection; `None` if the backlog is empty.
    pub fn accept(&self) -> Result<Option<OwnedFd>, SystemError> {
        match Os.accept(self.fd.as_fd()) {
            Ok(accepted) => Ok(Some(accepted.fd)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EMFILE | Errno::ENFILE) if is_backlog_empty(&self.fd) => Ok(None),
            Err(errno) => Err(SystemError::of("accept")(errno)),
        }
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the path in a name; `None` for an abstract name.
fn path_of(name: &[u8]) -> Option<&Path> {
    (name.first() != Some(&0)).then(|| Path::new(OsStr::from_bytes(name)))
}

/// Returns the address of a path or an abstract name; ENAMETOOLONG for more than 107 bytes (103 on macOS).
pub(crate) fn address(name: &[u8]) -> Result<UnixAddr, Errno> {
    match name {
        // The kernel would choose a name (unix(7), autobind).
        [] | [0] => Err(Errno::EINVAL),
        [0, name @ ..] => abstract_address(name),
        path => UnixAddr::new(path),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> Result<UnixAddr, Errno> {
    UnixAddr::new_abstract(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> Result<UnixAddr, Errno> {
    Err(Errno::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("socketserver-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("socket")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn bind(path: &Path) -> Result<UnixListener, Errno> {
        UnixListener::bind(path.as_os_str().as_bytes(), 0o600, 5).map_err(|error| error.errno)
    }

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_socket_file_has_its_mode_and_is_removed_with_its_listener() {
        let directory = Directory::new("mode");
        let path = directory.path();
        for mode in [0o600, 0o660, 0o666, 0o000] {
            let listener = UnixListener::bind(path.as_os_str().as_bytes(), mode, 5).unwrap();
            assert_eq!(mode_of(&path), mode);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_socket_file_is_replaced_if_no_process_listens_on_it() {
        let directory = Directory::new("stale");
        let path = directory.path();
        // A killed process leaves such a file.
        let left = stream_socket(AddressFamily::Unix).unwrap();
        socket::bind(left.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        drop(left);
        let listener = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), Errno::EADDRINUSE);
        connect(path.as_os_str().as_bytes()).unwrap();
        drop(listener);
        // Other files are never replaced.
        File::create(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), Errno::EADDRINUSE);
        assert!(path.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_has_no_file() {
        let name = format!("\0socketserver-{}", std::process::id());
        let listener = UnixListener::bind(name.as_bytes(), 0o600, 5).unwrap();
        connect(name.as_bytes()).unwrap();
        assert_eq!(
            UnixListener::bind(name.as_bytes(), 0o600, 5).unwrap_err().errno,
            Errno::EADDRINUSE
        );
        drop(listener);
        crate::sys::closer::settle(std::time::Duration::from_secs(10));
        assert_eq!(connect(name.as_bytes()).unwrap_err().errno, Errno::ECONNREFUSED);
    }

    #[test]
    fn a_path_that_does_not_fit_an_address_is_an_error() {
        let error = connect(&[b'a'; 200]).unwrap_err();
        assert_eq!((error.syscall, error.errno), ("connect", Errno::ENAMETOOLONG));
    }
}
