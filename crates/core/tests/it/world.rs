//! A server with its clients and workers, all in this process.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use socketserver_core::ids::ChannelId;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::stats::Snapshot;
use socketserver_core::sys::{Os, Sys};
use socketserver_core::worker::Phase;
use socketserver_core::worker::lane::Taken;
use socketserver_core::{Config, ListenSpec, ListenerAddress, Notice, PolicyName, Receiver, Server};

use crate::peer::Peer;
use crate::wait::{BOUND, until};

/// A running server, and everything it has said.
pub struct World {
    pub server: Server,
    said: Mutex<Vec<Notice>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(&queue_of(1024))
    }

    pub fn with(config: &Config) -> Self {
        Self::on(Os, config)
    }

    pub fn on<S: Sys>(sys: S, config: &Config) -> Self {
        Self {
            server: Server::start_on(sys, config, || {}).unwrap(),
            said: Mutex::default(),
        }
    }

    /// Listens on a free port of the loopback.
    pub fn listen(&self) -> SocketAddr {
        match self.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0)).unwrap() {
            ListenerAddress::Tcp(address) => address,
            ListenerAddress::Unix(path) => panic!("{} is not what was asked for", path.display()),
        }
    }

    /// A worker that has said hello.
    pub fn worker(&self) -> Worker {
        self.worker_by(EventLoop::new)
    }

    /// The same, with a receiver of one kind.
    pub fn worker_by(&self, make: impl FnOnce(OwnedFd) -> EventLoop) -> Worker {
        let (channel, end) = self.server.open_channel().unwrap();
        Worker {
            channel,
            receiver: make(end),
        }
    }

    /// The worker's end of a new channel, to say on it whatever one likes.
    pub fn peer(&self) -> Peer {
        let (channel, end) = self.server.open_channel().unwrap();
        Peer::new(channel, end)
    }

    /// The first notice, of all so far and to come, from which `pick` gets something.
    pub fn notice<T>(&self, what: &str, mut pick: impl FnMut(&Notice) -> Option<T>) -> T {
        until(what, || self.said().iter().find_map(&mut pick))
    }

    /// Why a channel ended.
    pub fn end_of(&self, channel: ChannelId) -> EndReason {
        self.notice("the channel's end is told", |notice| match notice {
            Notice::Ended {
                channel: ended, reason, ..
            } if *ended == channel => Some(reason.clone()),
            _ => None,
        })
    }

    /// How many of the notices so far are such.
    pub fn count(&self, mut such: impl FnMut(&Notice) -> bool) -> usize {
        self.said().iter().filter(|notice| such(notice)).count()
    }

    /// The counters, once they are as they should be.
    pub fn stats(&self, what: &str, mut such: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        until(what, || Some(self.server.stats()).filter(|stats| such(stats)))
    }

    pub fn await_queued(&self, queued: u64) {
        self.stats("so many wait", |stats| stats.queued == queued);
    }

    fn said(&self) -> MutexGuard<'_, Vec<Notice>> {
        let mut said = self.said.lock().unwrap();
        said.extend(self.server.notices());
        said
    }
}

/// A receiver, used as a worker's event loop would.
pub struct Worker {
    pub channel: ChannelId,
    pub receiver: EventLoop,
}

/// These tests are built twice (tests/attached is a link to tests/it): as `it`, with receivers that read on a thread and speak in frames, and as `attached`,
/// with receivers that an event loop reads and that speak through the scoreboard. What a worker sees is the same.
pub const ATTACHED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"attached");

/// Reads before it looks, as a turn of an event loop does.
pub struct EventLoop(Receiver);

impl EventLoop {
    pub fn new(end: OwnedFd) -> Self {
        if ATTACHED {
            Self::attached(end)
        } else {
            Self::started(end)
        }
    }

    /// With a scoreboard, whichever way these tests are built.
    pub fn attached(end: OwnedFd) -> Self {
        Self(Receiver::attach(end).unwrap())
    }

    /// With frames, whichever way these tests are built.
    pub fn started(end: OwnedFd) -> Self {
        Self(Receiver::start(end, || {}).unwrap())
    }

    pub fn exchange(&self, lane: u16, room: u32, window: u32, ended: u32) -> Vec<Taken> {
        self.0.read();
        self.0.exchange(lane, room, window, ended)
    }

    pub fn phase(&self) -> Phase {
        self.0.read();
        self.0.phase()
    }
}

impl Deref for EventLoop {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.0
    }
}

impl Worker {
    /// Takes `count` connections, however long it takes.
    pub fn take(&self, count: u32) -> Vec<Taken> {
        self.take_on(0, count)
    }

    /// The same on one lane.
    pub fn take_on(&self, lane: u16, count: u32) -> Vec<Taken> {
        let mut taken = Vec::new();
        until("the connections come", || {
            let room = count - u32::try_from(taken.len()).unwrap();
            taken.extend(self.receiver.exchange(lane, room, room, 0));
            (taken.len() == count as usize).then_some(())
        });
        taken
    }

    /// Takes one.
    pub fn one(&self) -> Taken {
        self.take(1).remove(0)
    }

    /// Grants credit and then never looks at what comes, as a stuck event loop does.
    pub fn ask_and_hang(&self, count: u32) {
        assert!(self.receiver.exchange(0, count, count, 0).is_empty());
    }

    /// Tells that leases are over.
    pub fn done(&self, ended: u32) {
        assert!(self.receiver.exchange(0, 0, 0, ended).is_empty());
    }

    /// Waits for a phase.
    pub fn await_phase(&self, such: impl Fn(&Phase) -> bool) -> Phase {
        until("the worker's phase", || Some(self.receiver.phase()).filter(&such))
    }
}

pub fn queue_of(max_queue: u32) -> Config {
    Config::new(max_queue, None, PolicyName::LeastBusy).unwrap()
}

pub fn tcp(host: IpAddr, port: u16) -> ListenSpec {
    ListenSpec::Tcp {
        host: Some(host),
        port,
        backlog: 128,
        ipv6_only: false,
    }
}

/// A client that has connected.
pub fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(BOUND)).unwrap();
    client
}

/// So many clients, connected one after the other.
pub fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| client(address)).collect()
}

/// Answers a connection and ends it.
pub fn answer(taken: Taken, text: &str) {
    let mut stream = TcpStream::from(taken.fd);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    if taken.head.reissued {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// What a client is told until the end.
pub fn answer_to(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

/// Whether the two are the ends of one connection.
pub fn is_of(taken: &Taken, client: &TcpStream) -> bool {
    taken.head.remote == Some(client.local_addr().unwrap())
}

/// Nothing comes to this client for a moment: it is neither answered nor reset. A moment cannot prove that, but
/// whoever breaks it fails here most of the time.
pub fn still_waits(mut client: &TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let read = client.read(&mut [0]);
    client.set_read_timeout(Some(BOUND)).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
