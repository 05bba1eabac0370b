//! A limit of connections per source: the connections that wait and those that workers hold are counted, each once, until they end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::AsFd;

use socketserver_core::ProtocolError;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::parent::routing::sources::Sources;
use socketserver_core::parent::routing::spec::{Others, ProxySpec, RoutingSpec};
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::records::{Hello, Refusal, RefusalReason};
use socketserver_core::protocol::version::ENDED_IDS_SINCE;
use socketserver_core::worker::lane::Taken;
use socketserver_core::{ListenerAddress, PolicyName};

use crate::peer::{ParentFrame, hello};
use crate::wait::{BOUND, until};
use crate::world::{Worker, World, answer, answer_to, client, is_of, still_waits, tcp};

const TOO_MANY: &str = "too-many-from-source";

fn listen(world: &World, routing: RoutingSpec) -> SocketAddr {
    let spec = tcp(std::net::Ipv4Addr::LOCALHOST.into(), 0);
    match world.server.listen_routed(spec, Some(routing)).unwrap() {
        ListenerAddress::Tcp(address) => address,
        ListenerAddress::Unix(path) => panic!("{} is not a TCP address", path.display()),
    }
}

fn limit(connections: u32) -> RoutingSpec {
    RoutingSpec {
        max_per_source: NonZeroU32::new(connections),
        ..RoutingSpec::default()
    }
}

fn behind_proxy(connections: u32) -> RoutingSpec {
    RoutingSpec {
        proxy: Some(ProxySpec {
            from: Sources::parse(["127.0.0.0/8"]).unwrap(),
            others: Others::Direct,
            timeout: BOUND,
        }),
        ..limit(connections)
    }
}

fn refused(world: &World) -> u64 {
    world.server.stats().routed.get(TOO_MANY).copied().unwrap_or(0)
}

