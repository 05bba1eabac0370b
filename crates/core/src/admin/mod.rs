//! Serves a page, metrics and probes by HTTP, and answers HAProxy's agent-check.
//!
//! Each listener has a separate thread, so that it answers while the owner's JavaScript is blocked, the queue is full, or accepting
//! is paused. See decision record 23.

mod agent;
mod connections;
mod events;
mod host;
mod request;
mod response;
mod routes;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime;
use tokio::sync::oneshot;

use crate::admin::connections::Connections;
use crate::error::{SystemError, system_error};
use crate::parent::listener::ListenerAddress;
use crate::parent::metrics::Metrics;
use crate::parent::metrics::readiness::ReadyWhen;
use crate::parent::notice::Notices;
use crate::sys::unix_socket;

/// The address and the service of an admin listener.
#[derive(Debug, Clone)]
pub struct AdminSpec {
    /// The address to listen on.
    pub place: AdminAddress,
    /// The service.
    pub service: Service,
}

/// The address of an admin listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// A TCP address; port 0 lets the system choose.
    Tcp(IpAddr, u16),
    /// A path with the permissions of its file, or on Linux an abstract name.
    Unix(PathBuf, u32),
}

/// The service of an admin listener.
#[derive(Debug, Clone)]
pub enum Service {
    /// The page, metrics and probes by HTTP.
    Http(HttpSettings),
    /// HAProxy's agent-check: one line for each connection.
    Agent {
        /// How many connections each worker takes at a time; `None` without a limit.
        concurrency: Option<u32>,
    },
}

/// The settings of the HTTP service.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Names beside `localhost` and IP addresses that a Host header may have; `*` allows every name.
    pub hosts: Vec<String>,
    /// The conditions under which the server is ready.
    pub ready_when: ReadyWhen,
    /// The owner counts as dead when its event loop has been blocked for this time.
    pub liveness_timeout: Duration,
    /// The event loop of the owner.
    pub owner_loop: OwnerLoop,
}

/// Measures on any thread for how long the event loop of the owner has been blocked: the time since it last waited for events, and
/// zero while it waits. Must neither wake the owner nor wait for it.
#[derive(Clone)]
pub struct OwnerLoop(Arc<dyn Fn() -> Duration + Send + Sync>);

impl OwnerLoop {
    /// Creates a measurement.
    #[must_use]
    pub fn new(blocked_for: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(blocked_for))
    }

    fn blocked_for(&self) -> Duration {
        (self.0)()
    }
}

impl std::fmt::Debug for OwnerLoop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("OwnerLoop").field(&self.blocked_for()).finish()
    }
}

/// An open admin listener. Dropping it closes the listener and its connections.
#[derive(Debug)]
pub struct Admin {
    address: ListenerAddress,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The metrics to serve.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notices: Arc<Notices>,
}

/// The backlog of an admin listener.
const BACKLOG: i32 = 128;

impl Admin {
    /// Listens and starts the thread.
    pub fn open(spec: AdminSpec, metrics: &Arc<Metrics>, notices: &Arc<Notices>) -> Result<Self, SystemError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| system_error("epoll_create1", &error))?;
        let entered = runtime.enter();
        let (listener, address) = listen(&spec.place)?;
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let shown = Shown {
            metrics: Arc::clone(metrics),
            notices: Arc::clone(notices),
        };
        let connections = Connections::new(spec.service, shown);
        let thread = std::thread::Builder::new()
            .name("socketserver-adm".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        // Ended also by the drop of the sender.
                        _ = stopped => {}
                        () = connections.serve(listener) => {}
                    }
                });
            })
            .map_err(|error| system_error("pthread_create", &error))?;
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &ListenerAddress {
        &self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // An error is a panic, which has closed the listener too.
            let _ = thread.join();
        }
    }
}

/// A listening socket on the runtime of an admin thread.
pub(crate) enum AdminListener {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[allow(dead_code, reason = "removes the file when it is dropped")] Option<unix_socket::OwnPath>,
    ),
}

/// An accepted connection.
pub(crate) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AdminListener {
    pub(crate) async fn accept(&self) -> std::io::Result<Peer> {
        match self {
            Self::Tcp(listener) => Ok(Peer::Tcp(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Peer::Unix(listener.accept().await?.0)),
        }
    }
}

fn listen(place: &AdminAddress) -> Result<(AdminListener, ListenerAddress), SystemError> {
    match place {
        AdminAddress::Tcp(ip, port) => {
            let listener = std::net::TcpListener::bind(SocketAddr::new(*ip, *port))
                .map_err(|error| system_error("listen", &error))?;
            let address = listener
                .local_addr()
                .map_err(|error| system_error("getsockname", &error))?;
            listener
                .set_nonblocking(true)
                .map_err(|error| system_error("fcntl", &error))?;
            let listener = TcpListener::from_std(listener).map_err(|error| system_error("epoll_ctl", &error))?;
            Ok((AdminListener::Tcp(listener), ListenerAddress::Tcp(address)))
        }
        AdminAddress::Unix(path, mode) => {
            let (fd, own): (OwnedFd, _) =
                unix_socket::listen(path.as_os_str().as_bytes(), *mode, BACKLOG).map_err(SystemError::of("listen"))?;
            let listener = UnixListener::from_std(fd.into()).map_err(|error| system_error("epoll_ctl", &error))?;
            Ok((AdminListener::Unix(listener, own), ListenerAddress::Unix(path.clone())))
        }
    }
}
