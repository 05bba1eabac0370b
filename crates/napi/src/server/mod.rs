//! The parent: one server and its thread.

mod notice;
mod observed;
mod outcome;
mod owner_meter;
mod routing;
mod settings;
mod stats;
mod wake;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::ids::ChannelId;
use socketserver_core::parent::config::About;
use socketserver_core::parent::routing::spec::RoutingSpec;
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::session_id;
use socketserver_core::protocol::ticket_keys::TicketKeys;
use socketserver_core::{Admin, Config, ListenSpec, PolicyName, Server, ShareSpec, SystemError as CoreError};

use self::notice::Notice;
use self::outcome::{ChannelEnd, DescriptorsOutcome, ListenOutcome, ShareOutcome};
use self::owner_meter::OwnerMeter;
use self::routing::NativeRouting;
use self::settings::{NativeServerSettings, NativeShareSettings};
use self::stats::{ChannelStats, NativeStats};
use self::wake::{Wake, waker};
use crate::number::count;
use crate::raw_fd;
use crate::system_error::SystemError;

/// Accepts, queues and dispatches connections on a separate thread.
#[napi]
pub struct NativeServer {
    server: Server,
    /// The workers' ends of channels whose workers have not been started yet.
    worker_ends: HashMap<ChannelId, OwnedFd>,
    /// The workers' ends of the listen channels, for the channels that have one.
    listen_ends: HashMap<ChannelId, OwnedFd>,
    admins: Vec<Admin>,
    /// Measures the event loop of this thread while there is an admin listener.
    owner_meter: Option<OwnerMeter>,
}

#[napi]
impl NativeServer {
    /// Starts a server. `wake` is called on this thread when notices wait, and keeps no event loop alive. Throws an error with the
    /// system's code; its message begins with the system call.
    #[napi(constructor)]
    pub fn new(settings: NativeServerSettings, #[napi(ts_arg_type = "() => void")] wake: Wake) -> Result<Self, String> {
        let policy = match settings.policy.as_str() {
            "least-busy" => PolicyName::LeastBusy,
            "round-robin" => PolicyName::RoundRobin,
            "first" => PolicyName::First,
            other => {
                return Err(invalid(format!("unknown policy {other:?}")));
            }
        };
        let keys = settings.ticket_keys.as_ref().try_into().map(TicketKeys);
        let keys = keys.map_err(|_| invalid("ticket keys have 48 bytes".to_owned()))?;
        let timeout = Duration::from_millis(settings.queue_timeout_ms.into());
        let config = Config::new(settings.max_queue, Some(timeout), policy)
            .map_err(|error| invalid(error.to_string()))?
            .reporting_steps(settings.steps)
            .sharing_ticket_keys(keys)
            .describing(About {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                runtime: settings.runtime,
                started_at: settings.started_at,
                started_at_ms: settings.started_at_ms,
            });
        let server = Server::start(&config, waker(wake)).map_err(failure)?;
        Ok(Self {
            server,
            worker_ends: HashMap::new(),
            listen_ends: HashMap::new(),
            admins: Vec::new(),
            owner_meter: None,
        })
    }

    /// Listens on a TCP port. `host` is an IP address; an empty `host` means all addresses.
    #[napi]
    pub fn listen_tcp(
        &self,
        host: String,
        port: u16,
        backlog: i32,
        ipv6_only: bool,
        routing: Option<NativeRouting>,
    ) -> Result<ListenOutcome> {
        let host = if host.is_empty() {
            None
        } else {
            let ip = host.parse::<IpAddr>();
            Some(ip.map_err(|_| Error::new(Status::InvalidArg, format!("{host:?} is not an IP address")))?)
        };
        let spec = ListenSpec::Tcp {
            host,
            port,
            backlog,
            ipv6_only,
        };
        self.listen(spec, routing)
    }

    /// Listens on a Unix socket.
    #[napi]
    pub fn listen_path(
        &self,
        path: String,
        backlog: i32,
        readable_all: bool,
        writable_all: bool,
        routing: Option<NativeRouting>,
    ) -> Result<ListenOutcome> {
        let spec = ListenSpec::Unix {
            path: PathBuf::from(path),
            backlog,
            readable_all,
            writable_all,
        };
        self.listen(spec, routing)
    }

    /// Listens on an inherited socket, which the server takes over on success.
    #[napi]
    pub fn listen_fd(&self, fd: i32, routing: Option<NativeRouting>) -> Result<ListenOutcome> {
        // Listen on a duplicate, so that the caller keeps a descriptor that cannot be listened on.
        let listening = self.listen(ListenSpec::Inherited(raw_fd::copy(fd)?), routing)?;
        if listening.address.is_some() {
            drop(raw_fd::adopt(fd)?);
        }
        Ok(listening)
    }

    /// Returns duplicates of the listening sockets, in the order of listening. The server no longer removes their socket files.
    #[napi]
    pub fn listening_sockets(&self) -> DescriptorsOutcome {
        self.server.listening_sockets().into()
    }

