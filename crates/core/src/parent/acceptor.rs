//! The accept loop of one listener: what to do about each error of accept(2), and when to pause.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::error::SystemError;
use crate::parent::accept_error::{AcceptBackoff, AcceptErrorKind, accept_one};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::message::Message;
use crate::parent::fd_headroom::FdHeadroom;
use crate::parent::listener::Endpoint;
use crate::parent::notice::{Notice, Notices};
use crate::parent::queue::Permits;
use crate::stats::Stats;
use crate::sys::Sys;

/// Accepts on one listener and passes on to the dispatcher.
#[derive(Debug, Clone)]
pub struct Acceptor<S> {
    /// The operating system.
    pub sys: S,
    /// Gives the connections of a server their ids.
    pub ids: Arc<AtomicU64>,
    /// The queue's places.
    pub gate: Permits,
    /// The next stage.
    pub dispatcher: mpsc::Sender<Message>,
    /// Becomes true when the server drains.
    pub drain: watch::Receiver<bool>,
    /// For `acceptErrors`.
    pub stats: Arc<Stats>,
    /// For the one notice of an episode of errors.
    pub notices: Arc<Notices>,
}

impl<S: Sys> Acceptor<S> {
    /// Accepts until the server drains, then takes what the backlog still holds and closes the listener. While connections
    /// come faster than they are served the backlog is never empty, so it takes no more than may have been there then:
    /// the kernel gives the oldest first.
    pub async fn run(mut self, listener: AsyncFd<Arc<OwnedFd>>, endpoint: Endpoint) {
        let mut patience = AcceptBackoff::new();
        let mut reserve = FdHeadroom::new();
        let mut left = endpoint.most_waiting();
        loop {
            let draining = *self.drain.borrow_and_update();
            if draining && left == 0 {
                return;
            }
            if !draining {
                tokio::select! {
                    ready = listener.readable() => if ready.is_err() { return },
                    changed = self.drain.changed() => if changed.is_err() { return } else { continue },
                }
            }
            // The endpoint first: what has nowhere to wait is not accepted.
            let Some(slot) = self.gate.enter().await else {
                return;
            };
            // And with the way there free: between accepting and counting it, nothing may come in between.
            let Ok(way) = self.dispatcher.reserve().await else {
                return;
            };
            let mut accept = |listener: &Arc<OwnedFd>| {
                accept_one(listener, || {
                    if reserve.is_all_that_is_left(listener) {
                        return Err(Errno::EMFILE);
                    }
                    let accepted = self.sys.accept(listener.as_fd())?;
                    reserve.note(accepted.fd.as_fd());
                    Ok(accepted)
                })
            };
            let accepted = if draining {
                // Readiness may not have been polled since the last connection came.
                accept(listener.get_ref())
            } else {
                listener.try_io(Interest::READABLE, accept)
            };
            let error = match accepted {
                Ok(accepted) => {
                    patience.relieved();
                    left -= u32::from(draining);
                    let id = self.ids.fetch_add(1, Ordering::Relaxed);
                    let port = endpoint.address().port();
                    let connection = Connection::new(id, accepted.fd, accepted.remote, port, self.sys.now(), slot);
                    way.send(Message::Event(Event::Accepted(connection)));
                    continue;
                }
                Err(error) => error,
            };
            drop((slot, way));
            // `try_io` says WouldBlock without an errno where it knows that nothing is there.
            let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
            match AcceptErrorKind::of(errno) {
                AcceptErrorKind::Nobody | AcceptErrorKind::Broken if draining => return,
                AcceptErrorKind::Nobody => {}
                AcceptErrorKind::OneConnection => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    tokio::task::yield_now().await;
                }
                AcceptErrorKind::Shortage | AcceptErrorKind::Broken => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    let (rest, is_news) = patience.tried();
                    if is_news {
                        let address = endpoint.address().clone();
                        let error = SystemError {
                            syscall: "accept",
                            errno,
                        };
                        self.notices.post(Notice::AcceptError { address, error });
                    }
                    let resting = self.stats.rest();
                    tokio::time::sleep(rest).await;
                    drop(resting);
                }
            }
        }
    }
}
