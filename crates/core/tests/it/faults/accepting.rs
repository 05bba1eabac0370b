//! The acceptor on a system without free descriptors or memory, with a paused clock.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use nix::errno::Errno;
use socketserver_core::parent::acceptor::Acceptor;
use socketserver_core::parent::dispatcher::message::Message;
use socketserver_core::parent::listener::Listener;
use socketserver_core::parent::notice::Notices;
use socketserver_core::parent::queue::Permits;
use socketserver_core::stats::Stats;
use socketserver_core::{ListenerAddress, Notice, sys};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::faulty::Faulty;
use crate::world::{client, tcp};

/// An acceptor alone, and the receiver of its messages.
struct Alone {
    address: SocketAddr,
    sys: Faulty,
    accepted: mpsc::Receiver<Message>,
    drain: watch::Sender<bool>,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
    permits: Permits,
    task: JoinHandle<()>,
}

impl Alone {
    fn new(max_queue: usize, sys: Faulty) -> Self {
        let listener = Listener::open(tcp([127, 0, 0, 1].into(), 0)).unwrap();
        let ListenerAddress::Tcp(address) = listener.address().clone() else {
            panic!("no TCP address");
        };
        let (dispatcher, accepted) = mpsc::channel(64);
        let (drain, draining) = watch::channel(false);
        let (stats, notices) = (Arc::new(Stats::default()), Arc::new(Notices::new(|| {})));
        let permits = Permits::new(max_queue);
        let acceptor = Acceptor {
            sys: sys.clone(),
            ids: Arc::new(AtomicU64::new(1)),
            permits: permits.clone(),
            dispatcher,
            drain: draining,
            stats: Arc::clone(&stats),
            notices: Arc::clone(&notices),
        };
        let (socket, endpoint) = listener.into_parts();
        let socket = sys::watch_listener(socket).unwrap();
        Self {
            address,
            sys,
            accepted,
            drain,
            stats,
            notices,
            permits,
            task: tokio::spawn(acceptor.run(socket, endpoint)),
        }
    }

