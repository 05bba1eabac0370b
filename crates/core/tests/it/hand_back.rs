//! A worker hands back what it has taken and not read: another takes it, in its old place, and the client notices nothing.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use socketserver_core::channel::scoreboard::Claim;
use socketserver_core::parent::dispatcher::rules::select::NOT_AGAIN;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::FrameError;
use socketserver_core::protocol::limits::RETURNABLE;
use socketserver_core::protocol::records::{CloseReason, ConnectionHead, Hello, ReturnOutcome, Returned};
use socketserver_core::worker::lane::Taken;
use socketserver_core::worker::{HandBackError, Phase};
use socketserver_core::{ListenSpec, ListenerAddress, ProtocolError};

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::faulty::Faulty;
use crate::peer::{Heard, Peer, hello};
use crate::share::{Folder, member, spec};
use crate::wait::{until, until_true};
use crate::world::{ATTACHED, Worker, World, answer, answer_to, client, clients, is_of, queue_of, still_waits};

/// Hands one back and waits until the parent has it.
fn hand_back(worker: &Worker, taken: Taken) {
    let id = taken.head.id;
    worker.receiver.hand_back(id, taken.fd).unwrap();
    await_settled(worker, id);
}

fn await_settled(worker: &Worker, id: u64) {
    let settled = until("the parent has taken it back", || {
        worker.receiver.phase();
        Some(worker.receiver.settled()).filter(|settled| !settled.is_empty())
    });
    assert_eq!(settled, [id]);
}

#[test]
fn another_worker_takes_it_and_its_client_notices_nothing() {
    let world = World::new();
    let address = world.listen();
    let first = world.worker();
    let client = client(address);
    let taken = first.one();
    let id = taken.head.id;
    hand_back(&first, taken);
    let stats = world.stats("it is counted", |stats| stats.handed_back == 1);
    assert_eq!((stats.queued, stats.leases, stats.requeued), (1, 0, 0));
    assert!(still_waits(&client));
    let taken = world.worker().one();
    assert!(is_of(&taken, &client));
    assert_eq!(taken.head.id, id);
    answer(taken, "by another");
    assert_eq!(answer_to(client), "by another");
    let stats = world.stats("it is counted again", |stats| stats.handed_off == 2);
    assert_eq!((stats.accepted, stats.handed_back, stats.queued), (1, 1, 0));
}

#[test]
fn it_takes_its_old_place() {
    let world = World::new();
    let address = world.listen();
    let clients = clients(address, 5);
    world.await_queued(5);
    let first = world.worker();
    for taken in first.take(3) {
        hand_back(&first, taken);
    }
    world.await_queued(5);
    let taken = world.worker().take(5);
    assert!(taken.iter().zip(&clients).all(|(taken, client)| is_of(taken, client)));
    // From its accept on, whoever had it.
    assert!(taken.is_sorted_by(|one, next| one.head.waited >= next.head.waited));
}

#[test]
fn who_hands_back_gets_it_again_if_nobody_else_is_there() {
    let world = World::new();
    let client = client(world.listen());
    let worker = world.worker();
    for _ in 0..10 {
        let taken = worker.one();
        hand_back(&worker, taken);
    }
    answer(worker.one(), "in the end");
    assert_eq!(answer_to(client), "in the end");
    let stats = world.stats("all is counted", |stats| stats.handed_off == 11);
    assert_eq!(stats.handed_back, 10);
}

#[test]
fn who_hands_back_gets_it_again_after_a_while_if_all_others_are_busy() {
    let world = World::new();
    let address = world.listen();
    let (worker, busy) = (world.worker(), world.worker());
    let _other = client(address);
    let _lease = busy.one();
    let client = client(address);
    let taken = worker.one();
    hand_back(&worker, taken);
    let start = std::time::Instant::now();
    let taken = worker.one();
    assert!(is_of(&taken, &client));
    assert!(start.elapsed() >= NOT_AGAIN / 2, "{:?}", start.elapsed());
}

