//! The server: creates and connects the acceptors, the dispatcher and the shares, which run on one separate thread.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::{runtime, task};

use crate::channel;
use crate::error::{ListenError, SystemError, system_error};
use crate::ids::AppId;
use crate::ids::ChannelId;
use crate::ids::ShareId;
use crate::parent::acceptor::{Acceptor, Closing};
use crate::parent::config::{Config, ListenSpec};
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::open;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::message::Message;
use crate::parent::listen_requests::ListenRequests;
use crate::parent::listener::{Lender, Listener, ListenerAddress};
use crate::parent::metrics::Metrics;
use crate::parent::notice::{Notice, Notices};
use crate::parent::panics;
use crate::parent::panics::message_of;
use crate::parent::queue::Permits;
use crate::parent::routing::spec::RoutingSpec;
use crate::parent::share::{Opened, Share, ShareSpec};
use crate::stats::slot::SlotKey;
use crate::stats::{ChannelStats, Snapshot, Stats};
use crate::sys;
use crate::sys::alarm::Alarm;
use crate::sys::closer;
use crate::sys::unix_socket::OwnPath;
use crate::sys::{Os, Sys};

/// A running server. Dropping it destroys it.
#[derive(Debug)]
pub struct Server {
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    phase: Mutex<Phase>,
    lenders: Mutex<Vec<Lender>>,
    next_channel: Arc<AtomicU32>,
    next_share: AtomicU32,
    /// The socket files of the shared paths; `None` for an abstract name. Dropping an entry removes its file.
    shared: Mutex<HashMap<ShareId, Option<OwnPath>>>,
    stats: Arc<Stats>,
    metrics: Arc<Metrics>,
    notices: Arc<Notices>,
}

/// The lifecycle of a server, in order. A server never returns to an earlier phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Destroyed,
}

/// A command of the owner to the server's thread.
#[derive(Debug)]
enum Command {
    Listen(Listener),
    Open(ChannelId, OwnedFd),
    /// Answer the listen requests of a worker.
    AnswerListens(AppId, ChannelId, OwnedFd),
    RouteApp(AppId, RoutingSpec),
    /// Close the listeners of an app.
    CloseApp(AppId, oneshot::Sender<()>),
    Share(ShareId, Opened),
    Unshare(ShareId, oneshot::Sender<()>),
    Forward(Message),
    Drain,
    Destroy,
}

/// How long a caller waits until the closer has closed the sockets.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// The capacity of each message channel. A sender waits while the channel is full.
const CAPACITY: usize = 256;

impl Server {
    /// Starts a server on the real operating system. The server's thread calls `wake` when [`Server::notices`] has new notices.
    pub fn start(config: &Config, wake: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        Self::start_on(Os, config, wake)
    }

    /// Starts a server on the given [`Sys`].
    pub fn start_on<S: Sys>(
        sys: S,
        config: &Config,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, SystemError> {
        let (commands, inbox) = mpsc::channel(CAPACITY);
        let notices = Arc::new(Notices::new(wake));
        let stats = Arc::new(Stats::default());
        let permits = Permits::new(config.max_queue());
        let next_channel = Arc::new(AtomicU32::new(1));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| system_error("epoll_create1", &error))?;
        let entered = runtime.enter();
        let alarm = Alarm::new()?;
        drop(entered);
        let server_thread = ServerThread {
            sys,
            config: config.clone(),
            alarm,
            permits: permits.clone(),
            channels: Arc::clone(&next_channel),
            stats: Arc::clone(&stats),
            notices: Arc::clone(&notices),
        };
        let inherits_batch = sys::is_batch_scheduled();
        let thread = std::thread::Builder::new()
            .name("socketserver".into())
            .spawn(move || {
                if inherits_batch {
                    server_thread.sys.set_batch_scheduling(false);
                }
                let notices = Arc::clone(&server_thread.notices);
                // Unwind-safe: the runtime drops all state, and nothing reads it after a panic.
                let ended = catch_unwind(AssertUnwindSafe(move || runtime.block_on(server_thread.run(inbox))));
                if let Err(message) = ended.unwrap_or_else(|panic| Err(message_of(panic.as_ref()))) {
                    notices.post(Notice::Failed { message });
                }
            })
            .map_err(|error| system_error("pthread_create", &error))?;
        Ok(Self {
            commands,
            thread: Mutex::new(Some(thread)),
            phase: Mutex::new(Phase::Running),
            lenders: Mutex::default(),
            next_channel,
            next_share: AtomicU32::new(1),
            shared: Mutex::default(),
            metrics: Arc::new(Metrics::new(Arc::clone(&stats), config, permits)),
            stats,
            notices,
        })
    }