    fn errors(&self) -> Vec<Errno> {
        let notices = self.notices.take().into_iter();
        notices
            .map(|notice| match notice {
                Notice::AcceptError { address, error } => {
                    assert_eq!(address, ListenerAddress::Tcp(self.address));
                    assert_eq!(error.syscall, "accept");
                    error.errno
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// Returns the next accepted connection; `None` if there is none within `seconds` of the paused clock.
    async fn next_within(&mut self, seconds: u64) -> Option<Message> {
        tokio::time::timeout(Duration::from_secs(seconds), self.accepted.recv())
            .await
            .ok()
            .flatten()
    }
}

macro_rules! shortages {
    ($($name:ident: $errno:ident,)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            pauses_and_recovers(Errno::$errno).await;
        }
    )*};
}

shortages! {
    emfile_pauses_accepting_and_is_reported_once: EMFILE,
    enfile_pauses_accepting_and_is_reported_once: ENFILE,
    enobufs_pauses_accepting_and_is_reported_once: ENOBUFS,
    enomem_pauses_accepting_and_is_reported_once: ENOMEM,
    einval_of_the_listener_pauses_accepting_and_does_not_spin: EINVAL,
}

async fn pauses_and_recovers(errno: Errno) {
    // More failures than attempts in ten seconds.
    let mut alone = Alone::new(8, Faulty::default().accept(move |call| (call < 150).then_some(errno)));
    let _client = client(alone.address);
    assert!(alone.next_within(10).await.is_none());
    let tries = alone.sys.accepts();
    assert!((50..=110).contains(&tries), "{tries} tries in ten seconds");
    assert_eq!(alone.stats.snapshot().paused_acceptors, 1);
    assert_eq!(alone.errors(), [errno]);
    // Accepting recovers by itself.
    assert!(alone.next_within(10).await.is_some());
    assert_eq!(alone.errors(), []);
    let stats = alone.stats.snapshot();
    assert_eq!(stats.paused_acceptors, 0);
    assert_eq!(stats.accept_errors[&format!("{errno:?}")], 150);
    // All permits are free: the accepted connection was dropped.
    assert_eq!(alone.permits.free(), 8);
}

#[tokio::test(start_paused = true)]
async fn every_episode_is_reported_once_and_begins_with_a_short_pause() {
    let left = Arc::new(AtomicUsize::new(0));
    let fails = Arc::clone(&left);
    let mut alone = Alone::new(
        8,
        Faulty::default().accept(move |_| {
            let one_less = fails.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            one_less.is_ok().then_some(Errno::EMFILE)
        }),
    );
    for _ in 0..3 {
        left.store(9, Relaxed);
        let _client = client(alone.address);
        let start = tokio::time::Instant::now();
        assert!(alone.next_within(10).await.is_some());
        // 10 + 20 + 40 + 80 ms, and five times the longest pause.
        assert_eq!(start.elapsed().as_millis(), 650);
        assert_eq!(alone.errors(), [Errno::EMFILE]);
        tokio::time::advance(Duration::from_secs(11)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_shortages_within_ten_seconds_are_one_episode() {
    let mut alone = Alone::new(
        8,
        Faulty::default().accept(|call| (call % 2 == 0).then_some(Errno::EMFILE)),
    );
    for reported in [vec![Errno::EMFILE], vec![], vec![]] {
        let _client = client(alone.address);
        assert!(alone.next_within(10).await.is_some());
        assert_eq!(alone.errors(), reported);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shortage_with_an_empty_backlog_is_not_reported() {
    // The last client gets the last descriptor: the next accept fails with EMFILE although the backlog is empty.
    let mut alone = Alone::new(8, Faulty::default().accept(|call| (call > 0).then_some(Errno::EMFILE)));
    let _client = client(alone.address);
    assert!(alone.next_within(10).await.is_some());
    assert!(alone.next_within(10).await.is_none());
    assert_eq!((alone.errors(), alone.sys.accepts()), (vec![], 2));
    let _another = client(alone.address);
    assert!(alone.next_within(1).await.is_none());
    assert_eq!(alone.errors(), [Errno::EMFILE]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_acceptor_holds_no_permit() {
    let mut alone = Alone::new(1, Faulty::default().accept(|_| Some(Errno::EMFILE)));
    let _client = client(alone.address);
    assert!(alone.next_within(5).await.is_none());
    assert_eq!(alone.permits.free(), 1);
}

macro_rules! errors_of_one_connection {
    ($($name:ident: $errno:ident,)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            continues_silently(Errno::$errno).await;
        }
    )*};
}

errors_of_one_connection! {
    econnaborted_delays_no_other_connection: ECONNABORTED,
    eproto_delays_no_other_connection: EPROTO,
    eperm_delays_no_other_connection: EPERM,
    enetunreach_delays_no_other_connection: ENETUNREACH,
    ehostunreach_delays_no_other_connection: EHOSTUNREACH,
}

async fn continues_silently(errno: Errno) {
    let mut alone = Alone::new(8, Faulty::default().accept(move |call| (call < 3).then_some(errno)));
    let _client = client(alone.address);
    let start = tokio::time::Instant::now();
    assert!(alone.next_within(10).await.is_some());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(alone.errors(), []);
    assert_eq!(alone.stats.snapshot().accept_errors[&format!("{errno:?}")], 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_without_a_permit() {
    let mut alone = Alone::new(2, Faulty::default());
    let _clients = [(); 5].map(|()| client(alone.address));
    let held = [alone.next_within(10).await, alone.next_within(10).await];
    assert!(held.iter().all(Option::is_some));
    assert!(alone.next_within(10).await.is_none());
    // accept is not even called: the connections stay in the backlog.
    assert_eq!(alone.sys.accepts(), 2);
    drop(held);
    assert!(alone.next_within(10).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn accept_is_not_called_while_no_client_connects() {
    let mut alone = Alone::new(8, Faulty::default());
    assert!(alone.next_within(3600).await.is_none());
    assert_eq!(alone.sys.accepts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_accepts_the_backlog_and_closes_the_listener() {
    let mut alone = Alone::new(1, Faulty::default());
    let _clients = [(); 3].map(|()| client(alone.address));
    let first = alone.next_within(10).await;
    assert!(first.is_some());
    alone.drain.send(true).unwrap();
    drop(first);
    for _ in 0..2 {
        assert!(alone.next_within(10).await.is_some());
    }
    alone.task.await.unwrap();
    assert!(TcpStream::connect(alone.address).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_an_empty_backlog_needs_no_free_descriptor() {
    let alone = Alone::new(1, Faulty::default().accept(|_| Some(Errno::EMFILE)));
    alone.drain.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), alone.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_until_the_backlog_can_be_accepted() {
    let mut alone = Alone::new(1, Faulty::default().accept(|call| (call < 30).then_some(Errno::EMFILE)));
    let _client = client(alone.address);
    alone.drain.send(true).unwrap();
    assert!(alone.next_within(10).await.is_some());
    alone.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_broken_listener() {
    let alone = Alone::new(1, Faulty::default().accept(|_| Some(Errno::EINVAL)));
    let _client = client(alone.address);
    alone.drain.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(10), alone.task)
        .await
        .unwrap()
        .unwrap();
}
