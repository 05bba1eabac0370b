//! A hostile peer at a shared path: it joins or not, sends frames of every kind and other bytes, in pieces, with descriptors of
//! every kind, answers correctly or not, and disconnects at any time. The server must not panic, leak a descriptor or lose a
//! connection that was not acknowledged. It must serve a correct worker while the peer is connected and after it has disconnected.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::getegid;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::ToWorker;
use socketserver_core::protocol::records::{Credit, Hello, Refusal, RefusalReason};
use socketserver_core::protocol::version::{OLDEST_VERSION, VERSION};
use socketserver_core::sys::ancillary;
use socketserver_core::sys::closer::settle;
use socketserver_core::sys::unix_socket::connect;
use socketserver_core::sys::{Accepted, Credentials, ForeignFd, Os, Received, Sys};
use socketserver_core::worker::Phase;
use socketserver_core::{Config, ListenSpec, ListenerAddress, PolicyName, Receiver, Server, ShareSpec};

/// An action of the peer.
#[derive(Debug, Arbitrary)]
enum Action {
    Hello {
        oldest: u8,
        newest: u8,
        scoreboard: bool,
    },
    CorrectHello {
        is_old: bool,
    },
    Ack(Which),
    Refuse(Which, u8),
    Return(Which, Option<Kind>),
    Ended(u8),
    Credit {
        count: Amount,
        lane: u8,
    },
    Cancel {
        count: Amount,
        lane: u8,
    },
    Leave,
    Nudge,
    Bytes(Vec<u8>),
    /// Sends the buffered bytes, with descriptors.
    Send {
        descriptors: Vec<Kind>,
        cut: Option<u8>,
    },
    /// Sends a frame without its last bytes, with descriptors. Later bytes may finish it by chance.
    Unfinished {
        returns: bool,
        records: u8,
        missing: u8,
        descriptors: Vec<Kind>,
    },
    /// Sends frames that the server answers, and reads none of the answers.
    NeverReads {
        frames: u16,
    },
    /// Sets SO_LINGER on a received connection and leaves unsent data in it.
    Linger(u8),
    /// Connects a client.
    Client,
    /// Reads the available frames, and keeps or closes the connections.
    Receive {
        keeps: bool,
    },
    ShutWriting,
}

/// The connection in a frame: one that the peer has received, or any id.
#[derive(Debug, Arbitrary)]
enum Which {
    Sent(u8),
    Any(u64),
}

#[derive(Debug, Arbitrary)]
enum Amount {
    Few(u8),
    Any(u32),
}

/// The kind of a descriptor that the peer sends.
#[derive(Debug, Arbitrary)]
enum Kind {
    File,
    Folder,
    Socket,
    Itself,
    Connection,
    /// A TCP socket with SO_LINGER and unsent data, the close of whose last copy sleeps.
    Lingering,
}

/// The real system, except that each peer has its own user: otherwise the rejoin pause after a protocol error would delay all
/// later inputs.
#[derive(Debug, Clone, Default)]
struct OwnUsers(Arc<AtomicU32>);

impl Sys for OwnUsers {
    fn now(&self) -> Instant {
        Os.now()
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        Os.accept(listener)
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        Os.send(socket, bytes, descriptors)
    }

    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        Os.receive(socket, bytes)
    }

    fn credentials(&self, _peer: &OwnedFd) -> Result<Credentials, Errno> {
        Ok(Credentials {
            pid: Some(1),
            uid: self.0.fetch_add(1, Ordering::Relaxed),
            gid: getegid().as_raw(),
            groups: Vec::new(),
        })
    }
}

struct World {
    server: Server,
    path: PathBuf,
    address: SocketAddr,
    descriptors: Option<usize>,
    /// The total when no worker was connected.
    handed_off: u64,
}

