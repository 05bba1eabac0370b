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

/// A running server, and all its notices.
pub struct World {
    pub server: Server,
    notices: Mutex<Vec<Notice>>,
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
            notices: Mutex::default(),
        }
    }

    /// Listens on a free port of the loopback address.
    pub fn listen(&self) -> SocketAddr {
        match self.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0)).unwrap() {
            ListenerAddress::Tcp(address) => address,
            ListenerAddress::Unix(path) => panic!("{} is not a TCP address", path.display()),
        }
    }

    /// Starts a worker.
    pub fn worker(&self) -> Worker {
        self.worker_by(EventLoop::new)
    }

    /// Starts a worker with the receiver that `make` creates.
    pub fn worker_by(&self, make: impl FnOnce(OwnedFd) -> EventLoop) -> Worker {
        let (channel, end) = self.server.open_channel().unwrap();
        Worker {
            channel,
            receiver: make(end),
        }
    }

    /// Opens a channel and returns the worker's end, which can send any frames.
    pub fn peer(&self) -> Peer {
        let (channel, end) = self.server.open_channel().unwrap();
        Peer::new(channel, end)
    }

    /// Waits for a notice for which `pick` returns a value, among earlier and later notices.
    pub fn notice<T>(&self, what: &str, mut pick: impl FnMut(&Notice) -> Option<T>) -> T {
        until(what, || self.all_notices().iter().find_map(&mut pick))
    }

    /// Waits for the end of a channel, and returns the reason.
    pub fn end_of(&self, channel: ChannelId) -> EndReason {
        self.notice("the end of the channel is reported", |notice| match notice {
            Notice::Ended {
                channel: ended, reason, ..
            } if *ended == channel => Some(reason.clone()),
            _ => None,
        })
    }

    /// Counts the notices so far that match.
    pub fn count(&self, mut matches: impl FnMut(&Notice) -> bool) -> usize {
        self.all_notices().iter().filter(|notice| matches(notice)).count()
    }

    /// Waits until the counters match, and returns them.
    pub fn stats(&self, what: &str, mut matches: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        until(what, || Some(self.server.stats()).filter(|stats| matches(stats)))
    }

    pub fn await_queued(&self, queued: u64) {
        self.stats("the queue has this length", |stats| stats.queued == queued);
    }

    fn all_notices(&self) -> MutexGuard<'_, Vec<Notice>> {
        let mut notices = self.notices.lock().unwrap();
        notices.extend(self.server.notices());
        notices
    }
}

/// A receiver, used as a worker's event loop would.
pub struct Worker {
    pub channel: ChannelId,
    pub receiver: EventLoop,
}

/// These tests are built twice (tests/attached is a link to tests/it). In `it`, receivers read on a thread and use frames; in
/// `attached`, an event loop reads and the receivers use a scoreboard. A worker sees no difference.
pub const ATTACHED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"attached");

/// Reads the channel before each access, as a turn of an event loop does.
pub struct EventLoop(Receiver);

impl EventLoop {
    pub fn new(end: OwnedFd) -> Self {
        if ATTACHED {
            Self::attached(end)
        } else {
            Self::started(end)
        }
    }

    /// Creates a receiver with a scoreboard, in both builds of these tests.
    pub fn attached(end: OwnedFd) -> Self {
        Self(Receiver::attach(end).unwrap())
    }

    /// Creates a receiver with frames, in both builds of these tests.
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
    /// Waits for `count` connections and takes them.
    pub fn take(&self, count: u32) -> Vec<Taken> {
        self.take_on(0, count)
    }

    /// Waits for `count` connections on one lane and takes them.
    pub fn take_on(&self, lane: u16, count: u32) -> Vec<Taken> {
        let mut taken = Vec::new();
        until("the connections come", || {
            let room = count - u32::try_from(taken.len()).unwrap();
            taken.extend(self.receiver.exchange(lane, room, room, 0));
            (taken.len() == count as usize).then_some(())
        });
        taken
    }

    /// Waits for a connection and takes it.
    pub fn one(&self) -> Taken {
        self.take(1).remove(0)
    }

    /// Grants credit and then takes nothing, as a blocked event loop does.
    pub fn grant_and_block(&self, count: u32) {
        assert!(self.receiver.exchange(0, count, count, 0).is_empty());
    }

    /// Reports ended leases.
    pub fn done(&self, ended: u32) {
        assert!(self.receiver.exchange(0, 0, 0, ended).is_empty());
    }

    /// Waits for a phase that matches.
    pub fn await_phase(&self, matches: impl Fn(&Phase) -> bool) -> Phase {
        until("the worker's phase", || Some(self.receiver.phase()).filter(&matches))
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

/// Connects a client.
pub fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(BOUND)).unwrap();
    client
}

/// Connects `count` clients, one after another.
pub fn clients(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| client(address)).collect()
}

/// Sends a response and closes the connection.
pub fn answer(taken: Taken, text: &str) {
    let mut stream = TcpStream::from(taken.fd);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    if taken.head.reissued {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

/// Returns the response that a client receives until the end of the stream.
pub fn answer_to(mut client: TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

/// Returns whether the two are the ends of one connection.
pub fn is_of(taken: &Taken, client: &TcpStream) -> bool {
    taken.head.remote == Some(client.local_addr().unwrap())
}

/// Returns whether a client receives neither a response nor a reset for 20 ms. A defect is found most of the time, not always.
pub fn still_waits(mut client: &TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let read = client.read(&mut [0]);
    client.set_read_timeout(Some(BOUND)).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
