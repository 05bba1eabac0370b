//! Handoffs: each connection goes to exactly one worker, in the order of arrival, and back if the worker does not take it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socketserver_core::parent::dispatcher::rules::requeue::EXHAUSTED_PAUSE;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, RefusalReason};
use socketserver_core::worker::{End, Phase};
use socketserver_core::{Config, Notice, PolicyName};

use crate::faulty::Faulty;
use crate::metronome::Metronome;
use crate::peer::ParentFrame;
use crate::wait::{until, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of, still_waits};

#[test]
fn workers_that_take_one_connection_at_a_time_serve_in_the_order_of_arrival() {
    let world = World::new();
    let address = world.listen();
    let clients = clients(address, 40);
    world.await_queued(40);
    let workers = [world.worker(), world.worker()];
    for (turn, client) in clients.into_iter().enumerate() {
        let worker = &workers[turn % 2];
        let taken = worker.one();
        assert!(is_of(&taken, &client));
        answer(taken, "in order");
        assert_eq!(answer_to(client), "in order");
        worker.done(1);
    }
}

#[test]
fn a_worker_that_asks_for_one_connection_receives_one() {
    let world = World::new();
    let clients = clients(world.listen(), 3);
    world.await_queued(3);
    let worker = world.worker();
    let taken = worker.one();
    assert!(worker.receiver.exchange(0, 0, 0, 0).is_empty());
    world.await_queued(2);
    assert!(clients.iter().all(still_waits));
    answer(taken, "one");
    worker.done(1);
    assert!(is_of(&worker.one(), &clients[1]));
}

#[test]
fn each_of_many_simultaneous_connections_goes_to_one_worker() {
    let world = World::new();
    let address = world.listen();
    let workers = [world.worker(), world.worker(), world.worker()];
    let clients = clients(address, 90);
    let mut ids = BTreeSet::new();
    until("all are taken", || {
        for worker in &workers {
            for taken in worker.receiver.exchange(0, u32::MAX, 64, 0) {
                assert!(ids.insert(taken.head.id), "{} came twice", taken.head.id);
                answer(taken, "once");
                worker.done(1);
            }
        }
        (ids.len() == clients.len()).then_some(())
    });
    for client in clients {
        assert_eq!(answer_to(client), "once");
    }
    let stats = world.stats("all is counted", |stats| stats.handed_off == 90 && stats.leases == 0);
    assert_eq!(stats.queued, 0);
}

#[test]
fn least_busy_selects_the_worker_with_the_fewest_leases() {
    let world = World::new();
    let address = world.listen();
    let (busy, idle) = (world.worker(), world.worker());
    let _clients = clients(address, 5);
    let _leases = busy.take(5);
    world.stats("all are leased", |stats| stats.leases == 5);
    busy.grant_and_block(5);
    assert!(idle.receiver.exchange(0, 5, 5, 0).is_empty());
    let next = client(address);
    let taken = until("the idle one gets it", || idle.receiver.exchange(0, 5, 5, 0).pop());
    assert!(is_of(&taken, &next));
}

#[test]
fn round_robin_ignores_how_busy_workers_are() {
    // The clock stands still, so that a delayed worker loses no connection by a recall.
    let config = Config::new(64, None, PolicyName::RoundRobin).unwrap();
    let world = World::on(Metronome::new(), &config);
    let address = world.listen();
    let workers = [world.worker(), world.worker()];
    for worker in &workers {
        assert!(worker.receiver.exchange(0, 10, 10, 0).is_empty());
    }
    // Credit travels on the channel, so a cancel that has been answered proves that it has arrived; so does a turn.
    world.stats("both have joined", |stats| stats.workers == 2);
    let mut first = None;
    for turn in 0..6 {
        let client = client(address);
        let (by, taken) = until("it is taken", || {
            let mut all = workers.iter().enumerate();
            all.find_map(|(by, worker)| Some((by, worker.receiver.exchange(0, 10, 10, 0).pop()?)))
        });
        assert!(is_of(&taken, &client));
        let first = *first.get_or_insert(by);
        assert_eq!(by, (first + turn) % 2, "turn {turn}");
    }
}

#[test]
fn connections_that_a_blocked_worker_has_not_taken_are_recalled_within_milliseconds() {
    let world = World::new();
    let address = world.listen();
    let blocked = world.worker();
    blocked.grant_and_block(1);
    let client = client(address);
    world.stats("it is in flight", |stats| stats.accepted == 1 && stats.queued == 0);
    let other = world.worker();
    let asked = Instant::now();
    let taken = other.one();
    // The recall comes after 5 ms; the rest of the bound is for a loaded machine.
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(is_of(&taken, &client));
    answer(taken, "by the other");
    assert_eq!(answer_to(client), "by the other");
    // The worker counts what it takes before the server has written down what it did in that turn.
    world.stats("all is counted", |stats| stats.handed_off == 1 && stats.requeued == 1);
    // The blocked worker finds no connection when it wakes up.
    assert!(blocked.receiver.exchange(0, 1, 1, 0).is_empty());
}

