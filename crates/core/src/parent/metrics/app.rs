//! The metrics of the app that the workers run. The owner of the server collects them, and readers wait for a limited time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::parent::metrics::exposition::Format;
use crate::parent::notice::{Notice, Notices};

/// The metrics of the app, as its workers have reported them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppMetrics {
    /// The families, in the requested format and without an end mark.
    pub text: String,
    /// Workers whose metrics are in the text.
    pub ok: u32,
    /// Workers that did not answer in time.
    pub late: u32,
    /// Workers that answered with an error.
    pub failed: u32,
}

/// Asks the owner of a server for the metrics of the app.
#[derive(Debug, Default)]
pub struct AppMetricsRequests {
    is_offered: AtomicBool,
    next: AtomicU32,
    waiting: Mutex<BTreeMap<u32, oneshot::Sender<AppMetrics>>>,
}

/// How long a reader waits for the owner, which itself waits 1 second for workers.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);

impl AppMetricsRequests {
    /// Records that the app has metrics.
    pub fn offer(&self) {
        self.is_offered.store(true, Relaxed);
    }

    /// Returns whether the app has metrics.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.is_offered.load(Relaxed)
    }

    /// Asks the owner, and returns the answer; `None` if the app has no metrics or the owner does not answer in time.
    pub async fn ask(&self, notices: &Notices, format: Format) -> Option<AppMetrics> {
        if !self.is_offered() {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let id = self.next.fetch_add(1, Relaxed);
        self.lock().insert(id, answer);
        notices.post(Notice::MetricsAsked {
            id,
            is_open_metrics: format == Format::OpenMetrics,
        });
        let answer = timeout(ANSWER_WITHIN, answered).await.ok().and_then(Result::ok);
        self.lock().remove(&id);
        answer
    }

    /// Answers a request. Does nothing if the reader no longer waits.
    pub fn answer(&self, id: u32, metrics: AppMetrics) {
        if let Some(waiting) = self.lock().remove(&id) {
            // Fails only if the reader has gone meanwhile.
            let _ = waiting.send(metrics);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, oneshot::Sender<AppMetrics>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
