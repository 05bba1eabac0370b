//! Metrics of a server: the owner reports facts, and opens admin listeners.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::admin::{AdminAddress, AdminSpec, HttpSettings, Service};
use socketserver_core::parent::metrics::facts::{Counted, Counter, Event, Worker, WorkerState};
use socketserver_core::parent::metrics::readiness::ReadyWhen;
use socketserver_core::parent::metrics::{AppMetrics, Format};
use socketserver_core::{Admin, ListenError};

use super::NativeServer;
use super::outcome::ListenOutcome;
use super::owner_meter::OwnerMeter;

/// The facts about a worker that the owner reports.
#[napi(object)]
pub struct WorkerFacts {
    /// The label of the pool.
    pub pool: String,
    /// The slot; absent for a worker that joined.
    pub slot: Option<u32>,
    /// The number of the worker.
    pub id: u32,
    /// The process id; absent for a thread.
    pub pid: Option<u32>,
    /// The generation.
    pub generation: u32,
    /// The state.
    #[napi(ts_type = "'starting' | 'ready' | 'draining'")]
    pub state: String,
    /// When the worker entered the state, ISO 8601.
    pub since: String,
    /// How many earlier workers of the slot exited.
    pub restarts: u32,
}

/// The address and the service of an admin listener.
#[napi(object)]
pub struct NativeAdminSettings {
    /// The IP address; absent for a Unix socket.
    pub host: Option<String>,
    /// The port; absent for a Unix socket.
    pub port: Option<u16>,
    /// The path; absent for TCP.
    pub path: Option<String>,
    /// The permissions of the file at the path.
    pub mode: u32,
    /// Whether to answer HAProxy's agent-check instead of HTTP.
    pub is_agent: bool,
    /// The allowed names in Host headers.
    pub hosts: Vec<String>,
    /// How many connections each worker takes at a time, for the agent-check; absent without a limit.
    pub concurrency: Option<u32>,
    /// The number of ready workers that readiness needs.
    pub min_ready: u32,
    /// The share of the queue at which the server is not ready.
    pub max_queue: f64,
    /// Milliseconds after which a blocked event loop fails liveness.
    pub liveness_timeout_ms: u32,
}

/// The metrics of the app.
#[napi(object)]
pub struct NativeAppMetrics {
    /// The families, without an end mark.
    pub text: String,
    /// Workers that answered.
    pub ok: u32,
    /// Workers that did not answer in time.
    pub late: u32,
    /// Workers that failed.
    pub failed: u32,
}

#[napi]
impl NativeServer {
    /// Returns the metrics of the server as text.
    #[napi]
    pub fn metrics(&self, open_metrics: bool) -> String {
        let format = if open_metrics {
            Format::OpenMetrics
        } else {
            Format::Text
        };
        self.server.metrics().text(format, None)
    }

    /// Returns the status of the server as JSON.
    #[napi]
    pub fn status(&self) -> String {
        self.server.metrics().status().json()
    }

    /// Opens an admin listener, which closes when the server is destroyed.
    #[napi]
    pub fn open_admin(&mut self, env: Env, settings: NativeAdminSettings) -> Result<ListenOutcome> {
        let place = match (settings.path, settings.host, settings.port) {
            (Some(path), ..) => AdminAddress::Unix(PathBuf::from(path), settings.mode),
            (None, Some(host), Some(port)) => {
                let ip = host.parse::<IpAddr>();
                let ip = ip.map_err(|_| Error::new(Status::InvalidArg, format!("{host:?} is not an IP address")))?;
                AdminAddress::Tcp(ip, port)
            }
            _ => return Err(Error::new(Status::InvalidArg, "neither a path nor a port".to_owned())),
        };
        let service = if settings.is_agent {
            Service::Agent {
                concurrency: settings.concurrency,
            }
        } else {
            let owner_meter = match self.owner_meter.take() {
                Some(started) => started,
                None => OwnerMeter::start(env)?,
            };
            let owner_loop = self.owner_meter.insert(owner_meter).owner_loop();
            Service::Http(HttpSettings {
                hosts: settings.hosts,
                ready_when: ReadyWhen {
                    min_ready: settings.min_ready,
                    max_queue: settings.max_queue,
                },
                liveness_timeout: Duration::from_millis(settings.liveness_timeout_ms.into()),
                owner_loop,
            })
        };
        let spec = AdminSpec { place, service };
        let opened = Admin::open(spec, self.server.metrics(), self.server.mailbox());
        Ok(match opened {
            Ok(admin) => {
                let address = admin.address().clone();
                self.admins.push(admin);
                Ok(address).into()
            }
            Err(error) => Err(ListenError::from(error)).into(),
        })
    }

