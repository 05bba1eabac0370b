//! Answers the workers of apps that do not know this package: where an app listens, the server listens for the app.
//!
//! Each such worker has a listen channel beside its channel, see [`crate::protocol::listen_request`]. The server's thread
//! answers the requests, so that a busy owner does not delay `listen()` of a worker. The workers of one app that ask for the
//! same address share one listener. The listener accepts when the first worker takes connections, and is closed when the last
//! worker has closed it. A worker that dies has not closed the listener: then connections wait for the worker's successor.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::sync::{Mutex, mpsc};
use tokio::task;

use crate::error::SystemError;
use crate::ids::{AppId, ChannelId, ListenerId};
use crate::parent::acceptor::{Acceptor, Closing};
use crate::parent::config::ListenSpec;
use crate::parent::listener::{Endpoint, Listener, ListenerAddress};
use crate::parent::notice::Notice;
use crate::parent::panics;
use crate::parent::routing::spec::RoutingSpec;
use crate::protocol::listen_request::{Answer, ListenRequest, MAX_MESSAGE, Message, Request, Target};
use crate::sys::udp;
use crate::sys::unix_socket::OwnPath;
use crate::sys::{ForeignFd, Sys, await_writable, watch, watch_listener};

/// Answers listen requests. Clones share their listeners.
#[derive(Debug, Clone)]
pub struct ListenRequests<S> {
    acceptor: Acceptor<S>,
    /// Receives the message of an acceptor's panic.
    failures: mpsc::UnboundedSender<String>,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    listeners: HashMap<ListenerId, Shared>,
    /// The routing settings of the apps that have some.
    routing: HashMap<AppId, RoutingSpec>,
    next: ListenerId,
    is_draining: bool,
}

/// One listener that workers of an app have requested, or a listener of the server that workers may use.
#[derive(Debug)]
struct Shared {
    /// The app of the listener, or `OWN`.
    app: AppId,
    /// The request of the app; `None` for a listener of the server.
    key: Option<Key>,
    /// Living workers that have not closed the listener.
    users: HashSet<ChannelId>,
    lane: u16,
    address: ListenerAddress,
    socket: Socket,
    path: Option<OwnPath>,
}

/// One app has one listener for each key. The ordinal is 0 unless the system chooses the port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    target: Target,
    ordinal: u16,
}

#[derive(Debug)]
enum Socket {
    /// No worker takes connections yet.
    Waiting(Arc<ForeignFd>, Endpoint),
    Accepting(task::JoinHandle<()>),
    Udp(OwnedFd),
    /// A listener of the server, which accepts whether or not a worker listens.
    Own,
    /// The server drains, or the socket could not be watched.
    Closed,
}

/// The number of the server itself: apps are numbered from 1.
const OWN: AppId = 0;

/// The maximum number of listeners of one worker: each listener has a lane, and a channel has credit on at most so many lanes.
const MAX_LISTENERS: usize = crate::protocol::limits::MAX_LANES;

impl<S: Sys> ListenRequests<S> {
    /// Returns a registry without listeners.
    pub fn new(acceptor: Acceptor<S>, failures: mpsc::UnboundedSender<String>) -> Self {
        Self {
            acceptor,
            failures,
            registry: Arc::default(),
        }
    }

    /// Records a listener of the server, and returns the lane of its connections. Workers that ask for the port or path of the
    /// listener use it.
    pub async fn add_own(&self, address: &ListenerAddress) -> u16 {
        let mut registry = self.registry.lock().await;
        let lane = match address.port() {
            0 => free_lane(0, &registry.lanes()),
            port => port,
        };
        let opened = Opened {
            lane,
            address: address.clone(),
            socket: Socket::Own,
            path: None,
        };
        registry.add(OWN, None, opened);
        lane
    }

    /// Routes the connections of the listeners that an app asks for from now on.
    pub async fn route_app(&self, app: AppId, routing: RoutingSpec) {
        self.registry.lock().await.routing.insert(app, routing);
    }

