//! Binding to a path that does not fit into `sun_path`. Its clients name it by a shorter, relative path.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{self, UnixAddr};

/// Binds by the descriptor of the directory, which has a short name in proc(5).
#[cfg(target_os = "linux")]
pub(crate) fn bind_long(fd: &OwnedFd, path: &Path) -> Result<(), Errno> {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::OFlag;

    use crate::error::errno_of;

    let (Some(directory), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ENAMETOOLONG);
    };
    let directory = std::fs::File::options()
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
        .open(directory)
        .map_err(|error| errno_of(&error))?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(file);
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(&short)?)
}

/// Binds by the path relative to the working directory, if that fits.
#[cfg(not(target_os = "linux"))]
pub(crate) fn bind_long(fd: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let directory = std::env::current_dir().map_err(|_| Errno::ENAMETOOLONG)?;
    let short = path.strip_prefix(directory).map_err(|_| Errno::ENAMETOOLONG)?;
    socket::bind(fd.as_raw_fd(), &UnixAddr::new(short)?)
}
