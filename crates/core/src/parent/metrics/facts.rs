//! Facts that only the owner of the server has: its pools and workers, restarts and reloads, and recent events. The owner reports
//! each change, so that readers never wait for the owner.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ids::ChannelId;

/// The facts of a server.
#[derive(Debug, Default)]
pub struct Facts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pools: BTreeMap<Arc<str>, Pool>,
    workers: BTreeMap<ChannelId, Worker>,
    counts: BTreeMap<Counted, u64>,
    events: VecDeque<Event>,
    /// Why the server should get no new clients.
    unready: Option<&'static str>,
    has_started: bool,
    /// When the last ready worker ceased to be ready.
    none_ready_since: Option<Instant>,
}

/// A pool of workers, or the programs that joined at one shared path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pool {
    /// The number of slots; 0 for a shared path.
    pub size: u32,
    /// Whether all its first workers have become ready.
    pub was_ready: bool,
}

/// A worker, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The label of the pool.
    pub pool: Arc<str>,
    /// The slot; `None` for a worker that joined.
    pub slot: Option<u32>,
    /// The number of the worker within the server.
    pub id: u32,
    /// The process; `None` for a thread.
    pub pid: Option<u32>,
    /// The generation of the pool.
    pub generation: u32,
    /// The state.
    pub state: WorkerState,
    /// When the worker entered the state, as the owner formats times.
    pub since: String,
    /// How many earlier workers of the slot were replaced after an exit.
    pub restarts: u32,
}

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerState {
    /// The worker is not ready yet.
    Starting,
    /// The worker gets connections.
    Ready,
    /// The worker gets no more connections.
    Draining,
}

impl WorkerState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Starting, Self::Ready, Self::Draining];

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// A counter of the owner, with its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The counter.
    pub counter: Counter,
    /// The label of the pool.
    pub pool: Arc<str>,
    /// The reason or result; empty where there is none.
    pub reason: String,
}

/// A counter of the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Workers started to replace another one.
    Restarts,
    /// Reloads by result.
    Reloads,
    /// Stalls of event loops.
    Stalls,
    /// Connections that ended because their worker did.
    Cut,
}

/// A recent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The time, as the owner formats times.
    pub at: String,
    /// The kind of event, in one word.
    pub kind: String,
    /// The event, in a sentence without addresses of clients, arguments or variables.
    pub text: String,
}

/// The limit of recent events.
const MAX_EVENTS: usize = 64;

/// The limit of values of one counter, so that no owner can make the metrics grow without bound.
const MAX_COUNTS: usize = 1024;

impl Facts {
    /// Adds a pool, or changes its size. A shared path has the size 0.
    pub fn set_pool(&self, pool: &str, size: u32) {
        let mut state = self.lock();
        state.pools.entry(pool.into()).or_default().size = size;
        if state.none_ready_since.is_none() && !state.has_ready() {
            state.none_ready_since = Some(Instant::now());
        }
    }

    /// Records that all first workers of a pool have become ready.
    pub fn pool_was_ready(&self, pool: &str) {
        if let Some(pool) = self.lock().pools.get_mut(pool) {
            pool.was_ready = true;
        }
    }

    /// Adds a worker, or replaces the facts about the worker of a channel.
    pub fn set_worker(&self, channel: ChannelId, worker: Worker) {
        let mut state = self.lock();
        state.workers.insert(channel, worker);
        state.note_ready();
    }

    /// Removes a worker, which has exited.
    pub fn remove_worker(&self, channel: ChannelId) {
        let mut state = self.lock();
        state.workers.remove(&channel);
        state.note_ready();
    }

    /// Adds to a counter. Adding 0 makes the counter appear.
    pub fn count(&self, counted: Counted, by: u64) {
        let mut state = self.lock();
        if state.counts.len() < MAX_COUNTS || state.counts.contains_key(&counted) {
            *state.counts.entry(counted).or_default() += by;
        }
    }

    /// Adds an event and forgets the oldest beyond the limit.
    pub fn add_event(&self, event: Event) {
        let mut state = self.lock();
        if state.events.len() >= MAX_EVENTS {
            state.events.pop_front();
        }
        state.events.push_back(event);
    }

    /// Makes the server unready from now on, for this reason.
    pub fn set_unready(&self, reason: &'static str) {
        self.lock().unready = Some(reason);
    }

