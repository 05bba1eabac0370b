//! A channel: the AF_UNIX stream between the parent and one worker.

pub mod reader;
pub mod scoreboard;

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::SystemError;
use crate::sys::socket_pair;

/// Returns the parent's end and the worker's end of a new channel. The parent's end is non-blocking. Both are close-on-exec:
/// a process that inherits the peer's end never reads the end of the stream.
pub fn pair() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (parent, worker) = socket_pair()?;
    fcntl(&parent, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(SystemError::of("fcntl"))?;
    Ok((parent, worker))
}