    /// Closes the admin listeners.
    #[napi]
    pub fn close_admin(&mut self) {
        self.admins.clear();
        self.owner_meter = None;
    }

    /// Adds a pool or changes its size. A shared path has the size 0.
    #[napi]
    pub fn set_pool(&self, pool: String, size: u32) {
        self.server.metrics().facts.set_pool(&pool, size);
    }

    /// Records that all first workers of a pool have become ready.
    #[napi]
    pub fn pool_was_ready(&self, pool: String) {
        self.server.metrics().facts.pool_was_ready(&pool);
    }

    /// Assigns a channel to a slot of a pool.
    #[napi]
    pub fn assign(&self, channel: u32, pool: String, slot: Option<u32>) {
        self.server.assign(channel, &pool, slot);
    }

    /// Records the facts about the worker of a channel.
    #[napi]
    pub fn set_worker(&self, channel: u32, worker: WorkerFacts) -> Result<()> {
        let state = match worker.state.as_str() {
            "starting" => WorkerState::Starting,
            "ready" => WorkerState::Ready,
            "draining" => WorkerState::Draining,
            other => return Err(Error::new(Status::InvalidArg, format!("unknown state {other:?}"))),
        };
        let facts = &self.server.metrics().facts;
        facts.set_worker(
            channel,
            Worker {
                pool: worker.pool.into(),
                slot: worker.slot,
                id: worker.id,
                pid: worker.pid,
                generation: worker.generation,
                state,
                since: worker.since,
                restarts: worker.restarts,
            },
        );
        Ok(())
    }

    /// Records that the worker of a channel has exited.
    #[napi]
    pub fn remove_worker(&self, channel: u32) {
        self.server.metrics().facts.remove_worker(channel);
    }

    /// Adds to a counter of a pool: restarts, reloads, stalls or cut.
    #[napi]
    pub fn count(
        &self,
        #[napi(ts_arg_type = "'restarts' | 'reloads' | 'stalls' | 'cut'")] counter: String,
        pool: String,
        reason: String,
        by: u32,
    ) -> Result<()> {
        let counter = match counter.as_str() {
            "restarts" => Counter::Restarts,
            "reloads" => Counter::Reloads,
            "stalls" => Counter::Stalls,
            "cut" => Counter::Cut,
            other => return Err(Error::new(Status::InvalidArg, format!("unknown counter {other:?}"))),
        };
        let pool = pool.into();
        let counted = Counted { counter, pool, reason };
        self.server.metrics().facts.count(counted, by.into());
        Ok(())
    }

    /// Adds a recent event. `text` has no addresses of clients, arguments or variables.
    #[napi]
    pub fn add_event(&self, at: String, kind: String, text: String) {
        self.server.metrics().facts.add_event(Event { at, kind, text });
    }

    /// Makes the server unready for new clients, while it still accepts.
    #[napi]
    pub fn announce_drain(&self) {
        self.server.announce_drain();
    }

    /// Records that the app has metrics. A notice will ask for these metrics.
    #[napi]
    pub fn offer_app_metrics(&self) {
        self.server.metrics().app.offer();
    }

    /// Answers a notice that asks for the metrics of the app.
    #[napi]
    pub fn answer_app_metrics(&self, id: u32, metrics: NativeAppMetrics) {
        let NativeAppMetrics { text, ok, late, failed } = metrics;
        self.server
            .metrics()
            .app
            .answer(id, AppMetrics { text, ok, late, failed });
    }
}
