//! A shared path: what connects there, belongs here and says hello becomes a worker like those that were started.
//!
//! Until its hello a peer is in the lobby, which has few places and a time limit, and the dispatcher does not know of it:
//! whoever is turned away has cost one descriptor for as long as it took to tell it why.

mod pending;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Semaphore, mpsc};

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
use crate::sys::{Credentials, ForeignFd, Sys, watch};

/// The most workers that may be let in at one path: more have no descriptors.
pub const MOST_WORKERS: u32 = 65_535;

/// Peers that may wait in the kernel to be let in.
const BACKLOG: i32 = 511;

/// Where programs may join, and who may.
#[derive(Debug, Clone)]
pub struct ShareSpec {
    /// A path, or on Linux a name that begins with a null byte and is in no file system (unix(7), abstract).
    pub path: PathBuf,
    /// The rights of the file at that path: whoever may write to it may connect (unix(7)). Ignored for an abstract name.
    pub mode: u32,
    /// Who may join.
    pub allow: Allow,
    /// How many may have joined at a time, 1 to [`MOST_WORKERS`].
    pub max_workers: u32,
    /// How long a peer may take to say hello; `None` is for ever.
    pub hello_timeout: Option<Duration>,
}

/// Who may join beside the user that this process runs as.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// These users.
    pub uids: Vec<u32>,
    /// The members of these groups.
    pub gids: Vec<u32>,
}

impl Allow {
    fn admits(&self, peer: &Credentials) -> bool {
        // In a user namespace the overflow uid stands for every user from outside: it is nobody's own and cannot be allowed.
        let is_user_allowed = |uid| uid == geteuid().as_raw() || self.uids.contains(&uid);
        peer.known_uid().is_some_and(is_user_allowed) || peer.known_gids().any(|gid| self.gids.contains(&gid))
    }
}

/// A shared path that listens and that nobody is let in at yet.
#[derive(Debug)]
pub struct Opened {
    fd: OwnedFd,
    spec: ShareSpec,
}

impl Opened {
    /// Binds, with the path's rights from its first moment on, and listens. The file is removed when the [`OwnPath`] is
    /// dropped.
    pub(crate) fn open(spec: ShareSpec) -> Result<(Self, Option<OwnPath>), ListenError> {
        if !(1..=MOST_WORKERS).contains(&spec.max_workers) {
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

/// Lets peers in at one shared path.
#[derive(Debug)]
pub struct Share<S> {
    /// The operating system.
    pub sys: S,
    /// Which.
    pub id: ShareId,
    /// Gives the channels of a server their numbers.
    pub channels: Arc<AtomicU32>,
    /// The next stage.
    pub dispatcher: mpsc::Sender<Message>,
    /// For `acceptErrors` and the peers that are turned away.
    pub stats: Arc<Stats>,
    /// Who has come and who was turned away.
    pub notices: Arc<Notices>,
}

impl<S: Sys> Share<S> {
    /// Lets peers in until it is dropped, and with it those that have not said hello by then.
    pub async fn run(self, Opened { fd, spec }: Opened) {
        let address = ListenerAddress::Unix(spec.path.clone());
        let listener = match watch(fd, Interest::READABLE) {
            Ok(listener) => listener,
            Err(errno) => return self.failed(&address, "epoll_ctl", errno),
        };
        let mut backoff = AcceptBackoff::new();
        let mut lobby = PendingPeers::new(spec.hello_timeout);
        let seats = Arc::new(Semaphore::new(spec.max_workers as usize));
        let pauses = Arc::new(RejoinPauses::default());
        let share = Arc::new(self);
        loop {
            tokio::select! {
                ready = listener.readable() => if ready.is_err() { return },
                () = lobby.one_leaves() => continue,
            }
            while share.notices.is_full() {
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
            match share.accept(&listener) {
                Ok(socket) => {
                    backoff.succeeded();
                    if let Some((guest, socket, refused)) = share.check(socket, &spec, &seats, &pauses) {
                        lobby.enter(guest, socket, refused);
                    }
                }
                Err(errno) => match AcceptErrorKind::of(errno) {
                    AcceptErrorKind::Empty => {}
                    AcceptErrorKind::OneConnection => share.stats.accept_failed(format!("{errno:?}")),
                    AcceptErrorKind::Shortage | AcceptErrorKind::Broken => {
                        share.stats.accept_failed(format!("{errno:?}"));
                        let (rest, is_news) = backoff.failed();
                        if is_news {
                            share.failed(&address, "accept", errno);
                        }
                        tokio::time::sleep(rest).await;
                    }
                },
            }
            // Peers that come and go as fast as they can have no more than their turn.
            tokio::task::yield_now().await;
        }
    }

    fn accept(&self, listener: &AsyncFd<ForeignFd>) -> Result<ForeignFd, Errno> {
        let accepted = listener.try_io(Interest::READABLE, |listener| {
            accept_one(listener, || self.sys.accept(listener.as_fd()))
        });
        // `try_io` says WouldBlock without an errno where it knows that nothing is there.
        let accepted = accepted.map_err(|error| error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw))?;
        Ok(accepted.fd.into())
    }

    /// Whether a peer may come in, as far as that can be said before it has said a word.
    fn check(
        self: &Arc<Self>,
        socket: ForeignFd,
        spec: &ShareSpec,
        seats: &Arc<Semaphore>,
        pauses: &Arc<RejoinPauses>,
    ) -> Option<(PendingPeer<S>, AsyncFd<ForeignFd>, Option<Refused>)> {
        // macOS fails here for a peer that has gone already.
        let peer = self.sys.credentials(&socket).ok()?;
        prepare(&socket).ok()?;
        let guest = PendingPeer {
            share: Arc::clone(self),
            peer,
            seats: Arc::clone(seats),
            pauses: Arc::clone(pauses),
            limit: spec.max_workers,
        };
        let refused = if !spec.allow.admits(&guest.peer) {
            Some(Refused::NotAllowed)
        } else if seats.available_permits() == 0 {
            Some(guest.full())
        } else {
            None
        };
        // Fails if epoll is out of watches: the peer sees the end.
        let socket = watch(socket, Interest::READABLE).ok()?;
        Some((guest, socket, refused))
    }

    fn failed(&self, address: &ListenerAddress, syscall: &'static str, errno: Errno) {
        self.notices.post(Notice::AcceptError {
            address: address.clone(),
            error: SystemError { syscall, errno },
        });
    }
}
