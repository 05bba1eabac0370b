//! Credit: a worker receives no connection without it, and can cancel it.

use socketserver_core::protocol::records::Credit;
use socketserver_core::worker::Phase;

use crate::peer::{ParentFrame, hello};
use crate::world::{World, answer, answer_to, client, clients, is_of, still_waits};

#[test]
fn a_worker_without_credit_receives_nothing() {
    let world = World::new();
    let address = world.listen();
    let idle = world.worker();
    idle.await_phase(|phase| *phase == Phase::Open);
    let clients = clients(address, 2);
    world.await_queued(2);
    assert!(clients.iter().all(still_waits));
    assert_eq!(world.server.stats().queued, 2);
}

#[test]
fn two_workers_can_serve_one_port_each() {
    let world = World::new();
    let (one, two) = (world.listen(), world.listen());
    let worker = world.worker();
    let other = world.worker();
    let (first, second) = (client(one), client(two));
    let taken = other.take_on(two.port(), 1).remove(0);
    assert!(is_of(&taken, &second));
    assert_eq!((taken.head.lane, taken.head.local_port), (two.port(), two.port()));
    answer(taken, "two");
    answer(worker.take_on(one.port(), 1).remove(0), "one");
    assert_eq!((answer_to(first).as_str(), answer_to(second).as_str()), ("one", "two"));
}

#[test]
fn a_worker_of_one_port_receives_no_connections_of_another() {
    let world = World::new();
    let (one, two) = (world.listen(), world.listen());
    let worker = world.worker();
    assert!(worker.receiver.exchange(one.port(), 8, 8, 0).is_empty());
    let other = client(two);
    let own = client(one);
    assert!(is_of(&worker.take_on(one.port(), 1).remove(0), &own));
    assert!(still_waits(&other));
    assert_eq!(world.server.stats().queued, 1);
}

#[test]
fn one_worker_can_serve_one_port_and_all_others() {
    let world = World::new();
    let (one, two) = (world.listen(), world.listen());
    let worker = world.worker();
    assert!(worker.receiver.exchange(one.port(), 1, 1, 0).is_empty());
    let (first, second) = (client(one), client(two));
    assert!(is_of(&worker.take_on(one.port(), 1).remove(0), &first));
    let rest = worker.one();
    assert!(is_of(&rest, &second));
    assert_eq!((rest.head.lane, rest.head.local_port), (0, two.port()));
}

#[test]
fn a_cancel_is_answered_with_the_unused_credit() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join();
    let _client = client(address);
    peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 5 }]));
    assert!(matches!(peer.next_frame(), ParentFrame::Connections(connections) if connections.len() == 1));
    peer.send_frames(|frames| frames.cancel([Credit { lane: 0, count: 9 }, Credit { lane: 7, count: 1 }]));
    for expected in [Credit { lane: 0, count: 4 }, Credit { lane: 7, count: 0 }] {
        let ParentFrame::Cancelled(answer) = peer.next_frame() else {
            panic!("no answer");
        };
        assert_eq!(answer, [expected]);
    }
    let late = client(address);
    world.await_queued(1);
    assert!(still_waits(&late));
}

#[test]
fn a_worker_with_less_room_refuses_the_surplus() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    worker.grant_and_block(2);
    let clients = clients(address, 2);
    world.stats("both are in flight", |stats| stats.accepted == 2 && stats.queued == 0);
    // The worker now has room for one: it takes one, refuses the other, and no credit is left.
    let mut taken = Vec::new();
    crate::wait::until_true("one is taken", || {
        let room = 1 - u32::try_from(taken.len()).unwrap();
        taken.extend(worker.receiver.exchange(0, room, room, 0));
        taken.len() == 1 && world.server.stats().requeued == 1
    });
    assert!(is_of(&taken[0], &clients[0]));
    assert!(is_of(&world.worker().one(), &clients[1]));
}

#[test]
fn credit_can_be_sent_with_the_hello() {
    let world = World::new();
    let client = client(world.listen());
    world.await_queued(1);
    let mut peer = world.peer();
    peer.send_frames(|frames| {
        frames.hello(hello());
        frames.credit([Credit { lane: 0, count: 1 }]);
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(_)));
    let ParentFrame::Connections(connections) = peer.next_frame() else {
        panic!("no connection");
    };
    assert_eq!(connections[0].0.remote, Some(client.local_addr().unwrap()));
}

#[test]
fn a_window_is_limited_to_the_maximum_credit() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let client = client(address);
    let taken = crate::wait::until("it arrives", || {
        worker.receiver.exchange(0, u32::MAX, u32::MAX, 0).pop()
    });
    assert!(is_of(&taken, &client));
    assert_eq!(worker.receiver.phase(), Phase::Open);
}

#[test]
fn both_sides_count_the_same_credit_if_the_window_changes_at_every_turn() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker();
    let mut served = 0;
    for turn in 0_u32..300 {
        let client = (turn % 3 == 0).then(|| client(address));
        let room = turn * 7 % 5;
        served += worker.receiver.exchange(0, room, room, 0).len();
        drop(client);
    }
    served += worker.take(100 - u32::try_from(served).unwrap()).len();
    assert_eq!(served, 100);
    assert_eq!(worker.receiver.phase(), Phase::Open);
}

#[test]
fn a_worker_can_serve_any_number_of_ports_one_after_another() {
    let world = World::new();
    let worker = world.worker();
    for _ in 0..70 {
        let address = world.listen();
        let client = client(address);
        assert!(is_of(&worker.take_on(address.port(), 1).remove(0), &client));
    }
    assert_eq!(worker.receiver.phase(), Phase::Open);
}

#[test]
fn a_lane_whose_credit_is_cancelled_no_longer_counts() {
    let world = World::new();
    let mut peer = world.peer().join();
    peer.send_frames(|frames| frames.credit((1..=64).map(|lane| Credit { lane, count: 1 })));
    peer.send_frames(|frames| frames.cancel([Credit { lane: 64, count: 1 }]));
    let address = world.listen();
    peer.send_frames(|frames| {
        frames.credit([Credit {
            lane: address.port(),
            count: 1,
        }]);
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Cancelled(_)));
    let _client = client(address);
    assert!(matches!(peer.next_frame(), ParentFrame::Connections(connections) if connections.len() == 1));
}