    /// Binds, listens and starts to accept.
    pub fn listen(&self, spec: ListenSpec) -> Result<ListenerAddress, ListenError> {
        self.listen_routed(spec, None)
    }

    /// Does the same, and routes the connections before they enter the queue.
    pub fn listen_routed(
        &self,
        spec: ListenSpec,
        routing: Option<RoutingSpec>,
    ) -> Result<ListenerAddress, ListenError> {
        if self.phase() != Phase::Running {
            return Err(ListenError::Closed);
        }
        let mut listener = Listener::open(spec)?;
        if let Some(routing) = routing {
            listener = listener.with_routing(routing);
        }
        let address = listener.address().clone();
        self.lenders().push(listener.lender());
        self.command(Command::Listen(listener));
        Ok(address)
    }

    /// Returns copies of the listening sockets, in the order of [`Server::listen`]. From then on the server does not remove their
    /// socket files.
    pub fn listening_sockets(&self) -> Result<Vec<OwnedFd>, SystemError> {
        self.lenders().iter().filter_map(Lender::copy).collect()
    }

    /// Lets programs join as workers at a path. [`Notice::Admitted`] reports each of them.
    pub fn share(&self, spec: ShareSpec) -> Result<ShareId, ListenError> {
        if self.phase() != Phase::Running {
            return Err(ListenError::Closed);
        }
        let (opened, path) = Opened::open(spec)?;
        let share = self.next_share.fetch_add(1, Ordering::Relaxed);
        self.shared().insert(share, path);
        self.command(Command::Share(share, opened));
        Ok(share)
    }

    /// Removes a shared path. When this returns, no program can join there and the path can be used again. The workers that
    /// have joined are not affected.
    pub fn unshare(&self, share: ShareId) {
        if self.shared().remove(&share).is_some() {
            let (done, closed) = oneshot::channel();
            self.command(Command::Unshare(share, done));
            // An abstract name is in use until its socket is closed. Fails if the server has ended, which closes the socket.
            let _ = closed.blocking_recv();
            closer::settle(CLOSE_TIMEOUT);
        }
    }

    /// Opens a channel. Returns the worker's end, for a new worker.
    pub fn open_channel(&self) -> Result<(ChannelId, OwnedFd), SystemError> {
        let (ours, workers) = channel::pair()?;
        let channel = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.command(Command::Open(channel, ours));
        Ok((channel, workers))
    }

    /// Sets the number of slots of the pool whose first slot has this number; 0 removes the pool. Connections that wait for the slot
    /// of a hash belong to one of these slots, also while its worker restarts.
    pub fn set_slots(&self, first: u32, count: u32) {
        self.command(Command::Forward(Message::Slots { first, count }));
    }

    /// Assigns the worker of a channel to a slot, for connections that belong to one. Call this before the worker starts.
    pub fn assign_slot(&self, channel: ChannelId, slot: u32) {
        self.command(Command::Forward(Message::Assign(channel, slot)));
    }

    /// Opens a listen channel for the worker of a channel, beside which it is inherited. See
    /// [`crate::worker::listen_channel::ListenChannel`].
    pub fn open_listen_channel(&self, app: AppId, channel: ChannelId) -> Result<OwnedFd, SystemError> {
        let (ours, workers) = channel::pair()?;
        self.command(Command::AnswerListens(app, channel, ours));
        Ok(workers)
    }

    /// Routes the connections of the listeners that the workers of an app ask for. Call this before the workers start.
    pub fn route_app(&self, app: AppId, routing: RoutingSpec) {
        self.command(Command::RouteApp(app, routing));
    }

    /// Closes the listeners of an app whose workers have all gone. When this returns, their ports and paths can be used again.
    pub fn close_app(&self, app: AppId) {
        let (done, closed) = oneshot::channel();
        self.command(Command::CloseApp(app, done));
        // Fails if the server has ended, which closes its sockets.
        let _ = closed.blocking_recv();
        closer::settle(CLOSE_TIMEOUT);
    }

    /// Retires a worker: it receives no more connections, finishes its leases and leaves.
    pub fn retire(&self, channel: ChannelId) {
        self.command(Command::Forward(Message::Retire(channel)));
    }

    /// Ends a channel immediately. Connections that its worker has not acknowledged return to the queue.
    pub fn end_channel(&self, channel: ChannelId) {
        self.command(Command::Forward(Message::Dismiss(channel)));
    }

