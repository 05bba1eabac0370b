//! The parent's reading end of one channel: the frames of a worker become events of the dispatcher.

use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::channel::reader::{Fill, Reader};
use crate::ids::{ChannelId, ConnectionId};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::io::frame_budget::FrameBudget;
use crate::parent::dispatcher::message::{Message, WorkerEvent};
use crate::parent::panics;
use crate::parent::rejoin::Seat;
use crate::parent::returned_socket::ReturnedSocket;
use crate::protocol::ProtocolError;
use crate::protocol::error::FrameError;
use crate::protocol::frame::ToParent;
use crate::protocol::kind;
use crate::protocol::limits::{DESCRIPTORS_TO_PARENT, FRAME_TIMEOUT};
use crate::protocol::records::Hello;
use crate::protocol::version::{ENDED_IDS_SINCE, RETURNS_SINCE};
use crate::sys::{ForeignFd, Sys};

/// Reads one worker's frames until its channel ends.
#[derive(Debug)]
pub struct ChannelReader<S> {
    sys: S,
    channel: ChannelId,
    socket: AsyncFd<ForeignFd>,
    dispatcher: mpsc::Sender<Message>,
    reader: Reader,
    /// The protocol version of the channel, known from HELLO; 0 if parent and worker share none.
    version: Option<u16>,
    budget: FrameBudget,
    /// The number of frames in the last read.
    frames: u32,
    /// The deadline for the rest of an unfinished frame.
    frame_due: Option<Instant>,
    /// The seat of a worker that joined at a shared path.
    seat: Option<Arc<Seat>>,
}

/// A part of what was read at once.
enum Part {
    Message(Message),
    /// A connection that the worker hands back. The descriptor is missing if it did not arrive.
    HandBack(ConnectionId, Option<ForeignFd>),
}

impl<S: Sys> ChannelReader<S> {
    /// Creates the reading end of `socket`.
    pub fn new(sys: S, channel: ChannelId, socket: AsyncFd<ForeignFd>, dispatcher: mpsc::Sender<Message>) -> Self {
        Self {
            sys,
            channel,
            socket,
            dispatcher,
            reader: Reader::with_descriptor_limit(DESCRIPTORS_TO_PARENT),
            version: None,
            budget: FrameBudget::default(),
            frames: 0,
            frame_due: None,
            seat: None,
        }
    }

    /// Creates the reading end of a worker that has sent HELLO; `reader` holds the bytes that followed HELLO.
    pub fn after_hello(
        sys: S,
        channel: ChannelId,
        socket: AsyncFd<ForeignFd>,
        dispatcher: mpsc::Sender<Message>,
        mut reader: Reader,
        hello: &Hello,
        seat: Arc<Seat>,
    ) -> Self {
        reader.set_descriptor_limit(DESCRIPTORS_TO_PARENT);
        Self {
            reader,
            version: Some(hello.version().unwrap_or(0)),
            seat: Some(seat),
            ..Self::new(sys, channel, socket, dispatcher)
        }
    }

    /// Reads to the end of the stream, and reports how the stream ended.
    pub async fn run(mut self) {
        let message = match panics::catch(self.read()).await {
            Ok(end) => Message::End(self.channel, end),
            Err(panic) => Message::Panicked(panic),
        };
        // Fails only if the dispatcher has ended.
        let _ = self.dispatcher.send(message).await;
    }