    /// Answers one worker until the worker closes its end or breaks the protocol.
    pub async fn serve(self, app: AppId, worker: ChannelId, socket: OwnedFd) {
        // Fails only if memory is short; then the worker's requests time out.
        if let Ok(socket) = watch(socket, Interest::READABLE) {
            let mut unread = Vec::new();
            while let Ok(bytes) = receive(&self.acceptor.sys, &socket).await {
                unread.extend_from_slice(&bytes);
                if bytes.is_empty() || self.answer_all(app, worker, &socket, &mut unread).await.is_err() {
                    break;
                }
            }
        }
        // The worker's listeners stay open, even if no other worker uses them.
        for shared in self.registry.lock().await.listeners.values_mut() {
            shared.users.remove(&worker);
        }
    }

    /// Closes the listeners of an app whose workers have all gone.
    pub async fn close_app(self, app: AppId) {
        let mut registry = self.registry.lock().await;
        registry.routing.remove(&app);
        let ids: Vec<_> = registry
            .listeners
            .iter()
            .filter(|(_, shared)| shared.app == app)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.close(&mut registry, id).await;
        }
    }

    /// Closes the listeners without an acceptor and returns all listeners. The acceptors end by themselves when the server
    /// drains.
    pub(crate) async fn drain(&self) -> Vec<Closing> {
        let mut registry = self.registry.lock().await;
        registry.is_draining = true;
        let listeners = registry.listeners.values_mut().map(|shared| Closing {
            acceptor: std::mem::replace(&mut shared.socket, Socket::Closed).into_acceptor(),
            path: shared.path.take(),
        });
        listeners.collect()
    }

    /// Stops accepting at once.
    pub async fn abort(&self) {
        for listener in self.drain().await {
            if let Some(acceptor) = &listener.acceptor {
                acceptor.abort();
            }
            task::spawn(listener.wait());
        }
    }

    async fn answer_all(
        &self,
        app: AppId,
        worker: ChannelId,
        socket: &tokio::io::unix::AsyncFd<ForeignFd>,
        unread: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        while let Some(message) = Message::first(unread).map_err(|_| Errno::EPROTO)? {
            let (id, length) = (message.id, message.length);
            let (answer, descriptor) = match message.request() {
                Some(request) => self.answer(app, worker, request).await,
                None => (Answer::Failed(Errno::EPROTONOSUPPORT as i32), None),
            };
            let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
            send(&self.acceptor.sys, socket.as_fd(), &answer.encode(id), &descriptors).await?;
            unread.drain(..length);
        }
        Ok(())
    }

    async fn answer(&self, app: AppId, worker: ChannelId, request: Request) -> (Answer, Option<OwnedFd>) {
        // The lock is held until the answer is known, so that two workers that ask at the same time share one listener.
        let mut registry = self.registry.lock().await;
        match request {
            Request::Listen(request) => match self.listen(&mut registry, app, worker, request).await {
                Ok(listening) => listening,
                Err(errno) => (Answer::Failed(errno as i32), None),
            },
            Request::Accept(id) => {
                self.accept(&mut registry, app, id);
                (Answer::Done, None)
            }
            Request::Close(id) => {
                if registry.forget(app, worker, id) {
                    self.close(&mut registry, id).await;
                }
                (Answer::Done, None)
            }
        }
    }

    async fn listen(
        &self,
        registry: &mut Registry,
        app: AppId,
        worker: ChannelId,
        request: ListenRequest,
    ) -> Result<(Answer, Option<OwnedFd>), Errno> {
        if registry.is_draining {
            return Err(Errno::ECANCELED);
        }
        if registry.count(worker) >= MAX_LISTENERS {
            return Err(Errno::EMFILE);
        }
        let key = Key {
            target: request.target.clone(),
            ordinal: request.ordinal,
        };
        let known = registry.find(app, &key);
        let id = match known {
            // As in one process: a worker cannot listen twice on one address.
            Some(id) if registry.is_used(id, worker) => return Err(Errno::EADDRINUSE),
            Some(id) => id,
            None => {
                let lanes = registry.lanes();
                let opened = open(request, &lanes, registry.routing.get(&app)).await?;
                // The server reports no UDP socket: the worker reads it, and the server accepts no connections on it.
                if !matches!(opened.socket, Socket::Udp(_)) {
                    let address = opened.address.clone();
                    self.acceptor.notices.post(Notice::Listening { app, address });
                }
                registry.add(app, Some(key), opened)
            }
        };
        let shared = registry.listeners.get_mut(&id).ok_or(Errno::EINVAL)?;
        let descriptor = match &shared.socket {
            Socket::Udp(socket) => Some(socket.try_clone().map_err(|error| crate::error::errno_of(&error))?),
            _ => None,
        };
        shared.users.insert(worker);
        let answer = Answer::Listening {
            listener: id,
            lane: shared.lane,
            address: socket_address(&shared.address),
        };
        Ok((answer, descriptor))
    }

    fn accept(&self, registry: &mut Registry, app: AppId, id: ListenerId) {
        let Some(shared) = registry.listeners.get_mut(&id).filter(|shared| shared.app == app) else {
            return;
        };
        if !matches!(shared.socket, Socket::Waiting(..)) {
            return;
        }
        if let Socket::Waiting(socket, endpoint) = std::mem::replace(&mut shared.socket, Socket::Closed) {
            match watch_listener(socket) {
                Ok(socket) => {
                    let task = watched(self.acceptor.clone().run(socket, endpoint), self.failures.clone());
                    shared.socket = Socket::Accepting(task::spawn(task));
                }
                Err(errno) => {
                    let (address, error) = (shared.address.clone(), SystemError::of("epoll_ctl")(errno));
                    self.acceptor.notices.post(Notice::AcceptError { address, error });
                }
            }
        }
    }

    async fn close(&self, registry: &mut Registry, id: ListenerId) {
        let Some(shared) = registry.listeners.remove(&id) else {
            return;
        };
        let (app, address) = (shared.app, shared.address);
        if matches!(shared.socket, Socket::Udp(_)) {
            return;
        }
        let acceptor = shared.socket.into_acceptor();
        if let Some(acceptor) = &acceptor {
            acceptor.abort();
        }
        let path = shared.path;
        // Wait: the port or path must be free when the worker receives the answer.
        Closing { acceptor, path }.wait().await;
        self.acceptor.notices.post(Notice::ListeningEnded { app, address });
    }
}

