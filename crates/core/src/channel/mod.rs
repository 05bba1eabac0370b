//! A channel: the AF_UNIX stream between the parent and one worker, the same on Linux and macOS.

pub mod reader;
pub mod scoreboard;

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::SystemError;
use crate::sys::socket_pair;

/// The two ends of a new channel: the parent's, which never blocks, and the worker's, which does. Both are
/// close-on-exec: a child that inherited the other end of a channel would never see it end.
pub fn pair() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (parent, worker) = socket_pair()?;
    fcntl(&parent, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(SystemError::of("fcntl"))?;
    Ok((parent, worker))
}
