//! The accept loop of one listener.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinHandle};

use crate::error::SystemError;
use crate::parent::accept_error::{AcceptBackoff, AcceptErrorKind, accept_one};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::message::Message;
use crate::parent::fd_headroom::FdHeadroom;
use crate::parent::listener::Endpoint;
use crate::parent::notice::{Notice, Notices};
use crate::parent::queue::Permits;
use crate::parent::routing::Router;
use crate::stats::Stats;
use crate::sys::unix_socket::OwnPath;
use crate::sys::{ForeignFd, Sys, backlog_of};

/// Accepts connections on one listener and sends them to the dispatcher.
#[derive(Debug, Clone)]
pub struct Acceptor<S> {
    /// The operating system.
    pub sys: S,
    /// Gives the connections of a server their ids.
    pub ids: Arc<AtomicU64>,
    /// The permits of the queue.
    pub permits: Permits,
    /// Receives the accepted connections.
    pub dispatcher: mpsc::Sender<Message>,
    /// Becomes true when the server drains.
    pub drain: watch::Receiver<bool>,
    /// Counts failed accepts and pauses.
    pub stats: Arc<Stats>,
    /// Receives one notice per episode of errors.
    pub notices: Arc<Notices>,
}

/// A listener that is to be closed: the task that accepts, if any, and the socket file, if any.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) acceptor: Option<JoinHandle<()>>,
    pub(crate) path: Option<OwnPath>,
}

impl Closing {
    /// Waits until the socket is closed, and then removes the socket file.
    pub(crate) async fn wait(self) {
        if let Some(acceptor) = self.acceptor {
            // An acceptor that has panicked accepts no more either.
            let _ = acceptor.await;
        }
        if let Some(path) = self.path {
            // On another thread, because unlink(2) waits for the file system. Fails only if the runtime ends, which removes
            // the file too.
            let _ = task::spawn_blocking(move || drop(path)).await;
        }
    }
}

impl<S: Sys> Acceptor<S> {
    /// Accepts until the server drains, then accepts what the backlog held at that moment and closes the listener. Under
    /// overload the backlog never empties, so the number is bounded by the backlog; the kernel returns the oldest first.
    pub async fn run(mut self, listener: AsyncFd<Arc<ForeignFd>>, endpoint: Endpoint) {
        let router = endpoint.routing().map(|spec| {
            Router::new(
                Arc::clone(spec),
                self.permits.clone(),
                self.dispatcher.clone(),
                Arc::clone(&self.stats),
            )
        });
        let mut router = router.map(Box::new);
        self.accept(listener, &endpoint, &mut router).await;
        if let Some(router) = router {
            router.settle().await;
        }
    }

    async fn accept(
        &mut self,
        listener: AsyncFd<Arc<ForeignFd>>,
        endpoint: &Endpoint,
        router: &mut Option<Box<Router>>,
    ) {
        let mut backoff = AcceptBackoff::new();
        let mut headroom = FdHeadroom::new();
        let mut remaining = endpoint.max_backlog();
        let socket = Arc::downgrade(listener.get_ref());
        let counters = self.stats.listeners().open(endpoint.address().to_string(), move || {
            Some(backlog_of(socket.upgrade()?.as_fd()))
        });
        loop {
            let draining = *self.drain.borrow_and_update();
            if draining && remaining == 0 {
                return;
            }
            if !draining {
                tokio::select! {
                    ready = listener.readable() => if ready.is_err() { return },
                    changed = self.drain.changed() => if changed.is_err() { return } else { continue },
                }
            }
            // Acquire the permit first: while the queue is full, connections stay in the backlog.
            let permit = if let Some(permit) = self.permits.try_acquire() {
                permit
            } else {
                let paused = self.stats.acceptor_paused();
                let Some(permit) = self.permits.acquire().await else {
                    return;
                };
                drop(paused);
                permit
            };
            // Reserve channel capacity first, so that cancellation never drops an accepted connection.
            let Ok(capacity) = self.dispatcher.reserve().await else {
                return;
            };
            let mut accept = |listener: &Arc<ForeignFd>| {
                accept_one(listener, || {
                    if headroom.is_reached(listener) {
                        return Err(Errno::EMFILE);
                    }
                    let accepted = self.sys.accept(listener.as_fd())?;
                    headroom.note(accepted.fd.as_fd());
                    Ok(accepted)
                })
            };
            let accepted = if draining {
                // tokio may not have polled readiness since the last connection arrived.
                accept(listener.get_ref())
            } else {
                listener.try_io(Interest::READABLE, accept)
            };
            let error = match accepted {
                Ok(accepted) => {
                    backoff.succeeded();
                    counters.accepted();
                    remaining -= u32::from(draining);
                    let id = self.ids.fetch_add(1, Ordering::Relaxed);
                    let port = endpoint.address().port();
                    let connection = Connection::new(id, accepted.fd, accepted.remote, port, self.sys.now(), permit);
                    let connection = connection.in_lane(endpoint.lane());
                    match router {
                        None => capacity.send(Message::Event(Event::Accepted(connection))),
                        Some(router) => router.admit(connection, capacity),
                    }
                    continue;
                }
                Err(error) => error,
            };
            drop((permit, capacity));
            // `try_io` returns WouldBlock without an errno when tokio knows that the listener is not readable.
            let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
            match AcceptErrorKind::of(errno) {
                AcceptErrorKind::Empty | AcceptErrorKind::Broken if draining => return,
                AcceptErrorKind::Empty => {}
                AcceptErrorKind::OneConnection => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    task::yield_now().await;
                }
                AcceptErrorKind::Shortage | AcceptErrorKind::Broken => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    let (pause, report) = backoff.failed();
                    if report {
                        let address = endpoint.address().clone();
                        let error = SystemError {
                            syscall: "accept",
                            errno,
                        };
                        self.notices.post(Notice::AcceptError { address, error });
                    }
                    let paused = self.stats.acceptor_paused();
                    tokio::time::sleep(pause).await;
                    drop(paused);
                }
            }
        }
    }
}
