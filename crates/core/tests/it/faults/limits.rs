//! Servers and workers at their limit of open files, each in a separate process.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use nix::sys::time::TimeValLike;
use socketserver_core::Notice;
use socketserver_core::protocol::records::Credit;
use socketserver_core::worker::Phase;

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::wait::until_true;
use crate::world::{World, answer, answer_to, client, clients, is_of, still_waits};

#[test]
fn a_parent_at_its_limit_pauses_reports_that_once_and_recovers() {
    alone(
        "faults::limits::a_parent_at_its_limit_pauses_reports_that_once_and_recovers",
        || {
            let world = World::new();
            let address = world.listen();
            let worker = world.worker();
            worker.await_phase(|phase| *phase == Phase::Open);
            let before = open_descriptors();
            let first = client(address);
            let taken = worker.one();
            until_true("the parent closes its copy", || open_descriptors() == before + 2);
            let others = [(); 8].map(|()| File::open("/dev/null").unwrap());
            // Three descriptors are left for the parent's ends of six clients.
            let waiting = connected_below_limit(address, 6, 3);
            let is_reported =
                |notice: &Notice| matches!(notice, Notice::AcceptError { error, .. } if error.code() == "EMFILE");
            until_true("it is reported", || world.count(is_reported) == 1);
            world.await_queued(3);
            assert!(world.server.is_paused());
            assert!(waiting.iter().all(still_waits));
            assert_idle();
            assert_eq!(world.count(is_reported), 1);
            // Free enough descriptors for the parent and the worker, which share the limit in this test.
            drop(others);
            answer(taken, "first");
            assert_eq!(answer_to(first), "first");
            worker.done(1);
            for client in waiting {
                let taken = worker.one();
                assert!(is_of(&taken, &client));
                answer(taken, "all the same");
                assert_eq!(answer_to(client), "all the same");
                worker.done(1);
            }
            until_true("accepting continues", || !world.server.is_paused());
            assert!(world.server.stats().accept_errors["EMFILE"] > 0);
        },
    );
}

#[test]
fn a_worker_at_its_limit_refuses_is_reported_once_and_recovers() {
    alone(
        "faults::limits::a_worker_at_its_limit_refuses_is_reported_once_and_recovers",
        || {
            // Parent and worker share the limit in this test, so the parent accepts the connections first.
            let world = World::new();
            let address = world.listen();
            let worker = world.worker();
            let clients = clients(address, 6);
            world.await_queued(6);
            worker.await_phase(|phase| *phase == Phase::Open);
            limit_descriptors(2);
            let is_reported = |notice: &Notice| matches!(notice, Notice::WorkerLimit { .. });
            // At least four of the six arrive without their descriptor, some of them repeatedly.
            let mut held = Vec::new();
            until_true("the two that fit are taken, the others refused", || {
                let room = 6 - u32::try_from(held.len()).unwrap();
                held.extend(worker.receiver.exchange(0, room, room, 0));
                world.server.stats().requeued >= 4
            });
            until_true("it is reported", || world.count(is_reported) >= 1);
            assert_idle();
            lift_limit();
            let room = 6 - u32::try_from(held.len()).unwrap();
            held.extend(worker.take(room));
            held.sort_by_key(|taken| taken.head.id);
            for (taken, client) in held.into_iter().zip(clients) {
                assert!(is_of(&taken, &client));
                answer(taken, "in the end");
                assert_eq!(answer_to(client), "in the end");
            }
        },
    );
}

#[test]
fn workers_that_read_nothing_have_a_quarter_of_the_descriptor_limit_in_flight() {
    alone(
        "faults::limits::workers_that_read_nothing_have_a_quarter_of_the_descriptor_limit_in_flight",
        || {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 256, hard).unwrap();
            let world = World::new();
            let address = world.listen();
            let hoarders = [(); 2].map(|()| {
                let peer = world.peer().join();
                peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1000 }]));
                peer
            });
            let _clients = clients(address, 90);
            // After 5 seconds the parent requeues what the hoarders have left unanswered.
            world.stats("the other connections wait", |stats| {
                (stats.accepted, stats.queued, stats.requeued) == (90, 90 - 256 / 4, 0)
            });
            drop(hoarders);
        },
    );
}

#[test]
fn opening_a_channel_at_the_limit_fails_and_the_server_keeps_running() {
    alone(
        "faults::limits::opening_a_channel_at_the_limit_fails_and_the_server_keeps_running",
        || {
            let world = World::new();
            let address = world.listen();
            let client = client(address);
            world.await_queued(1);
            limit_descriptors(1);
            let error = world.server.open_channel().unwrap_err();
            assert_eq!((error.code().as_str(), error.syscall), ("EMFILE", "socketpair"));
            lift_limit();
            answer(world.worker().one(), "later");
            assert_eq!(answer_to(client), "later");
        },
    );
}

#[test]
fn accepting_leaves_descriptors_to_a_worker_that_shares_the_limit() {
    alone(
        "faults::limits::accepting_leaves_descriptors_to_a_worker_that_shares_the_limit",
        || {
            // Start from the hard limit, as Node does.
            lift_limit();
            let held: Vec<_> = (0..60).map(|_| File::open("/dev/null").unwrap()).collect();
            let unconnected = unconnected(80);
            limit_descriptors(40);
            let world = World::new();
            let address = world.listen();
            let worker = world.worker();
            worker.await_phase(|phase| *phase == Phase::Open);
            let clients = connect_all(unconnected, address);
            until_true("accepting pauses", || world.server.is_paused());
            // There are more clients than descriptors in the headroom, and each descriptor is free after its connection ends.
            for client in clients {
                let taken = worker.one();
                assert!(is_of(&taken, &client));
                answer(taken, "all the same");
                assert_eq!(answer_to(client), "all the same");
                worker.done(1);
            }
            drop(held);
            let is_reported =
                |notice: &Notice| matches!(notice, Notice::AcceptError { error, .. } if error.code() == "EMFILE");
            assert_eq!(world.count(is_reported), 1);
        },
    );
}

/// Connects clients while `more` descriptors are left for the parent's ends.
fn connected_below_limit(address: SocketAddr, count: usize, more: usize) -> Vec<TcpStream> {
    // Create the sockets of the clients before the limit is set.
    let sockets = unconnected(count);
    limit_descriptors(more);
    connect_all(sockets, address)
}

fn unconnected(count: usize) -> Vec<OwnedFd> {
    let one = |_| socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    (0..count).map(one).collect()
}

fn connect_all(sockets: Vec<OwnedFd>, address: SocketAddr) -> Vec<TcpStream> {
    let SocketAddr::V4(address) = address else {
        panic!("{address} is not an IPv4 address");
    };
    let address = SockaddrIn::from(address);
    let one = |socket: OwnedFd| {
        connect(socket.as_raw_fd(), &address).unwrap();
        let client = TcpStream::from(socket);
        client.set_read_timeout(Some(crate::wait::BOUND)).unwrap();
        client
    };
    sockets.into_iter().map(one).collect()
}

/// Checks that this process is idle: it uses almost no CPU time.
fn assert_idle() {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds()
    };
    let (start, before) = (Instant::now(), used());
    while start.elapsed() < Duration::from_millis(400) {
        std::thread::park_timeout(Duration::from_millis(400));
    }
    let spent = used() - before;
    assert!(spent < 80, "{spent} ms of CPU in {:?}", start.elapsed());
}
