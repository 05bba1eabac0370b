//! Whether connections come so fast that the thread which takes them had better wait its turn.
//!
//! A thread that is woken pushes aside what runs on its CPU, and what runs there at such a time is mostly the accepting
//! thread, a worker, or a client on the same machine, each about to make more for the others to do. Woken at every
//! connection, all of them change places for each, and nothing comes in batches. Measured with 64 and 8 clients at a time
//! and 2 workers on 2 cores, Node 24: 43 and 49 us of processor time a connection if nobody waits, 36 and 45 if the accepting
//! thread does, 29 and 37 if the workers do too.
//!
//! It is not for times when few come: one that waits its turn beside a program that never sleeps waits for 3 ms and more,
//! where one that does not gets by in 0.1 ms.
//!
//! Each thread judges by the server's connections, not by its own alone: one of sixteen workers that takes a sixteenth of
//! them pushes aside as much as one of two. With 64 clients and 8 workers on 2 cores that is 63 us or 48 a connection.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::libc;

use crate::ids::ConnectionId;
use crate::sys::Sys;

/// In a rush they come closer together than this: more than 10,000 a second. What a thousand of them would save is less than
/// a hundredth of a core.
const APART: Duration = Duration::from_micros(100);

/// So many are looked at together, at least.
const SAMPLE: u32 = 64;

/// If so many have not come within this time it is over, though none comes to show it: clients may keep what they have, and
/// the thread goes on to serve them. A tenth of the pace of a rush, and nobody stays behind longer than a client notices.
pub(crate) const OVER_AFTER: Duration = Duration::from_millis(64);

/// The pace at which the server's connections come, as one thread sees it, and whether it waits its turn for that.
#[derive(Debug, Default)]
pub(crate) struct AcceptRate {
    /// The newest of the last sample.
    newest: ConnectionId,
    /// When that was seen.
    since: Option<Instant>,
    /// This has made the thread wait its turn.
    waits: bool,
}

impl AcceptRate {
    /// The calling thread has a connection before it. As the server numbers them, its id tells how many have come since the
    /// last sample.
    pub(crate) fn saw<S: Sys>(&mut self, id: ConnectionId, sys: &S) {
        let count = u32::try_from(id.saturating_sub(self.newest)).unwrap_or(u32::MAX);
        if count < SAMPLE {
            return;
        }
        let now = sys.now();
        let since = self.since.replace(now);
        self.newest = id;
        let is_rush = since.is_some_and(|since| now.saturating_duration_since(since) < APART * count);
        self.turn(is_rush, sys);
    }

    /// When it is over if no more come; `None` if nothing has to be done then.
    pub(crate) fn over_at(&self) -> Option<Instant> {
        self.since.filter(|_| self.waits).map(|since| since + OVER_AFTER)
    }

    /// Nothing may have come, and time goes by.
    pub(crate) fn look<S: Sys>(&mut self, now: Instant, sys: &S) {
        if self.over_at().is_some_and(|at| at <= now) {
            self.turn(false, sys);
        }
    }

    /// No more connections come to the calling thread by this way.
    pub(crate) fn ends<S: Sys>(&mut self, sys: &S) {
        self.turn(false, sys);
    }

    fn turn<S: Sys>(&mut self, is_rush: bool, sys: &S) {
        if is_rush != self.waits {
            self.waits = sys.wait_turn(is_rush);
        }
    }
}

/// SCHED_BATCH instead of SCHED_OTHER, or back. Any other policy is somebody's choice, and so is SCHED_BATCH before this.
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "sched_getscheduler(2) and sched_setscheduler(2), which nix lacks"
)]
pub(super) fn wait_turn(waits: bool) -> bool {
    let (from, to) = if waits {
        (libc::SCHED_OTHER, libc::SCHED_BATCH)
    } else {
        (libc::SCHED_BATCH, libc::SCHED_OTHER)
    };
    // SAFETY: sched_param is plain data for which all zeroes is a valid value, the only one that these policies take.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // The calls themselves, as musl's functions of these names only return ENOSYS.
    // SAFETY: 0 is the calling thread, and `parameters` outlives the call.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getscheduler, 0) == from.into()
            && libc::syscall(libc::SYS_sched_setscheduler, 0, to, &raw const parameters) == 0
    };
    if done {
        WAITS.set(waits);
    }
    done && waits
}

#[cfg(target_os = "linux")]
thread_local! {
    /// The thread waits its turn by this.
    static WAITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the calling thread waits its turn by [`Sys::wait_turn`], and so does what it starts, until that no longer does
/// (sched(7), children inherit the policy).
#[cfg(target_os = "linux")]
#[must_use]
pub fn waits_turn() -> bool {
    WAITS.get()
}

/// Only Linux knows how.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn waits_turn() -> bool {
    false
}

/// Only Linux knows how.
#[cfg(not(target_os = "linux"))]
pub(super) fn wait_turn(_waits: bool) -> bool {
    false
}
