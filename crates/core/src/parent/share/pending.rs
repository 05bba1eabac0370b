//! Pending peers: connected peers before their HELLO, limited in number and time.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Share;
use crate::channel::reader::{Fill, Reader};
use crate::parent::dispatcher::io::open;
use crate::parent::dispatcher::io::open::Joining;
use crate::parent::notice::{Notice, Refused};
use crate::parent::rejoin::{RejoinPauses, Seat};
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::frame::ToParent;
use crate::protocol::limits::FRAME_TIMEOUT;
use crate::protocol::records::{CloseReason, Hello};
use crate::protocol::version::VERSION;
use crate::sys::{Credentials, ForeignFd, Sys};

/// The maximum number of peers that wait for their HELLO. A worker sends HELLO as it connects, so only silent peers stay. A further
/// peer evicts the one that has waited longest.
const MAX_PENDING: usize = 64;

/// The maximum number of refused peers that linger. Separate from [`MAX_PENDING`]: peers that may not join must not evict peers
/// that may.
const MAX_REFUSED: usize = 16;

/// How long a refused peer may take to read the reason. If the socket were closed at once, a peer that still sends would get EPIPE
/// or ECONNRESET, and many programs then do not read.
const LINGER: Duration = Duration::from_secs(1);

/// The peers that wait for their HELLO, and the refused peers that have not disconnected.
#[derive(Debug)]
pub(super) struct PendingPeers {
    /// The tasks of the peers. Each returns the number of its peer.
    tasks: JoinSet<u64>,
    /// The peers that wait for their HELLO, oldest first. Dropping the sender evicts the peer.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    /// The peers that were refused as they connected, oldest first.
    refused: VecDeque<(u64, oneshot::Sender<()>)>,
    next: u64,
    timeout: Option<Duration>,
}

/// A peer before its HELLO.
#[derive(Debug)]
pub(super) struct PendingPeer<S> {
    pub(super) share: Arc<Share<S>>,
    pub(super) credentials: Credentials,
    pub(super) seats: Arc<Semaphore>,
    pub(super) pauses: Arc<RejoinPauses>,
    pub(super) limit: u32,
}

impl PendingPeers {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self {
            tasks: JoinSet::new(),
            waiting: VecDeque::new(),
            refused: VecDeque::new(),
            next: 0,
            timeout,
        }
    }

    /// Adds a peer, which waits for its HELLO, or is refused with the given reason. Evicts the oldest peer if there are too many.
    pub(super) fn add<S: Sys>(&mut self, peer: PendingPeer<S>, socket: AsyncFd<ForeignFd>, refused: Option<Refused>) {
        let (peers, maximum) = if refused.is_some() {
            (&mut self.refused, MAX_REFUSED)
        } else {
            (&mut self.waiting, MAX_PENDING)
        };
        if peers.len() >= maximum {
            peers.pop_front();
        }
        let (number, timeout) = (self.next, self.timeout);
        let (evict, evicted) = oneshot::channel();
        self.next += 1;
        peers.push_back((number, evict));
        self.tasks.spawn(async move {
            peer.wait(socket, timeout, evicted, refused).await;
            number
        });
    }

    /// Waits until a peer has joined or disconnected.
    pub(super) async fn one_finished(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(number)) => {
                for peers in [&mut self.waiting, &mut self.refused] {
                    peers.retain(|(other, _)| *other != number);
                }
            }
            Some(Err(error)) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
            None => std::future::pending().await,
        }
    }
}

impl<S: Sys> PendingPeer<S> {
    async fn wait(
        self,
        socket: AsyncFd<ForeignFd>,
        timeout: Option<Duration>,
        mut evicted: oneshot::Receiver<()>,
        refused: Option<Refused>,
    ) {
        // A HELLO carries no descriptor.
        let mut reader = Reader::with_descriptor_limit(0);
        let joined = match refused {
            Some(reason) => Err(Some(reason)),
            None => self.await_hello(&socket, &mut reader, timeout, &mut evicted).await,
        };
        match joined {
            Ok((hello, seat)) => self.join(socket, Joining { reader, hello, seat }).await,
            Err(Some(reason)) => {
                let is_evicted =
                    matches!(reason, Refused::Late { .. }) && evicted.try_recv() == Err(TryRecvError::Closed);
                self.refuse(socket.get_ref(), reason);
                if !is_evicted {
                    tokio::select! {
                        () = self.disconnected(&socket) => {}
                        () = tokio::time::sleep(LINGER) => {}
                        _ = &mut evicted => {}
                    }
                }
                // From now on the peer's sends fail.
                let _ = shutdown(socket.get_ref().as_raw_fd(), Shutdown::Both);
            }
            // The peer disconnected before its HELLO, for example after a liveness probe.
            Err(None) => {}
        }
    }