/// One server for all inputs, so that damage by one input affects later ones.
static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| {
    let config = Config::new(16, None, PolicyName::LeastBusy).expect("a valid configuration");
    let server = Server::start_on(OwnUsers::default(), &config, || {}).expect("a server");
    let path = std::env::temp_dir().join(format!("ss-fuzz-{}", std::process::id()));
    let spec = ShareSpec {
        path: path.clone(),
        mode: 0o600,
        allow: Allow {
            uids: Vec::new(),
            gids: vec![getegid().as_raw()],
        },
        max_workers: 4,
        hello_timeout: Some(Duration::from_millis(200)),
    };
    server.share(spec).expect("a shared path");
    let listener = ListenSpec::Tcp {
        host: Some(Ipv4Addr::LOCALHOST.into()),
        port: 0,
        backlog: 64,
        ipv6_only: false,
    };
    let Ok(ListenerAddress::Tcp(address)) = server.listen(listener) else {
        panic!("a listener")
    };
    Mutex::new(World {
        server,
        path,
        address,
        descriptors: None,
        handed_off: 0,
    })
});

/// Longer than the bound of [`until`], so that a server that sleeps in close(2) fails.
const LINGER_SECONDS: libc::c_int = 12;

/// The maximum number of sockets with unsent data in one message.
const LINGERING: usize = 2;

/// The maximum number of frames of one [`Action::NeverReads`]: the answers fill the socket and the server's buffer.
const UNREAD_FRAMES: u16 = 16 * 1024;

/// The maximum number of clients per input, so that the queue is never full.
const CLIENTS: usize = 8;

fuzz_target!(|actions: Vec<Action>| {
    let mut world = WORLD.lock().expect("no panic while it is locked");
    let mut peer = Peer::new(&world);
    for action in actions.iter().take(64) {
        peer.perform(action, &world);
    }
    let correct = Receiver::start(
        connect(world.path.as_os_str().as_bytes()).expect("the server listens"),
        || {},
    )
    .expect("a receiver");
    until("a correct worker joins beside the peer", || {
        correct.phase() == Phase::Open
    });
    let clients = std::mem::take(&mut peer.clients);
    drop(peer);
    // The channel of the peer ends, and the correct worker receives the connections that the peer had not acknowledged.
    until("the peer has disconnected", || world.server.stats().workers == 1);
    let stats = world.server.stats();
    assert_eq!(stats.leases, 0);
    let waiting = stats.queued;
    let (mut taken, mut ended) = (0, 0);
    until("the correct worker receives the queue", || {
        let connections = correct.exchange(0, 16, 16, ended);
        ended = u32::try_from(connections.len()).expect("at most 16");
        taken += connections.len() as u64;
        taken >= waiting && world.server.stats().queued == 0
    });
    correct.exchange(0, 0, 0, ended);
    correct.close();
    drop((correct, clients));
    until("the correct worker has left", || world.server.stats().workers == 0);
    // After the channels have ended, because a page with wrong counters counts while its channel is open.
    let handed_off = world.server.stats().handed_off;
    assert!(handed_off >= world.handed_off + taken);
    world.handed_off = handed_off;
    // The owner must empty the mailbox.
    drop(world.server.notices());
    let baseline = *world.descriptors.get_or_insert_with(open_descriptors);
    until("no descriptor is left", || open_descriptors() <= baseline);
});

struct Peer {
    /// Its receive queue may contain connections with SO_LINGER.
    socket: ForeignFd,
    reader: Reader,
    /// Encodes one frame.
    encoder: Encoder,
    /// Bytes to send.
    bytes: Vec<u8>,
    sent: Vec<u64>,
    kept: Vec<ForeignFd>,
    /// The other ends of the lingering connections.
    far_ends: Vec<TcpStream>,
    clients: Vec<TcpStream>,
}

impl Peer {
    fn new(world: &World) -> Self {
        Self {
            socket: connect(world.path.as_os_str().as_bytes())
                .expect("the server listens")
                .into(),
            reader: Reader::new(),
            encoder: Encoder::new(),
            bytes: Vec::new(),
            sent: Vec::new(),
            kept: Vec::new(),
            far_ends: Vec::new(),
            clients: Vec::new(),
        }
    }

