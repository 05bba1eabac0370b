//! The bounded queue: connections that wait for credit, first come, first served.
//!
//! The limit applies before accept(2): an acceptor needs a [`Permit`] from [`Permits`], so further connections stay in the
//! kernel's backlog. A requeued connection returns to its old position without a permit, so an accepted connection is
//! never turned away. The windows of the channels and the leases of the workers bound the number of such connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backoff::Backoff;
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::routing::affinity::Affinity;
use crate::parent::routing::source_counts::CountedSource;

/// Issues permits to wait in the queue.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Semaphore>);

/// Permission for one connection to wait in the queue. Dropping the permit makes room for another connection.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Permits {
    /// Creates `count` permits.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Returns a permit if one is free.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok();
        permit.map(|permit| Permit { _permit: permit })
    }

    /// Waits for a permit. Returns `None` if the queue was closed.
    pub async fn acquire(&self) -> Option<Permit> {
        Arc::clone(&self.0)
            .acquire_owned()
            .await
            .ok()
            .map(|permit| Permit { _permit: permit })
    }

    /// Returns how many permits are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// The properties of a connection that the queue uses. The dispatcher's tests use plain numbers instead.
pub trait Waiting {
    /// Returns the id, which ascends in order of arrival.
    fn id(&self) -> ConnectionId;
    /// Returns the local port; 0 for a Unix socket.
    fn lane(&self) -> u16;
    /// Returns when the connection was accepted.
    fn since(&self) -> Instant;
    /// Releases the permit: the connection has left the queue.
    fn leave_queue(&mut self);
    /// Marks a connection that was sent to a worker that did not take it.
    fn mark_reissued(&mut self);
    /// The parent's record of a connection that a worker has taken.
    type Metadata: std::fmt::Debug;
    /// Returns that metadata.
    fn metadata(&self) -> Self::Metadata;
    /// Returns the last time that a worker handed the connection back.
    fn hand_back(&self) -> Option<HandBack>;
    /// Returns which worker the connection belongs to, if it is routed.
    fn affinity(&self) -> Option<Affinity> {
        None
    }
    /// Makes the connection wait for a slot until a time.
    fn wait_for_slot(&mut self, _slot: u32, _until: Instant) {}
    /// Removes the count of the connection for its source; `None` if sources are not limited.
    fn take_counted(&mut self) -> Option<CountedSource> {
        None
    }
    /// Sets the count of the connection for its source.
    fn set_counted(&mut self, counted: CountedSource) {
        drop(counted);
    }
    /// Records that a worker handed the connection back.
    fn handed_back(&mut self, by: ChannelId, at: Instant);
}

/// The last time that a worker handed a connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandBack {
    /// The channel of the worker.
    pub channel: ChannelId,
    /// When the worker handed the connection back.
    pub at: Instant,
    /// How often workers have handed the connection back so far.
    pub times: u32,
}

impl HandBack {
    /// Returns the earliest time of the next handoff. The first time there is no pause: another worker may have room. If all
    /// workers hand back, a connection without a pause would circulate 9,000 times a second and cost one CPU (measured).
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        self.at + self.pause()
    }

    fn pause(&self) -> Duration {
        HAND_BACK_PAUSES.delay(self.times.saturating_sub(1))
    }
}

/// The pauses from the second time on. An overloaded worker may have room again; ten attempts a second cost nothing.
const HAND_BACK_PAUSES: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(100));

/// One FIFO per port, plus one per (worker, pause) for handed-back connections. A worker may ask for connections of one
/// port only, and handed-back connections go to other workers first.
#[derive(Debug)]
pub struct Queue<C> {
    fifos: Vec<Fifo<C>>,
    length: usize,
}

#[derive(Debug)]
struct Fifo<C> {
    key: FifoKey,
    waiting: VecDeque<C>,
}

/// Names a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FifoKey {
    /// The local port.
    lane: u16,
    /// The worker that handed the connections back; `None` for connections that no worker has handed back.
    hand_back: Option<ChannelId>,
    /// The pause before the next handoff.
    pause: Duration,
    /// The slot that the connections wait for: others must not wait behind them.
    slot: Option<u32>,
}

/// The head of a FIFO, valid until the queue changes.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    index: usize,
    /// The local port of the connection.
    pub lane: u16,
}

