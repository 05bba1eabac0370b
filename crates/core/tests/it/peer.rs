//! The worker's end of a channel without a receiver, which can send any frames.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use socketserver_core::ListenerAddress;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::channel::scoreboard::Scoreboard;
use socketserver_core::ids::{ChannelId, ConnectionId};
use socketserver_core::protocol::connection_record::ConnectionHead;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::ToWorker;
use socketserver_core::protocol::proxied_record::Proxied;
use socketserver_core::protocol::records::{CloseReason, Credit, Hello, Returned};
use socketserver_core::protocol::ticket_keys::TicketKeys;
use socketserver_core::protocol::version::VERSION;
use socketserver_core::sys::{ForeignFd, Os, ancillary};

use crate::wait::BOUND;

pub struct Peer {
    pub channel: ChannelId,
    pub socket: UnixStream,
    /// The scoreboard of the WELCOME, if any.
    pub page: Option<Scoreboard>,
    /// The addresses of the server's listeners that have been received so far.
    pub listeners: Vec<ListenerAddress>,
    /// What the parent has told about clients behind proxies.
    pub proxied: Vec<(ConnectionId, Proxied)>,
    /// The keys of TLS session tickets that the parent has sent.
    pub ticket_keys: Option<TicketKeys>,
    reader: Reader,
}

/// A frame from the parent, or the end of the stream.
#[derive(Debug)]
pub enum ParentFrame {
    Welcome(u16),
    Connections(Vec<(ConnectionHead, OwnedFd)>),
    Recall,
    Cancelled(Vec<Credit>),
    Drain,
    DrainSoon,
    Retire,
    Close(CloseReason),
    Returned(Vec<Returned>),
    End,
}

impl Peer {
    pub fn new(channel: ChannelId, end: OwnedFd) -> Self {
        let socket = UnixStream::from(end);
        socket.set_read_timeout(Some(BOUND)).unwrap();
        Self {
            channel,
            socket,
            page: None,
            listeners: Vec::new(),
            proxied: Vec::new(),
            ticket_keys: None,
            reader: Reader::new(),
        }
    }

    /// Sends HELLO and waits for the WELCOME.
    pub fn join(mut self) -> Self {
        self.send_frames(|frames| frames.hello(hello()));
        assert!(matches!(self.next_frame(), ParentFrame::Welcome(VERSION)));
        self
    }

    /// Sends HELLO and waits for the WELCOME with a scoreboard.
    pub fn join_with_scoreboard(mut self) -> Self {
        self.send_frames(|frames| {
            frames.hello(Hello {
                scoreboard: true,
                ..hello()
            });
        });
        assert!(matches!(self.next_frame(), ParentFrame::Welcome(VERSION)));
        assert!(self.page.is_some());
        self
    }

    pub fn send_frames(&self, write: impl FnOnce(&mut Encoder)) {
        let mut frames = Encoder::new();
        write(&mut frames);
        self.send(frames.bytes(), &[]);
    }

    /// Sends all bytes, unless the parent has closed the channel.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        if let Ok(sent) = ancillary::send(self.socket.as_fd(), bytes, descriptors) {
            assert_eq!(sent, bytes.len());
        }
    }

    /// Sends as many bytes as the socket accepts now, and returns their number.
    pub fn send_some(&self, bytes: &[u8]) -> usize {
        ancillary::send(self.socket.as_fd(), bytes, &[]).unwrap_or(0)
    }

    /// Waits for the next frame.
    pub fn next_frame(&mut self) -> ParentFrame {
        loop {
            if let Some((frame, descriptors)) = self.reader.next(ToWorker::decode).unwrap() {
                return match frame {
                    ToWorker::Listening(address) => {
                        self.listeners.push(address);
                        continue;
                    }
                    ToWorker::Proxied(id, proxied) => {
                        self.proxied.push((id, *proxied));
                        continue;
                    }
                    ToWorker::TicketKeys(keys) => {
                        self.ticket_keys = Some(keys);
                        continue;
                    }
                    ToWorker::Welcome(welcome) => {
                        let memory = descriptors.claim(usize::from(welcome.scoreboard)).unwrap().next();
                        self.page = memory.map(|memory| Scoreboard::open(&memory).unwrap());
                        ParentFrame::Welcome(welcome.version)
                    }
                    ToWorker::Connection(heads) => {
                        let fds = descriptors.claim(heads.len()).unwrap();
                        ParentFrame::Connections(
                            heads.map(Result::unwrap).zip(fds.map(ForeignFd::into_owned)).collect(),
                        )
                    }
                    ToWorker::Recall(_) => ParentFrame::Recall,
                    ToWorker::Cancelled(credit) => ParentFrame::Cancelled(credit.map(Result::unwrap).collect()),
                    ToWorker::Drain => ParentFrame::Drain,
                    ToWorker::DrainSoon => ParentFrame::DrainSoon,
                    ToWorker::Retire => ParentFrame::Retire,
                    ToWorker::Close(reason) => ParentFrame::Close(reason),
                    ToWorker::Returned(returned) => ParentFrame::Returned(returned.map(Result::unwrap).collect()),
                };
            }
            match self.reader.fill(&Os, self.socket.as_fd()).unwrap() {
                Fill::Some => {}
                Fill::End => return ParentFrame::End,
                Fill::Nothing => panic!("the parent sends nothing within {BOUND:?}"),
            }
        }
    }

    /// Returns a connection with a descriptor.
    pub fn hand_back(&self, id: u64, fd: BorrowedFd<'_>) {
        let mut frames = Encoder::new();
        frames.hand_back(id);
        self.send(frames.bytes(), &[fd]);
    }

    /// Grants credit for one connection and waits for it.
    pub fn one(&mut self) -> (ConnectionHead, OwnedFd) {
        self.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
        match self.next_frame() {
            ParentFrame::Connections(mut connections) => connections.remove(0),
            other => panic!("{other:?} instead of a connection"),
        }
    }

    /// Returns all frames until the end of the stream.
    pub fn remaining_frames(&mut self) -> Vec<ParentFrame> {
        let mut frames = Vec::new();
        loop {
            match self.next_frame() {
                ParentFrame::End => return frames,
                frame => frames.push(frame),
            }
        }
    }
}

pub fn hello() -> Hello {
    Hello {
        oldest: VERSION,
        newest: VERSION,
        pid: std::process::id(),
        scoreboard: false,
    }
}
