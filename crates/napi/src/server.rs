//! The parent's side.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::ids::ChannelId;
use socketserver_core::parent::share::Allow;
use socketserver_core::{Config, ListenSpec, PolicyName, Server, ShareSpec, SystemError as CoreError};

use crate::convert::{ListenOutcome, NativeStats, ShareOutcome, SystemError, count};
use crate::descriptor;
use crate::notice::Notice;
use crate::owned_descriptor::NativeDescriptor;
use crate::wake::{Wake, bell};

/// A server's settings; TypeScript has checked them.
#[napi(object)]
pub struct NativeServerSettings {
    /// Connections that may wait.
    pub max_queue: u32,
    /// Milliseconds; 0 is for ever.
    pub queue_timeout_ms: u32,
    /// Who gets the next connection.
    #[napi(ts_type = "'least-busy' | 'round-robin' | 'first'")]
    pub policy: String,
    /// Whether each step of each connection is told.
    pub steps: bool,
}

/// Where programs may join, and who may; TypeScript has checked it.
#[napi(object)]
pub struct NativeShareSettings {
    /// A path, or an abstract name behind a null byte.
    pub path: String,
    /// The file's rights.
    pub mode: u32,
    /// Users that may join beside our own.
    pub uids: Vec<u32>,
    /// Groups whose members may join.
    pub gids: Vec<u32>,
    /// How many may have joined at a time.
    pub max_workers: u32,
    /// Milliseconds to say hello; 0 is for ever.
    pub hello_timeout_ms: u32,
}

/// A new channel.
#[napi(object)]
pub struct ChannelEnd {
    /// Its number.
    pub channel: u32,
    /// The worker's end, to be put in a child's stdio: close-on-exec, and open until `closeWorkerEnd`.
    pub fd: i32,
}

/// The counters of one channel.
#[napi(object)]
pub struct ChannelStats {
    /// Leases held now.
    pub leases: f64,
    /// Connections acked so far.
    pub handed_off: f64,
    /// Turns of its event loop, if its worker counts them.
    pub beats: f64,
}

/// Either the one or the other.
#[napi(object, object_from_js = false)]
pub struct DescriptorsOutcome {
    /// The descriptors.
    pub descriptors: Option<Vec<NativeDescriptor>>,
    /// Why there are none.
    pub error: Option<SystemError>,
}

/// Accepts, queues and dispatches on a thread of its own.
#[napi]
pub struct NativeServer {
    server: Server,
    /// Ends of channels whose workers have not been started yet.
    worker_ends: HashMap<ChannelId, OwnedFd>,
}

#[napi]
impl NativeServer {
    /// `wake` is called on this thread when notices wait; it keeps no loop alive. Throws an error with the system's code, whose
    /// message begins with the system call.
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
        let timeout = Duration::from_millis(settings.queue_timeout_ms.into());
        let config = Config::new(settings.max_queue, Some(timeout), policy)
            .map_err(|error| invalid(error.to_string()))?
            .telling_steps(settings.steps);
        let server = Server::start(&config, bell(wake)).map_err(failure)?;
        Ok(Self {
            server,
            worker_ends: HashMap::new(),
        })
    }

    /// `host` is an IP literal; empty is every address.
    #[napi]
    pub fn listen_tcp(&self, host: String, port: u16, backlog: i32, ipv6_only: bool) -> Result<ListenOutcome> {
        let host = if host.is_empty() {
            None
        } else {
            let ip = host.parse::<IpAddr>();
            Some(ip.map_err(|_| Error::new(Status::InvalidArg, format!("{host:?} is no IP address")))?)
        };
        Ok(self
            .server
            .listen(ListenSpec::Tcp {
                host,
                port,
                backlog,
                ipv6_only,
            })
            .into())
    }

    /// Listens on a Unix socket.
    #[napi]
    pub fn listen_path(&self, path: String, backlog: i32, readable_all: bool, writable_all: bool) -> ListenOutcome {
        let path = PathBuf::from(path);
        self.server
            .listen(ListenSpec::Unix {
                path,
                backlog,
                readable_all,
                writable_all,
            })
            .into()
    }

    /// Listens on an inherited socket, which is the server's from then on.
    #[napi]
    pub fn listen_fd(&self, fd: i32) -> Result<ListenOutcome> {
        // With a copy: a descriptor that cannot be listened on stays its caller's.
        let listening = self.server.listen(ListenSpec::Inherited(descriptor::copy(fd)?));
        if listening.is_ok() {
            drop(descriptor::adopt(fd)?);
        }
        Ok(listening.into())
    }

    /// Copies of the sockets that it listens on, in the order of listening. Their files are from then on left alone.
    #[napi]
    pub fn listening_sockets(&self) -> DescriptorsOutcome {
        match self.server.listening_sockets() {
            Ok(sockets) => DescriptorsOutcome {
                descriptors: Some(sockets.into_iter().map(NativeDescriptor::from).collect()),
                error: None,
            },
            Err(error) => DescriptorsOutcome {
                descriptors: None,
                error: Some(error.into()),
            },
        }
    }

    /// Lets programs join as workers at a path.
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

    /// Nobody joins there any more; the path is gone when this returns.
    #[napi]
    pub fn unshare(&self, share: u32) {
        self.server.unshare(share);
    }

    /// Opens a channel. The worker's end stays open here until `closeWorkerEnd`. Throws as the constructor does.
    #[napi]
    pub fn open_channel(&mut self) -> Result<ChannelEnd, String> {
        let (channel, end) = self.server.open_channel().map_err(failure)?;
        let fd = end.as_raw_fd();
        self.worker_ends.insert(channel, end);
        Ok(ChannelEnd { channel, fd })
    }

    /// Closes our copy of a worker's end, once its process has one: while it is open, the channel never ends.
    #[napi]
    pub fn close_worker_end(&mut self, channel: u32) {
        self.worker_ends.remove(&channel);
    }

    /// No more connections for this worker; it is told to finish and leave.
    #[napi]
    pub fn retire(&self, channel: u32) {
        self.server.retire(channel);
    }

    /// Ends a channel now.
    #[napi]
    pub fn end_channel(&self, channel: u32) {
        self.server.end_channel(channel);
    }

    /// Stops accepting and finishes what there is, then says so in a notice.
    #[napi]
    pub fn drain(&self) {
        self.server.drain();
    }

    /// Takes what has happened since the last call.
    #[napi]
    pub fn notices(&self) -> Vec<Notice> {
        self.server.notices().into_iter().map(Notice::from).collect()
    }

    /// The counters now.
    #[napi]
    pub fn stats(&self) -> NativeStats {
        NativeStats::new(self.server.stats(), self.server.is_paused())
    }

    /// The counters of a channel; null once it has ended.
    #[napi]
    pub fn channel_stats(&self, channel: u32) -> Option<ChannelStats> {
        let stats = self.server.channel_stats(channel)?;
        Some(ChannelStats {
            leases: count(stats.leases()),
            handed_off: count(stats.taken()),
            beats: count(stats.beats()),
        })
    }

    /// Ends everything now.
    #[napi]
    pub fn destroy(&self) {
        self.server.destroy();
    }
}

/// A failed system call as an error with its code.
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
