//! AF_UNIX stream sockets by their names: a path, or on Linux an abstract name, which begins with NUL (unix(7)).

use std::ffi::OsStr;
use std::fs::{File, Permissions, set_permissions, symlink_metadata};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, OFlag, fcntl};
use nix::sys::socket::{self, AddressFamily, UnixAddr};

use crate::acceptor::nobody_waits;
use crate::channel;
use crate::error::SystemError;
use crate::listener::{OwnPath, clamp, stream_socket};
use crate::sys::{Os, Sys, errno_of};

/// A socket that listens for AF_UNIX streams. Dropping it stops listening and removes its path, if it made one.
#[derive(Debug)]
pub struct UnixListener {
    fd: OwnedFd,
    _path: Option<OwnPath>,
}

/// Connects. EAGAIN is a backlog that is full on Linux; nothing tells when it no longer is.
pub fn connect(name: &[u8]) -> Result<OwnedFd, SystemError> {
    let connected = || {
        let address = address(name)?;
        let fd = stream_socket(AddressFamily::Unix)?;
        socket::connect(fd.as_raw_fd(), &address)?;
        Ok(fd)
    };
    let fd = connected().map_err(SystemError::of("connect"))?;
    channel::prepare(&fd)?;
    Ok(fd)
}

impl UnixListener {
    /// Binds and listens. At a path, the socket file has these permissions and at no moment wider ones. A socket file
    /// that is there already is replaced if nobody answers on it, else EADDRINUSE. Every failure is told as `listen`, as
    /// Node tells it.
    pub fn bind(name: &[u8], mode: u32, backlog: i32) -> Result<Self, SystemError> {
        let bound = match path_of(name) {
            Some(path) => bind_path(path, mode, backlog),
            None => bind_abstract(name, backlog),
        };
        bound.map_err(SystemError::of("listen"))
    }

    /// Adopts a descriptor, which has to be one of [`crate::kind::Kind::Listener`], and leaves its path to whoever made it.
    pub fn adopt(fd: OwnedFd) -> Result<Self, SystemError> {
        let adopt = || {
            fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
        };
        adopt().map_err(SystemError::of("fcntl"))?;
        Ok(Self { fd, _path: None })
    }