impl Registry {
    fn find(&self, app: AppId, key: &Key) -> Option<ListenerId> {
        let found = self
            .listeners
            .iter()
            .find(|(_, shared)| shared.app == app && shared.key.as_ref() == Some(key));
        let found = found.or_else(|| self.listeners.iter().find(|(_, shared)| shared.is_own_at(&key.target)));
        found.map(|(id, _)| *id)
    }

    fn is_used(&self, id: ListenerId, worker: ChannelId) -> bool {
        self.listeners
            .get(&id)
            .is_some_and(|shared| shared.users.contains(&worker))
    }

    /// Returns how many listeners a worker uses.
    fn count(&self, worker: ChannelId) -> usize {
        self.listeners
            .values()
            .filter(|shared| shared.users.contains(&worker))
            .count()
    }

    fn add(&mut self, app: AppId, key: Option<Key>, opened: Opened) -> ListenerId {
        self.next += 1;
        let id = self.next;
        let shared = Shared {
            app,
            key,
            users: HashSet::new(),
            lane: opened.lane,
            address: opened.address,
            socket: opened.socket,
            path: opened.path,
        };
        self.listeners.insert(id, shared);
        id
    }

    /// Returns the lanes in use.
    fn lanes(&self) -> HashSet<u16> {
        self.listeners.values().map(|shared| shared.lane).collect()
    }

    /// Records that a worker has closed a listener. Returns whether no other worker of the app uses the listener.
    fn forget(&mut self, app: AppId, worker: ChannelId, id: ListenerId) -> bool {
        let Some(shared) = self.listeners.get_mut(&id) else {
            return false;
        };
        shared.users.remove(&worker) && shared.users.is_empty() && shared.app == app
    }
}

impl Shared {
    /// Returns whether this is a listener of the server at the port or path of `target`. The host is not compared: the owner of
    /// the server has chosen the host for this port.
    fn is_own_at(&self, target: &Target) -> bool {
        if self.app != OWN {
            return false;
        }
        match (&self.address, target) {
            (ListenerAddress::Tcp(address), Target::Tcp { port, .. }) => *port != 0 && address.port() == *port,
            (ListenerAddress::Unix(path), Target::Unix { name, .. }) => {
                // The worker's name is absolute. A failure leaves the path as it is.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                path.as_os_str().as_bytes() == name.as_slice()
            }
            _ => false,
        }
    }
}

