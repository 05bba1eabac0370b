//! A socket on the environment's own event loop: libuv's poll, without a thread between the kernel and JavaScript.
//!
//! A Rust thread that wakes JavaScript costs two context switches for each wake; measured with 4 clients at a time, that
//! was two thirds of all that a short connection cost.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    reason = "libuv and the callback scope of Node-API are C interfaces that napi does not wrap"
)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::{Function, JsValue};
use napi::{Env, Error, Result, Status, sys};

use crate::uv::{
    READABLE, UV_POLL, UV_TIMER, UvHandle, UvPoll, UvTimer, WRITABLE, allocate, free, uv_close, uv_handle_get_data,
    uv_handle_get_loop, uv_handle_get_type, uv_handle_set_data, uv_poll_init, uv_poll_start, uv_poll_stop,
    uv_timer_init, uv_timer_start, uv_timer_stop, uv_unref,
};

/// What the owner of a socket has made of it.
pub struct Seen {
    /// JavaScript should look, and is given this.
    pub wake: Option<bool>,
    /// What to be called again for.
    pub wants: Wants,
}

/// What the owner of a socket waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// Something to read, or the end of it.
    pub data: bool,
    /// Room to write.
    pub room: bool,
    /// To look again and again, this far apart, though neither comes.
    pub each: Option<Duration>,
}

/// Watches one socket until it is dropped, stopped, or the environment ends. It keeps no event loop alive.
pub struct Watch(Rc<Inner>);

struct Inner {
    env: sys::napi_env,
    poll: *mut UvPoll,
    /// Null until it is wanted: most watches never want it.
    timer: Cell<*mut UvTimer>,
    context: sys::napi_async_context,
    wake: sys::napi_ref,
    look: Box<dyn Fn() -> Seen>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Wants),
    Stopped,
}

impl Wants {
    /// To be left alone.
    const NOTHING: Self = Self {
        data: false,
        room: false,
        each: None,
    };
}

impl Watch {
    /// Calls `look` on this thread whenever `socket` has what it `wants`, and then `wake` if `look` says so. The socket
    /// has to stay open until this is stopped, or for as long as `look` lives.
    pub fn start(
        env: &Env,
        socket: BorrowedFd<'_>,
        wake: &Function<bool, ()>,
        wants: Wants,
        look: impl Fn() -> Seen + 'static,
    ) -> Result<Self> {
        let mut uv_loop = ptr::null_mut();
        let mut reference = ptr::null_mut();
        let mut context = ptr::null_mut();
        // SAFETY: all on the thread of `env`, with values that `env` has made.
        unsafe {
            check(
                sys::napi_get_uv_event_loop(env.raw(), &raw mut uv_loop),
                "napi_get_uv_event_loop",
            )?;
            check(
                sys::napi_create_reference(env.raw(), wake.raw(), 1, &raw mut reference),
                "napi_create_reference",
            )?;
            let name = env.create_string("SOCKETSERVER")?;
            let made = sys::napi_async_init(env.raw(), ptr::null_mut(), name.raw(), &raw mut context);
            check(made, "napi_async_init")?;
        }
        let inner = Rc::new(Inner {
            env: env.raw(),
            poll: allocate(UV_POLL).cast(),
            timer: Cell::new(ptr::null_mut()),
            context,
            wake: reference,
            look: Box::new(look),
            state: Cell::new(State::Waiting(Wants::NOTHING)),
        });
        // SAFETY: the loop is this thread's, the memory is a uv_poll_t's, and it lives until `closed`.
        unsafe {
            let failed = uv_poll_init(uv_loop.cast(), inner.poll, socket.as_raw_fd());
            if failed != 0 {
                free(inner.poll.cast(), UV_POLL);
                sys::napi_async_destroy(inner.env, inner.context);
                sys::napi_delete_reference(inner.env, inner.wake);
                return Err(Error::new(Status::GenericFailure, format!("uv_poll_init: {failed}")));
            }
            own(&inner, inner.poll.cast());
            // A handle that is left open when its worker thread ends aborts the process.
            sys::napi_add_env_cleanup_hook(inner.env, Some(environment_ends), Rc::as_ptr(&inner).cast_mut().cast());
        }
        let watch = Self(inner);
        watch.want(wants);
        Ok(watch)
    }

    /// Changes what to call `look` for.
    pub fn want(&self, wants: Wants) {
        want(&self.0, wants);
    }

    /// Calls `look` no more.
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
        // SAFETY: done once, on the thread of `env`, which has not ended: else `environment_ends` had been here before.
        unsafe {
            sys::napi_remove_env_cleanup_hook(self.env, Some(environment_ends), ptr::from_ref(self).cast_mut().cast());
            sys::napi_async_destroy(self.env, self.context);
            sys::napi_delete_reference(self.env, self.wake);
            uv_close(self.poll.cast(), Some(closed));
            if !self.timer.get().is_null() {
                uv_close(self.timer.get().cast(), Some(closed));
            }
        }
    }

    /// Calls into JavaScript as libuv's own callbacks do: ticks and microtasks run afterwards, and what is thrown is an
    /// uncaught exception.
    fn call(&self, value: bool) {
        // SAFETY: on the thread of `env`, outside of any other call into it; every value is checked before it is used.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(self.env, &raw mut scope) != sys::Status::napi_ok {
                return;
            }
            let (mut wake, mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            let mut argument = ptr::null_mut();
            sys::napi_get_reference_value(self.env, self.wake, &raw mut wake);
            sys::napi_get_global(self.env, &raw mut receiver);
            sys::napi_get_boolean(self.env, value, &raw mut argument);
            if !wake.is_null() && !receiver.is_null() && !argument.is_null() {
                let (context, arguments) = (self.context, &raw const argument);
                let status = sys::napi_make_callback(self.env, context, receiver, wake, 1, arguments, &raw mut result);
                let mut thrown = ptr::null_mut();
                if status == sys::Status::napi_pending_exception
                    && sys::napi_get_and_clear_last_exception(self.env, &raw mut thrown) == sys::Status::napi_ok
                {
                    sys::napi_fatal_exception(self.env, thrown);
                }
            }
            sys::napi_close_handle_scope(self.env, scope);
        }
    }
}

