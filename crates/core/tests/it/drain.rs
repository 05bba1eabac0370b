//! The ways in which a worker, a server, or both come to an end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver_core::channel::scoreboard::NO_SLOT;
use socketserver_core::parent::notice::{EndReason, ShedReason};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::VERSION;
use socketserver_core::protocol::records::{CloseReason, ConnectionHead, Credit, Family, Refusal, RefusalReason};
use socketserver_core::worker::{End, Phase};
use socketserver_core::{ListenError, ListenSpec, ListenerAddress, Notice};

use crate::peer::{Heard, hello};
use crate::wait::{until, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of, still_waits, tcp};

#[test]
fn a_worker_that_leaves_finishes_its_leases_and_gives_back_the_rest() {
    let world = World::new();
    let address = world.listen();
    let leaving = world.worker();
    let first = client(address);
    let taken = leaving.one();
    leaving.ask_and_hang(1);
    let second = client(address);
    world.stats("it is under way", |stats| stats.accepted == 2 && stats.queued == 0);
    leaving.receiver.leave();
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(second), "by another");
    assert_eq!(leaving.receiver.phase(), Phase::Leaving);
    answer(taken, "by the old one");
    assert_eq!(answer_to(first), "by the old one");
    leaving.done(1);
    world.stats("its lease is over", |stats| stats.leases == 0);
    leaving.receiver.close();
    assert_eq!(world.end_of(leaving.channel), EndReason::Left);
}

#[test]
fn a_worker_that_leaves_is_reported_before_its_leases_are_over() {
    let world = World::new();
    let address = world.listen();
    let leaving = world.worker();
    let client = client(address);
    let taken = leaving.one();
    leaving.receiver.leave();
    world.notice("the worker leaves", |notice| match notice {
        Notice::Leaving { channel } if *channel == leaving.channel => Some(()),
        _ => None,
    });
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ended { .. })), 0);
    answer(taken, "finished");
    assert_eq!(answer_to(client), "finished");
    leaving.receiver.close();
    assert_eq!(world.end_of(leaving.channel), EndReason::Left);
    // A worker that has been retired, and leaves then, is not reported.
    let retired = world.worker();
    world.server.retire(retired.channel);
    retired.await_phase(|phase| *phase == Phase::Retired);
    retired.receiver.leave();
    retired.receiver.close();
    assert_eq!(world.end_of(retired.channel), EndReason::Left);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Leaving { .. })), 1);
}

#[test]
fn what_is_sent_to_a_worker_while_it_says_that_it_leaves_goes_back() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let leaving = world.worker();
        leaving.ask_and_hang(1);
        let client = client(address);
        leaving.receiver.leave();
        assert!(is_of(&world.worker().one(), &client));
    }
}

#[test]
fn a_retired_worker_is_told_and_given_no_more() {
    let world = World::new();
    let address = world.listen();
    let old = world.worker();
    let first = client(address);
    let taken = old.one();
    assert!(old.receiver.exchange(0, 4, 4, 0).is_empty());
    world.server.retire(old.channel);
    old.await_phase(|phase| *phase == Phase::Retired);
    let second = client(address);
    world.await_queued(1);
    assert!(old.receiver.exchange(0, 4, 4, 0).is_empty());
    assert!(still_waits(&second));
    answer(world.worker().one(), "by the new one");
    assert_eq!(answer_to(second), "by the new one");
    answer(taken, "by the old one");
    assert_eq!(answer_to(first), "by the old one");
    old.receiver.close();
    assert_eq!(world.end_of(old.channel), EndReason::Left);
}

#[test]
fn a_retired_worker_still_takes_what_was_under_way_to_it() {
    let world = World::new();
    let address = world.listen();
    let old = world.worker();
    old.ask_and_hang(1);
    let client = client(address);
    world.stats("it is under way", |stats| stats.accepted == 1 && stats.queued == 0);
    world.server.retire(old.channel);
    old.await_phase(|phase| *phase == Phase::Retired);
    let taken = until("it is taken", || old.receiver.exchange(0, 1, 1, 0).pop());
    assert!(is_of(&taken, &client));
}