    /// Returns why the server should get no new clients; `None` if it should.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        self.lock().unready
    }

    /// Returns the pools.
    #[must_use]
    pub fn pools(&self) -> BTreeMap<Arc<str>, Pool> {
        self.lock().pools.clone()
    }

    /// Returns the process of a worker, which a thread does not have; `None` if there is no such worker.
    #[must_use]
    pub fn process(&self, channel: ChannelId) -> Option<Option<u32>> {
        Some(self.lock().workers.get(&channel)?.pid)
    }

    /// Returns the workers.
    #[must_use]
    pub fn workers(&self) -> Vec<(ChannelId, Worker)> {
        let state = self.lock();
        let workers = state.workers.iter();
        workers.map(|(channel, worker)| (*channel, worker.clone())).collect()
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> Vec<(Counted, u64)> {
        let state = self.lock();
        let counts = state.counts.iter();
        counts.map(|(counted, count)| (counted.clone(), *count)).collect()
    }

    /// Returns the recent events, the newest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.iter().rev().cloned().collect()
    }

    /// Returns how many workers are ready.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.lock().ready().count()
    }

    /// Returns for how long no worker has been ready; 0 while one is.
    #[must_use]
    pub fn none_ready_for(&self) -> Duration {
        let since = self.lock().none_ready_since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Returns whether the server has started: the first workers of all pools have been ready at one time, or, without a pool, one
    /// program has joined. Remains true from then on.
    #[must_use]
    pub fn has_started(&self) -> bool {
        let mut state = self.lock();
        if !state.has_started {
            let mut pools = state.pools.values().filter(|pool| pool.size > 0);
            let has_pools = pools.clone().next().is_some();
            state.has_started = if has_pools {
                pools.all(|pool| pool.was_ready)
            } else {
                state.has_ready()
            };
        }
        state.has_started
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ready(&self) -> impl Iterator<Item = &Worker> {
        let workers = self.workers.values();
        workers.filter(|worker| worker.state == WorkerState::Ready)
    }

    fn has_ready(&self) -> bool {
        self.ready().next().is_some()
    }

    fn note_ready(&mut self) {
        if self.has_ready() {
            self.none_ready_since = None;
        } else if self.none_ready_since.is_none() {
            self.none_ready_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(state: WorkerState) -> Worker {
        Worker {
            pool: "app.js".into(),
            slot: Some(0),
            id: 1,
            pid: Some(7),
            generation: 1,
            state,
            since: String::new(),
            restarts: 0,
        }
    }

    #[test]
    fn a_server_has_started_once_the_first_workers_of_all_pools_were_ready() {
        let facts = Facts::default();
        assert!(!facts.has_started());
        facts.set_pool("a", 1);
        facts.set_pool("b", 1);
        facts.pool_was_ready("a");
        assert!(!facts.has_started());
        facts.pool_was_ready("b");
        assert!(facts.has_started());
        facts.set_pool("c", 1);
        assert!(facts.has_started(), "a later pool changes nothing");
    }

    #[test]
    fn the_time_without_a_ready_worker_ends_with_the_first_that_is_ready() {
        let facts = Facts::default();
        facts.set_pool("app.js", 1);
        facts.set_worker(1, worker(WorkerState::Starting));
        assert!(facts.none_ready_for() > Duration::ZERO);
        facts.set_worker(1, worker(WorkerState::Ready));
        assert_eq!((facts.ready(), facts.none_ready_for()), (1, Duration::ZERO));
        facts.remove_worker(1);
        assert!(facts.none_ready_for() > Duration::ZERO);
    }

    #[test]
    fn events_and_counters_are_bounded() {
        let facts = Facts::default();
        for number in 0..5000 {
            facts.add_event(Event {
                at: String::new(),
                kind: number.to_string(),
                text: String::new(),
            });
            let counted = Counted {
                counter: Counter::Cut,
                pool: number.to_string().into(),
                reason: String::new(),
            };
            facts.count(counted, 1);
        }
        let events = facts.events();
        assert_eq!((events.len(), events[0].kind.as_str()), (MAX_EVENTS, "4999"));
        assert_eq!(facts.counts().len(), MAX_COUNTS);
    }
}
