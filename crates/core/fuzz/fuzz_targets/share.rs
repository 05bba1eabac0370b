//! What anybody may do at a shared path: join or not, say frames of every kind and bytes of none, in pieces, with
//! descriptors of every kind, answer what it is sent truly or falsely, and go at any time. The server neither panics nor leaks
//! a descriptor, loses no connection that was not acked, and answers a decent worker as ever.

#![no_main]

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::{OLDEST_VERSION, ToWorker, VERSION};
use socketserver_core::protocol::records::{Credit, Hello, Refusal, RefusalReason};
use socketserver_core::sys::ancillary;
use socketserver_core::sys::closer::settle;
use socketserver_core::sys::unix_socket::connect;
use socketserver_core::sys::{ForeignFd, Os};
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
}

struct World {
    server: Server,
    path: PathBuf,
    address: SocketAddr,
    descriptors: Option<usize>,
}

/// One server for all inputs: what one leaves behind, another finds.
static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| {
    let config = Config::new(16, None, PolicyName::LeastBusy).expect("a valid configuration");
    let server = Server::start(&config, || {}).expect("a server");
    let path = std::env::temp_dir().join(format!("ss-fuzz-{}", std::process::id()));
    let spec = ShareSpec {
        path: path.clone(),
        mode: 0o600,
        allow: Allow::default(),
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
    })
});

/// The most clients of one input, so that the queue never fills.
const CLIENTS: usize = 8;

fuzz_target!(|deeds: Vec<Deed>| {
    let mut world = WORLD.lock().expect("nobody panics with it");
    let mut peer = Peer::new(&world);
    for deed in deeds.iter().take(64) {
        peer.perform(deed, &world);
    }
    let before = world.server.stats();
    let clients = std::mem::take(&mut peer.clients);
    drop(peer);
    // Whoever it was, its channel ends with it, and a decent worker gets what it had not acked.
    until("the peer has gone", || world.server.stats().workers == 0);
    let stats = world.server.stats();
    assert_eq!(stats.leases, 0);
    assert!(stats.handed_off >= before.handed_off);
    let waiting = stats.queued;
    let decent = Receiver::start(
        connect(world.path.as_os_str().as_bytes()).expect("the server listens"),
        || {},
    )
    .expect("a receiver");
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
    // The mailbox is the owner's to empty.
    drop(world.server.notices());
    let baseline = *world.descriptors.get_or_insert_with(open_descriptors);
    until("no descriptor is left", || open_descriptors() <= baseline);
});

struct Peer {
    socket: OwnedFd,
    reader: Reader,
    /// What has been put off.
    said: Encoder,
    bytes: Vec<u8>,
    sent: Vec<u64>,
    kept: Vec<OwnedFd>,
    clients: Vec<TcpStream>,
}

impl Peer {
    fn new(world: &World) -> Self {
        Self {
            socket: connect(world.path.as_os_str().as_bytes()).expect("the server listens"),
            reader: Reader::new(),
            said: Encoder::new(),
            bytes: Vec::new(),
            sent: Vec::new(),
            kept: Vec::new(),
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
                self.say(|said| said.give_back(id));
                self.send(kind.as_slice(), None);
            }
            Deed::Ended(leases) => self.say(|said| said.ended((*leases).into())),
            Deed::Credit { count, lane } => self.say(|said| said.credit([amount(count, *lane)])),
            Deed::Cancel { count, lane } => self.say(|said| said.cancel([amount(count, *lane)])),
            Deed::Leave => self.say(Encoder::leave),
            Deed::Nudge => self.say(Encoder::nudge),
            Deed::Bytes(bytes) => self.bytes.extend(bytes.iter().take(4096)),
            Deed::Send { descriptors, cut } => self.send(descriptors, *cut),
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
        let made: Vec<OwnedFd> = kinds.iter().take(64).map(|kind| self.make(kind)).collect();
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

    fn make(&self, kind: &Kind) -> OwnedFd {
        match kind {
            Kind::File => File::open("/dev/zero").expect("/dev/zero").into(),
            Kind::Folder => File::open("/").expect("/").into(),
            Kind::Socket => UnixStream::pair().expect("a pair").0.into(),
            Kind::Itself => self.socket.try_clone().expect("a descriptor"),
            Kind::Connection => match self.kept.last() {
                Some(connection) => connection.try_clone().expect("a descriptor"),
                None => self.socket.try_clone().expect("a descriptor"),
            },
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
                            self.kept.extend(connections.map(ForeignFd::into_owned));
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