#[test]
fn credit_that_is_asked_back_while_the_worker_is_retired_is_no_error() {
    // The cancel and the retirement cross, in every order that the parent may see them in.
    for _ in 0..200 {
        let world = World::new();
        let worker = world.worker();
        worker.await_phase(|phase| *phase == Phase::Open);
        assert!(worker.receiver.exchange(0, 8, 8, 0).is_empty());
        assert!(worker.receiver.exchange(0, 1, 1, 0).is_empty());
        world.server.retire(worker.channel);
        worker.await_phase(|phase| *phase != Phase::Open);
        // Whatever the parent says about credit has been said by the time that it answers this.
        world.server.drain();
        world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
        assert_eq!(worker.receiver.phase(), Phase::Retired);
    }
}

#[test]
fn a_retirement_means_nothing_said_about_credit_afterwards() {
    let (ours, theirs) = socketserver_core::channel::pair().unwrap();
    let receiver = socketserver_core::Receiver::start(theirs, || {}).unwrap();
    assert!(receiver.exchange(0, 8, 8, 0).is_empty());
    assert!(receiver.exchange(0, 1, 1, 0).is_empty());
    let parent = crate::peer::Peer::new(0, ours);
    // A parent that takes the cancel in before it retires the worker, and answers it after.
    parent.say(|frames| {
        frames.welcome(socketserver_core::protocol::records::Welcome {
            version: VERSION,
            channel: 1,
            scoreboard: false,
        });
        frames.retire();
        frames.cancelled([Credit { lane: 0, count: 7 }]);
        frames.drain();
    });
    until_true("it is retired", || receiver.phase() == Phase::Retired);
    drop(parent);
    until_true("the end is seen", || matches!(receiver.phase(), Phase::Ended(_)));
    assert_eq!(receiver.phase(), Phase::Ended(End::Gone));
}

#[test]
fn a_worker_may_join_while_the_server_drains() {
    let world = World::new();
    let (channel, end) = world.server.open_channel().unwrap();
    let client = client(world.listen());
    world.await_queued(1);
    // It hears of the drain when it joins, and not before it has been welcomed.
    world.server.drain();
    await_nobody_listens(client.peer_addr().unwrap());
    let worker = crate::world::Worker {
        channel,
        receiver: crate::world::EventLoop::new(end),
    };
    answer(worker.one(), "all the same");
    assert_eq!(answer_to(client), "all the same");
    worker.await_phase(|phase| *phase == Phase::Draining);
    worker.done(1);
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
}

#[test]
fn the_first_word_of_a_parent_is_its_welcome() {
    let world = World::new();
    let mut peer = world.peer();
    world.server.retire(peer.channel);
    world.server.drain();
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    peer.say(|frames| frames.hello(hello()));
    assert!(matches!(peer.hear(), Heard::Welcome(VERSION)));
    assert!(matches!(peer.hear(), Heard::Drain));
    assert!(matches!(peer.hear(), Heard::Retire));
}

