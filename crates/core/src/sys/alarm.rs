//! Wakes the dispatcher at a deadline or earlier.
//!
//! The dispatcher checks each handoff within a millisecond, but another event usually wakes the dispatcher earlier. A deadline
//! that is the timeout of epoll_wait(2) is armed and disarmed at every sleep. If it is the nearest deadline of its CPU, the
//! kernel writes it to the timer hardware each time, which in a virtual machine traps to the hypervisor: 20 of 115 us per
//! connection with one client. So an armed alarm stays armed, and is armed at most once per millisecond.

use std::time::Instant;

use crate::error::SystemError;

/// A timer that is armed only for earlier deadlines than before.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    armed_for: Option<Instant>,
}

impl Alarm {
    /// Creates a disarmed alarm. Call this within the tokio runtime whose tasks will wait for the alarm.
    pub fn new() -> Result<Self, SystemError> {
        Ok(Self {
            timer: Timer::new()?,
            armed_for: None,
        })
    }

    /// Waits until `due`, or until an earlier deadline of a previous call. Waits forever if there is neither.
    pub async fn wait(&mut self, due: Option<Instant>) {
        if let Some(due) = due
            && self.armed_for.is_none_or(|armed_for| due < armed_for)
        {
            self.timer.arm(due);
            self.armed_for = Some(due);
        }
        if self.armed_for.is_some() {
            self.timer.expired().await;
            self.armed_for = None;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(target_os = "linux")]
use linux::Timer;
#[cfg(not(target_os = "linux"))]
use other::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::future::poll_fn;
    use std::time::{Duration, Instant};

    use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    use crate::error::SystemError;
    use crate::sys;
    use crate::sys::TimerFile;

    /// A timerfd that tokio's epoll set watches.
    #[derive(Debug)]
    pub struct Timer(AsyncFd<TimerFile>);

    impl Timer {
        pub fn new() -> Result<Self, SystemError> {
            sys::watch_timer().map(Self)
        }

        pub fn arm(&mut self, due: Instant) {
            // 0 would disarm the timer.
            let left = due
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1));
            let once = Expiration::OneShot(left.into());
            // Fails only for a descriptor that is not a timer, and for more than 2^63 seconds.
            let _ = self.0.get_ref().timer().set(once, TimerSetTimeFlags::empty());
        }

        pub async fn expired(&mut self) {
            // No read is needed: arming resets the count of expirations, and the epoll set reports each expiration once. An
            // error means that the runtime has ended.
            if let Ok(mut ready) = poll_fn(|context| self.0.poll_read_ready(context)).await {
                ready.clear_ready();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::pin::Pin;
    use std::time::Instant;

    use tokio::time::{Sleep, sleep_until};

    use crate::error::SystemError;

    /// A tokio timer: the timeout of tokio's kevent(2).
    #[derive(Debug)]
    pub struct Timer(Option<Pin<Box<Sleep>>>);

    impl Timer {
        pub fn new() -> Result<Self, SystemError> {
            Ok(Self(None))
        }

        pub fn arm(&mut self, due: Instant) {
            match &mut self.0 {
                Some(sleep) => sleep.as_mut().reset(due.into()),
                None => self.0 = Some(Box::pin(sleep_until(due.into()))),
            }
        }

        pub async fn expired(&mut self) {
            match &mut self.0 {
                Some(sleep) => sleep.as_mut().await,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const NEVER: Duration = Duration::from_secs(20);
    const AT_ONCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn an_alarm_expires_at_each_deadline() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_millis(2);
            timeout(NEVER, alarm.wait(Some(due))).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_expires_at_once() {
        let mut alarm = Alarm::new().unwrap();
        timeout(NEVER, alarm.wait(Some(Instant::now()))).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_deadline_an_alarm_never_expires() {
        let mut alarm = Alarm::new().unwrap();
        assert!(timeout(AT_ONCE, alarm.wait(None)).await.is_err());
        timeout(NEVER, alarm.wait(Some(Instant::now()))).await.unwrap();
        assert!(
            timeout(AT_ONCE, alarm.wait(None)).await.is_err(),
            "the alarm has expired"
        );
    }

    #[tokio::test]
    async fn an_earlier_deadline_replaces_a_later_one() {
        let mut alarm = Alarm::new().unwrap();
        let now = Instant::now();
        assert!(timeout(AT_ONCE, alarm.wait(Some(now + 2 * NEVER))).await.is_err());
        timeout(NEVER, alarm.wait(Some(now))).await.unwrap();
    }

    #[tokio::test]
    async fn an_alarm_stays_armed_for_an_earlier_deadline() {
        let mut alarm = Alarm::new().unwrap();
        let now = Instant::now();
        assert!(timeout(AT_ONCE, alarm.wait(Some(now + 4 * AT_ONCE))).await.is_err());
        timeout(NEVER, alarm.wait(Some(now + 2 * NEVER))).await.unwrap();
    }
}
