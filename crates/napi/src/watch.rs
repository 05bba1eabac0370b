//! A socket on the environment's own event loop: libuv's poll, without a thread between the kernel and JavaScript.
//!
//! A Rust thread that wakes JavaScript costs two context switches for each wake; measured with 4 clients at a time, that
//! was two thirds of all that a short connection cost.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    reason = "libuv and the callback scope of Node-API are C interfaces that napi does not wrap"
)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::rc::Rc;

use napi::bindgen_prelude::{Function, JsValue};
use napi::{Env, Error, Result, Status, sys};

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
}

/// Watches one socket until it is dropped, stopped, or the environment ends. It keeps no event loop alive.
pub struct Watch(Rc<Inner>);

struct Inner {
    env: sys::napi_env,
    poll: *mut UvPoll,
    context: sys::napi_async_context,
    wake: sys::napi_ref,
    look: Box<dyn Fn() -> Seen>,
    state: Cell<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Polling(Wants),
    Idle,
    Stopped,
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
            poll: allocate_poll(),
            context,
            wake: reference,
            look: Box::new(look),
            state: Cell::new(State::Idle),
        });
        // SAFETY: the loop is this thread's, the memory is a uv_poll_t's, and it lives until `closed`. The handle owns
        // one count of the Rc from here on.
        unsafe {
            let failed = uv_poll_init(uv_loop.cast(), inner.poll, socket.as_raw_fd());
            if failed != 0 {
                dealloc(inner.poll.cast(), poll_layout());
                sys::napi_async_destroy(inner.env, inner.context);
                sys::napi_delete_reference(inner.env, inner.wake);
                return Err(Error::new(Status::GenericFailure, format!("uv_poll_init: {failed}")));
            }
            uv_handle_set_data(inner.poll.cast(), Rc::into_raw(Rc::clone(&inner)).cast_mut().cast());
            uv_unref(inner.poll.cast());
            // A handle that is left open when its worker thread ends aborts the process.
            sys::napi_add_env_cleanup_hook(inner.env, Some(environment_ends), Rc::as_ptr(&inner).cast_mut().cast());
        }
        inner.want(wants);
        Ok(Self(inner))
    }

    /// Changes what to call `look` for.
    pub fn want(&self, wants: Wants) {
        self.0.want(wants);
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
    fn want(&self, wants: Wants) {
        let state = match wants {
            Wants {
                data: false,
                room: false,
            } => State::Idle,
            wants => State::Polling(wants),
        };
        if self.state.get() == State::Stopped || self.state.replace(state) == state {
            return;
        }
        let events = (c_int::from(wants.data) * READABLE) | (c_int::from(wants.room) * WRITABLE);
        // SAFETY: the handle is open, as it is not stopped, and this is its thread.
        unsafe {
            if events == 0 {
                uv_poll_stop(self.poll);
            } else {
                uv_poll_start(self.poll, events, Some(ready));
            }
        }
    }

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

/// libuv: the socket is readable, or writable, or broken, which reading will tell.
unsafe extern "C" fn ready(poll: *mut UvPoll, status: c_int, _events: c_int) {
    // SAFETY: the data is what `Watch::start` set, and the handle still owns its count. A count of our own keeps it
    // alive through whatever JavaScript does.
    let inner = unsafe {
        let data = uv_handle_get_data(poll.cast()).cast_const().cast::<Inner>();
        Rc::increment_strong_count(data);
        Rc::from_raw(data)
    };
    if status < 0 {
        // libuv has stopped a poll that reports an error.
        inner.state.set(State::Idle);
    }
    let mut seen = (inner.look)();
    // As of a parent that was killed with frames of ours unread: what it had sent before is still to be read.
    while status < 0 && seen.wants.data {
        let next = (inner.look)();
        seen = Seen {
            wake: seen.wake.max(next.wake),
            ..next
        };
    }
    inner.want(seen.wants);
    if let Some(value) = seen.wake {
        inner.call(value);
    }
}

/// libuv: the handle is closed, and its memory ours again.
unsafe extern "C" fn closed(handle: *mut UvHandle) {
    // SAFETY: called once, after `uv_close`; the count is the handle's own, and the memory is from `allocate_poll`.
    unsafe {
        drop(Rc::from_raw(uv_handle_get_data(handle).cast_const().cast::<Inner>()));
        dealloc(handle.cast(), poll_layout());
    }
}

/// Node: the environment ends. Its loop still turns for handles that close now.
unsafe extern "C" fn environment_ends(data: *mut c_void) {
    // SAFETY: the hook is removed when the watch stops, so the handle still owns its count of this.
    unsafe { (*data.cast::<Inner>()).stop() };
}

fn allocate_poll() -> *mut UvPoll {
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(poll_layout()) };
    if memory.is_null() {
        handle_alloc_error(poll_layout());
    }
    memory.cast()
}

fn poll_layout() -> Layout {
    // SAFETY: asks for a constant of this libuv.
    let size = unsafe { uv_handle_size(UV_POLL) };
    Layout::from_size_align(size, align_of::<u128>()).unwrap_or(Layout::new::<[u128; 64]>())
}

fn check(status: sys::napi_status, call: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Error::new(Status::from(status), call.to_owned()))
    }
}

/// `uv_handle_type`, uv.h: the same number since libuv 1.0.
const UV_POLL: c_int = 8;
/// `uv_poll_event`, uv.h.
const READABLE: c_int = 1;
const WRITABLE: c_int = 2;

#[repr(C)]
struct UvLoop(c_void);
#[repr(C)]
struct UvHandle(c_void);
#[repr(C)]
struct UvPoll(c_void);

// Exported by every build of Node, as its own addons use them.
unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_set_data(handle: *mut UvHandle, data: *mut c_void);
    fn uv_handle_get_data(handle: *const UvHandle) -> *mut c_void;
    fn uv_poll_init(uv_loop: *mut UvLoop, poll: *mut UvPoll, fd: c_int) -> c_int;
    fn uv_poll_start(
        poll: *mut UvPoll,
        events: c_int,
        callback: Option<unsafe extern "C" fn(*mut UvPoll, c_int, c_int)>,
    ) -> c_int;
    fn uv_poll_stop(poll: *mut UvPoll) -> c_int;
    fn uv_unref(handle: *mut UvHandle);
    fn uv_close(handle: *mut UvHandle, callback: Option<unsafe extern "C" fn(*mut UvHandle)>);
}
