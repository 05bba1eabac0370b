//! Where peers are until they have said hello: few at a time, and not for long.

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
use crate::protocol::frame::{ToParent, VERSION};
use crate::protocol::limits::FRAME_TIMEOUT;
use crate::protocol::records::{CloseReason, Hello};
use crate::sys::{Credentials, ForeignFd, Sys};

/// The most that may be there. A worker says hello as it connects, so only what says nothing stays; and when all places are
/// taken by such, the one that has been silent for longest makes room.
const PLACES: usize = 64;

/// The most refused peers that may linger. Apart from [`PLACES`]: peers that may not join must not evict those that may.
const REFUSED_PEERS: usize = 16;

/// How long one that was refused may take to read why and go: closed at once, what it has sent meanwhile would be answered by an
/// error (EPIPE, ECONNRESET), which many programs meet before they have read, and then do not.
const LINGER: Duration = Duration::from_secs(1);

/// The peers that have not said hello, and those that were refused and have not gone.
#[derive(Debug)]
pub(super) struct PendingPeers {
    /// Each takes its own number along when it leaves.
    guests: JoinSet<u64>,
    /// From the one that has been here longest; dropping its sender has it leave.
    present: VecDeque<(u64, oneshot::Sender<()>)>,
    /// The same for the peers that were refused as they connected.
    refused: VecDeque<(u64, oneshot::Sender<()>)>,
    next: u64,
    timeout: Option<Duration>,
}

/// A peer that may come in.
#[derive(Debug)]
pub(super) struct PendingPeer<S> {
    pub(super) share: Arc<Share<S>>,
    pub(super) peer: Credentials,
    pub(super) seats: Arc<Semaphore>,
    pub(super) pauses: Arc<RejoinPauses>,
    pub(super) limit: u32,
}

impl PendingPeers {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self {
            guests: JoinSet::new(),
            present: VecDeque::new(),
            refused: VecDeque::new(),
            next: 0,
            timeout,
        }
    }

    /// Takes one in: for its hello, or to be told why it may not come further.
    pub(super) fn enter<S: Sys>(
        &mut self,
        guest: PendingPeer<S>,
        socket: AsyncFd<ForeignFd>,
        refused: Option<Refused>,
    ) {
        let (peers, most) = if refused.is_some() {
            (&mut self.refused, REFUSED_PEERS)
        } else {
            (&mut self.present, PLACES)
        };
        if peers.len() >= most {
            peers.pop_front();
        }
        let (number, timeout) = (self.next, self.timeout);
        let (place, evicted) = oneshot::channel();
        self.next += 1;
        peers.push_back((number, place));
        self.guests.spawn(async move {
            guest.wait(socket, timeout, evicted, refused).await;
            number
        });
    }

    /// Waits until one has left, in whatever way.
    pub(super) async fn one_leaves(&mut self) {
        match self.guests.join_next().await {
            Some(Ok(number)) => {
                for peers in [&mut self.present, &mut self.refused] {
                    peers.retain(|(present, _)| *present != number);
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
                        () = self.gone(&socket) => {}
                        () = tokio::time::sleep(LINGER) => {}
                        _ = &mut evicted => {}
                    }
                }
                // Whoever still sends sees that nobody reads.
                let _ = shutdown(socket.get_ref().as_raw_fd(), Shutdown::Both);
            }
            // It has gone by itself, as one does that only wanted to know whether somebody is here.
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
        let pause = self.pauses.remaining(&self.peer, self.share.sys.now());
        if !pause.is_zero() {
            tokio::select! {
                biased;
                _ = evicted => return Err(refused_late()),
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Only now: peers that are silent or pause keep nobody out.
        let permit = Arc::clone(&self.seats).try_acquire_owned();
        let permit = permit.map_err(|_| Some(self.full()))?;
        Ok((hello, Seat::new(permit, self.peer.clone(), Arc::clone(&self.pauses))))
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
            peer: self.peer,
        };
        open::join(sys, channel, socket, joining, dispatcher, || notices.post(admitted)).await;
    }

    /// Waits until a peer that has been refused has gone, whatever it says until then.
    async fn gone(&self, socket: &AsyncFd<ForeignFd>) {
        let mut unheard = [0; 256];
        while let Ok(mut ready) = socket.readable().await {
            match self.share.sys.receive(socket.as_fd(), &mut unheard) {
                Ok(received) if received.bytes == 0 => return,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(_) => return,
            }
        }
    }

    /// Reads up to the hello; `None` is a peer that has gone.
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
                    if let Some(hello) = first_words(reader).map_err(Refused::Protocol)? {
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

    /// Tells a peer why it may not come in, and that this is all, and counts it.
    fn refuse(&self, socket: &ForeignFd, reason: Refused) {
        let mut farewell = Encoder::new();
        farewell.close(match &reason {
            Refused::NotAllowed => CloseReason::NotAllowed,
            Refused::Full { limit } => CloseReason::Full(*limit),
            Refused::Late { limit } => CloseReason::Late(*limit),
            Refused::Protocol(ProtocolError::Version { .. }) => CloseReason::Version(VERSION),
            Refused::Protocol(_) => CloseReason::Protocol,
        });
        // The socket is new and its buffer empty; a peer that has gone need not know.
        let _ = self.share.sys.send(socket.as_fd(), farewell.bytes(), &[]);
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
        self.share.stats.peer_refused();
        self.share.notices.post(Notice::Refused {
            share: self.share.id,
            peer: Some(self.peer.clone()),
            reason,
        });
    }
}

/// The hello, once it is whole.
fn first_words(reader: &mut Reader) -> Result<Option<Hello>, ProtocolError> {
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
