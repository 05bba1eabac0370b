//! Wakes the dispatcher when something is due, and may do so before that.
//!
//! A handoff is looked after within a millisecond, but mostly something else turns the dispatcher before. A time limit of
//! its epoll_wait(2) for that is set and taken back by the kernel each time it sleeps, and being the nearest of its CPU, it
//! is written to the hardware each time: with one client at a time this was 20 of 115 us a connection, in a virtual machine,
//! where that leaves the guest. So an alarm, once set, stays set, and a millisecond has one.

use std::time::Instant;

use crate::error::SystemError;

/// One alarm.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    set_for: Option<Instant>,
}

impl Alarm {
    /// One that is not set. Has to be made within the tokio runtime whose tasks will wait for it.
    pub fn new() -> Result<Self, SystemError> {
        Ok(Self {
            timer: Timer::new()?,
            set_for: None,
        })
    }

    /// Waits until `due`, or until an earlier time that it was set for before; for ever if there is none.
    pub async fn wait(&mut self, due: Option<Instant>) {
        if let Some(due) = due
            && self.set_for.is_none_or(|set_for| due < set_for)
        {
            self.timer.set(due);
            self.set_for = Some(due);
        }
        if self.set_for.is_some() {
            self.timer.ring().await;
            self.set_for = None;
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

    /// timerfd_create(2), among what tokio's epoll set watches.
    #[derive(Debug)]
    pub struct Timer(AsyncFd<TimerFile>);

    impl Timer {
        pub fn new() -> Result<Self, SystemError> {
            sys::watch_timer().map(Self)
        }

        pub fn set(&mut self, due: Instant) {
            // None at all would be no alarm.
            let left = due
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1));
            let once = Expiration::OneShot(left.into());
            // Fails for a descriptor that is no timer, and for a time of more than 2^63 seconds.
            let _ = self.0.get_ref().timer().set(once, TimerSetTimeFlags::empty());
        }

        pub async fn ring(&mut self) {
            // Nothing is read: setting it anew takes back what it has counted, and the epoll set tells of each ring once.
            // An error is the end of the runtime.
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

    /// tokio's, which is the time limit of its kevent(2).
    #[derive(Debug)]
    pub struct Timer(Option<Pin<Box<Sleep>>>);

    impl Timer {
        pub fn new() -> Result<Self, SystemError> {
            Ok(Self(None))
        }

        pub fn set(&mut self, due: Instant) {
            match &mut self.0 {
                Some(sleep) => sleep.as_mut().reset(due.into()),
                None => self.0 = Some(Box::pin(sleep_until(due.into()))),
            }
        }

        pub async fn ring(&mut self) {
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
    async fn it_rings_when_something_is_due_and_again_for_the_next() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_millis(2);
            timeout(NEVER, alarm.wait(Some(due))).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[tokio::test]
    async fn what_is_due_already_rings() {
        let mut alarm = Alarm::new().unwrap();
        timeout(NEVER, alarm.wait(Some(Instant::now()))).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_due_is_no_ring() {
        let mut alarm = Alarm::new().unwrap();
        assert!(timeout(AT_ONCE, alarm.wait(None)).await.is_err());
        timeout(NEVER, alarm.wait(Some(Instant::now()))).await.unwrap();
        assert!(timeout(AT_ONCE, alarm.wait(None)).await.is_err(), "it has rung");
    }

    #[tokio::test]
    async fn what_is_due_earlier_is_not_kept_waiting() {
        let mut alarm = Alarm::new().unwrap();
        let now = Instant::now();
        assert!(timeout(AT_ONCE, alarm.wait(Some(now + 2 * NEVER))).await.is_err());
        timeout(NEVER, alarm.wait(Some(now))).await.unwrap();
    }

    #[tokio::test]
    async fn it_stays_set_for_what_was_due_earlier() {
        let mut alarm = Alarm::new().unwrap();
        let now = Instant::now();
        assert!(timeout(AT_ONCE, alarm.wait(Some(now + 4 * AT_ONCE))).await.is_err());
        timeout(NEVER, alarm.wait(Some(now + 2 * NEVER))).await.unwrap();
    }
}