    /// Accepts one; `None` if nobody has connected.
    pub fn accept(&self) -> Result<Option<OwnedFd>, SystemError> {
        match Os.accept(self.fd.as_fd()) {
            Ok(accepted) => Ok(Some(accepted.fd)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EMFILE | Errno::ENFILE) if nobody_waits(&self.fd) => Ok(None),
            Err(errno) => Err(SystemError::of("accept")(errno)),
        }
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path in a name; `None` for an abstract one.
fn path_of(name: &[u8]) -> Option<&Path> {
    (name.first() != Some(&0)).then(|| Path::new(OsStr::from_bytes(name)))
}

fn address(name: &[u8]) -> Result<UnixAddr, Errno> {
    match path_of(name) {
        Some(path) => UnixAddr::new(path),
        None => abstract_address(name),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> Result<UnixAddr, Errno> {
    UnixAddr::new_abstract(&name[1..])
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> Result<UnixAddr, Errno> {
    Err(Errno::EINVAL)
}

fn bind_abstract(name: &[u8], backlog: i32) -> Result<UnixListener, Errno> {
    let fd = stream_socket(AddressFamily::Unix)?;
    socket::bind(fd.as_raw_fd(), &abstract_address(name)?)?;
    socket::listen(&fd, clamp(backlog)?)?;
    Ok(UnixListener { fd, _path: None })
}

fn bind_path(path: &Path, mode: u32, backlog: i32) -> Result<UnixListener, Errno> {
    // Between bind and listen a socket refuses like one that nobody listens on any more. All that begin to listen in this
    // directory do so in turn, so that none of them takes another's for stale. Without the lock, which whoever may only
    // search the directory cannot have, nothing is replaced.
    let lock = lock(path.parent().filter(|parent| !parent.as_os_str().is_empty()));
    let fd = stream_socket(AddressFamily::Unix)?;
    match bind_closed(&fd, path, mode) {
        Err(Errno::EADDRINUSE) if lock.is_some() && is_stale(path) => {
            std::fs::remove_file(path).map_err(|error| errno_of(&error))?;
            bind_closed(&fd, path, mode)?;
        }
        done => done?,
    }
    let own = OwnPath::new(path);
    set_permissions(path, Permissions::from_mode(mode)).map_err(|error| errno_of(&error))?;
    socket::listen(&fd, clamp(backlog)?)?;
    drop(lock);
    Ok(UnixListener { fd, _path: own })
}

/// Binds with the permissions of `mode` or fewer: bind(2) takes them from the socket itself on Linux, less the umask.
#[cfg(target_os = "linux")]
fn bind_closed(fd: &OwnedFd, path: &Path, mode: u32) -> Result<(), Errno> {
    nix::sys::stat::fchmod(fd, nix::sys::stat::Mode::from_bits_truncate(mode))?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(path)?)
}

/// The same where sockets have no permissions of their own. The umask is the process's: what another thread creates at
/// this moment is its owner's alone, too.
#[cfg(not(target_os = "linux"))]
fn bind_closed(fd: &OwnedFd, path: &Path, _mode: u32) -> Result<(), Errno> {
    use nix::sys::stat::{Mode, umask};
    let address = UnixAddr::new(path)?;
    let before = umask(Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO);
    let bound = socket::bind(fd.as_raw_fd(), &address);
    umask(before);
    bound
}

/// Whether this is a socket that nobody listens on.
fn is_stale(path: &Path) -> bool {
    symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && connect(path.as_os_str().as_bytes()).is_err_and(|error| error.errno == Errno::ECONNREFUSED)
}

fn lock(directory: Option<&Path>) -> Option<Flock<File>> {
    let directory = File::open(directory.unwrap_or(Path::new("."))).ok()?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).ok()
}

#[cfg(test)]
mod tests {
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
    fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
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
    fn a_socket_file_never_has_more_than_its_mode() {
        let directory = Directory::new("narrow");
        let fd = stream_socket(AddressFamily::Unix).unwrap();
        bind_closed(&fd, &directory.path(), 0o600).unwrap();
        assert_eq!(mode_of(&directory.path()) & 0o177, 0);
    }

    #[test]
    fn a_socket_file_is_replaced_if_nobody_answers_on_it() {
        let directory = Directory::new("stale");
        let path = directory.path();
        // As of a process that was killed.
        let left = stream_socket(AddressFamily::Unix).unwrap();
        socket::bind(left.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        drop(left);
        let listener = bind(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), Errno::EADDRINUSE);
        connect(path.as_os_str().as_bytes()).unwrap();
        drop(listener);
        // What is no socket is never touched.
        File::create(&path).unwrap();
        assert_eq!(bind(&path).unwrap_err(), Errno::EADDRINUSE);
        assert!(path.exists());
    }

    #[test]
    fn nothing_is_replaced_while_another_begins_to_listen() {
        let directory = Directory::new("lock");
        let path = directory.path();
        let begun = stream_socket(AddressFamily::Unix).unwrap();
        socket::bind(begun.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let other = lock(Some(&directory.0)).unwrap();
        assert_eq!(bind(&path).unwrap_err(), Errno::EADDRINUSE);
        drop(other);
        assert!(bind(&path).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_no_file() {
        let name = format!("\0socketserver-{}", std::process::id());
        let listener = UnixListener::bind(name.as_bytes(), 0o600, 5).unwrap();
        connect(name.as_bytes()).unwrap();
        assert_eq!(
            UnixListener::bind(name.as_bytes(), 0o600, 5).unwrap_err().errno,
            Errno::EADDRINUSE
        );
        drop(listener);
        assert_eq!(connect(name.as_bytes()).unwrap_err().errno, Errno::ECONNREFUSED);
    }

    #[test]
    fn a_path_that_does_not_fit_an_address_is_an_error() {
        let error = connect(&[b'a'; 200]).unwrap_err();
        assert_eq!((error.syscall, error.errno), ("connect", Errno::ENAMETOOLONG));
    }
}