#[test]
fn a_retired_worker_may_still_hand_back() {
    let world = World::new();
    let client = client(world.listen());
    let old = world.worker();
    let taken = old.one();
    world.server.retire(old.channel);
    old.await_phase(|phase| *phase == Phase::Retired);
    hand_back(&old, taken);
    old.receiver.close();
    assert_eq!(world.end_of(old.channel), EndReason::Left);
    answer(world.worker().one(), "by the new one");
    assert_eq!(answer_to(client), "by the new one");
}

#[test]
fn a_drain_is_not_over_before_what_was_handed_back_is() {
    let world = World::new();
    let client = client(world.listen());
    let first = world.worker();
    let taken = first.one();
    world.server.drain();
    first.await_phase(|phase| *phase == Phase::Draining);
    hand_back(&first, taken);
    let second = world.worker();
    answer(second.one(), "all the same");
    assert_eq!(answer_to(client), "all the same");
    assert_eq!(world.count(|notice| *notice == socketserver_core::Notice::Drained), 0);
    second.done(1);
    world.notice("drained", |notice| {
        matches!(notice, socketserver_core::Notice::Drained).then_some(())
    });
}

#[test]
fn what_a_worker_sent_back_before_it_died_is_served_once() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let dying = world.worker();
        let client = client(address);
        let taken = dying.one();
        dying.receiver.hand_back(taken.head.id, taken.fd).unwrap();
        let channel = dying.channel;
        drop(dying);
        assert_eq!(world.end_of(channel), EndReason::Lost);
        let other = world.worker();
        answer(other.one(), "once");
        assert_eq!(answer_to(client), "once");
        assert!(other.receiver.exchange(0, 1, 1, 0).is_empty());
    }
    let stats = world.server.stats();
    assert_eq!((stats.queued, stats.handed_back), (0, 50));
}

#[test]
fn what_the_parent_was_sent_before_it_ended_the_channel_is_served() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let ended = world.worker();
        let client = client(address);
        let taken = ended.one();
        ended.receiver.hand_back(taken.head.id, taken.fd).unwrap();
        world.server.end_channel(ended.channel);
        assert_eq!(world.end_of(ended.channel), EndReason::Dismissed);
        answer(world.worker().one(), "by another");
        assert_eq!(answer_to(client), "by another");
    }
}

#[test]
fn the_copies_of_what_is_on_its_way_end_with_the_parent() {
    let world = World::new();
    let client = client(world.listen());
    let worker = world.worker();
    let taken = worker.one();
    worker.receiver.hand_back(taken.head.id, taken.fd).unwrap();
    world.server.destroy();
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    // Whether the parent had it: nobody has it now, and nobody hangs.
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut { client }, &mut text);
    assert_eq!(text, "");
}

#[test]
fn an_ended_channel_takes_nothing_back_and_the_connection_stays() {
    let world = World::new();
    let client = client(world.listen());
    let worker = world.worker();
    let taken = worker.one();
    world.server.destroy();
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    let copy = taken.fd.try_clone().unwrap();
    let refused = worker.receiver.hand_back(taken.head.id, copy);
    assert_eq!(refused, Err(HandBackError::Ended));
    answer(taken, "by its holder");
    assert_eq!(answer_to(client), "by its holder");
}

#[test]
fn what_was_handed_back_or_is_too_old_is_not_sent() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let _first = client(address);
    let oldest = worker.one();
    let id = oldest.head.id;
    for _ in 0..RETURNABLE {
        let client = client(address);
        answer(worker.one(), "next");
        assert_eq!(answer_to(client), "next");
        worker.done(1);
    }
    let copy = oldest.fd.try_clone().unwrap();
    assert_eq!(worker.receiver.hand_back(id, copy), Err(HandBackError::Unknown));
    let _last = client(address);
    let taken = worker.one();
    let (id, copy) = (taken.head.id, taken.fd.try_clone().unwrap());
    hand_back(&worker, taken);
    assert_eq!(worker.receiver.hand_back(id, copy), Err(HandBackError::Unknown));
    assert_eq!(world.server.stats().workers, 1);
}

