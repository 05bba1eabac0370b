//! How a receiver calls its owner.

use std::sync::atomic::{AtomicBool, Ordering};

/// Rings once until it is answered.
pub(super) struct Waker {
    rung: AtomicBool,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Waker {
    /// `ring` is called when it rings.
    pub(super) fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            rung: AtomicBool::new(false),
            ring: Box::new(ring),
        }
    }

    /// Rings, unless it has rung and nobody has answered.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            (self.ring)();
        }
    }

    /// Somebody has heard it.
    pub(super) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Waker")
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}