#[test]
fn connections_of_a_blocked_worker_are_recalled_for_every_port() {
    let world = World::new();
    let (one, two) = (world.listen(), world.listen());
    let blocked = world.worker();
    blocked.grant_and_block(2);
    let _only_for_the_first = client(one);
    let client = client(two);
    world.stats("both are in flight", |stats| stats.accepted == 2 && stats.queued == 0);
    // The worker serves the second port only, so it cannot take the connection that waited longest.
    let taken = world.worker().take_on(two.port(), 1).remove(0);
    assert!(is_of(&taken, &client));
}

#[test]
fn nothing_is_recalled_while_no_other_worker_has_credit() {
    let world = World::new();
    let address = world.listen();
    let mut slow = world.peer().join();
    let client = client(address);
    let (head, _fd) = slow.one();
    // No other worker could take the connection, so it is not recalled.
    assert!(still_waits(&client));
    slow.send_frames(|frames| frames.ack([head.id]));
    let stats = world.stats("it is acked", |stats| stats.handed_off == 1);
    assert_eq!(stats.requeued, 0);
}

#[test]
fn untaken_connections_of_a_dead_worker_go_to_another() {
    let world = World::new();
    let address = world.listen();
    let dying = world.worker();
    dying.grant_and_block(3);
    let clients = clients(address, 3);
    world.stats("they are in flight", |stats| stats.accepted == 3 && stats.queued == 0);
    let channel = dying.channel;
    drop(dying);
    assert_eq!(world.end_of(channel), EndReason::Lost);
    let other = world.worker();
    for client in clients {
        let taken = other.one();
        assert!(is_of(&taken, &client));
        answer(taken, "by the other");
        assert_eq!(answer_to(client), "by the other");
        other.done(1);
    }
    assert_eq!(world.server.stats().requeued, 3);
}

#[test]
fn acknowledged_connections_of_a_dead_worker_do_not_go_to_another() {
    let world = World::new();
    let address = world.listen();
    let mut dying = world.peer().join();
    let first = client(address);
    let (head, fd) = dying.one();
    // The ACK is its last frame: the parent reads it together with the end of the stream.
    dying.send_frames(|frames| frames.ack([head.id]));
    let channel = dying.channel;
    drop((dying, fd));
    assert_eq!(world.end_of(channel), EndReason::Lost);
    let other = world.worker();
    assert_eq!(answer_to(first), "");
    let second = client(address);
    assert!(is_of(&other.one(), &second));
    let stats = world.stats("both are acked", |stats| stats.handed_off == 2);
    assert_eq!(stats.requeued, 0);
}

#[test]
fn a_channel_that_the_parent_ends_loses_no_ack_in_the_socket() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..200 {
        let mut worker = world.peer().join();
        let client = client(address);
        let (head, fd) = worker.one();
        // Many frames before the ACK, so that the parent still reads when the owner ends the channel.
        worker.send_frames(|frames| {
            for _ in 0..400 {
                frames.cancel([Credit { lane: 7, count: 1 }]);
            }
            frames.ack([head.id]);
        });
        world.server.end_channel(worker.channel);
        assert_eq!(world.end_of(worker.channel), EndReason::Dismissed);
        drop((fd, client));
    }
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.requeued), (200, 0));
}

#[test]
fn a_refused_connection_goes_to_another_worker_before_later_ones() {
    let world = World::new();
    let address = world.listen();
    let mut refusing = world.peer().join();
    let clients = clients(address, 2);
    let (head, fd) = refusing.one();
    drop(fd);
    refusing.send_frames(|frames| {
        frames.refuse([Refusal {
            id: head.id,
            reason: RefusalReason::Unwanted,
        }]);
    });
    world.stats("it is back", |stats| stats.requeued == 1);
    let taken = world.worker().take(2);
    assert!(is_of(&taken[0], &clients[0]) && is_of(&taken[1], &clients[1]));
    assert!(clients.iter().all(still_waits));
}

#[test]
fn one_frame_carries_several_connections() {
    let world = World::new();
    let address = world.listen();
    let clients = clients(address, 10);
    world.await_queued(10);
    let mut peer = world.peer().join();
    peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 10 }]));
    let ParentFrame::Connections(connections) = peer.next_frame() else {
        panic!("no connections");
    };
    assert_eq!(connections.len(), clients.len());
    assert!(connections.iter().map(|(head, _)| head.id).is_sorted());
    for ((head, fd), client) in connections.into_iter().zip(&clients) {
        // Each record has its own descriptor.
        let stream = std::net::TcpStream::from(fd);
        assert_eq!(head.remote, Some(stream.peer_addr().unwrap()));
        assert_eq!(head.remote, Some(client.local_addr().unwrap()));
        peer.send_frames(|frames| frames.ack([head.id]));
    }
    world.stats("all are acked", |stats| stats.handed_off == 10 && stats.leases == 10);
    peer.send_frames(|frames| frames.ended(10));
    world.stats("all are over", |stats| stats.leases == 0);
}