#[test]
fn connections_of_unix_sockets_go_back_too() {
    let path = std::env::temp_dir().join(format!("socketserver-back-{}-{ATTACHED}", std::process::id()));
    let world = World::new();
    let spec = ListenSpec::Unix {
        path: path.clone(),
        backlog: 8,
        readable_all: false,
        writable_all: false,
    };
    assert_eq!(world.server.listen(spec).unwrap(), ListenerAddress::Unix(path.clone()));
    let client = UnixStream::connect(&path).unwrap();
    let first = world.worker();
    let taken = first.one();
    hand_back(&first, taken);
    let taken = world.worker().one();
    let mut stream = UnixStream::from(taken.fd);
    stream.write_all(b"by another").unwrap();
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut { client }, &mut text).unwrap();
    assert_eq!(text, "by another");
}

#[test]
fn a_channel_that_is_full_is_waited_for() {
    let sys = Faulty::default();
    let world = World::new();
    let address = world.listen();
    let (channel, end) = world.server.open_channel().unwrap();
    // Hello and credit go through; then nothing for a while.
    let sends = std::sync::atomic::AtomicUsize::new(0);
    let blocked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let full = std::sync::Arc::clone(&blocked);
    let sys = sys.send(move |_| {
        let is_full = full.load(std::sync::atomic::Ordering::Relaxed);
        let tried = sends.fetch_add(usize::from(is_full), std::sync::atomic::Ordering::Relaxed);
        (is_full && tried < 3).then_some(Err(Errno::EAGAIN))
    });
    let receiver = if ATTACHED {
        socketserver_core::Receiver::attach_on(sys, end)
    } else {
        socketserver_core::Receiver::start_on(sys, end, || {})
    };
    let receiver = receiver.unwrap();
    let client = client(address);
    let taken = until("it comes", || {
        receiver.read();
        receiver.exchange(0, 1, 1, 0).pop()
    });
    blocked.store(true, std::sync::atomic::Ordering::Relaxed);
    receiver.hand_back(taken.head.id, taken.fd).unwrap();
    assert!(!ATTACHED || receiver.wants_room());
    until_true("it is sent once there is room", || {
        receiver.read();
        !receiver.settled().is_empty()
    });
    drop(receiver);
    assert_eq!(world.end_of(channel), EndReason::Lost);
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(client), "by another");
}

#[test]
fn what_cannot_be_sent_stays() {
    let world = World::new();
    let client = client(world.listen());
    let (_, end) = world.server.open_channel().unwrap();
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fails = std::sync::Arc::clone(&failing);
    let sys = Faulty::default().send(move |_| {
        let fails = fails.load(std::sync::atomic::Ordering::Relaxed);
        fails.then_some(Err(Errno::ETOOMANYREFS))
    });
    let receiver = socketserver_core::Receiver::start_on(sys, end, || {}).unwrap();
    let taken = until("it comes", || receiver.exchange(0, 1, 1, 0).pop());
    let copy = || taken.fd.try_clone().unwrap();
    failing.store(true, std::sync::atomic::Ordering::Relaxed);
    let refused = receiver.hand_back(taken.head.id, copy()).unwrap_err();
    assert!(matches!(refused, HandBackError::System(error) if error.code() == "ETOOMANYREFS"));
    failing.store(false, std::sync::atomic::Ordering::Relaxed);
    receiver.hand_back(taken.head.id, copy()).unwrap();
    drop(taken);
    world.await_queued(1);
    assert!(still_waits(&client));
}

