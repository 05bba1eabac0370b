//! A hostile program that joins ends alone, and affects no other worker.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socketserver_core::parent::notice::{EndReason, Refused};
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::limits::WINDOW;
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, RefusalReason};
use socketserver_core::sys::{Credentials, ancillary};
use socketserver_core::{Config, ListenerAddress, Notice, PolicyName, ProtocolError, ShareSpec};

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer, hello};
use crate::share::{Folder, SOON, joined_peer, peer, refused, spec, worker};
use crate::wait::{until, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of};

fn file() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

/// Lets a peer with one connection break the protocol beside a correct worker with another. The peer's channel ends with this
/// error, and its connection goes to the correct worker, which keeps its own.
fn ends_alone_with(expected: &ProtocolError, misbehave: impl FnOnce(&mut Peer, u64)) {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let (correct, mut hostile) = (worker(&world, &path), joined_peer(&world, &path));
    let held = client(address);
    let holding = correct.one();
    assert!(is_of(&holding, &held));
    let coveted = client(address);
    let (head, fd) = hostile.one();
    misbehave(&mut hostile, head.id);
    assert_eq!(world.end_of(hostile.channel), EndReason::Protocol(expected.clone()));
    assert!(matches!(
        hostile.remaining_frames().pop(),
        Some(ParentFrame::Close(CloseReason::Protocol))
    ));
    drop(fd);
    let taken = correct.one();
    assert!(is_of(&taken, &coveted));
    for (taken, client) in [(taken, coveted), (holding, held)] {
        answer(taken, "by another worker");
        assert_eq!(answer_to(client), "by another worker");
        correct.done(1);
    }
    world.stats("all have ended", |stats| stats.leases == 0 && stats.workers == 1);
}

#[test]
fn an_ack_of_a_connection_of_another_worker() {
    ends_alone_with(&ProtocolError::UnknownConnection { id: 1 }, |hostile, id| {
        assert_ne!(id, 1, "the correct worker has it");
        hostile.send_frames(|frames| frames.ack([1]));
    });
}

#[test]
fn a_refusal_of_a_connection_of_another_worker() {
    ends_alone_with(&ProtocolError::UnknownConnection { id: 1 }, |hostile, _| {
        let reason = RefusalReason::Recalled;
        hostile.send_frames(|frames| frames.refuse([Refusal { id: 1, reason }]));
    });
}

#[test]
fn a_worker_that_counts_turns_and_never_reads_has_few_descriptors_in_flight() {
    // With round-robin a stalled worker receives its share again as soon as it counts a turn.
    let in_turns = Config::new(1024, None, PolicyName::RoundRobin).unwrap();
    let (folder, world) = (Folder::new(), World::with(&in_turns));
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let hoarder = peer(&path).join_with_scoreboard();
    hoarder.send_frames(|frames| {
        frames.credit([Credit {
            lane: 0,
            count: 1_000_000,
        }]);
    });
    let correct = worker(&world, &path);
    for _ in 0..30 {
        hoarder.page.as_ref().unwrap().beat();
        let clients = clients(address, 20);
        for taken in correct.take(20) {
            answer(taken, "by another worker");
        }
        correct.done(20);
        for client in clients {
            assert_eq!(answer_to(client), "by another worker");
        }
    }
    let (mut in_flight, mut bytes) = (0, [0; 4096]);
    while let Ok(received) = ancillary::try_receive(hoarder.socket.as_fd(), &mut bytes) {
        in_flight += received.descriptors.len();
    }
    assert!((1..=WINDOW + 8).contains(&in_flight), "{in_flight} were in its socket");
}

#[test]
fn an_ack_after_a_refusal() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let mut hostile = joined_peer(&world, &path);
    let client = client(address);
    let (head, _fd) = hostile.one();
    let (id, reason) = (head.id, RefusalReason::Unwanted);
    hostile.send_frames(|frames| {
        frames.refuse([Refusal { id, reason }]);
        frames.ack([id]);
    });
    let expected = EndReason::Protocol(ProtocolError::UnknownConnection { id });
    assert_eq!(world.end_of(hostile.channel), expected);
    drop(hostile);
    answer(worker(&world, &path).one(), "by another worker");
    assert_eq!(answer_to(client), "by another worker");
}

#[test]
fn a_second_ack() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let mut hostile = joined_peer(&world, &path);
    let _client = client(address);
    let (head, _fd) = hostile.one();
    let id = head.id;
    hostile.send_frames(|frames| frames.ack([id, id]));
    let expected = EndReason::Protocol(ProtocolError::UnknownConnection { id });
    assert_eq!(world.end_of(hostile.channel), expected);
    assert_eq!(world.server.stats().handed_off, 1);
}

