//! Measures how long the event loop of an environment is busy.
//!
//! A prepare handle runs once in each turn, right before the loop waits for events. The handle causes no wake-up, so an idle loop
//! measures nothing.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use napi::{Env, Error, Result, Status, sys};

use super::callback::check;
use super::libuv::{
    UV_PREPARE, UvHandle, UvLoop, UvPrepare, allocate, free, uv_close, uv_handle_get_data, uv_handle_set_data,
    uv_hrtime, uv_metrics_idle_time, uv_now, uv_prepare_init, uv_prepare_start, uv_unref,
};

/// Measures until the meter is dropped or stopped, or the environment ends. Keeps no event loop alive.
pub struct BusyMeter(Rc<Inner>);

struct Inner {
    env: sys::napi_env,
    uv_loop: *mut UvLoop,
    prepare: *mut UvPrepare,
    report: Box<dyn Fn(Duration)>,
    began: Sample,
    /// The time of the loop at the last report, in milliseconds.
    reported_at: Cell<u64>,
    is_stopped: Cell<bool>,
}

/// The clock and the idle time of the loop, in nanoseconds.
#[derive(Clone, Copy)]
struct Sample {
    clock: u64,
    idle: u64,
}

/// The shortest time between two reports in milliseconds. A loop that turns 50,000 times a second does not need to report each turn.
const INTERVAL: u64 = 10;

impl BusyMeter {
    /// Calls `report` on this thread with the time that the loop has been busy since now: at the end of a turn, at most every
    /// [`INTERVAL`].
    pub fn start(env: &Env, report: impl Fn(Duration) + 'static) -> Result<Self> {
        let mut uv_loop = ptr::null_mut();
        // SAFETY: this is the thread of `env`.
        let found = unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut uv_loop) };
        check(found, "napi_get_uv_event_loop")?;
        let uv_loop: *mut UvLoop = uv_loop.cast();
        let inner = Rc::new(Inner {
            env: env.raw(),
            uv_loop,
            prepare: allocate(UV_PREPARE).cast(),
            report: Box::new(report),
            // SAFETY: the loop belongs to this thread.
            began: unsafe { sample(uv_loop) },
            reported_at: Cell::new(0),
            is_stopped: Cell::new(false),
        });
        // SAFETY: the loop belongs to this thread, and the memory is a uv_prepare_t that lives until `closed`.
        unsafe {
            let failed = uv_prepare_init(uv_loop, inner.prepare);
            if failed != 0 {
                free(inner.prepare.cast(), UV_PREPARE);
                return Err(Error::new(Status::GenericFailure, format!("uv_prepare_init: {failed}")));
            }
            uv_handle_set_data(inner.prepare.cast(), Rc::into_raw(Rc::clone(&inner)).cast_mut().cast());
            uv_unref(inner.prepare.cast());
            uv_prepare_start(inner.prepare, Some(turn_ends));
            // A handle that is still open when its worker thread ends aborts the process.
            sys::napi_add_env_cleanup_hook(inner.env, Some(environment_ends), Rc::as_ptr(&inner).cast_mut().cast());
        }
        Ok(Self(inner))
    }

    /// Stops measuring.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for BusyMeter {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn stop(&self) {
        if self.is_stopped.replace(true) {
            return;
        }
        // SAFETY: runs once, on the thread of `env`. `env` has not ended, or `environment_ends` would have stopped this meter.
        unsafe {
            sys::napi_remove_env_cleanup_hook(self.env, Some(environment_ends), ptr::from_ref(self).cast_mut().cast());
            uv_close(self.prepare.cast(), Some(closed));
        }
    }

    fn report(&self) {
        // SAFETY: the loop is open while its callbacks run.
        let now = unsafe { uv_now(self.uv_loop) };
        if now.wrapping_sub(self.reported_at.get()) < INTERVAL {
            return;
        }
        self.reported_at.set(now);
        // SAFETY: as above.
        let Sample { clock, idle } = unsafe { sample(self.uv_loop) };
        let elapsed = clock.saturating_sub(self.began.clock);
        let waited = idle.saturating_sub(self.began.idle);
        (self.report)(Duration::from_nanos(elapsed.saturating_sub(waited)));
    }
}

/// Reads the clock and the idle time.
///
/// # Safety
///
/// The loop is open.
unsafe fn sample(uv_loop: *mut UvLoop) -> Sample {
    // SAFETY: as above.
    unsafe {
        Sample {
            clock: uv_hrtime(),
            idle: uv_metrics_idle_time(uv_loop),
        }
    }
}

/// libuv: the turn ends, and the loop is about to wait for events.
unsafe extern "C" fn turn_ends(prepare: *mut UvPrepare) {
    // SAFETY: the handle is open, so it holds the reference that `start` gave it, and `report` cannot close the handle's memory.
    unsafe { (*uv_handle_get_data(prepare.cast()).cast::<Inner>()).report() };
}

/// libuv: the handle is closed, and its memory can be freed.
unsafe extern "C" fn closed(handle: *mut UvHandle) {
    // SAFETY: libuv calls this once after `uv_close`. The reference is the handle's own, and the memory is from `allocate`.
    unsafe {
        drop(Rc::from_raw(uv_handle_get_data(handle).cast_const().cast::<Inner>()));
        free(handle, UV_PREPARE);
    }
}

/// Node: the environment ends. Its event loop still runs the close callbacks.
unsafe extern "C" fn environment_ends(data: *mut c_void) {
    // SAFETY: the hook is removed when the meter stops, so the handle still holds its reference.
    unsafe { (*data.cast::<Inner>()).stop() };
}
