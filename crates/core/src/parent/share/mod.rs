//! A shared path: an authorised program that connects there and sends HELLO becomes a worker.
//!
//! Until its HELLO the program is a pending peer. The number of pending peers and their time are limited. The dispatcher has no
//! pending peers: a refused peer costs one descriptor until it has read the reason.

mod allow;
mod pending;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Semaphore, mpsc};

pub use self::allow::Allow;
use self::pending::{PendingPeer, PendingPeers};
use crate::error::{ConfigError, ListenError, SystemError};
use crate::ids::ShareId;
use crate::parent::accept_error::{AcceptBackoff, AcceptErrorKind, LONGEST_PAUSE, accept_one};
use crate::parent::dispatcher::message::Message;
use crate::parent::listener::ListenerAddress;
use crate::parent::notice::{Notice, Notices, Refused};
use crate::parent::rejoin::RejoinPauses;
use crate::stats::Stats;
use crate::sys::prepare;
use crate::sys::unix_socket;
use crate::sys::unix_socket::OwnPath;
use crate::sys::{ForeignFd, Sys, watch};

/// The maximum of `max_workers`: a process cannot have descriptors for more.
pub const MAX_WORKERS: u32 = 65_535;

/// The maximum number of peers in the kernel's backlog.
const BACKLOG: i32 = 511;

/// The settings of a shared path.
#[derive(Debug, Clone)]
pub struct ShareSpec {
    /// The path, or on Linux an abstract name, which starts with a null byte (unix(7)).
    pub path: PathBuf,
    /// The permissions of the socket file: users with write permission can connect (unix(7)). Ignored for an abstract name.
    pub mode: u32,
    /// The users and groups that may join.
    pub allow: Allow,
    /// The maximum number of joined workers, 1 to [`MAX_WORKERS`].
    pub max_workers: u32,
    /// The timeout for the HELLO of a peer; `None` means no limit.
    pub hello_timeout: Option<Duration>,
}

/// A shared path that listens, but does not accept peers yet.
#[derive(Debug)]
pub struct Opened {
    fd: OwnedFd,
    spec: ShareSpec,
}

impl Opened {
    /// Binds and listens. The socket file has its permissions from the start. Dropping the [`OwnPath`] removes the file.
    pub(crate) fn open(spec: ShareSpec) -> Result<(Self, Option<OwnPath>), ListenError> {
        if !(1..=MAX_WORKERS).contains(&spec.max_workers) {
            return Err(ListenError::Config(ConfigError::OutOfRange {
                option: "maxWorkers",
                expected: "at least 1 and at most 65535",
                value: spec.max_workers.to_string(),
            }));
        }
        let (fd, path) = unix_socket::listen(spec.path.as_os_str().as_bytes(), spec.mode, BACKLOG)?;
        Ok((Self { fd, spec }, path))
    }
}

/// Accepts peers at one shared path.
#[derive(Debug)]
pub struct Share<S> {
    /// The operating system.
    pub sys: S,
    /// The id of the shared path.
    pub id: ShareId,
    /// The next channel id of the server.
    pub channels: Arc<AtomicU32>,
    /// Receives the admitted workers.
    pub dispatcher: mpsc::Sender<Message>,
    /// Counts failed accepts and refused peers.
    pub stats: Arc<Stats>,
    /// Receives notices about admitted and refused peers.
    pub notices: Arc<Notices>,
}

impl<S: Sys> Share<S> {
    /// Accepts peers until the task is dropped, which also disconnects the pending peers.
    pub async fn run(self, Opened { fd, spec }: Opened) {
        let address = ListenerAddress::Unix(spec.path.clone());
        let listener = match watch(fd, Interest::READABLE) {
            Ok(listener) => listener,
            Err(errno) => return self.failed(&address, "epoll_ctl", errno),
        };
        let mut backoff = AcceptBackoff::new();
        let mut pending_peers = PendingPeers::new(spec.hello_timeout);
        let seats = Arc::new(Semaphore::new(spec.max_workers as usize));
        let pauses = Arc::new(RejoinPauses::default());
        let share = Arc::new(self);
        loop {
            tokio::select! {
                ready = listener.readable() => if ready.is_err() { return },
                () = pending_peers.one_finished() => continue,
            }
            while share.notices.is_full() {
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
            match share.accept(&listener) {
                Ok(socket) => {
                    backoff.succeeded();
                    if let Some((peer, socket, refused)) = share.check(socket, &spec, &seats, &pauses) {
                        pending_peers.add(peer, socket, refused);
                    }
                }
                Err(errno) => match AcceptErrorKind::of(errno) {
                    AcceptErrorKind::Empty => {}
                    AcceptErrorKind::OneConnection => share.stats.accept_failed(format!("{errno:?}")),
                    AcceptErrorKind::Shortage | AcceptErrorKind::Broken => {
                        share.stats.accept_failed(format!("{errno:?}"));
                        let (pause, report) = backoff.failed();
                        if report {
                            share.failed(&address, "accept", errno);
                        }
                        tokio::time::sleep(pause).await;
                    }
                },
            }
            // Peers that connect at a high rate must not starve other tasks.
            tokio::task::yield_now().await;
        }
    }

    fn accept(&self, listener: &AsyncFd<ForeignFd>) -> Result<ForeignFd, Errno> {
        let accepted = listener.try_io(Interest::READABLE, |listener| {
            accept_one(listener, || self.sys.accept(listener.as_fd()))
        });
        // `try_io` returns WouldBlock without an errno when tokio knows that the listener is not readable.
        let accepted = accepted.map_err(|error| error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw))?;
        Ok(accepted.fd.into())
    }

    /// Checks a new peer before its HELLO. Returns the pending peer, its socket, and the reason if it is refused.
    fn check(
        self: &Arc<Self>,
        socket: ForeignFd,
        spec: &ShareSpec,
        seats: &Arc<Semaphore>,
        pauses: &Arc<RejoinPauses>,
    ) -> Option<(PendingPeer<S>, AsyncFd<ForeignFd>, Option<Refused>)> {
        // Fails on macOS for a peer that has already disconnected.
        let credentials = self.sys.credentials(&socket).ok()?;
        prepare(&socket).ok()?;
        let peer = PendingPeer {
            share: Arc::clone(self),
            credentials,
            seats: Arc::clone(seats),
            pauses: Arc::clone(pauses),
            limit: spec.max_workers,
        };
        let refused = if !spec.allow.admits(&peer.credentials) {
            Some(Refused::NotAllowed)
        } else if seats.available_permits() == 0 {
            Some(peer.full())
        } else {
            None
        };
        // Fails if the limit of epoll watches is reached. The peer then receives the end of the stream.
        let socket = watch(socket, Interest::READABLE).ok()?;
        Some((peer, socket, refused))
    }

    fn failed(&self, address: &ListenerAddress, syscall: &'static str, errno: Errno) {
        self.notices.post(Notice::AcceptError {
            address: address.clone(),
            error: SystemError { syscall, errno },
        });
    }
}
