//! The part of libuv's C interface that the binding uses: polls, timers, the measurement of loops, and the memory of handles.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::{c_int, c_void};

/// Allocates zeroed memory for a handle of this kind.
pub fn allocate(kind: c_int) -> *mut UvHandle {
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout(kind)) };
    if memory.is_null() {
        handle_alloc_error(layout(kind));
    }
    memory.cast()
}

/// Frees the memory of a handle.
///
/// # Safety
///
/// The memory is from [`allocate`] for this kind. libuv has never initialized the handle, or has closed it.
pub unsafe fn free(handle: *mut UvHandle, kind: c_int) {
    // SAFETY: the kind is the same as in `allocate`, so the layout is too.
    unsafe { dealloc(handle.cast(), layout(kind)) };
}

fn layout(kind: c_int) -> Layout {
    // SAFETY: returns a constant of this libuv.
    let size = unsafe { uv_handle_size(kind) };
    Layout::from_size_align(size, align_of::<u128>()).unwrap_or(Layout::new::<[u128; 64]>())
}

/// `uv_handle_type` in uv.h: the same numbers since libuv 1.0.
pub const UV_POLL: c_int = 8;
pub const UV_PREPARE: c_int = 9;
pub const UV_TIMER: c_int = 13;
/// `uv_poll_event` in uv.h.
pub const READABLE: c_int = 1;
pub const WRITABLE: c_int = 2;

#[repr(C)]
pub struct UvLoop(c_void);
#[repr(C)]
pub struct UvHandle(c_void);
#[repr(C)]
pub struct UvPoll(c_void);
#[repr(C)]
pub struct UvTimer(c_void);
#[repr(C)]
pub struct UvPrepare(c_void);

// Every build of Node exports these functions for addons.
unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    pub fn uv_handle_set_data(handle: *mut UvHandle, data: *mut c_void);
    pub fn uv_handle_get_data(handle: *const UvHandle) -> *mut c_void;
    pub fn uv_handle_get_loop(handle: *const UvHandle) -> *mut UvLoop;
    pub fn uv_handle_get_type(handle: *const UvHandle) -> c_int;
    pub fn uv_poll_init(uv_loop: *mut UvLoop, poll: *mut UvPoll, fd: c_int) -> c_int;
    pub fn uv_poll_start(
        poll: *mut UvPoll,
        events: c_int,
        callback: Option<unsafe extern "C" fn(*mut UvPoll, c_int, c_int)>,
    ) -> c_int;
    pub fn uv_poll_stop(poll: *mut UvPoll) -> c_int;
    pub fn uv_timer_init(uv_loop: *mut UvLoop, timer: *mut UvTimer) -> c_int;
    pub fn uv_timer_start(
        timer: *mut UvTimer,
        callback: Option<unsafe extern "C" fn(*mut UvTimer)>,
        after_ms: u64,
        repeat_ms: u64,
    ) -> c_int;
    pub fn uv_timer_stop(timer: *mut UvTimer) -> c_int;
    pub fn uv_prepare_init(uv_loop: *mut UvLoop, prepare: *mut UvPrepare) -> c_int;
    pub fn uv_prepare_start(prepare: *mut UvPrepare, callback: Option<unsafe extern "C" fn(*mut UvPrepare)>) -> c_int;
    /// The time that the loop has waited for events, in nanoseconds. Node enables the measurement for each of its loops.
    pub fn uv_metrics_idle_time(uv_loop: *mut UvLoop) -> u64;
    /// The time of the monotonic clock in nanoseconds.
    pub fn uv_hrtime() -> u64;
    pub fn uv_unref(handle: *mut UvHandle);
    pub fn uv_close(handle: *mut UvHandle, callback: Option<unsafe extern "C" fn(*mut UvHandle)>);
}