impl Socket {
    fn into_acceptor(self) -> Option<task::JoinHandle<()>> {
        match self {
            Self::Accepting(acceptor) => Some(acceptor),
            Self::Waiting(..) | Self::Udp(_) | Self::Own | Self::Closed => None,
        }
    }
}

struct Opened {
    lane: u16,
    address: ListenerAddress,
    socket: Socket,
    path: Option<OwnPath>,
}

async fn open(request: ListenRequest, taken: &HashSet<u16>, routing: Option<&RoutingSpec>) -> Result<Opened, Errno> {
    let backlog = request.backlog;
    let mut listener = match request.target {
        Target::Udp {
            host,
            port,
            ipv6_only,
            reuse_address,
        } => {
            let (socket, address) = udp::bind(SocketAddr::new(host, port), ipv6_only, reuse_address)?;
            return Ok(Opened {
                lane: 0,
                address: ListenerAddress::Tcp(address),
                socket: Socket::Udp(socket),
                path: None,
            });
        }
        Target::Tcp { host, port, ipv6_only } => Listener::open(ListenSpec::Tcp {
            host,
            port,
            backlog,
            ipv6_only,
        }),
        Target::Unix {
            name,
            readable_all,
            writable_all,
        } => {
            let path = PathBuf::from(OsStr::from_bytes(&name));
            let open = move || Listener::open_path(path, backlog, readable_all, writable_all);
            // The file system may sleep, and this thread must not.
            let opened = task::spawn_blocking(open).await;
            opened.map_err(|_| Errno::EINTR)?
        }
    }
    .map_err(|error| error.errno)?;
    let address = listener.address().clone();
    let lane = free_lane(address.port(), taken);
    let path = listener.take_path();
    if let Some(routing) = routing {
        listener = listener.with_routing(routing.clone());
    }
    let (socket, endpoint) = listener.with_lane(lane).into_parts();
    Ok(Opened {
        lane,
        address,
        socket: Socket::Waiting(socket, endpoint),
        path,
    })
}

/// Returns the port as the lane. For a Unix socket, and for a port that is a lane already, returns an unused number.
fn free_lane(port: u16, taken: &HashSet<u16>) -> u16 {
    if port != 0 && !taken.contains(&port) {
        return port;
    }
    (1..=u16::MAX).rev().find(|lane| !taken.contains(lane)).unwrap_or(port)
}

fn socket_address(address: &ListenerAddress) -> Option<SocketAddr> {
    match address {
        ListenerAddress::Tcp(address) => Some(*address),
        ListenerAddress::Unix(_) => None,
    }
}

/// Receives the available bytes; an empty result is the end of the stream.
async fn receive<S: Sys>(sys: &S, socket: &tokio::io::unix::AsyncFd<ForeignFd>) -> Result<Vec<u8>, Errno> {
    loop {
        let mut ready = socket
            .readable()
            .await
            .map_err(|error| crate::error::errno_of(&error))?;
        let mut bytes = vec![0; MAX_MESSAGE];
        match sys.try_receive(socket.as_fd(), &mut bytes) {
            Ok(received) => {
                bytes.truncate(received.bytes);
                return Ok(bytes);
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(errno) => return Err(errno),
        }
    }
}

async fn send<S: Sys>(
    sys: &S,
    socket: BorrowedFd<'_>,
    mut bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut descriptors = descriptors;
    while !bytes.is_empty() {
        match sys.send(socket, bytes, descriptors) {
            Ok(sent) => {
                bytes = bytes.get(sent..).unwrap_or_default();
                descriptors = &[];
            }
            Err(Errno::EAGAIN) => await_writable(socket).await?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Runs an acceptor, and reports its panic.
async fn watched(task: impl Future<Output = ()>, failures: mpsc::UnboundedSender<String>) {
    if let Err(message) = panics::catch(task).await {
        // Fails only if the server has ended.
        let _ = failures.send(message);
    }
}