#[test]
fn more_ended_leases_than_held() {
    let expected = ProtocolError::TooManyEnded { ended: 1, leases: 0 };
    ends_alone_with(&expected, |hostile, _| hostile.send_frames(|frames| frames.ended(1)));
}

#[test]
fn credit_above_the_limit() {
    let (credit, limit) = (u64::from(u32::MAX), 1 << 20);
    ends_alone_with(&ProtocolError::TooMuchCredit { credit, limit }, |hostile, _| {
        let count = u32::MAX;
        hostile.send_frames(|frames| frames.credit([Credit { lane: 0, count }]));
    });
}

#[test]
fn credit_on_too_many_lanes() {
    ends_alone_with(&ProtocolError::TooManyLanes { limit: 64 }, |hostile, _| {
        let lanes = (1..=64).map(|lane| Credit { lane, count: 1 });
        hostile.send_frames(|frames| frames.credit(lanes.chain([Credit { lane: 65, count: 1 }])));
    });
}

#[test]
fn descriptors_with_a_frame_that_has_none() {
    ends_alone_with(&ProtocolError::SurplusDescriptors, |hostile, _| {
        let mut frames = Encoder::new();
        frames.ended(0);
        let files: Vec<OwnedFd> = (0..64).map(|_| file()).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        hostile.send(frames.bytes(), &files);
    });
}

#[test]
fn descriptors_with_the_hello() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut frames = Encoder::new();
    frames.hello(hello());
    let peer = peer(&path);
    peer.send(frames.bytes(), &[file().as_fd()]);
    assert_eq!(
        refused(&world, 1),
        [Refused::Protocol(ProtocolError::SurplusDescriptors)]
    );
}

#[test]
fn a_worker_that_does_not_answer_a_recall_loses_the_connection() {
    // The clock advances at each reading, so that the test need not wait for five seconds.
    let sys = Faulty::default().slow(Duration::from_millis(20));
    let (folder, world) = (Folder::new(), World::on(sys, &queue_of(16)));
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let mut hoarder = joined_peer(&world, &path);
    let client = client(address);
    let kept = hoarder.one();
    let correct = worker(&world, &path);
    let mut taken = Vec::new();
    until_true("it goes to the correct worker", || {
        hoarder.send_frames(|frames| frames.ended(0));
        taken.extend(correct.receiver.exchange(0, 1, 1, 0));
        !taken.is_empty()
    });
    assert_eq!(
        world.end_of(hoarder.channel),
        EndReason::Protocol(ProtocolError::Unanswered)
    );
    // The copy has no effect: the connection belongs to the other worker and ends for the client.
    answer(taken.remove(0), "by another worker");
    assert_eq!(answer_to(client), "by another worker");
    drop(kept);
}

#[test]
fn the_channel_of_a_worker_that_reads_nothing_ends_when_too_much_is_unread() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let peer = joined_peer(&world, &path);
    peer.socket.set_nonblocking(true).unwrap();
    let mut frames = Encoder::new();
    frames.cancel([Credit { lane: 0, count: 1 }; 64]);
    let mut sent = 0;
    let reason = until("the channel ends", || {
        while ancillary::send(peer.socket.as_fd(), frames.bytes(), &[]).is_ok() {
            sent += 1;
        }
        let ended = world.server.channel_stats(peer.channel).is_none();
        ended.then(|| world.end_of(peer.channel))
    });
    assert_eq!(reason, EndReason::Lost);
    // Each answer has 520 bytes. The limit is the buffers of both directions and 64 KiB.
    assert!(sent * frames.bytes().len() < 4 << 20, "{sent} messages");
}

#[test]
fn floods_of_frames_and_peers_do_not_starve_a_correct_worker() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let correct = worker(&world, &path);
    let flooder = joined_peer(&world, &path);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut frames = Encoder::new();
            for _ in 0..64 {
                frames.ended(0);
                frames.nudge();
            }
            while !over.load(Ordering::Relaxed) {
                flooder.send(frames.bytes(), &[]);
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let peer = peer(&path);
                peer.send(&[0xff; 64], &[]);
            }
        });
        for _ in 0..50 {
            let client = client(address);
            answer(correct.one(), "in spite of all");
            assert_eq!(answer_to(client), "in spite of all");
            correct.done(1);
        }
        over.store(true, Ordering::Relaxed);
    });
    let reported = world.count(|notice| matches!(notice, Notice::Refused { .. }));
    assert!(reported <= usize::try_from(world.server.stats().refused_peers).unwrap());
}

