//! What anybody may do at a shared path: join or not, say frames of every kind and bytes of none, in pieces, with
//! descriptors of every kind, answer what it is sent truly or falsely, and go at any time. The server neither panics nor leaks
//! a descriptor, loses no connection that was not acked, and answers a decent worker as ever: while the peer is still
//! connected, whatever it has left unread, unfinished or unsent, and when it has gone.

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
use socketserver_core::protocol::frame::{OLDEST_VERSION, ToWorker, VERSION};
use socketserver_core::protocol::records::{Credit, Hello, Refusal, RefusalReason};
use socketserver_core::sys::ancillary;
use socketserver_core::sys::closer::settle;
use socketserver_core::sys::unix_socket::connect;
use socketserver_core::sys::{Accepted, Credentials, ForeignFd, Os, Received, Sys};
use socketserver_core::worker::Phase;
use socketserver_core::{Config, ListenSpec, ListenerAddress, PolicyName, Receiver, Server, ShareSpec};

/// One thing that a peer does.
#[derive(Debug, Arbitrary)]
enum Deed {
    Hello {
        oldest: u8,
        newest: u8,
        scoreboard: bool,
    },
    DecentHello {
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
    /// Sends what has been put off, with descriptors.
    Send {
        descriptors: Vec<Kind>,
        cut: Option<u8>,
    },
    /// Sends a frame without its last bytes, with descriptors. It stays unfinished unless other bytes happen to finish it.
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
    /// Sets SO_LINGER on a connection that it was sent and leaves data unsent in it.
    Linger(u8),
    /// A client comes.
    Client,
    /// Reads what there is, and keeps or closes the connections.
    Hear {
        keeps: bool,
    },
    ShutWriting,
}

/// Which connection it names: one of those that it was sent, or any number.
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

/// What it smuggles.
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

/// The real system, but each peer comes from a user of its own: the pause of one that has broken the protocol would
/// otherwise hold up every later input.
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
    /// The total when no worker was connected last.
    handed_off: u64,
}

/// One server for all inputs: what one leaves behind, another finds.
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

/// Longer than anything here may take: what sleeps in close(2) for so long fails.
const LINGER_SECONDS: libc::c_int = 12;

/// The most sockets with unsent data that one message carries.
const LINGERING: usize = 2;

/// The most frames that one deed of a peer that never reads sends: their answers fill its socket and what the server keeps.
const UNREAD_FRAMES: u16 = 16 * 1024;

/// The most clients of one input, so that the queue never fills.
const CLIENTS: usize = 8;

fuzz_target!(|deeds: Vec<Deed>| {
    let mut world = WORLD.lock().expect("nobody panics with it");
    let mut peer = Peer::new(&world);
    for deed in deeds.iter().take(64) {
        peer.perform(deed, &world);
    }
    let decent = Receiver::start(
        connect(world.path.as_os_str().as_bytes()).expect("the server listens"),
        || {},
    )
    .expect("a receiver");
    until("a decent worker is let in beside the peer", || {
        decent.phase() == Phase::Open
    });
    let clients = std::mem::take(&mut peer.clients);
    drop(peer);
    // Whoever it was, its channel ends with it, and a decent worker gets what it had not acked.
    until("the peer has gone", || world.server.stats().workers == 1);
    let stats = world.server.stats();
    assert_eq!(stats.leases, 0);
    let waiting = stats.queued;
    let (mut taken, mut ended) = (0, 0);
    until("a decent worker gets what is left", || {
        let connections = decent.exchange(0, 16, 16, ended);
        ended = u32::try_from(connections.len()).expect("at most 16");
        taken += connections.len() as u64;
        taken >= waiting && world.server.stats().queued == 0
    });
    decent.exchange(0, 0, 0, ended);
    decent.close();
    drop((decent, clients));
    until("the decent one has gone", || world.server.stats().workers == 0);
    // Only now: a page that lies counts for as long as its channel is open.
    let handed_off = world.server.stats().handed_off;
    assert!(handed_off >= world.handed_off + taken);
    world.handed_off = handed_off;
    // The mailbox is the owner's to empty.
    drop(world.server.notices());
    let baseline = *world.descriptors.get_or_insert_with(open_descriptors);
    until("no descriptor is left", || open_descriptors() <= baseline);
});