#[test]
fn at_most_a_window_of_connections_is_in_flight_to_one_worker() {
    let world = World::new();
    let address = world.listen();
    let clients = clients(address, 100);
    world.await_queued(100);
    let mut peer = world.peer().join();
    peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 100 }]));
    let mut held = Vec::new();
    while held.len() < 64 {
        match peer.next_frame() {
            ParentFrame::Connections(connections) => held.extend(connections),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(held.len(), 64);
    world.await_queued(36);
    let ids: Vec<_> = held.iter().map(|(head, _)| head.id).collect();
    peer.send_frames(|frames| frames.ack(ids));
    while held.len() < clients.len() {
        match peer.next_frame() {
            ParentFrame::Connections(connections) => held.extend(connections),
            other => panic!("{other:?}"),
        }
    }
    world.await_queued(0);
}

#[test]
fn an_ended_channel_is_closed_and_its_untaken_connections_are_requeued() {
    let world = World::new();
    let address = world.listen();
    let ended = world.worker();
    ended.grant_and_block(1);
    let client = client(address);
    world.stats("it is in flight", |stats| stats.accepted == 1 && stats.queued == 0);
    world.server.end_channel(ended.channel);
    ended.await_phase(|phase| *phase == Phase::Ended(End::Closed(CloseReason::Dismissed)));
    assert!(ended.receiver.exchange(0, 1, 1, 0).is_empty());
    assert_eq!(world.end_of(ended.channel), EndReason::Dismissed);
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(client), "by another");
}

#[test]
fn a_worker_is_announced_once_with_its_process() {
    let world = World::new();
    let worker = world.worker();
    let pid = world.notice("it is announced", |notice| match notice {
        Notice::Joined { channel, pid } if *channel == worker.channel => Some(*pid),
        _ => None,
    });
    assert_eq!(pid, std::process::id());
    worker.await_phase(|phase| *phase == Phase::Open);
    until_true("it is counted", || world.server.stats().workers == 1);
    assert_eq!(world.count(|notice| matches!(notice, Notice::Joined { .. })), 1);
}

#[test]
fn leases_and_handoffs_are_counted_for_each_channel() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let _clients = clients(address, 3);
    let _taken = worker.take(3);
    worker.done(2);
    world.stats("one lease is left", |stats| stats.leases == 1 && stats.handed_off == 3);
    let stats = world.server.channel_stats(worker.channel).unwrap();
    assert_eq!((stats.leases(), stats.taken()), (1, 3));
    let channel = worker.channel;
    drop(worker);
    world.end_of(channel);
    assert!(world.server.channel_stats(channel).is_none());
}

#[test]
fn a_slow_server_still_wakes_for_a_worker_after_its_pause() {
    // More time passes between two readings of the clock than the pause of a worker without descriptors.
    let world = World::on(Faulty::default().slow(EXHAUSTED_PAUSE * 3 / 2), &queue_of(64));
    let client = client(world.listen());
    let mut peer = world.peer().join();
    let (head, fd) = peer.one();
    drop(fd);
    peer.send_frames(|frames| {
        frames.refuse([Refusal {
            id: head.id,
            reason: RefusalReason::NoDescriptor,
        }]);
        frames.credit([Credit { lane: 0, count: 1 }]);
    });
    let ParentFrame::Connections(again) = peer.next_frame() else {
        panic!("no connection");
    };
    assert_eq!(again[0].0.remote, Some(client.local_addr().unwrap()));
}

#[test]
fn counters_never_decrease() {
    let world = World::new();
    let address = world.listen();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut last = world.server.stats();
            while !done.load(Ordering::Relaxed) {
                let stats = world.server.stats();
                assert!(stats.handed_off >= last.handed_off, "{last:?} and then {stats:?}");
                assert!(stats.accepted >= last.accepted && stats.requeued >= last.requeued);
                assert!(stats.max_queued >= last.max_queued);
                last = stats;
            }
        });
        for _ in 0..5 {
            let worker = world.worker();
            for _ in 0..40 {
                let client = client(address);
                answer(worker.one(), "ok");
                assert_eq!(answer_to(client), "ok");
                worker.done(1);
            }
        }
        world.stats("all are counted", |stats| stats.handed_off == 200);
        done.store(true, Ordering::Relaxed);
        sampler.join().unwrap();
    });
}
