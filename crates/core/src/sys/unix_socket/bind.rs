//! How a listening socket gets its name: a path appears with its rights, and with somebody who listens, all at once.

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

/// A tenth of a second in all; the lock is held for as long as a few system calls take.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// How often a path that others change at the same time is tried; one of them has it then.
const TRIES: usize = 8;

/// Binds and listens. The file, if there is one, has these permissions and at no moment wider ones; one that is there already is
/// replaced if nobody answers on it, else EADDRINUSE. It is removed when the [`OwnPath`] is dropped.
pub(crate) fn listen(name: &[u8], mode: u32, backlog: i32) -> Result<(OwnedFd, Option<OwnPath>), Errno> {
    // Before anything is made: a name that is too long.
    let address = address(name)?;
    let Some(path) = path_of(name) else {
        // It has no permissions, and goes with its socket.
        let fd = stream_socket(AddressFamily::Unix)?;
        socket::bind(fd.as_raw_fd(), &address)?;
        socket::listen(&fd, clamp_backlog(backlog)?)?;
        return Ok((fd, None));
    };
    // bind(2) makes the file with the rights that the umask leaves, and whoever connects before a chmod(2) is in. The umask
    // is the whole process's, and no thread may change it for a moment without changing it for all; fchmod(2) on the socket
    // before bind(2) helps on Linux only, and can take rights away but not give them. So it is made in a directory that
    // nobody else can enter, gets its rights there, listens, and then appears under its name all at once by link(2), which
    // replaces nothing. That it listens before it can be seen is what makes "nobody answers" a proof that it is stale.
    let private = Private::beside(path)?;
    let (fd, made) = (stream_socket(AddressFamily::Unix)?, private.file("s"));
    // By its path, as that is what ss(8) shows. If the directory was swapped the file is not found through the descriptor.
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

/// Of several that find the same stale socket, one at a time removes it and takes its place. Without the lock, which whoever may
/// only search the directory cannot have, nothing is replaced; nor for as long as somebody keeps it (flock(2)).
#[allow(
    clippy::disallowed_methods,
    reason = "flock(2) has no timeout, and nothing tells when a lock is free"
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

/// What is at `path`, if it is a socket on which nobody answers, as one is that a process has left which was killed;
/// EADDRINUSE if it is anything else, and nothing if there is nothing any more.
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

/// Removes what is at `path` if it still is what was found there. Somebody who does not know of the lock may have put another
/// in its place, so it is not removed where it is but moved to where nobody else is, and looked at again.
fn remove(path: &Path, found: &Identity, private: &Private) -> Result<(), Errno> {
    let moved = private.file("o");
    match fs::rename(path, &moved).map_err(|error| errno_of(&error)) {
        Err(Errno::ENOENT) => return Ok(()),
        done => done?,
    }
    if Identity::of(&moved)?.as_ref() == Some(found) {
        return Ok(());
    }
    // Fails if yet another has come, which then has it.
    let _ = fs::hard_link(&moved, path);
    Err(Errno::EADDRINUSE)
}

/// Which file it is, whatever it is called.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    is_socket: bool,
    device: u64,
    inode: u64,
    /// An inode's number is given to the next file; when it was made is not. Moving a file leaves it as it is.
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

/// A directory that only this user can enter, in the file system of the path in question; dropping it removes it.
///
/// Whoever else may write to the parent directory can rename this one and put another in its place; so files are reached
/// through a descriptor of the directory, on which that has no effect.
struct Private {
    path: PathBuf,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has /proc/self/fd"))]
    directory: File,
}

impl Private {
    fn beside(path: &Path) -> Result<Self, Errno> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Short, as it has to fit sun_path with a file's name behind it: what a path needs beyond its directory is 10 bytes.
        let path = mkdtemp(&parent.unwrap_or(Path::new(".")).join(".XXXXXX"))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = File::from(open(&path, flags, Mode::empty())?);
        let found = directory.metadata().map_err(|error| errno_of(&error))?;
        if found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
            return Err(Errno::EPERM);
        }
        Ok(Self { path, directory })
    }

    /// The directory that the path is in.
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

impl Drop for Private {
    fn drop(&mut self) {
        for name in ["s", "o"] {
            // Most of the time one of them is not there.
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
    fn nothing_is_replaced_while_another_has_the_lock() {
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
    fn a_directory_put_in_place_of_the_private_one_is_not_acted_upon() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let private = Private::beside(&folder.join("ctl")).unwrap();
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
    fn what_has_taken_the_place_of_a_stale_socket_meanwhile_stays_and_answers() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let path = folder.join("ctl");
        drop(UnixListener::bind(&path).unwrap());
        let stale = find_stale(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let private = Private::beside(&path).unwrap();
        assert_eq!(remove(&path, &stale, &private), Err(Errno::EADDRINUSE));
        drop(private);
        UnixStream::connect(&path).unwrap();
        assert_eq!(find_stale(&path).unwrap_err(), Errno::EADDRINUSE);
        drop(other);
        let stale = find_stale(&path).unwrap().unwrap();
        assert_eq!(remove(&path, &stale, &Private::beside(&path).unwrap()), Ok(()));
        assert_eq!(find_stale(&path), Ok(None));
        fs::remove_dir(&folder).unwrap();
    }
}
