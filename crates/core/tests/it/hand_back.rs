//! Hand-backs: a worker returns a connection that it has taken and not read, and another takes it in its old position.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use socketserver_core::channel::scoreboard::Claim;
use socketserver_core::parent::dispatcher::rules::select::WITHHELD_FOR;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::connection_record::ConnectionHead;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::limits::RETURNABLE;
use socketserver_core::protocol::records::{CloseReason, Hello, ReturnOutcome, Returned};
use socketserver_core::worker::lane::Taken;
use socketserver_core::worker::{HandBackError, Phase};
use socketserver_core::{ListenSpec, ListenerAddress, ProtocolError};

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer, hello};
use crate::share::{Folder, joined_peer, spec};
use crate::wait::{until, until_true};
use crate::world::{ATTACHED, Worker, World, answer, answer_to, client, clients, is_of, queue_of, still_waits};

/// Hands a connection back and waits until the parent has it.
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
fn another_worker_takes_a_handed_back_connection_and_the_client_notices_nothing() {
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
fn a_handed_back_connection_returns_to_its_old_position() {
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
    // The waiting time counts from accept.
    assert!(taken.is_sorted_by(|one, next| one.head.waited >= next.head.waited));
}

#[test]
fn the_only_worker_receives_its_handed_back_connection_again() {
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
fn a_worker_receives_its_handed_back_connection_again_after_a_pause_if_all_others_are_busy() {
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
    assert!(start.elapsed() >= WITHHELD_FOR / 2, "{:?}", start.elapsed());
}

#[test]
fn a_retired_worker_can_still_hand_back() {
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
fn a_drain_waits_for_handed_back_connections() {
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
fn a_connection_handed_back_before_its_worker_died_is_served_once() {
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
fn a_connection_handed_back_before_the_parent_ended_the_channel_is_served() {
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
fn the_copy_of_a_connection_being_handed_back_is_closed_with_the_parent() {
    let world = World::new();
    let client = client(world.listen());
    let worker = world.worker();
    let taken = worker.one();
    worker.receiver.hand_back(taken.head.id, taken.fd).unwrap();
    world.server.destroy();
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    // Whether or not the parent had received it, no process has it now, so the client does not hang.
    let mut text = String::new();
    let _ = std::io::Read::read_to_string(&mut { client }, &mut text);
    assert_eq!(text, "");
}

#[test]
fn on_an_ended_channel_a_hand_back_fails_and_the_worker_keeps_the_connection() {
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
fn a_connection_that_was_handed_back_or_is_too_old_cannot_be_handed_back() {
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
fn connections_of_unix_sockets_can_be_handed_back() {
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
fn a_hand_back_waits_while_the_channel_is_full() {
    let sys = Faulty::default();
    let world = World::new();
    let address = world.listen();
    let (channel, end) = world.server.open_channel().unwrap();
    // HELLO and CREDIT are sent; then the channel is full for a while.
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
    let taken = until("it arrives", || {
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
fn a_connection_that_cannot_be_sent_stays_with_the_worker() {
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
    let taken = until("it arrives", || receiver.exchange(0, 1, 1, 0).pop());
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
fn a_parent_without_descriptors_requests_the_connection_again() {
    alone(
        "hand_back::a_parent_without_descriptors_requests_the_connection_again",
        || {
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
            // Long enough for at least one repeated request.
            let start = std::time::Instant::now();
            until_true("time passes", || start.elapsed() > WITHHELD_FOR * 3 / 2);
            worker.receiver.phase();
            assert!(worker.receiver.settled().is_empty());
            assert_eq!(world.server.stats().leases, 1);
            lift_limit();
            await_settled(&worker, id);
            answer(worker.one(), "in the end");
            assert_eq!(answer_to(client), "in the end");
        },
    );
}

/// Lets a peer break the protocol while it holds a connection. Its channel ends, and a correct worker continues.
fn ends_with(expected: impl Fn(u64) -> ProtocolError, misbehave: impl FnOnce(&Peer, &ConnectionHead, OwnedFd)) {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join();
    let _held = client(address);
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    misbehave(&peer, &head, fd);
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected(head.id)));
    let last_frame = peer.remaining_frames().pop();
    assert!(
        matches!(last_frame, Some(ParentFrame::Close(CloseReason::Protocol))),
        "{last_frame:?}"
    );
    drop(peer);
    let next = client(address);
    let worker = world.worker();
    until("the next is served", || {
        let taken = worker.one();
        let is_next = is_of(&taken, &next);
        answer(taken, "by another worker");
        worker.done(1);
        is_next.then_some(())
    });
    assert_eq!(answer_to(next), "by another worker");
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
        peer.send_frames(|frames| frames.ended(1));
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
        peer.send_frames(|frames| frames.ended(1));
    });
}

#[test]
fn a_return_without_its_descriptor() {
    let expected = |_| ProtocolError::MissingDescriptors {
        declared: 1,
        received: 0,
    };
    ends_with(expected, |peer, head, _| {
        peer.send_frames(|frames| frames.hand_back(head.id));
    });
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
fn a_return_of_a_descriptor_that_is_not_a_connection() {
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
    // Its own end of the channel. A channel that contains itself would never end.
    ends_with(not_the_connection, |peer, head, _| {
        peer.hand_back(head.id, peer.socket.as_fd());
    });
}

#[test]
fn a_return_of_a_connection_of_another_server() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let _far = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    let (near, _) = elsewhere.accept().unwrap();
    ends_with(not_the_connection, |peer, head, _| {
        peer.hand_back(head.id, near.as_fd());
    });
}

// Only Linux has all addresses of 127.0.0.0/8.
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
fn a_joined_worker_can_return_only_the_same_socket() {
    let folder = Folder::new();
    let world = World::new();
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    // The source address is used by this test only, so no other test can take the port when it is free.
    let from = std::net::SocketAddr::from(([127, 77, 0, 1], 0));
    let client = TcpStream::from(reconnected(from, world.listen()).unwrap());
    let mut peer = joined_peer(&world, &path);
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    let local = TcpStream::from(fd.try_clone().unwrap()).local_addr().unwrap();
    // A hostile worker can create a socket with the same addresses in its own network namespace. This test creates one after
    // the first connection has ended.
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

/// Connects from this address.
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
fn a_connection_handed_back_as_blocking_is_non_blocking_for_the_next_worker() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    let connection = TcpStream::from(fd);
    connection.set_nonblocking(false).unwrap();
    peer.hand_back(head.id, connection.as_fd());
    assert!(matches!(peer.next_frame(), ParentFrame::Returned(_)));
    drop(connection);
    let taken = world.worker().one();
    assert!(is_of(&taken, &client));
    let flags = fcntl(&taken.fd, FcntlArg::F_GETFL).unwrap();
    assert!(OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
}

#[test]
fn the_end_of_a_channel_is_not_accepted_as_a_connection_of_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("socketserver-end-{}-{ATTACHED}", std::process::id()));
    let world = World::new();
    let listener = UnixListener::bind(&path).unwrap();
    world.server.listen(ListenSpec::Inherited(listener.into())).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    peer.hand_back(head.id, peer.socket.as_fd());
    let expected = EndReason::Protocol(not_the_connection(head.id));
    assert_eq!(world.end_of(peer.channel), expected);
    drop(fd);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_return_on_a_channel_of_version_1_is_an_error() {
    let world = World::new();
    let _client = client(world.listen());
    let mut peer = world.peer();
    peer.send_frames(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest: 1,
            ..hello()
        });
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(1)));
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    peer.hand_back(head.id, fd.as_fd());
    let expected = EndReason::Protocol(FrameError::Kind(9).into());
    assert_eq!(world.end_of(peer.channel), expected);
}

#[test]
fn an_ack_and_a_return_in_one_read_both_count() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    let mut frames = Encoder::new();
    frames.ack([head.id]);
    frames.hand_back(head.id);
    frames.leave();
    // The kernel may join messages in this way (unix(7)).
    peer.send(frames.bytes(), &[fd.as_fd()]);
    let ParentFrame::Returned(answer) = peer.next_frame() else {
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
fn an_ack_before_invalid_bytes_counts() {
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
fn with_a_scoreboard_a_connection_is_taken_on_the_page_and_returned_by_a_frame() {
    let world = World::new();
    let client = client(world.listen());
    let mut peer = world.peer().join_with_scoreboard();
    peer.page.as_ref().unwrap().add(0, 0, 1);
    peer.send_frames(Encoder::nudge);
    let ParentFrame::Connections(mut connections) = peer.next_frame() else {
        panic!("no connection");
    };
    let (head, fd) = connections.remove(0);
    assert!(peer.page.as_ref().unwrap().claim(head.slot, head.id, Claim::Taken));
    peer.page.as_ref().unwrap().add(1, 0, 0);
    peer.hand_back(head.id, fd.as_fd());
    assert!(matches!(peer.next_frame(), ParentFrame::Returned(_)));
    drop(fd);
    world.stats("its lease has ended", |stats| stats.leases == 0 && stats.queued == 1);
    assert!(is_of(&world.worker().one(), &client));
}

#[test]
fn a_full_queue_still_receives_handed_back_connections() {
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
