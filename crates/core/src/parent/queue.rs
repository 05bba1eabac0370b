//! The bounded queue: connections that wait for credit, first come, first served.
//!
//! The bound lies before it, not in it: an acceptor needs a [`Permit`] from the [`Permits`] before it may accept, so what
//! has nowhere to wait stays in the kernel's backlog. A connection that comes back (its worker died or refused it)
//! takes its old place and needs no slot, so what was accepted is never turned away; the handoff window of the
//! channels and the leases of the workers bound how many those can be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::ChannelId;
use crate::ids::ConnectionId;

/// Hands out the queue's places.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Semaphore>);

/// One place in the queue; dropping it makes room for another connection.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Permits {
    /// A gate with `places` places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place. `None` if the gate was closed.
    pub async fn enter(&self) -> Option<Permit> {
        Arc::clone(&self.0)
            .acquire_owned()
            .await
            .ok()
            .map(|permit| Permit { _permit: permit })
    }

    /// How many places are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// What the queue needs to know of what waits in it. The dispatcher's tests put plain numbers in its place.
pub trait Waiting {
    /// Ascends in the order of arrival.
    fn id(&self) -> ConnectionId;
    /// The local port it came in by; 0 if it has none.
    fn lane(&self) -> u16;
    /// When it was accepted.
    fn since(&self) -> Instant;
    /// It has been handed off or shed: its place is free.
    fn leave_queue(&mut self);
    /// A worker has been sent it and has not taken it.
    fn come_back(&mut self);
    /// What is remembered of it once a worker has taken it.
    type Metadata: std::fmt::Debug;
    /// That.
    fn metadata(&self) -> Self::Metadata;
    /// Who handed it back last, if anybody has.
    fn hand_back(&self) -> Option<HandBack>;
    /// A worker that had taken it has handed it back.
    fn handed_back(&mut self, by: ChannelId, at: Instant);
}

/// Who has handed a connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandBack {
    /// Its channel.
    pub channel: ChannelId,
    /// When.
    pub at: Instant,
    /// How often it has been handed back until then, by anybody.
    pub times: u32,
}

impl HandBack {
    /// Before this nobody is given it. The first time at once, for another worker may well have room; but if all workers
    /// hand back, it would go round between them as fast as they can (9,000 times a second, which is a CPU, for one client).
    #[must_use]
    pub fn ready_at(&self) -> Instant {
        self.at + self.pause()
    }

    fn pause(&self) -> Duration {
        match self.times {
            0 | 1 => Duration::ZERO,
            more => (FIRST_PAUSE * (1 << (more - 2).min(10))).min(LONGEST_PAUSE),
        }
    }
}

/// The pause after the second time; after each further one it is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// A worker that is overloaded may have room again; ten tries a second cost nothing.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// First come, first served, with one line a port, as a worker may ask for the connections of one port only; and one a
/// worker and pause of what it has handed back, which is for others first.
#[derive(Debug)]
pub struct Queue<C> {
    lines: Vec<Fifo<C>>,
    length: usize,
}

#[derive(Debug)]
struct Fifo<C> {
    place: FifoKey,
    waiting: VecDeque<C>,
}

/// Names a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FifoKey {
    /// The local port.
    pub lane: u16,
    /// Who has handed its connections back; `None` for those that nobody has.
    pub hand_back: Option<ChannelId>,
    /// For how long nobody is given them after that.
    pub pause: Duration,
}

impl FifoKey {
    fn of<C: Waiting>(connection: &C) -> Self {
        Self {
            lane: connection.lane(),
            hand_back: connection.hand_back().map(|hand_back| hand_back.channel),
            pause: connection
                .hand_back()
                .map_or(Duration::ZERO, |hand_back| hand_back.pause()),
        }
    }
}

impl<C: Waiting> Queue<C> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: Vec::new(),
            length: 0,
        }
    }

    /// Puts a connection in its place by its id: at the tail if it is new, at the head if it comes back.
    pub fn put(&mut self, connection: C) {
        let place = FifoKey::of(&connection);
        let index = self
            .lines
            .iter()
            .position(|line| line.place == place)
            .unwrap_or_else(|| {
                self.lines.push(Fifo {
                    place,
                    waiting: VecDeque::new(),
                });
                self.lines.len() - 1
            });
        let line = &mut self.lines[index];
        let id = connection.id();
        if line.waiting.back().is_none_or(|last| last.id() < id) {
            line.waiting.push_back(connection);
        } else {
            let place = line.waiting.partition_point(|other| other.id() < id);
            line.waiting.insert(place, connection);
        }
        self.length += 1;
    }

    /// The line whose head has the lowest id among those whose head is `served`.
    pub fn first(&self, mut served: impl FnMut(&C) -> bool) -> Option<FifoKey> {
        let mut first: Option<(ConnectionId, FifoKey)> = None;
        for line in &self.lines {
            let Some(head) = line.waiting.front() else {
                continue;
            };
            if first.is_none_or(|(id, _)| head.id() < id) && served(head) {
                first = Some((head.id(), line.place));
            }
        }
        first.map(|(_, place)| place)
    }

    /// The head of a line.
    #[must_use]
    pub fn head(&self, place: FifoKey) -> Option<&C> {
        self.lines.iter().find(|line| line.place == place)?.waiting.front()
    }

    /// The heads of the lines of what was handed back.
    pub fn given_back(&self) -> impl Iterator<Item = &C> {
        let lines = self.lines.iter().filter(|line| line.place.hand_back.is_some());
        lines.filter_map(|line| line.waiting.front())
    }

    /// Takes the head of a line. Its place in the queue is free from then on.
    pub fn take(&mut self, place: FifoKey) -> Option<C> {
        let index = self.lines.iter().position(|line| line.place == place)?;
        let mut connection = self.lines[index].waiting.pop_front()?;
        // There are as many of these as there were workers, and more.
        if place.hand_back.is_some() && self.lines[index].waiting.is_empty() {
            self.lines.swap_remove(index);
        }
        self.length -= 1;
        connection.leave_queue();
        Some(connection)
    }

    /// Takes one that has waited for `limit` or longer at `now`.
    pub fn take_expired(&mut self, limit: Duration, now: Instant) -> Option<C> {
        let place = self.lines.iter().find_map(|line| {
            let head = line.waiting.front()?;
            (now.saturating_duration_since(head.since()) >= limit).then_some(line.place)
        })?;
        self.take(place)
    }

    /// When the one that has waited longest was accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.lines
            .iter()
            .filter_map(|line| line.waiting.front().map(Waiting::since))
            .min()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nobody waits.
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