    /// Waits for the HELLO until the timeout and for the rejoin pause after it, and then takes a seat if one is free.
    async fn await_hello(
        &self,
        socket: &AsyncFd<ForeignFd>,
        reader: &mut Reader,
        timeout: Option<Duration>,
        evicted: &mut oneshot::Receiver<()>,
    ) -> Result<(Hello, Seat), Option<Refused>> {
        let late = async {
            match timeout {
                Some(timeout) => tokio::select! { () = tokio::time::sleep(timeout) => {}, _ = &mut *evicted => {} },
                None => drop((&mut *evicted).await),
            }
        };
        let refused_late = || {
            let limit = timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
            Some(Refused::Late { limit })
        };
        let hello = tokio::select! {
            biased;
            hello = self.hello(socket, reader) => hello?,
            () = late => return Err(refused_late()),
        };
        let pause = self.pauses.remaining(&self.credentials, self.share.sys.now());
        if !pause.is_zero() {
            tokio::select! {
                biased;
                _ = evicted => return Err(refused_late()),
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Take the seat last, so that silent and pausing peers do not block others.
        let permit = Arc::clone(&self.seats).try_acquire_owned();
        let permit = permit.map_err(|_| Some(self.full()))?;
        Ok((
            hello,
            Seat::new(permit, self.credentials.clone(), Arc::clone(&self.pauses)),
        ))
    }

    async fn join(self, socket: AsyncFd<ForeignFd>, joining: Joining) {
        let Share {
            sys,
            dispatcher,
            notices,
            ..
        } = &*self.share;
        let channel = self.share.channels.fetch_add(1, Ordering::Relaxed);
        let admitted = Notice::Admitted {
            channel,
            share: self.share.id,
            peer: self.credentials,
        };
        open::join(sys, channel, socket, joining, dispatcher, || notices.post(admitted)).await;
    }

    /// Waits until a refused peer has disconnected, and discards what it sends.
    async fn disconnected(&self, socket: &AsyncFd<ForeignFd>) {
        let mut discarded = [0; 256];
        while let Ok(mut ready) = socket.readable().await {
            match self.share.sys.receive(socket.as_fd(), &mut discarded) {
                Ok(received) if received.bytes == 0 => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }

    /// Reads the HELLO. The error is `None` if the peer has disconnected.
    async fn hello(&self, socket: &AsyncFd<ForeignFd>, reader: &mut Reader) -> Result<Hello, Option<Refused>> {
        let mut due = None;
        loop {
            let readable = socket.readable();
            let readable = match due {
                Some(due) => timeout_at(due, readable)
                    .await
                    .map_err(|_| Refused::Protocol(ProtocolError::UnfinishedFrame))?,
                None => readable.await,
            };
            let mut ready = readable.map_err(|_| None)?;
            match reader.fill(&self.share.sys, socket.as_fd()) {
                Ok(Fill::Nothing) => ready.clear_ready(),
                Ok(Fill::Some) => {
                    if let Some(hello) = first_frame(reader).map_err(Refused::Protocol)? {
                        return Ok(hello);
                    }
                    due.get_or_insert_with(|| Instant::now() + FRAME_TIMEOUT);
                }
                Err(Errno::EINTR) => {}
                Ok(Fill::End) | Err(_) => return Err(None),
            }
        }
    }

    pub(super) fn full(&self) -> Refused {
        Refused::Full { limit: self.limit }
    }

    /// Sends CLOSE with the reason, shuts the sending direction down, and reports the refusal.
    fn refuse(&self, socket: &ForeignFd, reason: Refused) {
        if let Refused::Protocol(_) = reason {
            // Before CLOSE, which the peer may answer by connecting again.
            self.pauses
                .record_protocol_error(&self.credentials, self.share.sys.now());
        }
        let mut frames = Encoder::new();
        frames.close(match &reason {
            Refused::NotAllowed => CloseReason::NotAllowed,
            Refused::Full { limit } => CloseReason::Full(*limit),
            Refused::Late { limit } => CloseReason::Late(*limit),
            Refused::Protocol(ProtocolError::Version { .. }) => CloseReason::Version(VERSION),
            Refused::Protocol(_) => CloseReason::Protocol,
        });
        // The buffer of a new socket is empty, so this fails only if the peer has disconnected.
        let _ = self.share.sys.send(socket.as_fd(), frames.bytes(), &[]);
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
        self.share.stats.peer_refused();
        self.share.notices.post(Notice::Refused {
            share: self.share.id,
            peer: Some(self.credentials.clone()),
            reason,
        });
    }
}

/// Returns the HELLO; `None` while it is incomplete.
fn first_frame(reader: &mut Reader) -> Result<Option<Hello>, ProtocolError> {
    let hello = match reader.next(ToParent::decode)? {
        Some((ToParent::Hello(hello), _)) => hello,
        Some(_) => return Err(ProtocolError::NoHello),
        None => {
            reader.check_descriptors()?;
            return Ok(None);
        }
    };
    if reader.has_unclaimed() {
        return Err(ProtocolError::SurplusDescriptors);
    }
    hello.version()?;
    Ok(Some(hello))
}
