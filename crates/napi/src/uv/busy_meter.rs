//! Measures how long the event loop of an environment is busy.
//!
//! A prepare handle runs once in each turn, right before the loop waits for events. The handle causes no wake-up, so an idle loop
//! measures nothing.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use napi::{Env, Error, Result, Status, sys};

use super::callback::check;
use super::libuv::{
    UV_PREPARE, UvHandle, UvLoop, UvPrepare, allocate, free, uv_close, uv_handle_get_data, uv_handle_set_data,
    uv_hrtime, uv_metrics_idle_time, uv_prepare_init, uv_prepare_start, uv_unref,
};

/// Measures until the meter is dropped or stopped, or the environment ends. Keeps no event loop alive.
pub struct BusyMeter(Rc<Inner>);

struct Inner {
    env: sys::napi_env,
    metered: Metered,
    prepare: *mut UvPrepare,
    report: Box<dyn Fn(Duration, Duration)>,
    /// The busy time at the last report.
    reported: Cell<Duration>,
    reader: BusyReader,
    is_stopped: Cell<bool>,
}

/// Reads on any thread for how long the event loop of a meter has been busy.
#[derive(Clone)]
pub struct BusyReader(Arc<Mutex<Option<Metered>>>);

/// An event loop, and the clock minus its idle time when the meter started, in nanoseconds.
#[derive(Clone, Copy)]
struct Metered {
    uv_loop: *mut UvLoop,
    began: u64,
}

// SAFETY: any thread may call uv_metrics_idle_time, which locks a mutex of the loop. A meter stops its reader before the loop ends.
unsafe impl Send for Metered {}

impl BusyReader {
    /// Returns for how long the loop has been busy since the meter started; `None` once the meter has stopped. The current turn
    /// counts, so the result also increases while the loop is blocked.
    pub fn busy(&self) -> Option<Duration> {
        let metered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the loop is open until the meter has taken it from the reader.
        metered.map(|metered| unsafe { metered.busy(uv_hrtime()) })
    }

    fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Metered {
    /// Returns for how long the loop has been busy since the meter started. `now` is the clock.
    ///
    /// # Safety
    ///
    /// The loop is open.
    unsafe fn busy(self, now: u64) -> Duration {
        // SAFETY: as above.
        let idle = unsafe { uv_metrics_idle_time(self.uv_loop) };
        Duration::from_nanos(now.saturating_sub(idle).saturating_sub(self.began))
    }
}

impl BusyMeter {
    /// Calls `report` on this thread at the end of each turn, with the time that the loop has been busy since now, and in this turn.
    /// Not less often: a loop that has begun to wait may not turn again for hours.
    pub fn start(env: &Env, report: impl Fn(Duration, Duration) + 'static) -> Result<Self> {
        let mut uv_loop = ptr::null_mut();
        // SAFETY: this is the thread of `env`.
        let found = unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut uv_loop) };
        check(found, "napi_get_uv_event_loop")?;
        let uv_loop: *mut UvLoop = uv_loop.cast();
        // SAFETY: the loop belongs to this thread.
        let began = unsafe { uv_hrtime().saturating_sub(uv_metrics_idle_time(uv_loop)) };
        let metered = Metered { uv_loop, began };
        let inner = Rc::new(Inner {
            env: env.raw(),
            metered,
            prepare: allocate(UV_PREPARE).cast(),
            report: Box::new(report),
            reported: Cell::new(Duration::ZERO),
            reader: BusyReader(Arc::new(Mutex::new(Some(metered)))),
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

    /// Returns a reader for other threads.
    pub fn reader(&self) -> BusyReader {
        self.0.reader.clone()
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
        self.reader.stop();
        // SAFETY: runs once, on the thread of `env`. `env` has not ended, or `environment_ends` would have stopped this meter.
        unsafe {
            sys::napi_remove_env_cleanup_hook(self.env, Some(environment_ends), ptr::from_ref(self).cast_mut().cast());
            uv_close(self.prepare.cast(), Some(closed));
        }
    }

    fn report(&self) {
        // SAFETY: the loop is open while its callbacks run.
        let busy = unsafe { self.metered.busy(uv_hrtime()) };
        (self.report)(busy, busy.saturating_sub(self.reported.replace(busy)));
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