fn is_reset(mut client: &TcpStream) -> bool {
    let read = client.read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Connects a client that must be reset.
fn assert_refused(world: &World, address: SocketAddr) {
    let before = refused(world);
    assert!(is_reset(&client(address)));
    world.stats("the refusal is counted", |stats| {
        stats.routed.get(TOO_MANY) == Some(&(before + 1))
    });
}

/// Connects clients until one is admitted, and returns it with what the worker has taken. The parent learns of ended connections a
/// moment later than their clients.
fn admitted(world: &World, worker: &Worker, address: SocketAddr) -> (TcpStream, Taken) {
    until("a client is admitted", || {
        let before = refused(world);
        let client = client(address);
        let taken = until("the client is taken or refused", || {
            let taken = worker.receiver.exchange(0, 1, 1, 0).pop();
            (taken.is_some() || refused(world) > before).then_some(taken)
        });
        taken.map(|taken| {
            assert!(is_of(&taken, &client));
            (client, taken)
        })
    })
}

/// Answers a tracked connection, and reports its end.
fn finish(worker: &Worker, taken: Taken) {
    let id = taken.head.id;
    answer(taken, "answer");
    worker.receiver.tracked_ended(id);
    worker.done(1);
}

#[test]
fn a_source_at_its_limit_is_reset_until_a_connection_has_ended() {
    let world = World::new();
    let address = listen(&world, limit(2));
    world.stats("the counter exists before the first refusal", |stats| {
        stats.routed.get(TOO_MANY) == Some(&0)
    });
    let worker = world.worker();
    let clients = [client(address), client(address)];
    let mut taken = worker.take(2);
    assert!(taken.iter().all(|taken| taken.head.tracked));
    assert_refused(&world, address);
    finish(&worker, taken.remove(0));
    let (third, last) = admitted(&world, &worker, address);
    assert_refused(&world, address);
    for taken in [taken.remove(0), last] {
        finish(&worker, taken);
    }
    for client in clients.into_iter().chain([third]) {
        assert_eq!(answer_to(client), "answer");
    }
    assert!(world.server.stats().proxy_refused.is_empty());
}

#[test]
fn a_connection_that_waits_in_the_queue_counts() {
    let world = World::new();
    let address = listen(&world, limit(1));
    let first = client(address);
    world.await_queued(1);
    assert_refused(&world, address);
    let worker = world.worker();
    let taken = worker.one();
    assert!(is_of(&taken, &first));
    assert_refused(&world, address);
}

#[test]
fn a_connection_that_is_shed_counts_no_more() {
    let config = socketserver_core::Config::new(8, Some(std::time::Duration::from_millis(20)), PolicyName::LeastBusy);
    let world = World::with(&config.unwrap());
    let address = listen(&world, limit(1));
    assert!(is_reset(&client(address)));
    world.stats("it is shed", |stats| stats.timed_out == 1);
    assert!(is_reset(&client(address)));
    world.stats("another is shed", |stats| stats.timed_out == 2);
    assert_eq!(refused(&world), 0);
}

#[test]
fn the_end_of_a_channel_ends_the_counts_of_its_connections() {
    let world = World::new();
    let address = listen(&world, limit(2));
    let lost = world.worker();
    let _clients = [client(address), client(address)];
    let _taken = lost.take(2);
    assert_refused(&world, address);
    drop(lost.receiver);
    world.end_of(lost.channel);
    let worker = world.worker();
    let _admitted = [admitted(&world, &worker, address), admitted(&world, &worker, address)];
    assert_refused(&world, address);
}

#[test]
fn a_refused_connection_and_one_that_was_handed_back_count_once() {
    let world = World::new();
    let address = listen(&world, limit(1));
    let first = client(address);
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    drop(fd);
    peer.send_frames(|frames| {
        frames.refuse([Refusal {
            id: head.id,
            reason: RefusalReason::Unwanted,
        }]);
    });
    let (again, fd) = peer.one();
    assert!(again.id == head.id && again.tracked);
    peer.send_frames(|frames| frames.ack([head.id]));
    peer.hand_back(head.id, fd.as_fd());
    world.stats("it is handed back", |stats| stats.handed_back == 1);
    assert_refused(&world, address);
    let worker = world.worker();
    let taken = worker.one();
    assert!(is_of(&taken, &first));
    assert_refused(&world, address);
    finish(&worker, taken);
    let _admitted = admitted(&world, &worker, address);
    assert_refused(&world, address);
}

#[test]
fn clients_behind_a_proxy_count_by_their_own_addresses_and_the_proxy_does_not() {
    let world = World::new();
    let address = listen(&world, behind_proxy(1));
    let worker = world.worker();
    let proxied = |header: &[u8]| {
        let mut client = client(address);
        client.write_all(header).unwrap();
        client
    };
    let first = proxied(b"PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n");
    let other = proxied(b"PROXY TCP6 2001:db8::1 2001:db8::2 51234 443\r\n");
    let checks = [proxied(b"PROXY UNKNOWN\r\n"), proxied(b"PROXY UNKNOWN\r\n")];
    let taken = worker.take(4);
    assert_eq!(taken.iter().filter(|taken| taken.head.tracked).count(), 2);
    for header in [
        &b"PROXY TCP4 192.0.2.1 198.51.100.7 51235 443\r\n"[..],
        b"PROXY TCP6 2001:db8::ffff 2001:db8::2 51234 443\r\n",
        b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 51234 443\r\n",
    ] {
        assert!(is_reset(&proxied(header)));
    }
    let stats = world.stats("three are refused", |stats| stats.routed[TOO_MANY] == 3);
    // A refused connection counts once.
    assert_eq!((stats.routed["proxied"], stats.routed["local"]), (2, 2));
    for client in checks.iter().chain([&first, &other]) {
        assert!(still_waits(client));
    }
}

#[test]
fn a_worker_of_an_earlier_version_limits_only_the_connections_that_wait() {
    let world = World::new();
    let address = listen(&world, limit(1));
    let mut peer = world.peer();
    let newest = ENDED_IDS_SINCE - 1;
    peer.send_frames(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest,
            ..hello()
        });
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(version) if version == newest));
    let mut held = Vec::new();
    for count in 1..=3 {
        let client = client(address);
        let (head, fd) = peer.one();
        assert!(!head.tracked);
        peer.send_frames(|frames| frames.ack([head.id]));
        world.stats("the ack has arrived", |stats| stats.handed_off == count);
        held.push((client, fd));
    }
    assert_eq!(refused(&world), 0);
    peer.send_frames(|frames| frames.ended_ids([1]));
    let reason = world.end_of(peer.channel);
    assert_eq!(reason, EndReason::Protocol(FrameError::Kind(0x0a).into()));
}

#[test]
fn an_end_that_is_reported_twice_or_of_another_connection_is_a_protocol_error() {
    let world = World::new();
    let limited = listen(&world, limit(2));
    let other = world.listen();
    for (address, is_tracked) in [(limited, true), (other, false)] {
        let mut peer = world.peer().join();
        let _client = client(address);
        let (head, _fd) = peer.one();
        assert_eq!(head.tracked, is_tracked);
        let id = head.id;
        peer.send_frames(|frames| {
            frames.ack([id]);
            frames.ended_ids([id]);
            frames.ended_ids([id]);
        });
        let reason = world.end_of(peer.channel);
        assert_eq!(reason, EndReason::Protocol(ProtocolError::NotLeased { id }));
    }
}

#[test]
fn more_ends_than_fit_in_a_frame_are_reported() {
    let world = World::new();
    let address = listen(&world, limit(100));
    let worker = world.worker();
    let clients: Vec<_> = (0..100).map(|_| client(address)).collect();
    let mut taken = worker.take(50);
    taken.extend(worker.take(50));
    assert_refused(&world, address);
    for taken in &taken {
        worker.receiver.tracked_ended(taken.head.id);
    }
    worker.done(100);
    drop((taken, clients));
    let _admitted: Vec<_> = (0..100).map(|_| admitted(&world, &worker, address)).collect();
    assert_refused(&world, address);
}
