//! The composition root: builds and wires every stage on one thread of its own. The only file that knows them all.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::io::Interest;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::acceptor::Acceptor;
use crate::channel::{self, ChannelId};
use crate::config::{Config, ListenSpec};
use crate::dispatcher::inlet::Inlet;
use crate::dispatcher::outlet::Outlet;
use crate::dispatcher::state::Event;
use crate::dispatcher::{Dispatcher, Message};
use crate::error::{ListenError, SystemError, system_error};
use crate::listener::{Lender, Listener, ListenerAddress};
use crate::notice::{EndReason, Notice, Notices};
use crate::queue::Gate;
use crate::stats::{ChannelStats, Snapshot, Stats};
use crate::sys::{self, Os, Sys};

/// A running server. Dropping it destroys it.
#[derive(Debug)]
pub struct Server {
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    phase: Mutex<Phase>,
    lenders: Mutex<Vec<Lender>>,
    next_channel: AtomicU32,
    gate: Gate,
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
    Forward(Message),
    Drain,
    Destroy,
}

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
        let gate = Gate::new(config.max_queue());
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| system_error("epoll_create1", &error))?;
        let house = House {
            sys,
            config: *config,
            gate: gate.clone(),
            stats: Arc::clone(&stats),
            notices: Arc::clone(&notices),
        };
        let thread = std::thread::Builder::new()
            .name("socketserver".into())
            .spawn(move || {
                sys::wait_turn();
                runtime.block_on(house.run(inbox));
            })
            .map_err(|error| system_error("pthread_create", &error))?;
        Ok(Self {
            commands,
            thread: Mutex::new(Some(thread)),
            phase: Mutex::new(Phase::Running),
            lenders: Mutex::default(),
            next_channel: AtomicU32::new(1),
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

    /// Stops accepting, once the kernel's backlogs are empty, and finishes the queue and the leases. Then
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
        }
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
struct House<S> {
    sys: S,
    config: Config,
    gate: Gate,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

impl<S: Sys> House<S> {
    /// Follows its owner's commands. When it returns, the runtime drops every task, and with them every descriptor.
    async fn run(self, mut commands: mpsc::Receiver<Command>) {
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
        let notices = Arc::clone(&self.notices);
        let pairing =
            tokio::spawn(Dispatcher::new(self.sys.clone(), &self.config, inbox, self.stats, self.notices).run());
        while let Some(command) = commands.recv().await {
            let sent = match command {
                Command::Listen(listener) => {
                    let (socket, place) = listener.into_parts();
                    match sys::watch_listener(socket) {
                        Ok(socket) => {
                            let task = tokio::spawn(acceptor.clone().run(socket, place));
                            accepting.push(task.abort_handle());
                            acceptors.push(task);
                        }
                        Err(errno) => {
                            let (address, error) = (
                                place.address().clone(),
                                SystemError {
                                    syscall: "epoll_ctl",
                                    errno,
                                },
                            );
                            notices.post(Notice::AcceptError { address, error });
                        }
                    }
                    Ok(())
                }
                Command::Open(channel, socket) => open(&self.sys, channel, socket, &dispatcher, &notices).await,
                Command::Forward(message) => dispatcher.send(message).await,
                Command::Drain => {
                    // Nobody listens to the watch if nothing was ever listened on.
                    let _ = drain.send(true);
                    let sent = dispatcher.send(Message::Event(Event::Drain)).await;
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
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

async fn open<S: Sys>(
    sys: &S,
    channel: ChannelId,
    socket: OwnedFd,
    dispatcher: &mpsc::Sender<Message>,
    notices: &Notices,
) -> Result<(), mpsc::error::SendError<Message>> {
    let (Ok(writing), Ok(reading)) = (socket.try_clone(), sys::watch(socket, Interest::READABLE)) else {
        // Out of descriptors, or epoll of watches: the worker sees its channel end at once.
        notices.post(Notice::Ended {
            channel,
            reason: EndReason::Lost,
            leases: 0,
            handed_off: 0,
        });
        return Ok(());
    };
    let outlet = Outlet::new(channel, writing, dispatcher.downgrade());
    let inlet = Inlet::new(sys.clone(), channel, reading, dispatcher.clone());
    // The place in the inbox first: nothing that the inlet says may come before `Open`.
    let Ok(place) = dispatcher.reserve().await else {
        return Ok(());
    };
    let reader = tokio::spawn(inlet.run()).abort_handle();
    place.send(Message::Open(channel, Box::new(outlet), reader));
    Ok(())
}
