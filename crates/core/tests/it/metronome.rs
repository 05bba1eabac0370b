//! A system whose clock advances by a fixed step at each reading, at first by 0, and that records changes of the scheduling
//! policy.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socketserver_core::sys::ancillary::Received;
use socketserver_core::sys::{Accepted, Os, Sys};

/// The system.
#[derive(Debug, Clone)]
pub struct Metronome(Arc<Beat>);

#[derive(Debug)]
struct Beat {
    began: Instant,
    micros: AtomicU64,
    step: AtomicU64,
    changes: Mutex<Vec<(String, bool)>>,
}

impl Metronome {
    pub fn new() -> Self {
        Self(Arc::new(Beat {
            began: Instant::now(),
            micros: AtomicU64::new(0),
            step: AtomicU64::new(0),
            changes: Mutex::default(),
        }))
    }

    /// Sets the step of the clock.
    pub fn step(&self, step: Duration) {
        let step = u64::try_from(step.as_micros()).unwrap();
        self.0.step.store(step, Ordering::Relaxed);
    }

    /// Returns the changes of the scheduling policy: the name of the thread, and whether it became SCHED_BATCH.
    pub fn changes(&self) -> Vec<(String, bool)> {
        self.0.changes.lock().unwrap().clone()
    }

    /// Returns the changes without the names of the threads.
    pub fn batch_changes(&self) -> Vec<bool> {
        self.changes().into_iter().map(|(_, batch)| batch).collect()
    }
}

impl Sys for Metronome {
    fn now(&self) -> Instant {
        let step = self.0.step.load(Ordering::Relaxed);
        self.0.began + Duration::from_micros(self.0.micros.fetch_add(step, Ordering::Relaxed))
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        Os.accept(listener)
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        Os.send(socket, bytes, descriptors)
    }

    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        Os.receive(socket, bytes)
    }

    fn set_batch_scheduling(&self, batch: bool) -> bool {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.changes.lock().unwrap().push((name, batch));
        batch
    }
}
