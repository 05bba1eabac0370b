//! How workers and servers end: leave, retire, drain, destroy, and the death of the parent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver_core::channel::scoreboard::NO_SLOT;
use socketserver_core::parent::notice::{EndReason, ShedReason};
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::records::{CloseReason, Credit, Hello, Refusal, RefusalReason};
use socketserver_core::protocol::version::{DRAIN_SOON_SINCE, VERSION};
use socketserver_core::worker::{End, Phase};
use socketserver_core::{ListenError, ListenSpec, ListenerAddress, Notice};

use crate::peer::{ParentFrame, hello};
use crate::wait::{until, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of, still_waits, tcp};

#[test]
fn a_worker_that_leaves_finishes_its_leases_and_refuses_the_rest() {
    let world = World::new();
    let address = world.listen();
    let leaving = world.worker();
    let first = client(address);
    let taken = leaving.one();
    leaving.grant_and_block(1);
    let second = client(address);
    world.stats("it is in flight", |stats| stats.accepted == 2 && stats.queued == 0);
    leaving.receiver.leave();
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(second), "by another");
    assert_eq!(leaving.receiver.phase(), Phase::Leaving);
    answer(taken, "by the old one");
    assert_eq!(answer_to(first), "by the old one");
    leaving.done(1);
    world.stats("its lease has ended", |stats| stats.leases == 0);
    leaving.receiver.close();
    assert_eq!(world.end_of(leaving.channel), EndReason::Left);
}

#[test]
fn a_worker_that_leaves_is_reported_before_its_leases_end() {
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
    // A retired worker that then leaves is not reported.
    let retired = world.worker();
    world.server.retire(retired.channel);
    retired.await_phase(|phase| *phase == Phase::Retired);
    retired.receiver.leave();
    retired.receiver.close();
    assert_eq!(world.end_of(retired.channel), EndReason::Left);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Leaving { .. })), 1);
}

#[test]
fn a_connection_that_crosses_with_a_leave_returns_to_the_queue() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let leaving = world.worker();
        leaving.grant_and_block(1);
        let client = client(address);
        leaving.receiver.leave();
        assert!(is_of(&world.worker().one(), &client));
    }
}

#[test]
fn a_retired_worker_is_informed_and_receives_no_more_connections() {
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
fn a_retired_worker_still_takes_the_connections_in_flight() {
    let world = World::new();
    let address = world.listen();
    let old = world.worker();
    old.grant_and_block(1);
    let client = client(address);
    world.stats("it is in flight", |stats| stats.accepted == 1 && stats.queued == 0);
    world.server.retire(old.channel);
    old.await_phase(|phase| *phase == Phase::Retired);
    let taken = until("it is taken", || old.receiver.exchange(0, 1, 1, 0).pop());
    assert!(is_of(&taken, &client));
}

#[test]
fn a_cancel_that_crosses_with_a_retirement_is_not_an_error() {
    // Over many rounds the parent sees the cancel and the retirement in both orders.
    for _ in 0..200 {
        let world = World::new();
        let worker = world.worker();
        worker.await_phase(|phase| *phase == Phase::Open);
        assert!(worker.receiver.exchange(0, 8, 8, 0).is_empty());
        assert!(worker.receiver.exchange(0, 1, 1, 0).is_empty());
        world.server.retire(worker.channel);
        worker.await_phase(|phase| *phase != Phase::Open);
        // When the drain is reported, the parent has sent every answer about credit.
        world.server.drain();
        world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
        assert_eq!(worker.receiver.phase(), Phase::Retired);
    }
}

#[test]
fn a_cancelled_after_a_retirement_is_ignored() {
    let (ours, theirs) = socketserver_core::channel::pair().unwrap();
    let receiver = socketserver_core::Receiver::start(theirs, || {}).unwrap();
    assert!(receiver.exchange(0, 8, 8, 0).is_empty());
    assert!(receiver.exchange(0, 1, 1, 0).is_empty());
    let parent = crate::peer::Peer::new(0, ours);
    // The parent reads the cancel before it retires the worker, and answers it afterwards.
    parent.send_frames(|frames| {
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
    // The worker is informed of the drain after its WELCOME.
    world.server.drain();
    await_listener_closed(client.peer_addr().unwrap());
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
fn an_announced_drain_reaches_all_workers_while_the_server_accepts() {
    let world = World::new();
    let address = world.listen();
    let early = world.worker();
    // A worker of an earlier version does not know the frame.
    let mut old = world.peer();
    old.send_frames(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest: DRAIN_SOON_SINCE - 1,
            ..hello()
        });
    });
    assert!(matches!(old.next_frame(), ParentFrame::Welcome(4)));
    world.server.announce_drain();
    early.await_phase(|phase| *phase == Phase::DrainingSoon);
    let late = world.worker();
    late.await_phase(|phase| *phase == Phase::DrainingSoon);
    drop(late);
    let client = client(address);
    answer(early.one(), "still accepted");
    assert_eq!(answer_to(client), "still accepted");
    world.server.drain();
    early.await_phase(|phase| *phase == Phase::Draining);
    assert!(matches!(old.next_frame(), ParentFrame::Drain));
}

#[test]
fn the_first_frame_of_a_parent_is_its_welcome() {
    let world = World::new();
    let mut peer = world.peer();
    world.server.retire(peer.channel);
    world.server.drain();
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    peer.send_frames(|frames| frames.hello(hello()));
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(VERSION)));
    assert!(matches!(peer.next_frame(), ParentFrame::Drain));
    assert!(matches!(peer.next_frame(), ParentFrame::Retire));
}