#[test]
fn a_drain_answers_queue_and_backlog_and_then_says_so() {
    let world = World::with(&queue_of(2));
    let address = world.listen();
    let clients = clients(address, 8);
    world.await_queued(2);
    world.server.drain();
    let worker = world.worker();
    for client in clients {
        let taken = worker.one();
        answer(taken, "answered");
        assert_eq!(answer_to(client), "answered");
        assert_eq!(world.count(|notice| *notice == Notice::Drained), 0);
        worker.done(1);
    }
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a worker whose work takes time")]
fn a_drain_ends_though_more_come_than_are_served() {
    let world = World::with(&queue_of(2));
    let address = match world.server.listen(ListenSpec::Tcp {
        host: Some(Ipv4Addr::LOCALHOST.into()),
        port: 0,
        backlog: 4,
        ipv6_only: false,
    }) {
        Ok(ListenerAddress::Tcp(address)) => address,
        other => panic!("{other:?}"),
    };
    // As many as fit the queue and the backlog, whose connect() returns.
    let first = clients(address, 6);
    world.await_queued(2);
    let over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..12)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Refused when nobody listens any more, and reset when the backlog is. One that the backlog had no place for
                    // takes itself for connected, and is told nothing.
                    let patience = Duration::from_millis(100);
                    let _ = TcpStream::connect_timeout(&address, patience).and_then(|mut client| {
                        client.set_read_timeout(Some(patience * 5))?;
                        client.read(&mut [0])
                    });
                }
            })
        })
        .collect();
    let worker = world.worker();
    world.server.drain();
    let mut first = first.into_iter();
    until("the drain is over", || {
        if let Some(taken) = worker.receiver.exchange(0, 1, 1, 0).pop() {
            answer(taken, "answered");
            if let Some(client) = first.next() {
                assert_eq!(answer_to(client), "answered");
            }
            worker.done(1);
            // Slower than they come.
            std::thread::sleep(Duration::from_millis(20));
        }
        (world.count(|notice| *notice == Notice::Drained) == 1).then_some(())
    });
    over.store(true, Ordering::Relaxed);
    assert_eq!(first.len(), 0, "what had come before was answered");
    assert!(TcpStream::connect(address).is_err());
    for client in crowd {
        client.join().unwrap();
    }
}

#[test]
fn a_drain_waits_for_the_last_lease() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let client = client(address);
    let taken = worker.one();
    world.stats("it is leased", |stats| stats.leases == 1);
    world.server.drain();
    worker.await_phase(|phase| *phase == Phase::Draining);
    await_nobody_listens(address);
    assert!(still_waits(&client));
    assert_eq!(world.count(|notice| *notice == Notice::Drained), 0);
    answer(taken, "last");
    worker.done(1);
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    assert_eq!(answer_to(client), "last");
}

#[test]
fn a_worker_that_dies_with_a_lease_does_not_hold_a_drain_up() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let _client = client(address);
    let _taken = worker.one();
    world.server.drain();
    drop(worker);
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
}

#[test]
fn a_server_that_drains_or_has_ended_listens_no_more() {
    let world = World::new();
    world.server.drain();
    let again = || world.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0));
    assert_eq!(again(), Err(ListenError::Closed));
    world.server.destroy();
    assert_eq!(again(), Err(ListenError::Closed));
}

#[test]
fn a_server_without_anything_is_drained_at_once() {
    let world = World::new();
    world.server.drain();
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    world.server.drain();
    world.server.destroy();
    assert_eq!(world.count(|notice| *notice == Notice::Drained), 1);
}

#[test]
fn destroy_ends_clients_channels_and_listeners_at_once() {
    let world = World::new();
    let address = world.listen();
    let mut waiting = client(address);
    world.await_queued(1);
    let worker = world.worker();
    worker.await_phase(|phase| *phase == Phase::Open);
    world.server.destroy();
    assert_eq!(waiting.read(&mut [0]).unwrap_or(0), 0);
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    assert!(TcpStream::connect(address).is_err());
    world.server.destroy();
}

