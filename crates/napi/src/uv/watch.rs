//! Watches a socket on the event loop of an environment with a poll handle of libuv.
//!
//! No Rust thread stands between the kernel and JavaScript: waking JavaScript from another thread costs two context
//! switches. With 4 concurrent clients that was two thirds of the cost of a short connection.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result, Status, sys};

use super::callback::{Callback, check};
use super::libuv::{
    READABLE, UV_POLL, UV_TIMER, UvHandle, UvPoll, UvTimer, WRITABLE, allocate, free, uv_close, uv_handle_get_data,
    uv_handle_get_loop, uv_handle_get_type, uv_handle_set_data, uv_poll_init, uv_poll_start, uv_poll_stop,
    uv_timer_init, uv_timer_start, uv_timer_stop, uv_unref,
};

/// The result of a call of the socket's owner.
pub struct Seen {
    /// Whether to call JavaScript, and with which argument.
    pub wake: Option<bool>,
    /// The events to watch for next.
    pub wants: Wants,
}

/// The events to watch a socket for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// Data, or the end of the stream.
    pub data: bool,
    /// Room to send.
    pub room: bool,
    /// The interval at which to look even if the socket is idle.
    pub interval: Option<Duration>,
}

/// Watches one socket until the watch is dropped or stopped, or the environment ends. Keeps no event loop alive.
pub struct Watch(Rc<Inner>);

struct Inner {
    env: sys::napi_env,
    poll: *mut UvPoll,
    /// Null until an interval is set: most watches have none.
    timer: Cell<*mut UvTimer>,
    wake: Callback,
    look: Box<dyn Fn() -> Seen>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Wants),
    Stopped,
}

impl Wants {
    /// Waits for nothing.
    pub const NOTHING: Self = Self {
        data: false,
        room: false,
        interval: None,
    };
}

impl Watch {
    /// Calls `look` on this thread on each of these events of `socket`, and then `wake` if the result of `look` asks for it. The
    /// socket must stay open until the watch is stopped, or for as long as `look` lives.
    pub fn start(
        env: &Env,
        socket: BorrowedFd<'_>,
        wake: &Function<bool, ()>,
        wants: Wants,
        look: impl Fn() -> Seen + 'static,
    ) -> Result<Self> {
        let mut uv_loop = ptr::null_mut();
        // SAFETY: this is the thread of `env`.
        let found = unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut uv_loop) };
        check(found, "napi_get_uv_event_loop")?;
        let inner = Rc::new(Inner {
            env: env.raw(),
            poll: allocate(UV_POLL).cast(),
            timer: Cell::new(ptr::null_mut()),
            wake: Callback::new(env, wake)?,
            look: Box::new(look),
            state: Cell::new(State::Waiting(Wants::NOTHING)),
        });
        // SAFETY: the loop belongs to this thread, and the memory is a uv_poll_t that lives until `closed`.
        unsafe {
            let failed = uv_poll_init(uv_loop.cast(), inner.poll, socket.as_raw_fd());
            if failed != 0 {
                free(inner.poll.cast(), UV_POLL);
                inner.wake.release();
                return Err(Error::new(Status::GenericFailure, format!("uv_poll_init: {failed}")));
            }
            own(&inner, inner.poll.cast());
            // A handle that is still open when its worker thread ends aborts the process.
            sys::napi_add_env_cleanup_hook(inner.env, Some(environment_ends), Rc::as_ptr(&inner).cast_mut().cast());
        }
        let watch = Self(inner);
        watch.want(wants);
        Ok(watch)
    }

    /// Sets the events to watch the socket for.
    pub fn want(&self, wants: Wants) {
        want(&self.0, wants);
    }

    /// Stops watching the socket.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn stop(&self) {
        if self.state.replace(State::Stopped) == State::Stopped {
            return;
        }
        // SAFETY: runs once, on the thread of `env`. `env` has not ended, or `environment_ends` would have stopped this watch.
        unsafe {
            sys::napi_remove_env_cleanup_hook(self.env, Some(environment_ends), ptr::from_ref(self).cast_mut().cast());
            self.wake.release();
            uv_close(self.poll.cast(), Some(closed));
            if !self.timer.get().is_null() {
                uv_close(self.timer.get().cast(), Some(closed));
            }
        }
    }
}