    fn perform(&mut self, action: &Action, world: &World) {
        match action {
            Action::Hello {
                oldest,
                newest,
                scoreboard,
            } => self.add_frame(|encoder| encoder.hello(hello((*oldest).into(), (*newest).into(), *scoreboard))),
            Action::CorrectHello { is_old } => {
                let newest = if *is_old { OLDEST_VERSION } else { VERSION };
                self.add_frame(|encoder| encoder.hello(hello(OLDEST_VERSION, newest, false)));
            }
            Action::Ack(which) => {
                let id = self.id(which);
                self.add_frame(|encoder| encoder.ack([id]));
            }
            Action::Refuse(which, reason) => {
                let (id, reason) = (self.id(which), reason_of(*reason));
                self.add_frame(|encoder| encoder.refuse([Refusal { id, reason }]));
            }
            Action::Return(which, kind) => {
                let id = self.id(which);
                // The descriptor must be sent with the first byte.
                self.send(&[], None);
                self.add_frame(|encoder| encoder.hand_back(id));
                self.send(kind.as_slice(), None);
            }
            Action::Ended(leases) => self.add_frame(|encoder| encoder.ended((*leases).into())),
            Action::Credit { count, lane } => self.add_frame(|encoder| encoder.credit([amount(count, *lane)])),
            Action::Cancel { count, lane } => self.add_frame(|encoder| encoder.cancel([amount(count, *lane)])),
            Action::Leave => self.add_frame(Encoder::leave),
            Action::Nudge => self.add_frame(Encoder::nudge),
            Action::Bytes(bytes) => self.bytes.extend(bytes.iter().take(4096)),
            Action::Send { descriptors, cut } => self.send(descriptors, *cut),
            Action::Unfinished {
                returns,
                records,
                missing,
                descriptors,
            } => {
                self.send(&[], None);
                if *returns {
                    self.add_frame(|encoder| encoder.hand_back(0));
                } else {
                    self.add_frame(|encoder| encoder.ack((0..(*records).clamp(1, 64)).map(u64::from)));
                }
                let missing = usize::from(*missing).max(1);
                self.bytes.truncate(self.bytes.len().saturating_sub(missing));
                self.send(descriptors, None);
            }
            Action::NeverReads { frames } => {
                for _ in 0..(*frames).min(UNREAD_FRAMES) {
                    self.add_frame(|encoder| encoder.cancel([Credit { lane: 1, count: 1 }]));
                    self.send(&[], None);
                }
            }
            Action::Linger(index) => {
                if let Some(connection) = self.kept.get(usize::from(*index)) {
                    linger(connection);
                }
            }
            Action::Client => {
                if self.clients.len() < CLIENTS {
                    let before = world.server.stats().accepted;
                    self.clients
                        .push(TcpStream::connect(world.address).expect("the server accepts"));
                    until("it is accepted", || world.server.stats().accepted > before);
                }
            }
            Action::Receive { keeps } => self.receive(*keeps),
            Action::ShutWriting => {
                use nix::sys::socket::{Shutdown, shutdown};
                use std::os::fd::AsRawFd;
                // The server may have done so first.
                let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
            }
        }
    }

    fn add_frame(&mut self, write: impl FnOnce(&mut Encoder)) {
        self.encoder.clear();
        write(&mut self.encoder);
        self.bytes.extend(self.encoder.bytes());
    }

    fn send(&mut self, kinds: &[Kind], cut: Option<u8>) {
        let mut lingering = 0;
        let made: Vec<ForeignFd> = kinds
            .iter()
            .take(64)
            .filter(|kind| {
                lingering += usize::from(matches!(kind, Kind::Lingering));
                !matches!(kind, Kind::Lingering) || lingering <= LINGERING
            })
            .map(|kind| self.make(kind).into())
            .collect();
        let borrowed: Vec<BorrowedFd<'_>> = made.iter().map(AsFd::as_fd).collect();
        let end = cut.map_or(self.bytes.len(), |cut| usize::from(cut).min(self.bytes.len()));
        if end == 0 {
            return;
        }
        // Fails if the socket is full or closed.
        if let Ok(sent) = ancillary::send(self.socket.as_fd(), &self.bytes[..end], &borrowed) {
            self.bytes.drain(..sent);
        }
    }