#[test]
fn a_parent_without_descriptors_asks_for_it_again() {
    alone("hand_back::a_parent_without_descriptors_asks_for_it_again", || {
        let world = World::new();
        let address = world.listen();
        let worker = world.worker();
        worker.await_phase(|phase| *phase == Phase::Open);
        let before = open_descriptors();
        let client = client(address);
        let taken = worker.one();
        until_true("the parent closes its copy", || open_descriptors() == before + 2);
        limit_descriptors(0);
        let id = taken.head.id;
        worker.receiver.hand_back(id, taken.fd).unwrap();
        // Twice, so that it has been asked for again at least once.
        let start = std::time::Instant::now();
        until_true("time passes", || start.elapsed() > NOT_AGAIN * 3 / 2);
        worker.receiver.phase();
        assert!(worker.receiver.settled().is_empty());
        assert_eq!(world.server.stats().leases, 1);
        lift_limit();
        await_settled(&worker, id);
        answer(worker.one(), "in the end");
        assert_eq!(answer_to(client), "in the end");
    });
}

/// Lets a peer lie while it holds a connection: its channel ends, and a decent worker serves on.
fn ends_with(expected: impl Fn(u64) -> ProtocolError, lie: impl FnOnce(&Peer, &ConnectionHead, OwnedFd)) {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join();
    let _held = client(address);
    let (head, fd) = peer.one();
    peer.say(|frames| frames.ack([head.id]));
    lie(&peer, &head, fd);
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected(head.id)));
    let farewell = peer.last_words().pop();
    assert!(
        matches!(farewell, Some(Heard::Close(CloseReason::Protocol))),
        "{farewell:?}"
    );
    drop(peer);
    let next = client(address);
    let worker = world.worker();
    until("the next is served", || {
        let taken = worker.one();
        let is_next = is_of(&taken, &next);
        answer(taken, "by a decent one");
        worker.done(1);
        is_next.then_some(())
    });
    assert_eq!(answer_to(next), "by a decent one");
}

fn not_leased(id: u64) -> ProtocolError {
    ProtocolError::NotLeased { id }
}

fn not_the_connection(id: u64) -> ProtocolError {
    ProtocolError::NotTheConnection { id }
}

#[test]
fn a_connection_that_is_not_leased() {
    ends_with(|_| not_leased(77), |peer, _, fd| peer.hand_back(77, fd.as_fd()));
}

#[test]
fn a_connection_that_is_leased_to_another() {
    let world = World::new();
    let address = world.listen();
    let client = client(address);
    let holder = world.worker();
    let taken = holder.one();
    world.stats("it is leased", |stats| stats.leases == 1);
    let peer = world.peer().join();
    peer.hand_back(taken.head.id, taken.fd.as_fd());
    assert_eq!(
        world.end_of(peer.channel),
        EndReason::Protocol(not_leased(taken.head.id))
    );
    answer(taken, "by its holder");
    assert_eq!(answer_to(client), "by its holder");
}

#[test]
fn a_connection_that_is_not_acked_yet() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    peer.hand_back(head.id, fd.as_fd());
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(not_leased(head.id)));
    drop(fd);
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(client), "by another");
}

#[test]
fn a_connection_whose_lease_is_over() {
    ends_with(not_leased, |peer, head, fd| {
        peer.say(|frames| frames.ended(1));
        peer.hand_back(head.id, fd.as_fd());
    });
}

#[test]
fn a_connection_that_is_returned_twice() {
    ends_with(not_leased, |peer, head, fd| {
        peer.hand_back(head.id, fd.as_fd());
        peer.hand_back(head.id, fd.as_fd());
    });
}

#[test]
fn a_lease_that_is_returned_and_ended() {
    let expected = |_| ProtocolError::TooManyEnded { ended: 1, leases: 0 };
    ends_with(expected, |peer, head, fd| {
        peer.hand_back(head.id, fd.as_fd());
        peer.say(|frames| frames.ended(1));
    });
}

#[test]
fn a_return_without_its_descriptor() {
    let expected = |_| ProtocolError::MissingDescriptors {
        declared: 1,
        received: 0,
    };
    ends_with(expected, |peer, head, _| peer.say(|frames| frames.hand_back(head.id)));
}

