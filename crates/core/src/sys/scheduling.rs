//! Scheduling at a high accept rate: threads that handle connections run as SCHED_BATCH.
//!
//! A SCHED_OTHER thread preempts the running task when it wakes up. At a high accept rate that task is mostly the accepting
//! thread, a worker, or a client on the same machine, each about to produce more work for the others. Every connection
//! then causes several context switches, and nothing is processed in batches. Measured with 64 and 8 concurrent clients and
//! 2 workers on 2 cores, Node 24: 43 and 49 us of CPU time per connection with SCHED_OTHER, 36 and 45 with SCHED_BATCH for
//! the accepting thread, 29 and 37 with SCHED_BATCH for the workers too.
//!
//! At a low accept rate SCHED_BATCH costs latency: beside a program that never sleeps, a woken thread waits for 3 ms and
//! more, instead of 0.1 ms.
//!
//! Each thread measures the accept rate of the server, not its own: one of sixteen workers preempts as often as one of two.
//! With 64 clients and 8 workers on 2 cores, measuring the server's rate takes 48 us per connection instead of 63.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::libc;

use crate::ids::ConnectionId;
use crate::sys::Sys;

/// The accept rate is high if the mean interval of a sample is shorter: more than 10,000 connections a second. At a tenth of
/// that rate SCHED_BATCH would save less than a hundredth of a core.
const SHORT_INTERVAL: Duration = Duration::from_micros(100);

/// The minimum number of connections in a sample.
const SAMPLE: u32 = 64;

/// Without a complete sample within this time the rate is no longer high, even if no further connection arrives: clients may
/// keep their connections open, and the thread must serve these without delay. A tenth of the high rate.
pub(crate) const SAMPLE_TIMEOUT: Duration = Duration::from_millis(64);

/// The accept rate of the server, as one thread measures it. Sets the scheduling policy of that thread.
#[derive(Debug, Default)]
pub(crate) struct AcceptRate {
    /// The newest connection of the last sample.
    newest: ConnectionId,
    /// The end of the last sample.
    sampled_at: Option<Instant>,
    /// This has switched the thread to SCHED_BATCH.
    is_batch: bool,
}

impl AcceptRate {
    /// Records a connection that the calling thread handles. Ids are consecutive within a server, so the difference of two ids is
    /// the number of connections that were accepted in between.
    pub(crate) fn record<S: Sys>(&mut self, id: ConnectionId, sys: &S) {
        let count = u32::try_from(id.saturating_sub(self.newest)).unwrap_or(u32::MAX);
        if count < SAMPLE {
            return;
        }
        let now = sys.now();
        let previous = self.sampled_at.replace(now);
        self.newest = id;
        let is_high = previous.is_some_and(|at| now.saturating_duration_since(at) < SHORT_INTERVAL * count);
        self.set_batch(is_high, sys);
    }

    /// Returns when the rate is no longer high if no further connection arrives; `None` if it is not high now.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        let sampled_at = self.sampled_at.filter(|_| self.is_batch);
        sampled_at.map(|at| at + SAMPLE_TIMEOUT)
    }

    /// Returns the thread to SCHED_OTHER if the sample timeout has passed.
    pub(crate) fn expire<S: Sys>(&mut self, now: Instant, sys: &S) {
        if self.expires_at().is_some_and(|at| at <= now) {
            self.set_batch(false, sys);
        }
    }

    /// Returns the thread to SCHED_OTHER: it receives no more connections.
    pub(crate) fn end<S: Sys>(&mut self, sys: &S) {
        self.set_batch(false, sys);
    }

    fn set_batch<S: Sys>(&mut self, batch: bool, sys: &S) {
        if batch != self.is_batch {
            self.is_batch = sys.set_batch_scheduling(batch);
        }
    }
}

/// See [`Sys::set_batch_scheduling`]. Leaves a policy alone that the user has chosen, SCHED_BATCH included.
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "sched_getscheduler(2) and sched_setscheduler(2), which nix lacks"
)]
pub(super) fn set_batch_scheduling(batch: bool) -> bool {
    let (from, to) = if batch {
        (libc::SCHED_OTHER, libc::SCHED_BATCH)
    } else {
        (libc::SCHED_BATCH, libc::SCHED_OTHER)
    };
    // SAFETY: sched_param is plain data for which all zeroes is a valid value, the only one that these policies take.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // By syscall(2), because musl's functions of these names only return ENOSYS.
    // SAFETY: 0 is the calling thread, and `parameters` outlives the call.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getscheduler, 0) == libc::c_long::from(from)
            && libc::syscall(libc::SYS_sched_setscheduler, 0, to, &raw const parameters) == 0
    };
    if done {
        IS_BATCH.set(batch);
    }
    done && batch
}

#[cfg(target_os = "linux")]
thread_local! {
    /// `set_batch_scheduling` has switched this thread to SCHED_BATCH.
    static IS_BATCH: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Returns whether [`Sys::set_batch_scheduling`] has made the calling thread SCHED_BATCH. Threads and processes that the thread
/// starts inherit the policy (sched(7)).
#[cfg(target_os = "linux")]
#[must_use]
pub fn is_batch_scheduled() -> bool {
    IS_BATCH.get()
}

/// Returns false: only Linux has SCHED_BATCH.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn is_batch_scheduled() -> bool {
    false
}

/// Returns false: only Linux has SCHED_BATCH.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_batch_scheduling(_batch: bool) -> bool {
    false
}