    async fn read(&mut self) -> Result<(), ProtocolError> {
        if !self.pass_on().await? {
            return Ok(());
        }
        loop {
            let readable = self.socket.readable();
            let readable = match self.frame_due {
                Some(due) => timeout_at(due, readable)
                    .await
                    .map_err(|_| ProtocolError::UnfinishedFrame)?,
                None => readable.await,
            };
            let Ok(mut ready) = readable else {
                return Ok(());
            };
            match self.reader.fill(&self.sys, self.socket.as_fd()) {
                Ok(Fill::Nothing) => ready.clear_ready(),
                Ok(Fill::End) => return self.reader.finish(),
                Ok(Fill::Some) => {
                    if !self.pass_on().await? {
                        return Ok(());
                    }
                    // Meanwhile the socket fills up, which slows the worker down.
                    if let Some(pause) = self
                        .budget
                        .spend(std::mem::take(&mut self.frames), std::time::Instant::now())
                    {
                        tokio::time::sleep(pause).await;
                    }
                }
                // The socket stays ready, so without a yield no other task would have a turn.
                Err(Errno::EINTR) => tokio::task::yield_now().await,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Sends the received frames to the dispatcher. Returns false if the dispatcher has ended.
    async fn pass_on(&mut self) -> Result<bool, ProtocolError> {
        let mut parts = Vec::new();
        let read = self.decode(&mut parts);
        if !self.reader.is_within_frame() {
            self.frame_due = None;
        } else if self.frame_due.is_none() {
            self.frame_due = Some(Instant::now() + FRAME_TIMEOUT);
        }
        // Frames before an error count: the worker may be reading a connection that it acked.
        for part in parts {
            let message = match part {
                Part::Message(message) => message,
                Part::HandBack(id, fd) => {
                    Message::HandBack(self.channel, id, self.examine(id, fd).await?.map(Box::new))
                }
            };
            if self.dispatcher.send(message).await.is_err() {
                return Ok(false);
            }
        }
        read.map(|()| true)
    }

    /// Reads the addresses of a socket that the worker hands back.
    async fn examine(&self, id: ConnectionId, fd: Option<ForeignFd>) -> Result<Option<ReturnedSocket>, ProtocolError> {
        let Some(fd) = fd else { return Ok(None) };
        let socket = ReturnedSocket::read(fd, self.seat.clone()).await;
        socket.map_err(|_| ProtocolError::LockedSocket { id })
    }

    fn decode(&mut self, parts: &mut Vec<Part>) -> Result<(), ProtocolError> {
        let channel = self.channel;
        let mut events = Vec::new();
        let read = loop {
            // Descriptors are counted at the end: the kernel joins a message without descriptors with the next one (unix(7)).
            let (frame, descriptors) = match self.reader.next(ToParent::decode) {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            self.frames += 1;
            self.frame_due = None;
            match frame {
                ToParent::Hello(_) if self.version.is_some() => break Err(ProtocolError::SecondHello),
                ToParent::Hello(hello) => {
                    self.version = Some(hello.version().unwrap_or(0));
                    parts.push(Part::Message(Message::Hello(channel, hello)));
                }
                _ if self.version.is_none() => break Err(ProtocolError::NoHello),
                // Several NUDGE frames in one read have the same effect as one.
                ToParent::Nudge if matches!(parts.last(), Some(Part::Message(Message::Nudge(_)))) => {}
                ToParent::Nudge => parts.push(Part::Message(Message::Nudge(channel))),
                ToParent::Return(_) if self.version < Some(RETURNS_SINCE) => {
                    break Err(FrameError::Kind(kind::RETURN).into());
                }
                ToParent::EndedIds(_) if self.version < Some(ENDED_IDS_SINCE) => {
                    break Err(FrameError::Kind(kind::ENDED_IDS).into());
                }
                ToParent::Return(id) => {
                    let fd = match descriptors.claim(1) {
                        Ok(mut claimed) => claimed.next(),
                        Err(error) => break Err(error),
                    };
                    // The frames before it come first: these may include the ack of this connection.
                    flush(&mut events, channel, parts);
                    parts.push(Part::HandBack(id, fd));
                }
                frame => {
                    if let Err(error) = add_events(&mut events, frame) {
                        break Err(error);
                    }
                }
            }
        };
        flush(&mut events, channel, parts);
        read?;
        if !self.reader.is_within_frame() && self.reader.has_unclaimed() {
            return Err(ProtocolError::SurplusDescriptors);
        }
        self.reader.check_descriptors()
    }
}

fn flush(events: &mut Vec<WorkerEvent<Connection>>, channel: ChannelId, parts: &mut Vec<Part>) {
    if !events.is_empty() {
        parts.push(Part::Message(Message::Frames(channel, std::mem::take(events))));
    }
}

fn add_events(events: &mut Vec<WorkerEvent<Connection>>, frame: ToParent<'_>) -> Result<(), ProtocolError> {
    match frame {
        ToParent::Hello(_) => return Err(ProtocolError::SecondHello),
        ToParent::Ack(ids) => {
            for id in ids {
                events.push(WorkerEvent::Acked(id?));
            }
        }
        ToParent::Refuse(refusals) => {
            for refusal in refusals {
                events.push(WorkerEvent::Refused(refusal?));
            }
        }
        ToParent::Ended(leases) => events.push(WorkerEvent::Ended(leases)),
        ToParent::EndedIds(ids) => {
            for id in ids {
                events.push(WorkerEvent::TrackedEnded(id?));
            }
        }
        ToParent::Credit(credit) => {
            for one in credit {
                let credit = one?;
                if credit.count == 0 {
                    return Err(ProtocolError::EmptyCredit { lane: credit.lane });
                }
                events.push(WorkerEvent::Credit(credit));
            }
        }
        ToParent::Cancel(credit) => {
            for one in credit {
                events.push(WorkerEvent::Cancel(one?));
            }
        }
        ToParent::Leave => events.push(WorkerEvent::Leaves),
        ToParent::Nudge | ToParent::Return(_) => {}
    }
    Ok(())
}
