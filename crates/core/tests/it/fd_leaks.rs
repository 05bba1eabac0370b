//! Tests that compare the number of open descriptors before and after.

use std::os::fd::AsFd;

use socketserver_core::protocol::records::{Credit, Refusal, RefusalReason};

use crate::child::{alone, open_descriptors};
use crate::peer::hello;
use crate::wait::until_true;
use crate::world::{World, answer, answer_to, client, clients};

#[test]
fn many_connections_leave_no_descriptor_behind() {
    alone("fd_leaks::many_connections_leave_no_descriptor_behind", || {
        let world = World::new();
        let address = world.listen();
        let workers = [world.worker(), world.worker()];
        world.stats("both have joined", |stats| stats.workers == 2);
        let before = open_descriptors();
        for round in 0..200_u64 {
            let clients = clients(address, 10);
            let mut open = 10;
            until_true("all are taken", || {
                for worker in &workers {
                    for taken in worker.receiver.exchange(0, 4, 4, 0) {
                        answer(taken, "ok");
                        open -= 1;
                    }
                }
                open == 0
            });
            for client in clients {
                assert_eq!(answer_to(client), "ok");
            }
            world.stats("all are acknowledged", |stats| stats.handed_off == 10 * (round + 1));
        }
        until_true("all are closed", || open_descriptors() == before);
    });
}

#[test]
fn channels_that_come_and_go_leave_no_descriptor_behind() {
    alone("fd_leaks::channels_that_come_and_go_leave_no_descriptor_behind", || {
        let world = World::new();
        let address = world.listen();
        let before = open_descriptors();
        for round in 0..60 {
            let worker = world.worker();
            worker.grant_and_block(2);
            let clients = clients(address, 2);
            match round % 4 {
                0 => world.server.end_channel(worker.channel),
                1 => worker.receiver.leave(),
                2 => worker.receiver.close(),
                _ => world.server.retire(worker.channel),
            }
            drop(worker);
            let other = world.worker();
            for client in clients {
                answer(other.one(), "ok");
                assert_eq!(answer_to(client), "ok");
            }
        }
        until_true("all are closed", || open_descriptors() <= before);
    });
}

#[test]
fn hostile_descriptors_are_closed() {
    alone("fd_leaks::hostile_descriptors_are_closed", || {
        let world = World::new();
        let address = world.listen();
        let file = std::fs::File::open("/dev/null").unwrap();
        let before = open_descriptors();
        for _ in 0..50 {
            let peer = world.peer();
            let mut frames = socketserver_core::protocol::encode::Encoder::new();
            frames.hello(hello());
            peer.send(frames.bytes(), &[file.as_fd(); 60]);
            world.end_of(peer.channel);
            let mut peer = world.peer().join();
            let _client = client(address);
            let (head, fd) = peer.one();
            drop(fd);
            peer.send_frames(|frames| {
                frames.refuse([Refusal {
                    id: head.id,
                    reason: RefusalReason::NoDescriptor,
                }]);
                frames.credit([Credit {
                    lane: 0,
                    count: u32::MAX,
                }]);
            });
            world.end_of(peer.channel);
            drop(world.worker().one());
        }
        until_true("all are closed", || open_descriptors() == before);
    });
}

#[test]
fn a_server_that_ends_leaves_no_descriptor_behind() {
    alone("fd_leaks::a_server_that_ends_leaves_no_descriptor_behind", || {
        drop(World::new());
        let before = open_descriptors();
        for _ in 0..20 {
            let world = World::new();
            let address = world.listen();
            let worker = world.worker();
            worker.grant_and_block(1);
            let _clients = clients(address, 3);
            world.await_queued(2);
            world.server.destroy();
        }
        until_true("all are closed", || open_descriptors() == before);
    });
}
