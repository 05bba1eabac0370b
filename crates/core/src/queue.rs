//! The bounded queue: connections that wait for credit, first come, first served.
//!
//! The bound lies before it, not in it: an acceptor needs a [`Slot`] from the [`Gate`] before it may accept, so what
//! has nowhere to wait stays in the kernel's backlog. A connection that comes back (its worker died or refused it)
//! takes its old place and needs no slot, so what was accepted is never turned away; the handoff window of the
//! channels bounds how many those can be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::ConnectionId;

/// Hands out the queue's places.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

/// One place in the queue; dropping it makes room for another connection.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// A gate with `places` places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place. `None` if the gate was closed.
    pub async fn enter(&self) -> Option<Slot> {
        Arc::clone(&self.0)
            .acquire_owned()
            .await
            .ok()
            .map(|permit| Slot { _permit: permit })
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
}

/// First come, first served, with one line a port, as a worker may ask for the connections of one port only.
#[derive(Debug)]
pub struct Queue<C> {
    lines: Vec<Line<C>>,
    length: usize,
}

#[derive(Debug)]
struct Line<C> {
    lane: u16,
    waiting: VecDeque<C>,
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
        let lane = connection.lane();
        let index = self.lines.iter().position(|line| line.lane == lane).unwrap_or_else(|| {
            self.lines.push(Line {
                lane,
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

    /// The lane of the connection that has waited longest among the lanes for which `served` holds.
    pub fn first(&self, mut served: impl FnMut(u16) -> bool) -> Option<u16> {
        let mut first: Option<(ConnectionId, u16)> = None;
        for line in &self.lines {
            let Some(head) = line.waiting.front() else {
                continue;
            };
            if first.is_none_or(|(id, _)| head.id() < id) && served(line.lane) {
                first = Some((head.id(), line.lane));
            }
        }
        first.map(|(_, lane)| lane)
    }

    /// Takes the head of a lane's line. Its place in the queue is free from then on.
    pub fn take(&mut self, lane: u16) -> Option<C> {
        let line = self.lines.iter_mut().find(|line| line.lane == lane)?;
        let mut connection = line.waiting.pop_front()?;
        self.length -= 1;
        connection.leave_queue();
        Some(connection)
    }

    /// Takes one that has waited for `limit` or longer at `now`.
    pub fn take_expired(&mut self, limit: Duration, now: Instant) -> Option<C> {
        let lane = self.lines.iter().find_map(|line| {
            let head = line.waiting.front()?;
            (now.saturating_duration_since(head.since()) >= limit).then_some(line.lane)
        })?;
        self.take(lane)
    }

    /// When the one that has waited longest was accepted.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.lines
            .iter()
            .filter_map(|line| line.waiting.front().map(Waiting::since))
            .min()
    }

    /// The lanes in which something waits.
    pub fn lanes(&self) -> impl Iterator<Item = u16> + '_ {
        self.lines
            .iter()
            .filter(|line| !line.waiting.is_empty())
            .map(|line| line.lane)
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