#[test]
fn what_waits_when_a_server_is_destroyed_is_reset_counted_and_told() {
    let world = World::new();
    let address = world.listen();
    let clients = clients(address, 5);
    world.await_queued(5);
    world.server.destroy();
    for mut client in clients {
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let stats = world.server.stats();
    assert_eq!((stats.accepted, stats.shed, stats.queued), (5, 5, 0));
    let such = |notice: &Notice| matches!(notice, Notice::Shed { reason: ShedReason::Destroyed, local_port, .. } if *local_port == address.port());
    assert_eq!(world.count(such), 5);
}

#[test]
fn what_no_worker_has_taken_when_a_server_is_destroyed_is_withdrawn_and_the_rest_is_the_workers() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let (first, mut second) = (client(address), client(address));
    let taken = worker.one();
    assert!(is_of(&taken, &first));
    worker.ask_and_hang(1);
    world.stats("it is under way", |stats| stats.accepted == 2 && stats.queued == 0);
    world.server.destroy();
    worker.await_phase(|phase| *phase == Phase::Ended(End::Closed(CloseReason::Ended)));
    assert!(worker.receiver.exchange(0, 1, 1, 0).is_empty());
    // Not a clean end, which reads like an empty answer.
    assert!(second.read(&mut [0]).is_err());
    answer(taken, "by its holder");
    assert_eq!(answer_to(first), "by its holder");
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.shed, stats.queued), (1, 1, 0));
    // Its own end is told by the owner's own call.
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ended { .. })), 0);
}

#[test]
fn a_destroyed_server_says_so_on_every_channel() {
    let world = World::new();
    let mut peers = [world.peer().join(), world.peer().join_with_scoreboard()];
    world.server.destroy();
    for peer in &mut peers {
        let words = peer.last_words();
        assert!(matches!(words[..], [Heard::Close(CloseReason::Ended)]), "{words:?}");
    }
}

#[test]
fn what_has_reached_a_worker_when_its_parent_dies_is_the_workers() {
    // A parent that offers a connection and is gone, without a word.
    let (ours, theirs) = socketserver_core::channel::pair().unwrap();
    let receiver = crate::world::EventLoop::new(theirs);
    assert!(receiver.exchange(0, 1, 1, 0).is_empty());
    let parent = crate::peer::Peer::new(0, ours);
    let (client, connection) = std::os::unix::net::UnixStream::pair().unwrap();
    parent.say(|frames| {
        frames.welcome(socketserver_core::protocol::records::Welcome {
            version: VERSION,
            channel: 1,
            scoreboard: false,
        });
    });
    let mut frames = Encoder::new();
    frames.connection([ConnectionHead {
        id: 1,
        slot: NO_SLOT,
        reissued: false,
        waited: 0,
        lane: 0,
        family: Family::Unix,
        remote: None,
        local_port: 0,
    }]);
    parent.send(frames.bytes(), &[connection.as_fd()]);
    drop((parent, connection));
    until_true("the end is seen", || receiver.phase() == Phase::Ended(End::Gone));
    let taken = receiver.exchange(0, 1, 1, 0).remove(0);
    std::os::unix::net::UnixStream::from(taken.fd)
        .write_all(b"by the orphan")
        .unwrap();
    let mut text = String::new();
    { client }.read_to_string(&mut text).unwrap();
    assert_eq!(text, "by the orphan");
}

#[test]
fn a_leaving_worker_may_be_refused_nothing_twice() {
    let world = World::new();
    let address = world.listen();
    let _client = client(address);
    let mut peer = world.peer().join();
    let (head, _fd) = peer.one();
    peer.say(|frames| {
        frames.refuse([Refusal {
            id: head.id,
            reason: RefusalReason::Unwanted,
        }]);
        frames.leave();
    });
    world.await_queued(1);
    // Credit after having left is granted to nobody.
    peer.say(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
    peer.say(|frames| frames.cancel([Credit { lane: 0, count: 1 }]));
    let Heard::Cancelled(answer) = peer.hear() else {
        panic!("no answer");
    };
    assert_eq!(answer, [Credit { lane: 0, count: 0 }]);
    let channel = peer.channel;
    drop(peer);
    assert_eq!(world.end_of(channel), EndReason::Left);
}

/// Without a connection, which would be accepted as long as somebody listens.
fn await_nobody_listens(address: SocketAddr) {
    until_true("nobody listens", || TcpListener::bind(address).is_ok());
}