#[test]
fn a_share_out_of_descriptors_pauses_without_spinning_and_recovers() {
    let start = Instant::now();
    let is_short = move || start.elapsed() < Duration::from_millis(300);
    let sys = Faulty::default().accept(move |_| is_short().then_some(Errno::EMFILE));
    let (folder, world) = (Folder::new(), World::on(sys.clone(), &queue_of(4)));
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let peer = joined_peer(&world, &path);
    // Six failures with pauses of 10, 20, 40, 80, 100 and 100 ms, one success, and one call on an empty backlog.
    assert!(sys.accepts() <= 8, "{} tries", sys.accepts());
    let errors = |world: &World| {
        let mut errors = Vec::new();
        world.count(|notice| {
            if let Notice::AcceptError { address, error } = notice {
                errors.push((address.clone(), error.errno));
            }
            false
        });
        errors
    };
    assert_eq!(errors(&world), [(ListenerAddress::Unix(path), Errno::EMFILE)]);
    let stats = world.server.stats();
    assert!((1..=6).contains(&stats.accept_errors["EMFILE"]));
    assert_eq!(stats.paused_acceptors, 0);
    drop(peer);
}

#[test]
fn peers_of_all_kinds_leave_no_descriptor_behind_and_never_hold_many() {
    alone(
        "faults::sharing::peers_of_all_kinds_leave_no_descriptor_behind_and_never_hold_many",
        || {
            // Each peer has its own user; otherwise it would pause for the protocol errors of earlier peers.
            let users = AtomicU32::new(0);
            let gid = nix::unistd::getegid().as_raw();
            let sys = Faulty::default().credentials(move |_| {
                Some(Credentials {
                    pid: Some(1),
                    uid: users.fetch_add(1, Ordering::Relaxed),
                    gid,
                    groups: Vec::new(),
                })
            });
            let (folder, world) = (Folder::new(), World::on(sys, &queue_of(1024)));
            let (path, address) = (folder.file("ctl"), world.listen());
            let soon = ShareSpec {
                hello_timeout: Some(SOON),
                allow: Allow {
                    uids: Vec::new(),
                    gids: vec![gid],
                },
                ..spec(&path)
            };
            world.server.share(soon).unwrap();
            let before = open_descriptors();
            for round in 0..30 {
                let silent: Vec<Peer> = (0..100).map(|_| peer(&path)).collect();
                until_true("peers are refused", || world.server.stats().refused_peers > 0);
                // At most 64 pending peers, and this test's own ends.
                assert!(open_descriptors() <= before + silent.len() + 100 + 1);
                let mut bytes = Encoder::new();
                bytes.hello(hello());
                let smuggler = peer(&path);
                smuggler.send(bytes.bytes(), &[file().as_fd(), file().as_fd()]);
                drop(silent);
                let mut taker = joined_peer(&world, &path);
                let _client = client(address);
                let (head, fd) = taker.one();
                match round % 3 {
                    0 => taker.send_frames(|frames| frames.ack([head.id, head.id])),
                    1 => taker.send(bytes.bytes(), &[fd.as_fd(); 10]),
                    _ => drop(fd),
                }
                drop(taker);
                if round % 3 != 0 {
                    drop(worker(&world, &path).one());
                }
            }
            until_true("all are closed", || open_descriptors() <= before);
        },
    );
}

#[test]
fn a_process_at_its_limit_of_descriptors_continues_when_descriptors_are_free() {
    alone(
        "faults::sharing::a_process_at_its_limit_of_descriptors_continues_when_descriptors_are_free",
        || {
            let (folder, world) = (Folder::new(), World::new());
            let path = folder.file("ctl");
            world.server.share(spec(&path)).unwrap();
            limit_descriptors(1);
            // The client uses the only free descriptor, so there is none for the server's end.
            let mut waiting = peer(&path);
            waiting.send_frames(|frames| frames.hello(hello()));
            world.notice("the shortage is reported", |notice| match notice {
                Notice::AcceptError { error, .. } if error.errno == Errno::EMFILE => Some(()),
                _ => None,
            });
            lift_limit();
            assert!(matches!(waiting.next_frame(), ParentFrame::Welcome(_)));
            joined_peer(&world, &path);
        },
    );
}
