//! Binds a listening socket to its name. A path appears atomically, with its permissions and with a process that listens.

use std::fs::{self, File, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::socket::{self, AddressFamily, UnixAddr};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkdtemp};

use super::{address, connect_to, path_of};
use crate::error::errno_of;
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
    let (fd, made) = (stream_socket(AddressFamily::Unix)?, private.file("s"));
    // Bind by path, which ss(8) shows. If the directory was replaced, the file is not found through the descriptor.
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(&private.path.join("s"))?)?;
    fs::set_permissions(&made, Permissions::from_mode(mode)).map_err(|error| errno_of(&error))?;
    socket::listen(&fd, clamp_backlog(backlog)?)?;
    let mut lock = None;
    for _ in 0..TRIES {
        match fs::hard_link(&made, path).map_err(|error| errno_of(&error)) {
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
    let Some(found) = Identity::of(path)? else {
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
    let moved = private.file("o");
    match fs::rename(path, &moved).map_err(|error| errno_of(&error)) {
        Err(Errno::ENOENT) => return Ok(()),
        done => done?,
    }
    if Identity::of(&moved)?.as_ref() == Some(found) {
        return Ok(());
    }
    // Restore the other file. Fails if a third process has created a file, which then stays.
    let _ = fs::hard_link(&moved, path);
    Err(Errno::EADDRINUSE)
}

/// Identifies a file independently of its name.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    is_socket: bool,
    device: u64,
    inode: u64,
    /// Distinguishes files that reuse an inode number. A rename does not change it.
    modified: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> Result<Option<Self>, Errno> {
        let file = match fs::symlink_metadata(path) {
            Ok(file) => file,
            Err(error) if errno_of(&error) == Errno::ENOENT => return Ok(None),
            Err(error) => return Err(errno_of(&error)),
        };
        Ok(Some(Self {
            is_socket: file.file_type().is_socket(),
            device: file.dev(),
            inode: file.ino(),
            modified: (file.mtime(), file.mtime_nsec()),
        }))
    }
}

/// A directory that only this user can enter, in the file system of the socket file. Dropping it removes the directory.
///
/// Another user who may write to the parent directory can replace this directory. So files are accessed through a descriptor of
/// the directory, which then still refers to the original.
struct PrivateDirectory {
    path: PathBuf,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has /proc/self/fd"))]
    directory: File,
}

impl PrivateDirectory {
    fn beside(path: &Path) -> Result<Self, Errno> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // A short name, because the path with a file name must fit into sun_path: 10 bytes more than the directory.
        let path = mkdtemp(&parent.unwrap_or(Path::new(".")).join(".XXXXXX"))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = File::from(open(&path, flags, Mode::empty())?);
        let found = directory.metadata().map_err(|error| errno_of(&error))?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(Errno::EPERM);
        }
        Ok(Self { path, directory })
    }

    /// Returns the directory of the socket file.
    fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn file(&self, name: &str) -> PathBuf {
        #[cfg(target_os = "linux")]
        if Path::new("/proc/self/fd").exists() {
            return PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).join(name);
        }
        self.path.join(name)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        for name in ["s", "o"] {
            // Fails if the file does not exist.
            let _ = fs::remove_file(self.file(name));
        }
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{UnixListener, UnixStream};

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

    #[cfg(target_os = "linux")]
    #[test]
    fn files_in_a_directory_that_replaces_the_private_one_are_not_changed() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let private = PrivateDirectory::beside(&folder.join("ctl")).unwrap();
        let victim = folder.join("victim");
        File::create(&victim).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        fs::rename(&private.path, folder.join("away")).unwrap();
        fs::create_dir(&private.path).unwrap();
        std::os::unix::fs::symlink(&victim, private.path.join("s")).unwrap();
        assert!(fs::set_permissions(private.file("s"), Permissions::from_mode(0o666)).is_err());
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
        drop(private);
        fs::remove_dir_all(&folder).unwrap();
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
