//! Waiting for an instant, to within microseconds.
//!
//! The runtime's own timers tick once a millisecond, ten times a lone connection's whole latency on loopback.

use std::io;
use std::time::Instant;

/// Waits until intended arrivals.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Pacer {
    timer: nix::sys::timerfd::TimerFd,
    /// A second descriptor of the timer, for the runtime's poll. A timer is read like a pipe, and since tokio 1.54 a
    /// pipe's is the only constructor for other descriptors that is not unsafe.
    expirations: tokio::net::unix::pipe::Receiver,
}

#[cfg(target_os = "linux")]
impl Pacer {
    /// A pacer on the kernel's high-resolution timer, `timerfd_create(2)`.
    pub fn new() -> io::Result<Self> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        use std::os::fd::AsFd;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let second = timer.as_fd().try_clone_to_owned()?;
        let expirations = tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked(second)?;
        Ok(Self { timer, expirations })
    }

    /// Returns at `instant`, or, if that has passed, once other work has had its turn.
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

/// Waits until intended arrivals.
/// Waits until intended arrivals.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Pacer;

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// A pacer on the runtime's timer and, for the last milliseconds, on polling.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Returns at `instant`, or, if that has passed, once other work has had its turn.
    pub async fn wait_until(&self, instant: Instant) -> io::Result<()> {
        const TICKS: std::time::Duration = std::time::Duration::from_millis(2);
        let remaining = instant.saturating_duration_since(Instant::now());
        if remaining > TICKS {
            tokio::time::sleep(remaining - TICKS).await;
        }
        tokio::task::yield_now().await;
        while Instant::now() < instant {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
