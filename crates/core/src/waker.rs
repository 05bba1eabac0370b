//! Wakes another thread once for any number of events until that thread handles them.

use std::sync::atomic::{AtomicBool, Ordering};

/// Calls a function at most once until [`Waker::rearm`].
pub struct Waker {
    is_awake: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Waker {
    /// Creates a waker. `wake` runs on the thread that calls [`Waker::wake`].
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            is_awake: AtomicBool::new(false),
            wake: Box::new(wake),
        }
    }

    /// Calls the function, unless it has been called since the last [`Waker::rearm`].
    pub fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Allows the next call. The woken thread calls this before it handles the events, so that it misses none.
    pub fn rearm(&self) {
        self.is_awake.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Waker")
            .field("is_awake", &self.is_awake)
            .finish_non_exhaustive()
    }
}
