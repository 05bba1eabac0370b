//! The CPU time of a handoff in the Rust core, of parent and worker together, on one CPU core.
//!
//!     cargo bench                                          one by one and in batches, against the targets
//!     cargo bench -- --count 2000 --batch 1 --workers 1    once and without a report, for callgrind
//!
//! A handoff starts with an accepted connection that has a permit. The dispatcher selects the worker, sends the descriptor and
//! keeps its copy. The receiver reads, claims, and closes the descriptor. The dispatcher notices the claim and closes its copy.
//! Both run alternately on one thread, so that neither waits for the other. The benchmarks in `benchmarks/` include the cost of
//! waking two processes.

#![expect(clippy::unwrap_used, reason = "a panic fails the benchmark")]

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use socketserver_core::channel::pair as channel_pair;
use socketserver_core::ids::ChannelId;
use socketserver_core::parent::connection::Connection;
use socketserver_core::parent::dispatcher::Dispatcher;
use socketserver_core::parent::dispatcher::io::reader::ChannelReader;
use socketserver_core::parent::dispatcher::io::room::report_room;
use socketserver_core::parent::dispatcher::io::writer::ChannelWriter;
use socketserver_core::parent::dispatcher::message::Event;
use socketserver_core::parent::dispatcher::message::Message;
use socketserver_core::parent::notice::Notices;
use socketserver_core::parent::queue::Permits;
use socketserver_core::stats::Stats;
use socketserver_core::sys::alarm::Alarm;
use socketserver_core::sys::{Accepted, Os, Received, Sys, watch};
use socketserver_core::worker::Phase;
use socketserver_core::{Config, PolicyName, Receiver};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::coop::unconstrained;

/// One measurement.
struct Case {
    /// The number of handoffs in one message.
    batch: u32,
    /// The number of workers, which receive connections in turn.
    workers: u32,
    /// The minimum number of handoffs per second on one CPU core.
    target: Option<f64>,
}

const CASES: [Case; 3] = [
    Case {
        batch: 1,
        workers: 1,
        target: Some(300_000.0),
    },
    Case {
        batch: BATCH,
        workers: 1,
        target: Some(1_000_000.0),
    },
    Case {
        batch: 1,
        workers: 64,
        target: None,
    },
];
/// The maximum that `lib/client/channel/lane.ts` lets be in flight to a worker.
const BATCH: u32 = 32;
const ROUNDS: usize = 9;
const HANDOFFS: u32 = 100_000;
/// The number of connections created in advance, outside of the measured time.
const STOCK: u32 = 512;

fn main() {
    // Every Node process has several threads, and glibc takes shortcuts in a process that has only one.
    std::thread::spawn(std::thread::park);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let index = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(index + 1)?.parse().expect("a number"))
    };
    if let (Some(count), Some(batch), Some(workers)) = (number("--count"), number("--batch"), number("--workers")) {
        measure(count, batch, workers);
        return;
    }
    println!("Handoffs on one core, parent and worker together; median of {ROUNDS} rounds (least to most)");
    for Case { batch, workers, target } in CASES {
        let mut rates: Vec<f64> = (0..ROUNDS)
            .map(|_| f64::from(HANDOFFS) / measure(HANDOFFS, batch, workers).as_secs_f64())
            .collect();
        rates.sort_by(f64::total_cmp);
        let median = rates[ROUNDS / 2];
        let judgement = target.map_or(String::new(), |target| {
            let how = if median >= target { "reached" } else { "not reached" };
            format!("; at least {target:.0}: {how}")
        });
        println!(
            "{batch:>3} in a message, {workers:>2} workers: {median:>9.0} a second ({:.0} to {:.0}), {:.2} us each{judgement}",
            rates[0],
            rates[ROUNDS - 1],
            1e6 / median,
        );
    }
}