#[test]
fn a_return_with_two_descriptors() {
    ends_with(
        |_| ProtocolError::SurplusDescriptors,
        |peer, head, fd| {
            let mut frames = Encoder::new();
            frames.hand_back(head.id);
            peer.send(frames.bytes(), &[fd.as_fd(), fd.as_fd()]);
        },
    );
}

#[test]
fn a_return_of_what_is_no_connection() {
    let file = || std::fs::File::open("/dev/null").unwrap().into();
    let listener = |address: &ConnectionHead| {
        let port = address.local_port;
        let listener = TcpListener::bind(("127.0.0.2", port)).or_else(|_| TcpListener::bind("127.0.0.1:0"));
        OwnedFd::from(listener.unwrap())
    };
    ends_with(not_the_connection, |peer, head, _| {
        let file: OwnedFd = file();
        peer.hand_back(head.id, file.as_fd());
    });
    ends_with(not_the_connection, |peer, head, _| {
        peer.hand_back(head.id, listener(head).as_fd());
    });
    ends_with(not_the_connection, |peer, head, _| {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.hand_back(head.id, datagrams.as_fd());
    });
    // Its own end of the channel, which would never end, as it would travel on itself.
    ends_with(not_the_connection, |peer, head, _| {
        peer.hand_back(head.id, peer.socket.as_fd());
    });
}

#[test]
fn a_return_of_somebody_elses_connection() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let _far = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    let (near, _) = elsewhere.accept().unwrap();
    ends_with(not_the_connection, |peer, head, _| {
        peer.hand_back(head.id, near.as_fd());
    });
}

// On Linux only is all of 127.0.0.0/8 there.
#[cfg(target_os = "linux")]
#[test]
fn a_return_of_another_connection_with_the_same_local_port() {
    ends_with(not_the_connection, |peer, head, _| {
        let elsewhere = TcpListener::bind(("127.0.0.2", head.local_port)).unwrap();
        let _far = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
        let (near, _) = elsewhere.accept().unwrap();
        peer.hand_back(head.id, near.as_fd());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn who_has_joined_returns_nothing_but_the_socket_it_was_given() {
    let folder = Folder::new();
    let world = World::new();
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    // From an address of its own, whose port no other test can take when it is free.
    let from = std::net::SocketAddr::from(([127, 77, 0, 1], 0));
    let client = TcpStream::from(reconnected(from, world.listen()).unwrap());
    let mut peer = member(&world, &path);
    let (head, fd) = peer.one();
    peer.say(|frames| frames.ack([head.id]));
    let local = TcpStream::from(fd.try_clone().unwrap()).local_addr().unwrap();
    // The same addresses on a socket of its own, as it could have in a network namespace of its own: here once the
    // first connection is gone.
    let remote = client.local_addr().unwrap();
    let reset = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &reset).unwrap();
    drop(client);
    drop(fd);
    let again = until("the address is free", || reconnected(remote, local));
    let near = world.worker().one();
    assert_eq!(near.head.remote, Some(remote));
    peer.hand_back(head.id, near.fd.as_fd());
    assert_eq!(
        world.end_of(peer.channel),
        EndReason::Protocol(not_the_connection(head.id))
    );
    drop(again);
}

/// A connection from this address.
fn reconnected(from: std::net::SocketAddr, to: std::net::SocketAddr) -> Option<OwnedFd> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).ok()?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).ok()?;
    Some(fd)
}

#[test]
fn what_comes_back_blocking_does_not_block_the_next_worker() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    peer.say(|frames| frames.ack([head.id]));
    let connection = TcpStream::from(fd);
    connection.set_nonblocking(false).unwrap();
    peer.hand_back(head.id, connection.as_fd());
    assert!(matches!(peer.hear(), Heard::Returned(_)));
    drop(connection);
    let taken = world.worker().one();
    assert!(is_of(&taken, &client));
    let flags = fcntl(&taken.fd, FcntlArg::F_GETFL).unwrap();
    assert!(OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
}