struct Peer {
    /// In its queue may be connections with SO_LINGER.
    socket: ForeignFd,
    reader: Reader,
    /// What has been put off.
    said: Encoder,
    bytes: Vec<u8>,
    sent: Vec<u64>,
    kept: Vec<ForeignFd>,
    /// The other ends of what lingers.
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
            said: Encoder::new(),
            bytes: Vec::new(),
            sent: Vec::new(),
            kept: Vec::new(),
            far_ends: Vec::new(),
            clients: Vec::new(),
        }
    }

    fn perform(&mut self, deed: &Deed, world: &World) {
        match deed {
            Deed::Hello {
                oldest,
                newest,
                scoreboard,
            } => self.say(|said| said.hello(hello((*oldest).into(), (*newest).into(), *scoreboard))),
            Deed::DecentHello { is_old } => {
                let newest = if *is_old { OLDEST_VERSION } else { VERSION };
                self.say(|said| said.hello(hello(OLDEST_VERSION, newest, false)));
            }
            Deed::Ack(which) => {
                let id = self.id(which);
                self.say(|said| said.ack([id]));
            }
            Deed::Refuse(which, reason) => {
                let (id, reason) = (self.id(which), reason_of(*reason));
                self.say(|said| said.refuse([Refusal { id, reason }]));
            }
            Deed::Return(which, kind) => {
                let id = self.id(which);
                // Its descriptor travels with its first byte.
                self.send(&[], None);
                self.say(|said| said.hand_back(id));
                self.send(kind.as_slice(), None);
            }
            Deed::Ended(leases) => self.say(|said| said.ended((*leases).into())),
            Deed::Credit { count, lane } => self.say(|said| said.credit([amount(count, *lane)])),
            Deed::Cancel { count, lane } => self.say(|said| said.cancel([amount(count, *lane)])),
            Deed::Leave => self.say(Encoder::leave),
            Deed::Nudge => self.say(Encoder::nudge),
            Deed::Bytes(bytes) => self.bytes.extend(bytes.iter().take(4096)),
            Deed::Send { descriptors, cut } => self.send(descriptors, *cut),
            Deed::Unfinished {
                returns,
                records,
                missing,
                descriptors,
            } => {
                self.send(&[], None);
                if *returns {
                    self.say(|said| said.hand_back(0));
                } else {
                    self.say(|said| said.ack((0..(*records).clamp(1, 64)).map(u64::from)));
                }
                let missing = usize::from(*missing).max(1);
                self.bytes.truncate(self.bytes.len().saturating_sub(missing));
                self.send(descriptors, None);
            }
            Deed::NeverReads { frames } => {
                for _ in 0..(*frames).min(UNREAD_FRAMES) {
                    self.say(|said| said.cancel([Credit { lane: 1, count: 1 }]));
                    self.send(&[], None);
                }
            }
            Deed::Linger(index) => {
                if let Some(connection) = self.kept.get(usize::from(*index)) {
                    linger(connection);
                }
            }
            Deed::Client => {
                if self.clients.len() < CLIENTS {
                    let before = world.server.stats().accepted;
                    self.clients
                        .push(TcpStream::connect(world.address).expect("the server accepts"));
                    until("it is accepted", || world.server.stats().accepted > before);
                }
            }
            Deed::Hear { keeps } => self.hear(*keeps),
            Deed::ShutWriting => {
                use nix::sys::socket::{Shutdown, shutdown};
                use std::os::fd::AsRawFd;
                // The server may have done so first.
                let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
            }
        }
    }

    fn say(&mut self, write: impl FnOnce(&mut Encoder)) {
        self.said.clear();
        write(&mut self.said);
        self.bytes.extend(self.said.bytes());
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
        // It may be full, or over.
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
                // Taken on by its accepted end.
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

    fn hear(&mut self, keeps: bool) {
        while self.reader.fill(&Os, self.socket.as_fd()) == Ok(Fill::Some) {
            while let Some((frame, descriptors)) = self.reader.next(ToWorker::decode).expect("the server keeps to it") {
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
            self.reader.check_descriptors().expect("no more than belong");
        }
    }
}

/// Fills a connection with what its other end does not read, and has the close of its last copy wait for that.
fn linger(connection: &OwnedFd) {
    let option = libc::linger {
        l_onoff: 1,
        l_linger: LINGER_SECONDS,
    };
    // Fails for what is no connection over TCP, and for one that has ended.
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
            "not so in ten seconds: {what}"
        );
        std::thread::yield_now();
    }
}

/// Those that could be ours, by proc(5): the fuzzer starts a symbolizer when it likes, with pipes to it and /dev/null.
fn open_descriptors() -> usize {
    settle(Duration::from_secs(10));
    let entries = std::fs::read_dir("/proc/self/fd").expect("a folder of descriptors");
    let names = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    names
        .filter(|name| !name.starts_with("/dev/null") && !name.to_string_lossy().starts_with("pipe:"))
        .count()
}