/// Sets the events to watch the socket for.
fn want(inner: &Rc<Inner>, wants: Wants) {
    let State::Waiting(before) = inner.state.get() else {
        return;
    };
    // Runs after each exchange, and nearly always with the same value.
    if wants == before {
        return;
    }
    inner.state.set(State::Waiting(wants));
    let events = (c_int::from(wants.data) * READABLE) | (c_int::from(wants.room) * WRITABLE);
    // SAFETY: the poll is open until the watch is stopped, and this is its thread.
    unsafe {
        if events == 0 {
            uv_poll_stop(inner.poll);
        } else {
            uv_poll_start(inner.poll, events, Some(ready));
        }
    }
    if wants.interval != before.interval {
        set_timer(inner, wants.interval);
    }
}

/// Starts or stops the timer, which is created at its first use.
fn set_timer(inner: &Rc<Inner>, interval: Option<Duration>) {
    // SAFETY: this is the thread of the loop, the poll is open, and the timer is initialized before it is used.
    unsafe {
        if inner.timer.get().is_null() {
            inner.timer.set(allocate(UV_TIMER).cast());
            // Always returns 0.
            uv_timer_init(uv_handle_get_loop(inner.poll.cast()), inner.timer.get());
            own(inner, inner.timer.get().cast());
        }
        match interval {
            Some(interval) => {
                let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
                uv_timer_start(inner.timer.get(), Some(interval_passed), interval, interval);
            }
            None => {
                uv_timer_stop(inner.timer.get());
            }
        }
    }
}

/// Gives a handle a reference to its watch, and lets the event loop end while the handle is open.
///
/// # Safety
///
/// The handle is initialized, this is called once, and the handle is closed with `closed`.
unsafe fn own(inner: &Rc<Inner>, handle: *mut UvHandle) {
    // SAFETY: as above; `closed` drops the reference.
    unsafe {
        uv_handle_set_data(handle, Rc::into_raw(Rc::clone(inner)).cast_mut().cast());
        uv_unref(handle);
    }
}

/// Calls the owner, and JavaScript if the owner asks for it. `is_broken`: libuv reports nothing more about this socket.
fn look(inner: &Rc<Inner>, is_broken: bool) {
    let mut seen = (inner.look)();
    // For example after a parent was killed with unread frames in its buffer: its own last frames must still be read.
    while is_broken && seen.wants.data {
        let next = (inner.look)();
        seen = Seen {
            wake: seen.wake.max(next.wake),
            ..next
        };
    }
    want(inner, seen.wants);
    if let Some(value) = seen.wake {
        // SAFETY: a callback of libuv runs on the thread of the environment, and a stopped watch has no callbacks.
        unsafe { inner.wake.call(value) };
    }
}

/// libuv: the socket is readable, writable or broken. Reading returns the error.
unsafe extern "C" fn ready(poll: *mut UvPoll, status: c_int, _events: c_int) {
    // SAFETY: this is a callback of an open handle of a watch.
    let inner = unsafe { of_handle(poll.cast()) };
    if status < 0
        && let State::Waiting(wants) = inner.state.get()
    {
        // libuv stops a poll that reports an error.
        let (data, room) = (false, false);
        inner.state.set(State::Waiting(Wants { data, room, ..wants }));
    }
    look(&inner, status < 0);
}

/// libuv: the interval has passed.
unsafe extern "C" fn interval_passed(timer: *mut UvTimer) {
    // SAFETY: this is a callback of an open handle of a watch.
    look(&unsafe { of_handle(timer.cast()) }, false);
}

/// Returns the watch that a handle belongs to.
///
/// # Safety
///
/// The handle was passed to `own`, and is not closed.
unsafe fn of_handle(handle: *const UvHandle) -> Rc<Inner> {
    // SAFETY: the data was set by `own`, and the handle still holds its reference. The new reference keeps the watch alive
    // even if JavaScript stops it.
    unsafe {
        let data = uv_handle_get_data(handle).cast_const().cast::<Inner>();
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    }
}

/// libuv: the handle is closed, and its memory can be freed.
unsafe extern "C" fn closed(handle: *mut UvHandle) {
    // SAFETY: libuv calls this once for each handle after `uv_close`. The reference is the handle's own, and the memory is from
    // `allocate` for this kind.
    unsafe {
        drop(Rc::from_raw(uv_handle_get_data(handle).cast_const().cast::<Inner>()));
        free(handle, uv_handle_get_type(handle));
    }
}

/// Node: the environment ends. Its event loop still runs the close callbacks.
unsafe extern "C" fn environment_ends(data: *mut c_void) {
    // SAFETY: the hook is removed when the watch stops, so the handle still holds its reference.
    unsafe { (*data.cast::<Inner>()).stop() };
}
