//! Changes the permissions of a socket file.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::geteuid;

/// Gives further users access to the socket file of this user at `path`. Fails with EPERM for any other file, for example a
/// symbolic link, by which another user who may write to the directory can have replaced the socket file.
pub(crate) fn add_permissions(path: &Path, added: Mode) -> Result<(), Errno> {
    change(path, |found| {
        let is_socket = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK;
        if !is_socket || found.st_uid != geteuid().as_raw() {
            return Err(Errno::EPERM);
        }
        Ok(Mode::from_bits_truncate(found.st_mode) | added)
    })
}

/// Changes the mode of the file that was checked, even if the path now leads to another file.
#[cfg(target_os = "linux")]
fn change(path: &Path, check: impl FnOnce(&FileStat) -> Result<Mode, Errno>) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::{FchmodatFlags, fchmodat, fstat};

    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    let mode = check(&fstat(&file)?)?;
    // fchmod(2) refuses a descriptor of O_PATH, and fchmodat(2) has AT_SYMLINK_NOFOLLOW only since glibc 2.32.
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    fchmodat(AT_FDCWD, by_descriptor.as_str(), mode, FchmodatFlags::FollowSymlink)
}

/// Changes the mode of the file that was checked, or of one that has replaced it, but of no target of a symbolic link.
#[cfg(not(target_os = "linux"))]
fn change(path: &Path, check: impl FnOnce(&FileStat) -> Result<Mode, Errno>) -> Result<(), Errno> {
    use nix::sys::stat::{FchmodatFlags, fchmodat, lstat};

    let mode = check(&lstat(path)?)?;
    fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkdtemp;

    use super::*;

    #[test]
    fn only_a_socket_file_gets_further_permissions() {
        let folder = mkdtemp(&std::env::temp_dir().join("ss-XXXXXX")).unwrap();
        let [socket, other, link, file] = ["socket", "other", "link", "file"].map(|name| folder.join(name));
        let _listeners = [&socket, &other].map(|path| UnixListener::bind(path).unwrap());
        symlink(&other, &link).unwrap();
        File::create(&file).unwrap();
        for path in [&socket, &other, &file] {
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
        let added = Mode::from_bits_truncate(0o222);
        assert_eq!(add_permissions(&socket, added), Ok(()));
        assert_eq!(add_permissions(&link, added), Err(Errno::EPERM));
        assert_eq!(add_permissions(&file, added), Err(Errno::EPERM));
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([&socket, &other, &file].map(mode), [0o622, 0o600, 0o600]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
