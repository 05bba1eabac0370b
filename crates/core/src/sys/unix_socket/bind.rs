//! Binds a listening socket to its name. A path appears atomically, with its permissions and with a process that listens.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, renameat};
use nix::libc::{self, mode_t};
use nix::sys::socket::{self, AddressFamily, UnixAddr};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::linkat;

use super::private_directory::PrivateDirectory;
use super::{address, connect_to, path_of};
use crate::sys::unix_socket::OwnPath;
use crate::sys::{clamp_backlog, stream_socket};

/// A tenth of a second in total. The lock is held for the time of a few system calls.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The maximum number of attempts if other processes change the path at the same time.
const TRIES: usize = 8;

/// Binds and listens. A socket file never has wider permissions than `mode`. An existing socket file is replaced if no process
/// listens on it; otherwise the call fails with EADDRINUSE. Dropping the [`OwnPath`] removes the file.
pub(crate) fn listen(name: &[u8], mode: u32, backlog: i32) -> Result<(OwnedFd, Option<OwnPath>), Errno> {
    // Check the length of the name before any file is created.
    let address = address(name)?;
    let Some(path) = path_of(name) else {
        // An abstract name has no permissions and disappears with its socket.
        let fd = stream_socket(AddressFamily::Unix)?;
        socket::bind(fd.as_raw_fd(), &address)?;
        socket::listen(&fd, clamp_backlog(backlog)?)?;
        return Ok((fd, None));
    };
    // bind(2) creates the file with the permissions that the umask allows, and a client could connect before chmod(2). The
    // umask belongs to the whole process, so a thread cannot change it for itself. fchmod(2) on the socket before bind(2)
    // works on Linux only, and can only remove permissions. So the file is created in a directory that no other user can
    // enter, gets its permissions there, and the socket listens. Then link(2), which replaces nothing, creates the name. As
    // the socket listens before the name exists, a name on which no process listens is stale.
    let private = PrivateDirectory::beside(path)?;
    let fd = stream_socket(AddressFamily::Unix)?;
    socket::bind(fd.as_raw_fd(), &private.socket_address()?)?;
    // Only this user can create files in the directory, so the name is no symbolic link.
    let mode = Mode::from_bits_truncate(mode_t::try_from(mode).map_err(|_| Errno::EINVAL)?);
    fchmodat(&private, PrivateDirectory::SOCKET, mode, FchmodatFlags::FollowSymlink)?;
    socket::listen(&fd, clamp_backlog(backlog)?)?;
    let mut lock = None;
    for _ in 0..TRIES {
        match linkat(&private, PrivateDirectory::SOCKET, AT_FDCWD, path, AtFlags::empty()) {
            Ok(()) => return Ok((fd, OwnPath::new(path))),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        if lock.is_none() {
            lock = Some(lock_directory(private.parent())?);
        }
        if let Some(stale) = find_stale(path)? {
            remove(path, &stale, &private)?;
        }
    }
    Err(Errno::EADDRINUSE)
}

/// Locks a directory, so that only one process at a time replaces a stale socket in it. Fails with EADDRINUSE if this process
/// may not read the directory, or while another process holds the lock (flock(2)).
#[allow(
    clippy::disallowed_methods,
    reason = "flock(2) has no timeout, and no event reports that a lock is free"
)]
fn lock_directory(directory: &Path) -> Result<Flock<File>, Errno> {
    let mut directory = File::open(directory).map_err(|_| Errno::EADDRINUSE)?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((unlocked, _)) => directory = unlocked,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(Errno::EADDRINUSE)
}

/// Returns the socket file at `path` if no process listens on it, as after a process was killed. Returns `None` if there is no
/// file, and fails with EADDRINUSE for any other file.
fn find_stale(path: &Path) -> Result<Option<Identity>, Errno> {
    let Some(found) = Identity::of(AT_FDCWD, path)? else {
        return Ok(None);
    };
    match UnixAddr::new(path).and_then(|address| connect_to(&address)) {
        Err(Errno::ECONNREFUSED) if found.is_socket => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        _ => Err(Errno::EADDRINUSE),
    }
}

/// Removes the file at `path` if it is still the file that was found. A process without the lock may have replaced it, so the
/// file is moved to the private directory first, and compared there.
fn remove(path: &Path, found: &Identity, private: &PrivateDirectory) -> Result<(), Errno> {
    match renameat(AT_FDCWD, path, private, PrivateDirectory::OTHER) {
        Err(Errno::ENOENT) => return Ok(()),
        done => done?,
    }
    if Identity::of(private.as_fd(), Path::new(PrivateDirectory::OTHER))?.as_ref() == Some(found) {
        return Ok(());
    }
    // Restore the other file. Fails if a third process has created a file, which then stays.
    let _ = linkat(private, PrivateDirectory::OTHER, AT_FDCWD, path, AtFlags::empty());
    Err(Errno::EADDRINUSE)
}

/// Identifies a file independently of its name.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    is_socket: bool,
    file: (libc::dev_t, libc::ino_t),
    /// Distinguishes files that reuse an inode number. A rename does not change it.
    modified: (i64, i64),
}

impl Identity {
    fn of(directory: BorrowedFd<'_>, path: &Path) -> Result<Option<Self>, Errno> {
        let found: FileStat = match fstatat(directory, path, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found?,
        };
        Ok(Some(Self {
            is_socket: SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK,
            file: (found.st_dev, found.st_ino),
            modified: (found.st_mtime, found.st_mtime_nsec),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::unistd::mkdtemp;

    use super::*;

    #[test]
    fn a_stale_socket_is_not_replaced_while_another_process_has_the_lock() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let path = folder.join("ctl");
        drop(UnixListener::bind(&path).unwrap());
        let begin = || listen(path.as_os_str().as_bytes(), 0o600, 5).map(drop);
        let lock = lock_directory(&folder).unwrap();
        assert_eq!(begin(), Err(Errno::EADDRINUSE));
        drop(lock);
        assert_eq!(begin(), Ok(()));
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_socket_that_has_replaced_a_stale_one_stays() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let path = folder.join("ctl");
        drop(UnixListener::bind(&path).unwrap());
        let stale = find_stale(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let private = PrivateDirectory::beside(&path).unwrap();
        assert_eq!(remove(&path, &stale, &private), Err(Errno::EADDRINUSE));
        drop(private);
        UnixStream::connect(&path).unwrap();
        assert_eq!(find_stale(&path).unwrap_err(), Errno::EADDRINUSE);
        drop(other);
        let stale = find_stale(&path).unwrap().unwrap();
        assert_eq!(remove(&path, &stale, &PrivateDirectory::beside(&path).unwrap()), Ok(()));
        assert_eq!(find_stale(&path), Ok(None));
        fs::remove_dir(&folder).unwrap();
    }
}
