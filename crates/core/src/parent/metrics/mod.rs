//! Metrics of a server for Prometheus, its status, and the answers to probes. The sources are the dispatcher's counters, the
//! scoreboards and the facts of the owner, so that no reader waits for a worker or for the owner.

pub mod app;
pub mod exposition;
pub mod facts;
pub mod process;
pub mod readiness;
pub mod smoothed;
pub mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::app::{AppMetrics, AppMetricsRequests};
pub use self::exposition::Format;
use self::exposition::{Exposition, Kind, Labels, seconds};
use self::facts::{Counter, Facts, WorkerState};
use self::process::Resources;
use self::smoothed::Smoothed;
use crate::parent::config::{About, Config, PolicyName};
use crate::parent::queue::Permits;
use crate::stats::histogram::{LEASE_BOUNDS, WAIT_BOUNDS};
use crate::stats::slot::{SlotKey, SlotTotals};
use crate::stats::{RequeueReason, Snapshot, Stats};

/// The metrics, status and probes of one server.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) stats: Arc<Stats>,
    /// The facts that the owner has reported.
    pub facts: Facts,
    /// The metrics of the app.
    pub app: AppMetricsRequests,
    about: About,
    policy: PolicyName,
    max_queue: usize,
    permits: Permits,
    began: Instant,
    /// The share of the workers that take connections, in percent.
    capacity: Smoothed,
}

/// The agent-check reports a server as down after this time without a ready worker. Shorter gaps are restarts.
const DOWN_AFTER: Duration = Duration::from_secs(1);

impl Metrics {
    /// Creates the metrics of a server with these counters.
    pub(crate) fn new(stats: Arc<Stats>, config: &Config, permits: Permits) -> Self {
        Self {
            stats,
            facts: Facts::default(),
            app: AppMetricsRequests::default(),
            about: config.about().clone(),
            policy: config.policy(),
            max_queue: config.max_queue(),
            permits,
            began: Instant::now(),
            capacity: Smoothed::default(),
        }
    }

