//! A system whose clock goes on by so much each time that somebody looks, at first by nothing, and which writes down who
//! is to wait its turn.

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
    wishes: Mutex<Vec<(String, bool)>>,
}

impl Metronome {
    pub fn new() -> Self {
        Self(Arc::new(Beat {
            began: Instant::now(),
            micros: AtomicU64::new(0),
            step: AtomicU64::new(0),
            wishes: Mutex::default(),
        }))
    }

    /// From now on it goes on by so much.
    pub fn step(&self, step: Duration) {
        let step = u64::try_from(step.as_micros()).unwrap();
        self.0.step.store(step, Ordering::Relaxed);
    }

    /// Which threads were to wait their turn, or no longer, by their names.
    pub fn wishes(&self) -> Vec<(String, bool)> {
        self.0.wishes.lock().unwrap().clone()
    }

    /// The same without the threads.
    pub fn said(&self) -> Vec<bool> {
        self.wishes().into_iter().map(|(_, waits)| waits).collect()
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
        self.0.wishes.lock().unwrap().push((name, batch));
        batch
    }
}