    fn make(&mut self, kind: &Kind) -> OwnedFd {
        match kind {
            Kind::File => File::open("/dev/zero").expect("/dev/zero").into(),
            Kind::Folder => File::open("/").expect("/").into(),
            Kind::Socket => UnixStream::pair().expect("a pair").0.into(),
            Kind::Itself => self.socket.try_clone().expect("a descriptor"),
            Kind::Connection => match self.kept.last() {
                Some(connection) => connection.try_clone().expect("a descriptor"),
                None => self.socket.try_clone().expect("a descriptor"),
            },
            Kind::Lingering => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
                // The accepted end inherits the option.
                setsockopt(&listener, sockopt::RcvBuf, &4096).expect("SO_RCVBUF");
                let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
                self.far_ends.push(listener.accept().expect("a connection").0);
                let near = OwnedFd::from(near);
                linger(&near);
                near
            }
        }
    }

    fn id(&self, which: &Which) -> u64 {
        match which {
            Which::Sent(index) => self.sent.get(usize::from(*index)).copied().unwrap_or(0),
            Which::Any(id) => *id,
        }
    }

    fn receive(&mut self, keeps: bool) {
        while self.reader.fill(&Os, self.socket.as_fd()) == Ok(Fill::Some) {
            while let Some((frame, descriptors)) = self
                .reader
                .next(ToWorker::decode)
                .expect("the server keeps to the protocol")
            {
                match frame {
                    ToWorker::Connection(heads) => {
                        self.sent.extend(heads.clone().map(|head| head.expect("a head").id));
                        let connections = descriptors.claim(heads.len()).expect("as many descriptors");
                        if keeps {
                            self.kept.extend(connections);
                        } else {
                            connections.for_each(drop);
                        }
                    }
                    ToWorker::Welcome(welcome) => {
                        descriptors
                            .claim(usize::from(welcome.scoreboard))
                            .expect("the page")
                            .for_each(drop);
                    }
                    _ => {}
                }
            }
            self.reader.check_descriptors().expect("no surplus descriptor");
        }
    }
}

/// Fills a connection with unread data, and makes the close of its last copy wait.
fn linger(connection: &OwnedFd) {
    let option = libc::linger {
        l_onoff: 1,
        l_linger: LINGER_SECONDS,
    };
    // Fails if the descriptor is not an open TCP connection.
    let _ = setsockopt(connection, sockopt::SndBuf, &4096);
    let _ = setsockopt(connection, sockopt::Linger, &option);
    let mut connection = TcpStream::from(connection.try_clone().expect("a descriptor"));
    let _ = connection.set_nonblocking(true);
    while connection.write(&[0; 64 * 1024]).is_ok_and(|written| written > 0) {}
    // The caller's copy is still open, so this close does not wait.
}

fn hello(oldest: u16, newest: u16, scoreboard: bool) -> Hello {
    Hello {
        oldest,
        newest,
        pid: 1,
        scoreboard,
    }
}

fn reason_of(number: u8) -> RefusalReason {
    match number % 3 {
        0 => RefusalReason::Recalled,
        1 => RefusalReason::NoDescriptor,
        _ => RefusalReason::Unwanted,
    }
}

fn amount(amount: &Amount, lane: u8) -> Credit {
    let count = match amount {
        Amount::Few(few) => (*few).into(),
        Amount::Any(any) => *any,
    };
    Credit {
        lane: lane.into(),
        count,
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not within ten seconds: {what}"
        );
        std::thread::yield_now();
    }
}

/// Counts the open descriptors (proc(5)), without those of the fuzzer's symbolizer, which uses pipes and /dev/null.
fn open_descriptors() -> usize {
    settle(Duration::from_secs(10));
    let entries = std::fs::read_dir("/proc/self/fd").expect("a folder of descriptors");
    let names = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    names
        .filter(|name| !name.starts_with("/dev/null") && !name.to_string_lossy().starts_with("pipe:"))
        .count()
}