#[test]
fn a_channels_end_is_no_connection_of_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("socketserver-end-{}-{ATTACHED}", std::process::id()));
    let world = World::new();
    let listener = UnixListener::bind(&path).unwrap();
    world.server.listen(ListenSpec::Inherited(listener.into())).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    peer.say(|frames| frames.ack([head.id]));
    peer.hand_back(head.id, peer.socket.as_fd());
    let expected = EndReason::Protocol(not_the_connection(head.id));
    assert_eq!(world.end_of(peer.channel), expected);
    drop(fd);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn nothing_is_returned_on_a_channel_of_the_first_version() {
    let world = World::new();
    let _client = client(world.listen());
    let mut peer = world.peer();
    peer.say(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest: 1,
            ..hello()
        });
    });
    assert!(matches!(peer.hear(), Heard::Welcome(1)));
    let (head, fd) = peer.one();
    peer.say(|frames| frames.ack([head.id]));
    peer.hand_back(head.id, fd.as_fd());
    let expected = EndReason::Protocol(FrameError::Kind(9).into());
    assert_eq!(world.end_of(peer.channel), expected);
}

#[test]
fn what_is_acked_and_returned_in_one_read_is_both() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    let mut frames = Encoder::new();
    frames.ack([head.id]);
    frames.hand_back(head.id);
    frames.leave();
    // The kernel would glue the messages together just so, unix(7).
    peer.send(frames.bytes(), &[fd.as_fd()]);
    let Heard::Returned(answer) = peer.hear() else {
        panic!("no answer");
    };
    let taken_back = Returned {
        id: head.id,
        outcome: ReturnOutcome::TakenBack,
    };
    assert_eq!(answer, [taken_back]);
    drop(fd);
    assert!(is_of(&world.worker().one(), &client));
}

#[test]
fn what_is_acked_before_bytes_that_are_no_frame_stays_acked() {
    let world = World::new();
    let _client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, _fd) = peer.one();
    let mut frames = Encoder::new();
    frames.ack([head.id]);
    let mut bytes = frames.bytes().to_vec();
    bytes.extend([0xff; 8]);
    peer.send(&bytes, &[]);
    assert!(matches!(world.end_of(peer.channel), EndReason::Protocol(_)));
    let stats = world.stats("the ack is counted", |stats| stats.handed_off == 1);
    assert_eq!((stats.requeued, stats.queued), (0, 0));
}

#[test]
fn with_a_scoreboard_it_is_taken_on_the_page_and_returned_by_frame() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join_with_scoreboard();
    peer.page.as_ref().unwrap().add(0, 0, 1);
    peer.say(Encoder::nudge);
    let Heard::Connections(mut connections) = peer.hear() else {
        panic!("no connection");
    };
    let (head, fd) = connections.remove(0);
    assert!(peer.page.as_ref().unwrap().claim(head.slot, head.id, Claim::Taken));
    peer.page.as_ref().unwrap().add(1, 0, 0);
    peer.hand_back(head.id, fd.as_fd());
    assert!(matches!(peer.hear(), Heard::Returned(_)));
    drop(fd);
    world.stats("it is nobody's lease", |stats| stats.leases == 0 && stats.queued == 1);
    assert!(is_of(&world.worker().one(), &client));
}

#[test]
fn a_queue_of_one_place_takes_back_more() {
    let world = World::with(&queue_of(1));
    let address = world.listen();
    let worker = world.worker();
    let clients = clients(address, 3);
    let taken = worker.take(3);
    for taken in taken {
        hand_back(&worker, taken);
    }
    world.await_queued(3);
    let taken = world.worker().take(3);
    assert!(taken.iter().zip(&clients).all(|(taken, client)| is_of(taken, client)));
}
