//! A private directory beside the path of a socket, in which the socket file is prepared.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::UnixAddr;
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::{UnlinkatFlags, geteuid, mkdtemp, unlinkat};

/// A directory that only this user can enter, in the file system of the socket file. Dropping it removes the directory.
///
/// Another user who may write to the parent directory can replace this directory, for example by a symbolic link. So files are
/// accessed through a descriptor, which then still refers to the original.
#[derive(Debug)]
pub(super) struct PrivateDirectory {
    path: PathBuf,
    directory: OwnedFd,
}

impl PrivateDirectory {
    /// The name of the socket file. A short name, because the path with the name must fit into `sun_path`: 10 bytes more than
    /// the parent directory.
    pub(super) const SOCKET: &'static str = "s";
    /// The name of a file that was moved here.
    pub(super) const OTHER: &'static str = "o";

    /// Creates a directory beside `path`.
    pub(super) fn beside(path: &Path) -> Result<Self, Errno> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = mkdtemp(&parent.unwrap_or(Path::new(".")).join(".XXXXXX"))?;
        let directory = open(&path, FLAGS, Mode::empty())?;
        let found = fstat(&directory)?;
        if found.st_uid != geteuid().as_raw() || Mode::from_bits_truncate(found.st_mode).intersects(OTHERS) {
            return Err(Errno::EPERM);
        }
        Ok(Self { path, directory })
    }

    /// Returns the parent directory, which is that of the socket file.
    pub(super) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Returns the address to bind the socket to. `ss(8)` shows the address, so it is the path unless another user could replace
    /// the directory. macOS, and Linux without proc(5), have only the path: then the socket file can appear in a directory of
    /// the other user, but `fchmodat(2)` and `linkat(2)` do not find it.
    pub(super) fn socket_address(&self) -> Result<UnixAddr, Errno> {
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()));
        let is_path_safe = !cfg!(target_os = "linux") || is_safe(self.parent())?;
        let directory = if is_path_safe || !by_descriptor.exists() {
            &self.path
        } else {
            &by_descriptor
        };
        UnixAddr::new(&directory.join(Self::SOCKET))
    }
}

impl AsFd for PrivateDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        for name in [Self::SOCKET, Self::OTHER] {
            // Fails if the file does not exist.
            let _ = unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir);
        }
        // Fails if the directory was replaced by anything but an empty directory.
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Opens a directory for the calls that act through it.
#[cfg(target_os = "linux")]
const FLAGS: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
#[cfg(not(target_os = "linux"))]
const FLAGS: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The permissions of all but the owner.
const OTHERS: Mode = Mode::S_IRWXG.union(Mode::S_IRWXO);

/// Returns whether no other user than root can replace entries of this user in a directory.
fn is_safe(directory: &Path) -> Result<bool, Errno> {
    let found = stat(directory)?;
    let is_shared = Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH);
    let is_sticky = Mode::from_bits_truncate(found.st_mode).contains(Mode::S_ISVTX);
    Ok([0, geteuid().as_raw()].contains(&found.st_uid) && (!is_shared || is_sticky))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::socket::{AddressFamily, bind};
    use nix::sys::stat::{FchmodatFlags, fchmodat};

    use super::*;
    use crate::sys::stream_socket;

    /// A directory that every user may write to.
    struct Shared(PathBuf);

    impl Shared {
        fn new() -> Self {
            let path = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            Self(path)
        }

        /// Replaces a private directory as another user could.
        fn replace(&self, private: &PrivateDirectory, target: &Path) {
            fs::rename(&private.path, self.0.join("away")).unwrap();
            symlink(target, &private.path).unwrap();
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn files_in_a_directory_that_replaces_the_private_one_are_not_changed() {
        let shared = Shared::new();
        let private = PrivateDirectory::beside(&shared.0.join("ctl")).unwrap();
        let target = shared.0.join("target");
        fs::create_dir(&target).unwrap();
        let victim = target.join(PrivateDirectory::SOCKET);
        File::create(&victim).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        shared.replace(&private, &target);
        let mode = Mode::from_bits_truncate(0o666);
        assert!(fchmodat(&private, PrivateDirectory::SOCKET, mode, FchmodatFlags::FollowSymlink).is_err());
        assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, 0o600);
        drop(private);
        assert!(victim.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_socket_file_appears_in_a_directory_that_replaces_the_private_one() {
        let shared = Shared::new();
        let private = PrivateDirectory::beside(&shared.0.join("ctl")).unwrap();
        let target = shared.0.join("target");
        fs::create_dir(&target).unwrap();
        shared.replace(&private, &target);
        let socket = stream_socket(AddressFamily::Unix).unwrap();
        bind(socket.as_raw_fd(), &private.socket_address().unwrap()).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        assert!(shared.0.join("away").join(PrivateDirectory::SOCKET).exists());
    }

    #[test]
    fn a_socket_in_a_directory_of_its_user_is_bound_by_its_path() {
        let shared = Shared::new();
        for mode in [0o755, 0o1777] {
            fs::set_permissions(&shared.0, Permissions::from_mode(mode)).unwrap();
            let private = PrivateDirectory::beside(&shared.0.join("ctl")).unwrap();
            let expected = private.path.join(PrivateDirectory::SOCKET);
            assert_eq!(private.socket_address().unwrap().path(), Some(expected.as_path()));
        }
    }
}