    /// Lets programs join as workers at a path or an abstract name.
    #[napi]
    pub fn share(&self, settings: NativeShareSettings) -> ShareOutcome {
        let NativeShareSettings {
            path,
            mode,
            uids,
            gids,
            max_workers,
            hello_timeout_ms,
        } = settings;
        let hello_timeout = Some(Duration::from_millis(hello_timeout_ms.into())).filter(|limit| !limit.is_zero());
        self.server
            .share(ShareSpec {
                path: PathBuf::from(path),
                mode,
                allow: Allow { uids, gids },
                max_workers,
                hello_timeout,
            })
            .into()
    }

    /// Stops sharing a path. The path no longer exists when this returns.
    #[napi]
    pub fn unshare(&self, share: u32) {
        self.server.unshare(share);
    }

    /// Opens a channel. The worker's end stays open in this process until `closeWorkerEnd`. Throws as the constructor does.
    #[napi]
    pub fn open_channel(&mut self) -> Result<ChannelEnd, String> {
        let (channel, end) = self.server.open_channel().map_err(failure)?;
        let fd = end.as_raw_fd();
        self.worker_ends.insert(channel, end);
        Ok(ChannelEnd { channel, fd })
    }

    /// Closes this process's copy of a worker's end, once the worker has its own. While a copy is open, the channel never ends.
    #[napi]
    pub fn close_worker_end(&mut self, channel: u32) {
        self.worker_ends.remove(&channel);
        self.listen_ends.remove(&channel);
    }

    /// Opens a listen channel beside a channel, for a worker of an app that does not know this package. Returns the worker's
    /// end, as `openChannel` does.
    #[napi]
    pub fn open_listen_channel(&mut self, app: u32, channel: u32) -> Result<i32, String> {
        let end = self.server.open_listen_channel(app, channel).map_err(failure)?;
        let fd = end.as_raw_fd();
        self.listen_ends.insert(channel, end);
        Ok(fd)
    }

    /// Routes the connections of the listeners of an app. Call this before its workers start.
    #[napi]
    pub fn route_app(&self, app: u32, routing: NativeRouting) -> Result<()> {
        self.server.route_app(app, RoutingSpec::try_from(routing)?);
        Ok(())
    }

    /// Closes the listeners of an app whose workers have all gone. Their ports and paths can be used again when this returns.
    #[napi]
    pub fn close_app(&self, app: u32) {
        self.server.close_app(app);
    }

    /// Sets the number of slots of the pool whose first slot has this number; 0 removes the pool.
    #[napi]
    pub fn set_slots(&self, first: u32, count: u32) {
        self.server.set_slots(first, count);
    }

    /// Assigns the worker of a channel to a slot, for connections that belong to one. Call this before the worker starts.
    #[napi]
    pub fn assign_slot(&self, channel: u32, slot: u32) {
        self.server.assign_slot(channel, slot);
    }

    /// Returns a session id that names a slot; `random` has 13 bytes.
    #[napi]
    pub fn session_id(key: Uint8Array, slot: u32, random: Uint8Array) -> Result<String> {
        let random: [u8; session_id::RANDOM] = random[..]
            .try_into()
            .map_err(|_| Error::new(Status::InvalidArg, "the random bytes are not 13".to_owned()))?;
        Ok(session_id::session_id(&routing::key_of(&key)?, slot, &random))
    }

    /// Sends a worker no more connections, and asks the worker to finish its leases and leave.
    #[napi]
    pub fn retire(&self, channel: u32) {
        self.server.retire(channel);
    }

    /// Ends a channel at once.
    #[napi]
    pub fn end_channel(&self, channel: u32) {
        self.server.end_channel(channel);
    }

    /// Stops accepting and finishes the accepted connections. A notice reports the end.
    #[napi]
    pub fn drain(&self) {
        self.server.drain();
    }

    /// Takes the notices since the last call.
    #[napi]
    pub fn notices(&self) -> Vec<Notice> {
        self.server.notices().into_iter().map(Notice::from).collect()
    }

    /// Returns the counters of the server.
    #[napi]
    pub fn stats(&self) -> NativeStats {
        NativeStats::new(self.server.stats(), self.server.is_paused())
    }

    /// Returns the counters of a channel; null once the channel has ended.
    #[napi]
    pub fn channel_stats(&self, channel: u32) -> Option<ChannelStats> {
        let stats = self.server.channel_stats(channel)?;
        Some(ChannelStats {
            leases: count(stats.leases()),
            handed_off: count(stats.taken()),
            beats: count(stats.beats()),
        })
    }

    /// Returns the share of time in which the event loop of a worker was busy lately, 0 to 1; undefined if it is not known.
    #[napi]
    pub fn utilization(&self, channel: u32) -> Option<f64> {
        self.server.metrics().utilization(channel)
    }

    /// Ends the server and all channels at once.
    #[napi]
    pub fn destroy(&self) {
        self.server.destroy();
    }
}

impl NativeServer {
    fn listen(&self, spec: ListenSpec, routing: Option<NativeRouting>) -> Result<ListenOutcome> {
        let routing = routing.map(RoutingSpec::try_from).transpose()?;
        Ok(self.server.listen_routed(spec, routing).into())
    }
}

/// Converts a failed system call to an error with the system's code.
fn failure(error: CoreError) -> Error<String> {
    let SystemError {
        code, syscall, message, ..
    } = error.into();
    let reason = format!("{syscall} {code}: {message}");
    Error::new(code, reason)
}

fn invalid(reason: String) -> Error<String> {
    Error::new(Status::InvalidArg.to_string(), reason)
}
