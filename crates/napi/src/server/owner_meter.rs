//! Measures for how long the event loop of the owner has been blocked, for the liveness probe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use napi::{Env, Result};
use socketserver_core::admin::OwnerLoop;

use crate::uv::BusyMeter;

/// Measures until it is dropped. An idle loop measures nothing.
pub struct OwnerMeter {
    /// Stops when it is dropped.
    _meter: BusyMeter,
    owner_loop: OwnerLoop,
}

impl OwnerMeter {
    /// Starts to measure the event loop of this thread.
    pub fn start(env: Env) -> Result<Self> {
        let busy_at_wait = Arc::new(AtomicU64::new(0));
        let written = Arc::clone(&busy_at_wait);
        let meter = BusyMeter::start(&env, move |busy, _| {
            written.store(micros(busy), Ordering::Relaxed);
        })?;
        let reader = meter.reader();
        let owner_loop = OwnerLoop::new(move || {
            // In this order: a loop that begins to wait between the two lines counts as alive.
            let busy = reader.busy().map_or(0, micros);
            Duration::from_micros(busy.saturating_sub(busy_at_wait.load(Ordering::Relaxed)))
        });
        Ok(Self {
            _meter: meter,
            owner_loop,
        })
    }

    /// Returns the measurement for other threads.
    pub fn owner_loop(&self) -> OwnerLoop {
        self.owner_loop.clone()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