    /// Announces a drain: the server becomes unready for new clients, and workers end HTTP connections with the next response.
    /// The server still accepts.
    pub fn announce_drain(&self) {
        self.metrics.facts.set_unready("draining");
        self.command(Command::Forward(Message::DrainSoon));
    }

    /// Accepts the connections in the backlogs, stops listening, and lets workers serve the queue and finish their leases. Then
    /// reports [`Notice::Drained`]. A drain cannot be cancelled.
    pub fn drain(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Running {
            *phase = Phase::Draining;
            drop(phase);
            self.metrics.facts.set_unready("draining");
            self.command(Command::Drain);
        }
    }

    /// Removes and returns the notices since the last call.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.take()
    }

    /// Returns the current counters.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.stats.snapshot()
    }

    /// Returns whether accepting is paused: the queue is full, or the system is out of descriptors or memory.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.metrics.is_paused()
    }

    /// Returns what is shown of the server.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns the mailbox of the server, so that others can wake its owner.
    #[must_use]
    pub fn mailbox(&self) -> &Arc<Notices> {
        &self.notices
    }

    /// Assigns a channel to a slot of a pool; `None` for a program that joined. See [`Stats::assign`].
    pub fn assign(&self, channel: ChannelId, pool: &str, slot: Option<u32>) {
        let pool = pool.into();
        self.stats.assign(channel, SlotKey { pool, slot });
    }

    /// Returns the counters of a channel; `None` after the channel has ended.
    #[must_use]
    pub fn channel_stats(&self, channel: ChannelId) -> Option<Arc<ChannelStats>> {
        self.stats.channel(channel)
    }

    /// Closes the listeners, resets the queue, closes the channels and ends the thread, immediately.
    pub fn destroy(&self) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Destroyed;
        self.metrics.facts.set_unready("destroyed");
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.command(Command::Destroy);
            // An error is a panic, which has ended the thread too.
            let _ = thread.join();
            closer::settle(CLOSE_TIMEOUT);
        }
        self.shared().clear();
    }

    fn shared(&self) -> MutexGuard<'_, HashMap<ShareId, Option<OwnPath>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lenders(&self) -> MutexGuard<'_, Vec<Lender>> {
        self.lenders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a command. Blocks while [`CAPACITY`] commands wait, which is short: the server's thread never waits for its owner.
    fn command(&self, command: Command) {
        // Fails only if the server has ended, when no command has an effect.
        let _ = self.commands.blocking_send(command);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// The state that the server's thread starts with.
struct ServerThread<S> {
    sys: S,
    config: Config,
    alarm: Alarm,
    permits: Permits,
    channels: Arc<AtomicU32>,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

impl<S: Sys> ServerThread<S> {
    /// Executes the owner's commands. On return the runtime drops all tasks, which closes all descriptors. An error is the
    /// message of a task's panic.
    async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), String> {
        let (failures, mut failed) = mpsc::unbounded_channel();
        let (dispatcher, inbox) = mpsc::channel(CAPACITY);
        let (drain, draining) = watch::channel(false);
        let acceptor = Acceptor {
            sys: self.sys.clone(),
            ids: Arc::new(AtomicU64::new(1)),
            permits: self.permits,
            dispatcher: dispatcher.clone(),
            drain: draining,
            stats: Arc::clone(&self.stats),
            notices: Arc::clone(&self.notices),
        };
        let requests = ListenRequests::new(acceptor.clone(), failures.clone());
        let mut listeners = Vec::new();
        let mut accepting: Vec<AbortHandle> = Vec::new();
        let mut shares: HashMap<ShareId, task::JoinHandle<()>> = HashMap::new();
        let (stats, notices) = (Arc::clone(&self.stats), Arc::clone(&self.notices));
        let dispatcher_task = Dispatcher::new(
            self.sys.clone(),
            &self.config,
            inbox,
            self.alarm,
            self.stats,
            self.notices,
        );
        let dispatcher_task = tokio::spawn(watched(dispatcher_task.run(), failures.clone()));
        loop {
            let command = tokio::select! {
                biased;
                Some(failure) = failed.recv() => return Err(failure),
                command = commands.recv() => command,
            };
            let Some(command) = command else { return Ok(()) };
            let sent = match command {
                Command::Listen(listener) => {
                    let lane = requests.add_own(listener.address()).await;
                    let listener = accept_on(listener.with_lane(lane), acceptor.clone(), failures.clone()).await;
                    accepting.extend(listener.acceptor.as_ref().map(task::JoinHandle::abort_handle));
                    listeners.push(listener);
                    true
                }
                Command::Open(channel, socket) => open::open(&self.sys, channel, socket, &dispatcher, &notices).await,
                Command::AnswerListens(app, channel, socket) => {
                    tokio::spawn(watched(requests.clone().serve(app, channel, socket), failures.clone()));
                    true
                }
                Command::RouteApp(app, routing) => {
                    requests.route_app(app, routing).await;
                    true
                }
                Command::CloseApp(app, done) => {
                    let requests = requests.clone();
                    let close = async move {
                        requests.close_app(app).await;
                        // An error means that the caller's thread has ended.
                        let _ = done.send(());
                    };
                    tokio::spawn(watched(close, failures.clone()));
                    true
                }
                Command::Share(id, opened) => {
                    let share = Share {
                        sys: self.sys.clone(),
                        id,
                        channels: Arc::clone(&self.channels),
                        dispatcher: dispatcher.clone(),
                        stats: Arc::clone(&stats),
                        notices: Arc::clone(&notices),
                    };
                    shares.insert(id, tokio::spawn(watched(share.run(opened), failures.clone())));
                    true
                }
                Command::Unshare(id, done) => {
                    end_share(shares.remove(&id), done).await;
                    true
                }
                Command::Forward(message) => dispatcher.send(message).await.is_ok(),
                Command::Drain => {
                    // Fails only if there is no acceptor.
                    let _ = drain.send(true);
                    let sent = dispatcher.send(Message::Event(Event::Drain)).await.is_ok();
                    let listeners = std::mem::take(&mut listeners);
                    tokio::spawn(close_listeners(listeners, requests.clone(), dispatcher.clone()));
                    sent
                }
                Command::Destroy => {
                    accepting.iter().for_each(AbortHandle::abort);
                    requests.abort().await;
                    // The dispatcher resets and counts the waiting connections. Both calls fail only if it has ended.
                    let _ = dispatcher.send(Message::Destroy).await;
                    let _ = dispatcher_task.await;
                    return failed.try_recv().map_or(Ok(()), Err);
                }
            };
            if !sent {
                // The dispatcher has ended, so the server ends.
                return failed.try_recv().map_or(Ok(()), Err);
            }
        }
    }
}

/// Closes the socket of a shared path, and then reports it.
async fn end_share(share: Option<task::JoinHandle<()>>, done: oneshot::Sender<()>) {
    if let Some(share) = share {
        share.abort();
        // An error means that the task was cancelled. Then the socket is closed.
        let _ = share.await;
    }
    // Fails only if the caller no longer waits.
    let _ = done.send(());
}

/// Starts to accept on a listener. Reports an error if the runtime cannot watch the socket.
async fn accept_on<S: Sys>(
    mut listener: Listener,
    acceptor: Acceptor<S>,
    failures: mpsc::UnboundedSender<String>,
) -> Closing {
    let path = listener.take_path();
    let (socket, endpoint) = listener.into_parts();
    let acceptor = match sys::watch_listener(socket) {
        Ok(socket) => {
            // Before the acceptor runs: a worker must receive LISTENING before the first connection of the listener. Fails only if
            // the dispatcher has ended.
            for address in endpoint.announced_addresses() {
                let _ = acceptor.dispatcher.send(Message::Listening(address)).await;
            }
            Some(tokio::spawn(watched(acceptor.run(socket, endpoint), failures)))
        }
        Err(errno) => {
            let (address, error) = (endpoint.address().clone(), SystemError::of("epoll_ctl")(errno));
            acceptor.notices.post(Notice::AcceptError { address, error });
            None
        }
    };
    Closing { acceptor, path }
}

/// Waits until every listener is closed, and notifies the dispatcher.
async fn close_listeners<S: Sys>(
    mut listeners: Vec<Closing>,
    requests: ListenRequests<S>,
    dispatcher: mpsc::Sender<Message>,
) {
    listeners.extend(requests.drain().await);
    for listener in listeners {
        listener.wait().await;
    }
    // Fails only if the dispatcher has ended.
    let _ = dispatcher.send(Message::Event(Event::ListenersClosed)).await;
}

/// Runs a task of the server, and reports its panic.
async fn watched(task: impl Future<Output = ()>, failures: mpsc::UnboundedSender<String>) {
    if let Err(message) = panics::catch(task).await {
        // Fails only if the server has ended.
        let _ = failures.send(message);
    }
}
