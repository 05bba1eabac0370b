//! A timer that tokio's epoll set can watch (timerfd_create(2)).

use std::os::fd::{AsFd, AsRawFd};

use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::watch::register;
use crate::error::SystemError;

/// The descriptor of a timer.
#[derive(Debug)]
pub struct TimerFile(TimerFd);

impl TimerFile {
    /// Returns the timer.
    #[must_use]
    pub fn timer(&self) -> &TimerFd {
        &self.0
    }
}

#[allow(clippy::disallowed_types, reason = "AsyncFd requires AsRawFd")]
impl AsRawFd for TimerFile {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Creates a disarmed timer on the monotonic clock, and watches it.
pub fn watch_timer() -> Result<AsyncFd<TimerFile>, SystemError> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(SystemError::of("timerfd_create"))?;
    register(TimerFile(timer), Interest::READABLE).map_err(SystemError::of("epoll_ctl"))
}