    /// Returns whether accepting is paused: the queue is full, or the system is out of descriptors or memory.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.permits.free() == 0 || self.stats.snapshot().paused_acceptors > 0
    }

    /// Returns all metrics of the server, and those of the app if they are given.
    #[must_use]
    pub fn text(&self, format: Format, app: Option<&AppMetrics>) -> String {
        let mut text = Exposition::new(format);
        let now = Instant::now();
        let snapshot = self.stats.snapshot();
        self.write_server(&mut text, &snapshot);
        Self::write_connections(&mut text, &snapshot);
        self.write_listeners(&mut text);
        self.write_workers(&mut text, &self.stats.slots(now));
        self.write_counts(&mut text);
        // An app's own registry usually has these names too.
        if !self.app.is_offered() {
            Self::write_process(&mut text);
        }
        if let Some(AppMetrics {
            text: families,
            ok,
            late,
            failed,
        }) = app
        {
            let results = [("ok", ok), ("late", late), ("failed", failed)];
            let family = text.family(
                Kind::Gauge,
                "socketserver_scrape_workers",
                "Workers by how they answered this request for the metrics of the app.",
            );
            for (result, count) in results {
                family.value(&[("result", result)], count);
            }
            text.append(families);
        }
        text.finish()
    }

    fn write_server(&self, text: &mut Exposition, snapshot: &Snapshot) {
        let About { version, runtime, .. } = &self.about;
        let policy = policy_name(self.policy);
        let labels = [
            ("version", version.as_str()),
            ("node", runtime.as_str()),
            ("policy", policy),
        ];
        text.family(Kind::Info, "socketserver", "The server.").value(&labels, 1);
        text.family(
            Kind::Gauge,
            "socketserver_start_time_seconds",
            "When the server was created, in seconds since 1970.",
        )
        .value(&[], self.about.started_at_ms / 1000.0);
        text.family(
            Kind::Gauge,
            "socketserver_queue_limit",
            "The most connections that may wait in the queue.",
        )
        .value(&[], self.max_queue);
        text.family(
            Kind::Gauge,
            "socketserver_accept_paused",
            "Whether accepting pauses: the queue is full, or the process is out of descriptors.",
        )
        .value(&[], u8::from(self.is_paused()));
        text.family(
            Kind::Counter,
            "socketserver_accept_paused_seconds",
            "How long accepting has paused.",
        )
        .value(&[], seconds(micros(snapshot.paused_time)));
        let errors = text.family(
            Kind::Counter,
            "socketserver_accept_errors",
            "Failed calls of accept(2) by error code.",
        );
        let mut codes: BTreeMap<&str, u64> = ["ECONNABORTED", "EMFILE", "ENFILE"].map(|code| (code, 0)).into();
        codes.extend(
            snapshot
                .accept_errors
                .iter()
                .map(|(code, count)| (code.as_str(), *count)),
        );
        for (code, count) in codes {
            errors.value(&[("code", code)], count);
        }
        text.family(
            Kind::Counter,
            "socketserver_peers_refused",
            "Programs that were refused at shared paths.",
        )
        .value(&[], snapshot.refused_peers);
    }

    fn write_connections(text: &mut Exposition, snapshot: &Snapshot) {
        text.family(Kind::Gauge, "socketserver_connections", "Open connections by state.")
            .value(&[("state", "pending")], snapshot.pending)
            .value(&[("state", "queued")], snapshot.queued)
            .value(&[("state", "leased")], snapshot.leases);
        let requeued = text.family(
            Kind::Counter,
            "socketserver_connections_requeued",
            "Returns of connections to the queue before a worker took them, by reason.",
        );
        for (reason, count) in RequeueReason::ALL.iter().zip(snapshot.requeued_for) {
            requeued.value(&[("reason", reason.name())], count);
        }
        text.family(
            Kind::Counter,
            "socketserver_connections_handed_back",
            "Connections that workers had taken and handed back.",
        )
        .value(&[], snapshot.handed_back);
        text.family(
            Kind::Counter,
            "socketserver_connections_shed",
            "Connections that were reset before a worker took them, by reason.",
        )
        .value(&[("reason", "timeout")], snapshot.timed_out)
        .value(
            &[("reason", "destroyed")],
            snapshot.shed.saturating_sub(snapshot.timed_out),
        );
        let routed = text.family(
            Kind::Counter,
            "socketserver_routed_connections",
            "Results of the listeners with the options proxyProtocol or sticky.",
        );
        for (result, count) in &snapshot.routed {
            routed.value(&[("result", result)], count);
        }
        let refused = text.family(
            Kind::Counter,
            "socketserver_proxy_refused_connections",
            "Connections that were reset because of the PROXY protocol, by reason.",
        );
        for (reason, count) in &snapshot.proxy_refused {
            refused.value(&[("reason", reason)], count);
        }
        text.family(
            Kind::Histogram,
            "socketserver_queue_wait_seconds",
            "The time from accept until a worker took the connection.",
        )
        .histogram(&[], &WAIT_BOUNDS, &snapshot.waits);
    }

    fn write_listeners(&self, text: &mut Exposition) {
        let listeners = self.stats.listeners().report();
        let accepted = text.family(
            Kind::Counter,
            "socketserver_connections_accepted",
            "Accepted connections by listener.",
        );
        for listener in &listeners {
            accepted.value(&[("listener", &listener.address)], listener.accepted);
        }
        let backlogs = || {
            let listeners = listeners.iter();
            listeners.filter_map(|listener| Some((listener.address.as_str(), listener.backlog?)))
        };
        let length = text.family(
            Kind::Gauge,
            "socketserver_listen_backlog",
            "Established connections in the kernel that wait to be accepted, by listener.",
        );
        for (address, backlog) in backlogs() {
            length.value(&[("listener", address)], backlog.length);
        }
        let limit = text.family(
            Kind::Gauge,
            "socketserver_listen_backlog_limit",
            "The most connections that may wait in the kernel, by listener.",
        );
        for (address, backlog) in backlogs() {
            limit.value(&[("listener", address)], backlog.limit);
        }
    }

    fn write_workers(&self, text: &mut Exposition, slots: &BTreeMap<SlotKey, SlotTotals>) {
        let (pools, workers) = (self.facts.pools(), self.facts.workers());
        let states = text.family(Kind::Gauge, "socketserver_workers", "Workers by pool and state.");
        for pool in pools.keys() {
            for state in WorkerState::ALL {
                let count = workers
                    .iter()
                    .filter(|(_, worker)| worker.pool == *pool && worker.state == state);
                states.value(&[("pool", pool), ("state", state.name())], count.count());
            }
        }
        let mut by_pool: BTreeMap<&str, SlotTotals> = BTreeMap::new();
        for pool in pools.keys() {
            by_pool.insert(pool, SlotTotals::default());
        }
        for (key, totals) in slots {
            by_pool.entry(&key.pool).or_default().add(totals);
        }
        let handed_off = text.family(
            Kind::Counter,
            "socketserver_connections_handed_off",
            "Connections that workers have taken, by pool.",
        );
        for (pool, totals) in &by_pool {
            handed_off.value(&[("pool", pool)], totals.taken);
        }
        let leases = text.family(
            Kind::Histogram,
            "socketserver_lease_seconds",
            "How long workers have held connections, by pool, where the workers measure it.",
        );
        for (pool, totals) in &by_pool {
            leases.histogram(&[("pool", pool)], &LEASE_BOUNDS, &totals.load.leases);
        }
        let turns = text.family(
            Kind::Histogram,
            "socketserver_worker_event_loop_delay_seconds",
            "How long the turns of the workers' event loops ran callbacks, which delays all other events, by pool.",
        );
        for (pool, totals) in &by_pool {
            turns.histogram(&[("pool", pool)], &WAIT_BOUNDS, &totals.load.turns);
        }
        write_slots(
            text.family(
                Kind::Gauge,
                "socketserver_worker_leases",
                "Connections that the workers of a slot hold.",
            ),
            slots,
            |totals| totals.leases.to_string(),
        );
        write_slots(
            text.family(
                Kind::Counter,
                "socketserver_worker_handled",
                "Connections that the workers of a slot have taken.",
            ),
            slots,
            |totals| totals.taken.to_string(),
        );
        write_slots(
            text.family(
                Kind::Counter,
                "socketserver_worker_busy_seconds",
                "How long the event loops of a slot's workers have been busy.",
            ),
            slots,
            |totals| seconds(micros(totals.load.busy)),
        );
        self.write_info(text);
    }

    fn write_info(&self, text: &mut Exposition) {
        let mut current: BTreeMap<SlotKey, &facts::Worker> = BTreeMap::new();
        let workers = self.facts.workers();
        for (_, worker) in workers.iter().filter(|(_, worker)| worker.slot.is_some()) {
            let key = SlotKey {
                pool: Arc::clone(&worker.pool),
                slot: worker.slot,
            };
            // During a reload a slot has two workers.
            let known = current.entry(key).or_insert(worker);
            if worker.id > known.id && worker.state == WorkerState::Ready || known.state == WorkerState::Draining {
                *known = worker;
            }
        }
        let info = text.family(Kind::Info, "socketserver_worker", "The current worker of a slot.");
        for (key, worker) in current {
            let slot = key.slot.map_or_else(String::new, |slot| slot.to_string());
            let pid = worker.pid.map_or_else(String::new, |pid| pid.to_string());
            let generation = worker.generation.to_string();
            let labels: Labels<'_> = &[
                ("pool", &worker.pool),
                ("slot", &slot),
                ("pid", &pid),
                ("generation", &generation),
            ];
            info.value(labels, 1);
        }
    }

    fn write_counts(&self, text: &mut Exposition) {
        let counts = self.facts.counts();
        let families = [
            (
                Counter::Restarts,
                "socketserver_worker_restarts",
                "Workers started to replace another one, by pool and reason.",
                "reason",
            ),
            (
                Counter::Reloads,
                "socketserver_reloads",
                "Reloads by pool and result.",
                "result",
            ),
            (
                Counter::Stalls,
                "socketserver_worker_stalls",
                "Stalls of the event loops of workers, by pool.",
                "",
            ),
            (
                Counter::Cut,
                "socketserver_connections_cut",
                "Connections that ended because their worker did, by pool and reason.",
                "reason",
            ),
        ];
        for (counter, name, help, label) in families {
            let family = text.family(Kind::Counter, name, help);
            for (counted, count) in counts.iter().filter(|(counted, _)| counted.counter == counter) {
                if label.is_empty() {
                    family.value(&[("pool", &counted.pool)], count);
                } else {
                    family.value(&[("pool", &counted.pool), (label, &counted.reason)], count);
                }
            }
        }
    }

    fn write_process(text: &mut Exposition) {
        let Some(resources) = Resources::read() else { return };
        text.family(
            Kind::Counter,
            "process_cpu_seconds",
            "The processor time of this process, threads included.",
        )
        .value(&[], seconds(micros(resources.processor_time)));
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory.", resources.resident),
            (
                "process_virtual_memory_bytes",
                "Virtual memory.",
                resources.virtual_size,
            ),
            ("process_open_fds", "Open descriptors.", resources.open_fds),
            ("process_max_fds", "The limit of open descriptors.", resources.max_fds),
        ] {
            text.family(Kind::Gauge, name, help).value(&[], value);
        }
    }
}

fn write_slots(family: &mut Exposition, slots: &BTreeMap<SlotKey, SlotTotals>, value: impl Fn(&SlotTotals) -> String) {
    for (SlotKey { pool, slot }, totals) in slots {
        if let Some(slot) = slot {
            family.value(&[("pool", pool), ("slot", &slot.to_string())], value(totals));
        }
    }
}

fn policy_name(policy: PolicyName) -> &'static str {
    match policy {
        PolicyName::LeastBusy => "least-busy",
        PolicyName::RoundRobin => "round-robin",
        PolicyName::First => "first",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
