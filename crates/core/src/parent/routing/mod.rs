//! Determines the address of a connection's client between accept and the queue, and leaves every byte of the client to the worker.
//!
//! A [`Router`] belongs to one listener. It looks at a connection right after accept, when the first bytes have mostly arrived. A
//! connection whose bytes have not arrived is pending: it holds no permit of the queue, its number and its time are limited, and it
//! is registered with epoll only while it waits.

pub mod affinity;
pub mod client_hello;
pub mod inspection;
pub mod pending;
pub mod proxy_header;
pub mod rendezvous;
pub mod request_head;
pub mod server_names;
pub mod source_counts;
pub mod sources;
pub mod spec;

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::parent::connection::Connection;
use crate::parent::dispatcher::message::{Event, Message};
use crate::parent::queue::{Permits, Waiting};
use crate::parent::routing::inspection::{
    GiveUp, HEADER_RESULTS, Inspection, MISSING_RESULTS, NAME_RESULTS, REFUSALS, SCRATCH, SLOT_RESULTS, Step, TOO_MANY,
    Verdict,
};
use crate::parent::routing::pending::PendingList;
use crate::parent::routing::source_counts::SourceCounts;
use crate::parent::routing::spec::RoutingSpec;
use crate::stats::Stats;
use crate::sys::Arrivals;

/// Routes the connections of one listener.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// The shared state of the tasks of the pending connections.
#[derive(Debug)]
struct Shared {
    spec: Arc<RoutingSpec>,
    permits: Permits,
    dispatcher: mpsc::Sender<Message>,
    stats: Arc<Stats>,
    pending: PendingList,
    /// The connections of each source, if these are limited.
    sources: Option<SourceCounts>,
    /// The bytes of the connection that is being looked at. All tasks run on one thread.
    scratch: Mutex<Box<[u8]>>,
}

impl Router {
    /// Creates a router without connections.
    #[must_use]
    pub fn new(spec: Arc<RoutingSpec>, permits: Permits, dispatcher: mpsc::Sender<Message>, stats: Arc<Stats>) -> Self {
        if spec.proxy.is_some() {
            stats.may_route(&[HEADER_RESULTS, REFUSALS].concat(), REFUSALS);
        }
        if spec.sticky.is_some() {
            stats.may_route(&[SLOT_RESULTS, MISSING_RESULTS].concat(), &[]);
        }
        if spec.names.is_some() {
            stats.may_route(&[NAME_RESULTS, MISSING_RESULTS].concat(), &[]);
        }
        let sources = spec.max_per_source.map(SourceCounts::new);
        if sources.is_some() {
            stats.may_route(&["direct", TOO_MANY], &[]);
        }
        Self {
            shared: Arc::new(Shared {
                spec,
                permits,
                dispatcher,
                stats,
                pending: PendingList::default(),
                sources,
                scratch: Mutex::new(vec![0; SCRATCH].into_boxed_slice()),
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Routes a connection that has just been accepted.
    pub fn admit(&mut self, mut connection: Connection, capacity: mpsc::Permit<'_, Message>) {
        while let Some(ended) = self.tasks.try_join_next() {
            resume_panic(ended);
        }
        let shared = &self.shared;
        let mut inspection = Inspection::new(Arc::clone(&shared.spec), shared.sources.clone(), &connection);
        let verdict = match inspection.start(connection.as_fd(), &mut shared.scratch()) {
            Step::Done(verdict) => verdict,
            Step::Wait => {
                // A silent client must not occupy the queue.
                connection.leave_queue();
                let (id, limit) = (connection.id(), shared.spec.max_pending);
                let evicted = shared.pending.add(id, inspection.is_silent(), limit);
                let waits = Arc::clone(shared).wait(Pending(Some(connection)), inspection, evicted);
                let counted = shared.stats.pending().begin();
                self.tasks.spawn(async move {
                    waits.await;
                    drop(counted);
                });
                return;
            }
        };
        if shared.finish(inspection, &mut connection, verdict) {
            capacity.send(Message::Event(Event::Accepted(connection)));
        } else {
            end(connection, verdict);
        }
    }

    /// Waits until no connection is pending.
    pub async fn settle(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            resume_panic(ended);
        }
    }
}

impl Shared {
    fn scratch(&self) -> MutexGuard<'_, Box<[u8]>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an inspection and counts its results. Returns whether the connection goes to the queue.
    fn finish(&self, inspection: Inspection, connection: &mut Connection, verdict: Verdict) -> bool {
        for result in inspection.finish(connection).into_iter().flatten() {
            self.stats.routed(result);
        }
        let (Verdict::Queue(name) | Verdict::Close(name) | Verdict::Reset(name)) = verdict;
        self.stats.routed(name);
        if matches!(verdict, Verdict::Reset(_)) && name != TOO_MANY {
            self.stats.proxy_refused(name);
        }
        matches!(verdict, Verdict::Queue(_))
    }

    /// Waits for the bytes of a pending connection, and sends the connection to the queue.
    async fn wait(self: Arc<Self>, mut pending: Pending, mut inspection: Inspection, evicted: Arc<Notify>) {
        let Some(connection) = &pending.0 else { return };
        let verdict = self.verdict(connection, &mut inspection, &evicted).await;
        self.pending.remove(connection.id());
        let Some(mut connection) = pending.0.take() else { return };
        if !self.finish(inspection, &mut connection, verdict) {
            return end(connection, verdict);
        }
        // Both fail only if the server has ended.
        if let Some(permit) = self.permits.acquire().await {
            connection.enter_queue(permit);
            let event = Event::Accepted(connection);
            let _ = self.dispatcher.send(Message::Event(event)).await;
        }
    }

    async fn verdict(&self, connection: &Connection, inspection: &mut Inspection, evicted: &Notify) -> Verdict {
        let Ok(mut arrivals) = Arrivals::of(connection.as_fd()) else {
            // The system has no more epoll watches.
            return inspection.give_up(GiveUp::Unwatched);
        };
        loop {
            let arrived = tokio::select! {
                biased;
                () = evicted.notified() => return inspection.give_up(GiveUp::Evicted),
                arrived = timeout_at(Instant::from_std(inspection.deadline()), arrivals.next()) => arrived,
            };
            let Ok(arrived) = arrived else {
                return inspection.give_up(GiveUp::Silent);
            };
            // An error means that the runtime has ended.
            let is_last = arrived.unwrap_or(true);
            match inspection.step(connection.as_fd(), is_last, &mut self.scratch()) {
                Step::Done(verdict) => return verdict,
                Step::Wait if inspection.is_silent() => {}
                Step::Wait => self.pending.has_spoken(connection.id()),
            }
        }
    }
}

/// A connection whose bytes are awaited. Resets the connection if the server ends meanwhile.
#[derive(Debug)]
struct Pending(Option<Connection>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.reset();
        }
    }
}

fn end(connection: Connection, verdict: Verdict) {
    if matches!(verdict, Verdict::Reset(_)) {
        connection.reset();
    }
}

fn resume_panic(ended: Result<(), JoinError>) {
    // No other error is possible: the tasks are cancelled only with the set.
    if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}