#[test]
fn a_drain_serves_queue_and_backlog_and_is_then_reported() {
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
fn a_drain_ends_although_clients_connect_faster_than_they_are_served() {
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
    // As many as fit into the queue and the backlog, so that connect() returns.
    let first = clients(address, 6);
    world.await_queued(2);
    let over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..12)
        .map(|_| {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // Refused after the listener is closed, and reset if the client was in the backlog. A client that did not
                    // fit into the backlog believes that it is connected, and receives nothing.
                    let timeout = Duration::from_millis(100);
                    let _ = TcpStream::connect_timeout(&address, timeout).and_then(|mut client| {
                        client.set_read_timeout(Some(timeout * 5))?;
                        client.read(&mut [0])
                    });
                }
            })
        })
        .collect();
    let worker = world.worker();
    world.server.drain();
    let mut first = first.into_iter();
    until("the drain is complete", || {
        if let Some(taken) = worker.receiver.exchange(0, 1, 1, 0).pop() {
            answer(taken, "answered");
            if let Some(client) = first.next() {
                assert_eq!(answer_to(client), "answered");
            }
            worker.done(1);
            // Slower than the clients connect.
            std::thread::sleep(Duration::from_millis(20));
        }
        (world.count(|notice| *notice == Notice::Drained) == 1).then_some(())
    });
    over.store(true, Ordering::Relaxed);
    assert_eq!(first.len(), 0, "all earlier clients were answered");
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
    await_listener_closed(address);
    assert!(still_waits(&client));
    assert_eq!(world.count(|notice| *notice == Notice::Drained), 0);
    answer(taken, "last");
    worker.done(1);
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    assert_eq!(answer_to(client), "last");
}

#[test]
fn a_worker_that_dies_with_a_lease_does_not_delay_a_drain() {
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
fn a_server_that_drains_or_has_ended_cannot_listen() {
    let world = World::new();
    world.server.drain();
    let again = || world.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0));
    assert_eq!(again(), Err(ListenError::Closed));
    world.server.destroy();
    assert_eq!(again(), Err(ListenError::Closed));
}

#[test]
fn an_idle_server_is_drained_at_once() {
    let world = World::new();
    world.server.drain();
    world.notice("drained", |notice| matches!(notice, Notice::Drained).then_some(()));
    world.server.drain();
    world.server.destroy();
    assert_eq!(world.count(|notice| *notice == Notice::Drained), 1);
}

#[test]
fn destroy_closes_connections_channels_and_listeners_at_once() {
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
fn connections_in_the_queue_of_a_destroyed_server_are_reset_counted_and_reported() {
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
fn a_destroyed_server_withdraws_untaken_connections_and_workers_keep_taken_ones() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let (first, mut second) = (client(address), client(address));
    let taken = worker.one();
    assert!(is_of(&taken, &first));
    worker.grant_and_block(1);
    world.stats("it is in flight", |stats| stats.accepted == 2 && stats.queued == 0);
    world.server.destroy();
    worker.await_phase(|phase| *phase == Phase::Ended(End::Closed(CloseReason::Ended)));
    assert!(worker.receiver.exchange(0, 1, 1, 0).is_empty());
    // A reset, because an orderly end would look like an empty response.
    assert!(second.read(&mut [0]).is_err());
    answer(taken, "by its holder");
    assert_eq!(answer_to(first), "by its holder");
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.shed, stats.queued), (1, 1, 0));
    // The owner has called destroy, so the end of the channel is not reported.
    assert_eq!(world.count(|notice| matches!(notice, Notice::Ended { .. })), 0);
}

#[test]
fn a_destroyed_server_sends_close_on_every_channel() {
    let world = World::new();
    let mut peers = [world.peer().join(), world.peer().join_with_scoreboard()];
    world.server.destroy();
    for peer in &mut peers {
        let words = peer.remaining_frames();
        assert!(
            matches!(words[..], [ParentFrame::Close(CloseReason::Ended)]),
            "{words:?}"
        );
    }
}

#[test]
fn connections_that_have_reached_a_worker_when_its_parent_dies_belong_to_the_worker() {
    // The parent sends a connection and closes the channel without a CLOSE.
    let (ours, theirs) = socketserver_core::channel::pair().unwrap();
    let receiver = crate::world::EventLoop::new(theirs);
    assert!(receiver.exchange(0, 1, 1, 0).is_empty());
    let parent = crate::peer::Peer::new(0, ours);
    let (client, connection) = std::os::unix::net::UnixStream::pair().unwrap();
    parent.send_frames(|frames| {
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
        tracked: false,
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
fn credit_after_a_leave_is_ignored() {
    let world = World::new();
    let address = world.listen();
    let _client = client(address);
    let mut peer = world.peer().join();
    let (head, _fd) = peer.one();
    peer.send_frames(|frames| {
        frames.refuse([Refusal {
            id: head.id,
            reason: RefusalReason::Unwanted,
        }]);
        frames.leave();
    });
    world.await_queued(1);
    // The credit was ignored, so none of it can be cancelled.
    peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
    peer.send_frames(|frames| frames.cancel([Credit { lane: 0, count: 1 }]));
    let ParentFrame::Cancelled(answer) = peer.next_frame() else {
        panic!("no answer");
    };
    assert_eq!(answer, [Credit { lane: 0, count: 0 }]);
    let channel = peer.channel;
    drop(peer);
    assert_eq!(world.end_of(channel), EndReason::Left);
}

/// Waits until the listener is closed, without connecting: the server would accept the connection.
fn await_listener_closed(address: SocketAddr) {
    until_true("the listener is closed", || TcpListener::bind(address).is_ok());
}