/// Returns the CPU time of `count` handoffs to `workers` in turn, `batch` per message.
fn measure(count: u32, batch: u32, workers: u32) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let permits = Permits::new(STOCK as usize);
        let (sender, inbox) = mpsc::channel(STOCK as usize);
        let (stats, notices) = (Arc::new(Stats::default()), Arc::new(Notices::new(|| {})));
        // Round-robin, so that the receiving worker is known.
        let config = Config::new(STOCK, None, PolicyName::RoundRobin).unwrap();
        let (alarm, clock) = (Alarm::new().unwrap(), SteadyClock::new());
        // Polled by hand to measure it separately; without tokio's budget, which only a task's turn resets.
        let mut dispatcher = pin!(unconstrained(
            Dispatcher::new(clock, &config, inbox, alarm, stats, notices).run()
        ));
        let mut crew = Vec::new();
        for channel in 1..=workers {
            let receiver = join(&sender, dispatcher.as_mut(), channel).await;
            receiver.exchange(0, u32::MAX, batch, 0);
            crew.push((receiver, 0));
        }
        let mut turn = 0;

        let source = Source::new();
        let (mut id, mut spent) = (0, Duration::ZERO);
        while id < u64::from(count) {
            let mut stock = Vec::with_capacity(STOCK as usize);
            while stock.len() < STOCK as usize && id < u64::from(count) {
                id += 1;
                let permit = permits.acquire().await.unwrap();
                let fd = source.connection.try_clone().unwrap();
                let connection = Connection::new(id, fd, Some(source.remote), source.port, Instant::now(), permit);
                stock.push(Message::Event(Event::Accepted(connection)));
            }
            let mut stock = stock.into_iter();
            let began = processor_time();
            while stock.len() > 0 {
                let mut sent = 0;
                for message in stock.by_ref().take(batch as usize) {
                    sender.try_send(message).unwrap();
                    sent += 1;
                }
                parent_turn(dispatcher.as_mut());
                let (receiver, leases) = &mut crew[turn];
                let taken = worker_turn(receiver, batch, *leases);
                assert_eq!(
                    taken, sent,
                    "all connections arrive at once, at the worker whose turn it is"
                );
                *leases = taken;
                turn = (turn + 1) % crew.len();
            }
            // Notices the last claims and closes those copies.
            sender.try_send(Message::Nudge(1)).unwrap();
            parent_turn(dispatcher.as_mut());
            spent += processor_time().saturating_sub(began);
        }
        spent
    })
}

/// Runs the parent. Not inlined, so that callgrind reports it separately.
#[inline(never)]
fn parent_turn(dispatcher: Pin<&mut impl Future<Output = ()>>) {
    let _ = black_box(dispatcher.poll(&mut Context::from_waker(Waker::noop())));
}

/// Runs the worker: one turn of its event loop when the channel is readable, and the close of its connections.
#[inline(never)]
fn worker_turn(receiver: &Receiver, window: u32, ended: u32) -> u32 {
    receiver.read();
    let taken = receiver.exchange(0, u32::MAX, window, ended);
    u32::try_from(black_box(taken).len()).unwrap()
}

/// Opens a channel and waits for the WELCOME.
async fn join(
    sender: &mpsc::Sender<Message>,
    mut dispatcher: Pin<&mut impl Future<Output = ()>>,
    channel: ChannelId,
) -> Receiver {
    let (ours, workers) = channel_pair().unwrap();
    let writer = ChannelWriter::new(ours.try_clone().unwrap(), report_room(channel, sender.downgrade()));
    let reading = watch(ours, Interest::READABLE).unwrap();
    let reader = tokio::spawn(ChannelReader::new(SteadyClock::new(), channel, reading, sender.clone()).run());
    let open = Message::Open(channel, Box::new(writer), reader.abort_handle());
    sender.send(open).await.unwrap();
    let receiver = Receiver::attach(workers).unwrap();
    while receiver.phase() == Phase::Joining {
        tokio::task::yield_now().await;
        parent_turn(dispatcher.as_mut());
        receiver.read();
    }
    receiver
}

/// The real system with a clock that advances by 1 us each time it is read. On a slow machine, or under callgrind, the real
/// clock would let connections time out before their worker has its turn.
#[derive(Debug, Clone)]
struct SteadyClock {
    began: Instant,
    reads: Arc<AtomicU64>,
}

impl SteadyClock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            reads: Arc::default(),
        }
    }
}

impl Sys for SteadyClock {
    fn now(&self) -> Instant {
        // Includes the cost of the real clock.
        black_box(Os.now());
        self.began + Duration::from_micros(self.reads.fetch_add(1, Relaxed))
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
}

/// A TCP connection to copy: the cost depends on the kind of the descriptor, not on the peer.
struct Source {
    connection: OwnedFd,
    remote: SocketAddr,
    port: u16,
    _client: TcpStream,
}

impl Source {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (connection, remote) = listener.accept().unwrap();
        Self {
            connection: connection.into(),
            remote,
            port: address.port(),
            _client: client,
        }
    }
}

/// Returns the CPU time of this process so far, which does not include other programs on the same CPU core.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}