/// Changes what to call the owner for.
fn want(inner: &Rc<Inner>, wants: Wants) {
    let State::Waiting(before) = inner.state.get() else {
        return;
    };
    // This is asked after each exchange, and nearly always the same.
    if wants == before {
        return;
    }
    inner.state.set(State::Waiting(wants));
    let events = (c_int::from(wants.data) * READABLE) | (c_int::from(wants.room) * WRITABLE);
    // SAFETY: the poll is open, as it is not stopped, and this is its thread.
    unsafe {
        if events == 0 {
            uv_poll_stop(inner.poll);
        } else {
            uv_poll_start(inner.poll, events, Some(ready));
        }
    }
    if wants.each != before.each {
        set_timer(inner, wants.each);
    }
}

fn set_timer(inner: &Rc<Inner>, each: Option<Duration>) {
    // SAFETY: on the thread of the loop, with a poll that is open and a timer that is initialized before anything else.
    unsafe {
        if inner.timer.get().is_null() {
            inner.timer.set(allocate(UV_TIMER).cast());
            // Cannot fail.
            uv_timer_init(uv_handle_get_loop(inner.poll.cast()), inner.timer.get());
            own(inner, inner.timer.get().cast());
        }
        match each {
            Some(each) => {
                let each = u64::try_from(each.as_millis()).unwrap_or(u64::MAX);
                uv_timer_start(inner.timer.get(), Some(time_is_up), each, each);
            }
            None => {
                uv_timer_stop(inner.timer.get());
            }
        }
    }
}

/// Gives a handle its count of its owner, and lets the loop end without it.
///
/// # Safety
///
/// The handle is initialized, and this is done once. It is closed by `closed`.
unsafe fn own(inner: &Rc<Inner>, handle: *mut UvHandle) {
    // SAFETY: as above; the count is dropped by `closed`.
    unsafe {
        uv_handle_set_data(handle, Rc::into_raw(Rc::clone(inner)).cast_mut().cast());
        uv_unref(handle);
    }
}

/// Has the owner look, and JavaScript if there is reason to. `is_broken` says that libuv will not tell of the socket again.
fn look(inner: &Rc<Inner>, is_broken: bool) {
    let mut seen = (inner.look)();
    // As of a parent that was killed with frames of ours unread: what it had sent before is still to be read.
    while is_broken && seen.wants.data {
        let next = (inner.look)();
        seen = Seen {
            wake: seen.wake.max(next.wake),
            ..next
        };
    }
    want(inner, seen.wants);
    if let Some(value) = seen.wake {
        inner.call(value);
    }
}

/// libuv: the socket is readable, or writable, or broken, which reading will tell.
unsafe extern "C" fn ready(poll: *mut UvPoll, status: c_int, _events: c_int) {
    // SAFETY: this is a callback of an open handle of ours.
    let inner = unsafe { of_handle(poll.cast()) };
    if status < 0
        && let State::Waiting(wants) = inner.state.get()
    {
        // libuv has stopped a poll that reports an error.
        let (data, room) = (false, false);
        inner.state.set(State::Waiting(Wants { data, room, ..wants }));
    }
    look(&inner, status < 0);
}

/// libuv: so much time has gone by.
unsafe extern "C" fn time_is_up(timer: *mut UvTimer) {
    // SAFETY: this is a callback of an open handle of ours.
    look(&unsafe { of_handle(timer.cast()) }, false);
}

/// Whose handle it is.
///
/// # Safety
///
/// The handle is one that `Watch::start` has made, and has not been closed.
unsafe fn of_handle(handle: *const UvHandle) -> Rc<Inner> {
    // SAFETY: the data is what `Watch::start` set, and the handle still owns its count. A count of its own keeps what is
    // returned alive through whatever JavaScript does.
    unsafe {
        let data = uv_handle_get_data(handle).cast_const().cast::<Inner>();
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    }
}

/// libuv: the handle is closed, and its memory ours again.
unsafe extern "C" fn closed(handle: *mut UvHandle) {
    // SAFETY: called once for each handle, after `uv_close`; the count is the handle's own, and the memory is from `allocate`
    // for a handle of this kind.
    unsafe {
        drop(Rc::from_raw(uv_handle_get_data(handle).cast_const().cast::<Inner>()));
        free(handle, uv_handle_get_type(handle));
    }
}

/// Node: the environment ends. Its loop still turns for handles that close now.
unsafe extern "C" fn environment_ends(data: *mut c_void) {
    // SAFETY: the hook is removed when the watch stops, so the handle still owns its count of this.
    unsafe { (*data.cast::<Inner>()).stop() };
}

fn check(status: sys::napi_status, call: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Error::new(Status::from(status), call.to_owned()))
    }
}
