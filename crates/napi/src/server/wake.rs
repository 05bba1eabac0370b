//! Calls from the server's thread into JavaScript.

use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

/// A JavaScript function `() => void` that any thread may call. It is weak: it keeps no event loop alive.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Returns the function with which the core wakes JavaScript. The core calls it once until the notices are read, so at most
/// one call is queued.
pub fn waker(wake: Wake) -> impl Fn() + Send + Sync + 'static {
    move || {
        // Fails only while the environment shuts down, when nothing needs to be reported any more.
        let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}
