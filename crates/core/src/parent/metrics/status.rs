//! The status of a server at one moment, as JSON and in the format of Apache's mod_status.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use serde::Serialize;

use super::Metrics;
use super::facts::{Worker, WorkerState};
use super::process::{resident_memory, scheduled_time};
use crate::ids::ChannelId;
use crate::stats::ChannelStats;
use crate::stats::histogram::WAIT_BOUNDS;

/// The status of a server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    version: String,
    node: String,
    pid: u32,
    started_at: String,
    uptime: u64,
    policy: &'static str,
    /// Why the server is not ready for new clients, or null.
    unready: Option<&'static str>,
    listeners: Vec<ListenerStatus>,
    pools: Vec<PoolStatus>,
    workers: Vec<WorkerStatus>,
    stats: StatsStatus,
    events: Vec<EventStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListenerStatus {
    address: String,
    accepted: u64,
    backlog: Option<u32>,
    backlog_limit: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolStatus {
    name: String,
    size: u32,
    /// One character for each slot, as in Apache's mod_status.
    scoreboard: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerStatus {
    pool: String,
    slot: Option<u32>,
    id: u32,
    pid: Option<u32>,
    generation: u32,
    state: &'static str,
    is_stalled: bool,
    since: String,
    leases: u64,
    handled: u64,
    restarts: u32,
    event_loop_utilization: Option<f64>,
    /// Bytes.
    memory: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsStatus {
    accepted: u64,
    handed_off: u64,
    requeued: u64,
    handed_back: u64,
    shed: u64,
    queued: u64,
    max_queued: u64,
    queue_limit: usize,
    leases: u64,
    workers: u64,
    paused: bool,
    paused_seconds: f64,
    wait_ms: WaitStatus,
    accept_errors: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WaitStatus {
    p50: f64,
    p99: f64,
    max: f64,
    /// The upper bounds of the buckets in milliseconds; the last bucket has none.
    bounds: Vec<f64>,
    /// The waits in each bucket so far.
    buckets: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct EventStatus {
    at: String,
    kind: String,
    text: String,
}

/// Returns the share of time in which the event loop of a worker was busy. The worker is a process or a thread of this process.
fn utilization_of(stats: &ChannelStats, pid: Option<u32>, now: Instant) -> Option<f64> {
    stats.utilization(now, |thread| scheduled_time(pid, thread))
}

impl Metrics {
    /// Returns the share of time in which the event loop of a worker was busy, as in [`Self::status`]; `None` if it is not known.
    #[must_use]
    pub fn utilization(&self, channel: ChannelId) -> Option<f64> {
        let stats = self.stats.channel(channel)?;
        utilization_of(&stats, self.facts.process(channel)?, Instant::now())
    }

    /// Returns the status at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = Instant::now();
        let workers = self.facts.workers();
        let mut rows: Vec<WorkerStatus> = workers
            .iter()
            .map(|(channel, worker)| self.worker_status(*channel, worker, now))
            .collect();
        rows.sort_by(|a, b| (&a.pool, a.slot, a.id).cmp(&(&b.pool, b.slot, b.id)));
        let pools = self.facts.pools();
        let pools = pools.iter().map(|(name, pool)| PoolStatus {
            name: name.to_string(),
            size: pool.size,
            scoreboard: scoreboard(name, pool.size, &rows),
        });
        let listeners = self
            .stats
            .listeners()
            .report()
            .into_iter()
            .filter(|listener| listener.is_open);
        Status {
            version: self.about.version.clone(),
            node: self.about.runtime.clone(),
            pid: std::process::id(),
            started_at: self.about.started_at.clone(),
            uptime: now.saturating_duration_since(self.began).as_secs(),
            policy: super::policy_name(self.policy),
            unready: self.facts.unready(),
            listeners: listeners
                .map(|listener| ListenerStatus {
                    address: listener.address,
                    accepted: listener.accepted,
                    backlog: listener.backlog.map(|backlog| backlog.length),
                    backlog_limit: listener.backlog.map(|backlog| backlog.limit),
                })
                .collect(),
            pools: pools.collect(),
            workers: rows,
            stats: self.stats_status(),
            events: self
                .facts
                .events()
                .into_iter()
                .map(|event| EventStatus {
                    at: event.at,
                    kind: event.kind,
                    text: event.text,
                })
                .collect(),
        }
    }

    fn worker_status(&self, channel: ChannelId, worker: &Worker, now: Instant) -> WorkerStatus {
        let stats = self.stats.channel(channel);
        let stats = stats.as_deref();
        WorkerStatus {
            pool: worker.pool.to_string(),
            slot: worker.slot,
            id: worker.id,
            pid: worker.pid,
            generation: worker.generation,
            state: worker.state.name(),
            is_stalled: stats.is_some_and(ChannelStats::is_stalled),
            since: worker.since.clone(),
            leases: stats.map_or(0, ChannelStats::leases),
            handled: stats.map_or(0, ChannelStats::taken),
            restarts: worker.restarts,
            event_loop_utilization: stats.and_then(|stats| utilization_of(stats, worker.pid, now)),
            memory: worker.pid.and_then(resident_memory),
        }
    }

    fn stats_status(&self) -> StatsStatus {
        let stats = self.stats.snapshot();
        let milliseconds = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        #[allow(clippy::cast_precision_loss, reason = "at most 10 seconds")]
        let bounds = WAIT_BOUNDS.map(|micros| micros as f64 / 1000.0);
        StatsStatus {
            accepted: stats.accepted,
            handed_off: stats.handed_off,
            requeued: stats.requeued,
            handed_back: stats.handed_back,
            shed: stats.shed,
            queued: stats.queued,
            max_queued: stats.max_queued,
            queue_limit: self.max_queue,
            leases: stats.leases,
            workers: stats.workers,
            paused: self.is_paused(),
            paused_seconds: stats.paused_time.as_secs_f64(),
            wait_ms: WaitStatus {
                p50: milliseconds(stats.wait_p50),
                p99: milliseconds(stats.wait_p99),
                max: milliseconds(stats.wait_max),
                bounds: bounds.to_vec(),
                buckets: stats.waits.counts.to_vec(),
            },
            accept_errors: stats.accept_errors,
        }
    }
}

impl Status {
    /// Returns the status as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        // Fails only for maps with keys that are no strings.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the status as lines `Key: value`, as Apache's `mod_status?auto` does. Monitoring agents parse these keys.
    #[must_use]
    pub fn auto(&self) -> String {
        let ready = || self.workers.iter().filter(|worker| worker.state == "ready");
        let busy = ready().filter(|worker| worker.leases > 0 || worker.is_stalled).count();
        let scoreboard: String = self.pools.iter().map(|pool| pool.scoreboard.as_str()).collect();
        let mut text = String::new();
        for (key, value) in [
            ("ServerVersion", format!("socketserver/{}", self.version)),
            ("ServerUptimeSeconds", self.uptime.to_string()),
            ("Uptime", self.uptime.to_string()),
            ("Total Accesses", self.stats.handed_off.to_string()),
            ("BusyWorkers", busy.to_string()),
            ("IdleWorkers", (ready().count() - busy).to_string()),
            ("ConnsTotal", self.stats.leases.to_string()),
            ("ConnsQueued", self.stats.queued.to_string()),
            ("Scoreboard", scoreboard),
        ] {
            // A String never fails.
            let _ = writeln!(text, "{key}: {value}");
        }
        text
    }
}

/// Returns one character for each slot: `_` idle, `W` holds connections, `S` starting, `G` finishing, `!` stalled, `.` empty. A
/// shared path has one character for each program.
fn scoreboard(pool: &str, size: u32, workers: &[WorkerStatus]) -> String {
    let of_pool = || workers.iter().filter(|worker| worker.pool == pool);
    if size == 0 {
        return of_pool().map(character).collect();
    }
    let slots = (0..size).map(|slot| {
        // During a reload a slot has two workers.
        let in_slot = of_pool().filter(|worker| worker.slot == Some(slot));
        in_slot.min_by_key(|worker| rank(worker)).map_or('.', character)
    });
    slots.collect()
}

fn rank(worker: &WorkerStatus) -> u8 {
    match worker.state {
        "ready" => 0,
        "starting" => 1,
        _ => 2,
    }
}

fn character(worker: &WorkerStatus) -> char {
    let state = WorkerState::ALL.into_iter().find(|state| state.name() == worker.state);
    match state {
        Some(WorkerState::Starting) => 'S',
        Some(WorkerState::Draining) => 'G',
        _ if worker.is_stalled => '!',
        _ if worker.leases > 0 => 'W',
        _ => '_',
    }
}