impl FifoKey {
    fn of<C: Waiting>(connection: &C) -> Self {
        Self {
            lane: connection.lane(),
            hand_back: connection.hand_back().map(|hand_back| hand_back.channel),
            pause: connection
                .hand_back()
                .map_or(Duration::ZERO, |hand_back| hand_back.pause()),
            slot: match connection.affinity() {
                Some(Affinity::Slot(slot, _)) => Some(slot),
                Some(Affinity::Hash(_) | Affinity::Strict(..)) | None => None,
            },
        }
    }
}

impl<C: Waiting> Queue<C> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            fifos: Vec::new(),
            length: 0,
        }
    }

    /// Inserts a connection by its id: new connections at the tail, requeued connections near the head.
    pub fn put(&mut self, connection: C) {
        let key = FifoKey::of(&connection);
        let index = self.fifos.iter().position(|fifo| fifo.key == key).unwrap_or_else(|| {
            self.fifos.push(Fifo {
                key,
                waiting: VecDeque::new(),
            });
            self.fifos.len() - 1
        });
        let fifo = &mut self.fifos[index];
        let id = connection.id();
        if fifo.waiting.back().is_none_or(|last| last.id() < id) {
            fifo.waiting.push_back(connection);
        } else {
            let position = fifo.waiting.partition_point(|other| other.id() < id);
            fifo.waiting.insert(position, connection);
        }
        self.length += 1;
    }

    /// Calls `find` for the head of each FIFO. Of the FIFOs with a result, returns the one whose head has the lowest id, and the
    /// result.
    pub fn find_first<T>(&self, mut find: impl FnMut(&C) -> Option<T>) -> Option<(Head, T)> {
        let mut first: Option<(ConnectionId, Head, T)> = None;
        for (index, fifo) in self.fifos.iter().enumerate() {
            let Some(head) = fifo.waiting.front() else {
                continue;
            };
            if first.as_ref().is_none_or(|(id, ..)| head.id() < *id)
                && let Some(found) = find(head)
            {
                let lane = fifo.key.lane;
                first = Some((head.id(), Head { index, lane }, found));
            }
        }
        first.map(|(_, head, found)| (head, found))
    }

    /// Returns the heads of the FIFOs of handed-back connections.
    pub fn handed_back(&self) -> impl Iterator<Item = &C> {
        let fifos = self.fifos.iter().filter(|fifo| fifo.key.hand_back.is_some());
        fifos.filter_map(|fifo| fifo.waiting.front())
    }

    /// Returns when the heads of the FIFOs stop waiting for their slots.
    pub fn slot_deadlines(&self) -> impl Iterator<Item = Instant> {
        let fifos = self.fifos.iter().filter(|fifo| fifo.key.slot.is_some());
        fifos.filter_map(|fifo| match fifo.waiting.front()?.affinity() {
            Some(Affinity::Slot(_, until)) => Some(until),
            Some(Affinity::Hash(_) | Affinity::Strict(..)) | None => None,
        })
    }

    /// Takes the head of a FIFO and releases its permit.
    pub fn take(&mut self, head: Head) -> Option<C> {
        let fifo = self.fifos.get_mut(head.index)?;
        let mut connection = fifo.waiting.pop_front()?;
        // Such FIFOs would otherwise accumulate: one for each worker that ever existed, and more.
        if (fifo.key.hand_back.is_some() || fifo.key.slot.is_some()) && fifo.waiting.is_empty() {
            self.fifos.swap_remove(head.index);
        }
        self.length -= 1;
        connection.leave_queue();
        Some(connection)
    }

    /// Takes a connection that has waited for `limit` or longer at `now`.
    pub fn take_expired(&mut self, limit: Duration, now: Instant) -> Option<C> {
        let head = self.fifos.iter().enumerate().find_map(|(index, fifo)| {
            let lane = fifo.key.lane;
            let waited = now.saturating_duration_since(fifo.waiting.front()?.since());
            (waited >= limit).then_some(Head { index, lane })
        })?;
        self.take(head)
    }

    /// Returns when the oldest waiting connection was accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.fifos
            .iter()
            .filter_map(|fifo| fifo.waiting.front().map(Waiting::since))
            .min()
    }

    /// Returns how many connections wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<C: Waiting> Default for Queue<C> {
    fn default() -> Self {
        Self::new()
    }
}
