//! A timer with microsecond precision.
//!
//! The timers of tokio have a resolution of 1 ms, ten times the latency of a single connection on loopback.

use std::io;
use std::time::Instant;

/// Waits for instants.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Pacer {
    timer: nix::sys::timerfd::TimerFd,
    /// A duplicate of the timer descriptor, registered with the runtime. A timerfd is read like a pipe, and since tokio
    /// 1.54 this constructor of a pipe is the only safe one for other descriptors.
    expirations: tokio::net::unix::pipe::Receiver,
}

#[cfg(target_os = "linux")]
impl Pacer {
    /// Creates a pacer that uses the high-resolution timer of timerfd_create(2).
    pub fn new() -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use std::os::fd::AsFd;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let duplicate = timer.as_fd().try_clone_to_owned()?;
        let expirations = tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked(duplicate)?;
        Ok(Self { timer, expirations })
    }

    /// Returns at `instant`. If `instant` has passed, yields to other tasks once.
    pub async fn wait_until(&self, instant: Instant) -> io::Result<()> {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
        let remaining = instant.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        self.timer
            .set(Expiration::OneShot(remaining.into()), TimerSetTimeFlags::empty())?;
        loop {
            self.expirations.readable().await?;
            match self.expirations.try_read(&mut [0; 8]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(drop),
            }
        }
    }
}

/// Waits for instants.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Pacer;

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// Creates a pacer that uses the timer of the runtime and polls for the last 2 ms.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns at `instant`. If `instant` has passed, yields to other tasks once.
    pub async fn wait_until(&self, instant: Instant) -> io::Result<()> {
        const POLLED: std::time::Duration = std::time::Duration::from_millis(2);
        let remaining = instant.saturating_duration_since(Instant::now());
        if remaining > POLLED {
            tokio::time::sleep(remaining - POLLED).await;
        }
        tokio::task::yield_now().await;
        while Instant::now() < instant {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
