//! How a Rust thread rings the event loop of its owner.

use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};

/// A JavaScript function `() => void` that any thread may ring. Weak: it keeps no event loop alive.
pub type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The bell for the core. Coalescing is the core's: it rings once until it is answered, so no more than one call waits.
pub fn bell(wake: Wake) -> impl Fn() + Send + Sync + 'static {
    move || {
        // Closing: the environment is on its way out and has nothing to hear any more.
        let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}
