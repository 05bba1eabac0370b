//! The composition root: builds and wires every stage on one thread of its own. The only file that knows them all.

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
use crate::ids::ChannelId;
use crate::ids::ShareId;
use crate::parent::acceptor::Acceptor;
use crate::parent::config::{Config, ListenSpec};
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::open;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::message::Message;
use crate::parent::listener::{Lender, Listener, ListenerAddress};
use crate::parent::notice::{Notice, Notices};
use crate::parent::panics;
use crate::parent::panics::message_of;
use crate::parent::queue::Permits;
use crate::parent::share::{Opened, Share, ShareSpec};
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
    /// The files of the shared paths, each removed when it is no longer shared; `None` for a name without one.
    shared: Mutex<HashMap<ShareId, Option<OwnPath>>>,
    gate: Permits,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

/// Where a server stands in its life. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Destroyed,
}

/// What the owner asks of the server's thread.
#[derive(Debug)]
enum Command {
    Listen(Listener),
    Open(ChannelId, OwnedFd),
    Share(ShareId, Opened),
    Unshare(ShareId, oneshot::Sender<()>),
    Forward(Message),
    Drain,
    Destroy,
}

/// How long a caller waits for sockets that are closed on threads of the closer.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// Messages that may wait between two stages; a stage that is ahead waits for the next one.
const STAGE: usize = 256;

impl Server {
    /// Starts a server on the real system. `bell` is called on its thread when [`Server::notices`] has something.
    pub fn start(config: &Config, bell: impl Fn() + Send + Sync + 'static) -> Result<Self, SystemError> {
        Self::start_on(Os, config, bell)
    }

    /// Starts a server on a given [`Sys`].
    pub fn start_on<S: Sys>(
        sys: S,
        config: &Config,
        bell: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, SystemError> {
        let (commands, inbox) = mpsc::channel(STAGE);
        let notices = Arc::new(Notices::new(bell));
        let stats = Arc::new(Stats::default());
        let gate = Permits::new(config.max_queue());
        let next_channel = Arc::new(AtomicU32::new(1));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| system_error("epoll_create1", &error))?;
        let entered = runtime.enter();
        let alarm = Alarm::new()?;
        drop(entered);
        let house = ServerThread {
            sys,
            config: *config,
            alarm,
            gate: gate.clone(),
            channels: Arc::clone(&next_channel),
            stats: Arc::clone(&stats),
            notices: Arc::clone(&notices),
        };
        let inherits = sys::waits_turn();
        let thread = std::thread::Builder::new()
            .name("socketserver".into())
            .spawn(move || {
                if inherits {
                    house.sys.wait_turn(false);
                }
                let notices = Arc::clone(&house.notices);
                // Nothing of what may be half changed is looked at again: the runtime drops it all.
                let ended = catch_unwind(AssertUnwindSafe(move || runtime.block_on(house.run(inbox))));
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
            gate,
            stats,
            notices,
        })
    }

    /// Binds, listens and begins to accept.
    pub fn listen(&self, spec: ListenSpec) -> Result<ListenerAddress, ListenError> {
        if self.phase() != Phase::Running {
            return Err(ListenError::Closed);
        }
        let listener = Listener::open(spec)?;
        let address = listener.address().clone();
        self.lenders().push(listener.lender());
        self.command(Command::Listen(listener));
        Ok(address)
    }

    /// Copies of the sockets that it listens on, in the order of listening. Socket files are from then on left alone.
    pub fn listening_sockets(&self) -> Result<Vec<OwnedFd>, SystemError> {
        self.lenders().iter().filter_map(Lender::copy).collect()
    }

    /// Lets programs join as workers at a path. Each that does is told by [`Notice::Admitted`].
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

    /// Removes a shared path: nobody joins there any more, and it is free for another when this returns. Those that have
    /// joined are as before.
    pub fn unshare(&self, share: ShareId) {
        if self.shared().remove(&share).is_some() {
            let (done, closed) = oneshot::channel();
            self.command(Command::Unshare(share, done));
            // An abstract name is taken for as long as its socket is open. Fails if the server has ended, and with it that.
            let _ = closed.blocking_recv();
            closer::settle(CLOSED_WITHIN);
        }
    }

    /// Opens a channel; the worker's end is for a new worker.
    pub fn open_channel(&self) -> Result<(ChannelId, OwnedFd), SystemError> {
        let (ours, workers) = channel::pair()?;
        let channel = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.command(Command::Open(channel, ours));
        Ok((channel, workers))
    }

    /// Gives a worker no more connections; it finishes its leases and leaves.
    pub fn retire(&self, channel: ChannelId) {
        self.command(Command::Forward(Message::Retire(channel)));
    }

    /// Ends a channel now. What its worker has not acked goes back to the queue.
    pub fn end_channel(&self, channel: ChannelId) {
        self.command(Command::Forward(Message::Dismiss(channel)));
    }

    /// Stops accepting, once what the kernel's backlogs hold is accepted, and finishes the queue and the leases. Then
    /// [`Notice::Drained`]. There is no way back.
    pub fn drain(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Running {
            *phase = Phase::Draining;
            drop(phase);
            self.command(Command::Drain);
        }
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.take()
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.stats.snapshot()
    }

