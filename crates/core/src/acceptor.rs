//! The accept loop of one listener: what to do about each error of accept(2), and when to pause.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::dispatcher::Message;
use crate::dispatcher::state::Event;
use crate::error::SystemError;
use crate::listener::Place;
use crate::notice::{Notice, Notices};
use crate::queue::Gate;
use crate::reserve::Reserve;
use crate::stats::Stats;
use crate::sys::{Accepted, Sys};

/// The first rest after EMFILE and its like; each further one is twice as long, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(10);
/// Ten tries a second cost nothing, and a client that waits for them does not notice.
pub(crate) const LONGEST_REST: Duration = Duration::from_millis(100);

/// A shortage so soon after another is the same episode, and is not told again: at its limit a process accepts one for
/// each that it closes.
const EPISODE: Duration = Duration::from_secs(10);

/// How a loop that accepts bears a shortage of descriptors or memory.
#[derive(Debug)]
pub(crate) struct Patience {
    rest: Duration,
    last_shortage: Option<Instant>,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            rest: FIRST_REST,
            last_shortage: None,
        }
    }

    /// Accepting has worked.
    pub(crate) fn relieved(&mut self) {
        self.rest = FIRST_REST;
    }

    /// It has not: how long to rest, and whether that is news.
    pub(crate) fn tried(&mut self) -> (Duration, bool) {
        let now = Instant::now();
        let last = self.last_shortage.replace(now);
        let rest = self.rest;
        self.rest = (rest * 2).min(LONGEST_REST);
        (rest, last.is_none_or(|last| now - last > EPISODE))
    }
}

/// Accepts on one listener and passes on to the dispatcher.
#[derive(Debug, Clone)]
pub struct Acceptor<S> {
    /// The operating system.
    pub sys: S,
    /// Gives the connections of a server their ids.
    pub ids: Arc<AtomicU64>,
    /// The queue's places.
    pub gate: Gate,
    /// The next stage.
    pub dispatcher: mpsc::Sender<Message>,
    /// Becomes true when the server drains.
    pub drain: watch::Receiver<bool>,
    /// For `acceptErrors`.
    pub stats: Arc<Stats>,
    /// For the one notice of an episode of errors.
    pub notices: Arc<Notices>,
}

/// What an errno of accept means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody waits in the backlog.
    Nobody,
    /// Only this one connection is spoilt: it went away before it was accepted, or a firewall forbade it (accept(2)).
    OneConnection,
    /// The process or the system is short of something, the process's [`Reserve`] aside. The connection stays in the backlog and the listener readable,
    /// so trying again at once would spin.
    Shortage,
    /// The listener itself is at fault.
    Broken,
}

impl Trouble {
    pub(crate) fn of(errno: Errno) -> Self {
        match errno {
            Errno::EAGAIN => Self::Nobody,
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Self::Shortage,
            // The errors of the new connection's network that accept(2) passes on, and a signal.
            Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::EPERM
            | Errno::EINTR
            | Errno::ENETDOWN
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::EHOSTUNREACH
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::ETIMEDOUT => Self::OneConnection,
            #[cfg(target_os = "linux")]
            Errno::ENONET => Self::OneConnection,
            // Of the listener itself, as EINVAL after somebody who shares it has shut it down: it comes again and
            // again, and the listener stays readable.
            _ => Self::Broken,
        }
    }
}

impl<S: Sys> Acceptor<S> {
    /// Accepts until the server drains, then takes what the backlog still holds and closes the listener. While connections
    /// come faster than they are served the backlog is never empty, so it takes no more than may have been there then:
    /// the kernel gives the oldest first.
    pub async fn run(mut self, listener: AsyncFd<Arc<OwnedFd>>, place: Place) {
        let mut patience = Patience::new();
        let mut reserve = Reserve::new();
        let mut left = place.most_waiting();
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
            // The place first: what has nowhere to wait is not accepted.
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
                    let port = place.address().port();
                    let connection = Connection::new(id, accepted.fd, accepted.remote, port, self.sys.now(), slot);
                    way.send(Message::Event(Event::Accepted(connection)));
                    continue;
                }
                Err(error) => error,
            };
            drop((slot, way));
            // `try_io` says WouldBlock without an errno where it knows that nothing is there.
            let errno = error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
            match Trouble::of(errno) {
                Trouble::Nobody | Trouble::Broken if draining => return,
                Trouble::Nobody => {}
                Trouble::OneConnection => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    tokio::task::yield_now().await;
                }
                Trouble::Shortage | Trouble::Broken => {
                    self.stats.accept_failed(format!("{errno:?}"));
                    let (rest, is_news) = patience.tried();
                    if is_news {
                        let address = place.address().clone();
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

/// Accepts one that waits. Linux says EMFILE before it looks whether anybody does (accept(2) takes the descriptor first).
pub(crate) fn accept_one(
    listener: &OwnedFd,
    accept: impl FnOnce() -> Result<Accepted, Errno>,
) -> std::io::Result<Accepted> {
    match accept() {
        Err(errno) if Trouble::of(errno) == Trouble::Shortage && nobody_waits(listener) => Err(Errno::EAGAIN.into()),
        done => Ok(done?),
    }
}

/// Whether a listener's backlog is empty.
pub(crate) fn nobody_waits(listener: &OwnedFd) -> bool {
    poll(
        &mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)],
        PollTimeout::ZERO,
    ) == Ok(0)
}