    /// Whether accepting pauses: the queue is full, or the system short of descriptors.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.gate.free() == 0 || self.stats.snapshot().resting_acceptors > 0
    }

    /// One channel's counters; `None` once it has ended.
    #[must_use]
    pub fn channel_stats(&self, channel: ChannelId) -> Option<Arc<ChannelStats>> {
        self.stats.channel(channel)
    }

    /// Ends everything now: listeners, queue, channels, the thread.
    pub fn destroy(&self) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Destroyed;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.command(Command::Destroy);
            // It has panicked or it has ended: gone in both cases.
            let _ = thread.join();
            closer::settle(CLOSED_WITHIN);
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

    /// The server's thread never waits for its owner, so this blocks for as long as it is behind by [`STAGE`] commands
    /// and no longer. After the end there is nobody to be commanded, and nothing left to do.
    fn command(&self, command: Command) {
        let _ = self.commands.blocking_send(command);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// What the server's thread is built from.
struct ServerThread<S> {
    sys: S,
    config: Config,
    alarm: Alarm,
    gate: Permits,
    channels: Arc<AtomicU32>,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

impl<S: Sys> ServerThread<S> {
    /// Follows its owner's commands. When it returns, the runtime drops every task, and with them every descriptor. An error is
    /// the message of a task's panic.
    async fn run(self, mut commands: mpsc::Receiver<Command>) -> Result<(), String> {
        let (failures, mut failed) = mpsc::unbounded_channel();
        let (dispatcher, inbox) = mpsc::channel(STAGE);
        let (drain, draining) = watch::channel(false);
        let acceptor = Acceptor {
            sys: self.sys.clone(),
            ids: Arc::new(AtomicU64::new(1)),
            gate: self.gate,
            dispatcher: dispatcher.clone(),
            drain: draining,
            stats: Arc::clone(&self.stats),
            notices: Arc::clone(&self.notices),
        };
        let mut acceptors = Vec::new();
        let mut accepting: Vec<AbortHandle> = Vec::new();
        let mut shares: HashMap<ShareId, task::JoinHandle<()>> = HashMap::new();
        let (stats, notices) = (Arc::clone(&self.stats), Arc::clone(&self.notices));
        let pairing = Dispatcher::new(
            self.sys.clone(),
            &self.config,
            inbox,
            self.alarm,
            self.stats,
            self.notices,
        );
        let pairing = tokio::spawn(watched(pairing.run(), failures.clone()));
        loop {
            let command = tokio::select! {
                biased;
                Some(failure) = failed.recv() => return Err(failure),
                command = commands.recv() => command,
            };
            let Some(command) = command else { return Ok(()) };
            let sent = match command {
                Command::Listen(listener) => {
                    let (socket, place) = listener.into_parts();
                    match sys::watch_listener(socket) {
                        Ok(socket) => {
                            let task = tokio::spawn(watched(acceptor.clone().run(socket, place), failures.clone()));
                            accepting.push(task.abort_handle());
                            acceptors.push(task);
                        }
                        Err(errno) => {
                            let (address, error) = (place.address().clone(), SystemError::of("epoll_ctl")(errno));
                            notices.post(Notice::AcceptError { address, error });
                        }
                    }
                    true
                }
                Command::Open(channel, socket) => open::open(&self.sys, channel, socket, &dispatcher, &notices).await,
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
                    if let Some(share) = shares.remove(&id) {
                        share.abort();
                        // Its end, and the end of its socket.
                        let _ = share.await;
                    }
                    // Its owner may have gone.
                    let _ = done.send(());
                    true
                }
                Command::Forward(message) => dispatcher.send(message).await.is_ok(),
                Command::Drain => {
                    // Nobody listens to the watch if nothing was ever listened on.
                    let _ = drain.send(true);
                    let sent = dispatcher.send(Message::Event(Event::Drain)).await.is_ok();
                    let (acceptors, dispatcher) = (std::mem::take(&mut acceptors), dispatcher.clone());
                    tokio::spawn(async move {
                        for acceptor in acceptors {
                            // One that has panicked accepts no more either.
                            let _ = acceptor.await;
                        }
                        let _ = dispatcher.send(Message::Event(Event::ListenersClosed)).await;
                    });
                    sent
                }
                Command::Destroy => {
                    accepting.iter().for_each(AbortHandle::abort);
                    // What waits is given up, and counted. Either fails only if the dispatcher has ended.
                    let _ = dispatcher.send(Message::Destroy).await;
                    let _ = pairing.await;
                    return failed.try_recv().map_or(Ok(()), Err);
                }
            };
            if !sent {
                // The dispatcher has ended, and with it everything.
                return failed.try_recv().map_or(Ok(()), Err);
            }
        }
    }
}

/// Runs a task of the server, and tells its panic.
async fn watched(task: impl Future<Output = ()>, failures: mpsc::UnboundedSender<String>) {
    if let Err(message) = panics::catch(task).await {
        // Fails only if the server has ended.
        let _ = failures.send(message);
    }
}
