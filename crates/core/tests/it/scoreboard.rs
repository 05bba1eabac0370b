//! A channel with a scoreboard, as a worker without this crate would use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use socketserver_core::channel::scoreboard::{Claim, NO_SLOT, SLOTS, Scoreboard};
use socketserver_core::ids::ChannelId;
use socketserver_core::parent::dispatcher::io::scoreboard::CHECK_AFTER;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::connection_record::ConnectionHead;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, RefusalReason};
use socketserver_core::worker::Phase;
use socketserver_core::{Notice, ProtocolError};

use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer};
use crate::wait::{until, until_true};
use crate::world::{EventLoop, World, answer, answer_to, client, clients, is_of, queue_of, still_waits};

fn page(peer: &Peer) -> &Scoreboard {
    peer.page.as_ref().unwrap()
}

/// Grants credit on the page and waits for `count` connections.
fn some(peer: &mut Peer, count: usize) -> Vec<(ConnectionHead, std::os::fd::OwnedFd)> {
    grant(peer, count as u64);
    let mut came = Vec::new();
    while came.len() < count {
        match peer.next_frame() {
            ParentFrame::Connections(connections) => came.extend(connections),
            other => panic!("{other:?}"),
        }
    }
    came
}

fn grant(peer: &Peer, credit: u64) {
    page(peer).add(0, 0, credit);
    nudge(peer);
}

/// Sends NUDGE if the parent waits for a change.
fn nudge(peer: &Peer) {
    if page(peer).take_wanted() {
        peer.send_frames(Encoder::nudge);
    }
}

fn take(peer: &Peer, head: &ConnectionHead) -> bool {
    let taken = page(peer).claim(head.slot, head.id, Claim::Taken);
    page(peer).add(u64::from(taken), 0, 0);
    nudge(peer);
    taken
}

#[test]
fn a_connection_taken_on_the_page_belongs_to_the_worker() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    let client = client(address);
    let (head, fd) = some(&mut peer, 1).remove(0);
    assert!(take(&peer, &head));
    world.stats("it is counted", |stats| stats.handed_off == 1 && stats.leases == 1);
    // The parent has closed its copy without a frame, so this is the last copy.
    drop(fd);
    assert_eq!(answer_to(client), "");
    page(&peer).add(0, 1, 0);
    world.stats("its end is counted", |stats| stats.leases == 0);
    assert_eq!(world.server.stats().requeued, 0);
}

#[test]
fn a_slow_server_still_checks_whether_a_connection_was_taken() {
    // More time passes between two readings of the clock than until the next check of the page.
    let sys = Faulty::default().slow(CHECK_AFTER * 2);
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    let client = client(address);
    let (head, fd) = some(&mut peer, 1).remove(0);
    assert!(take(&peer, &head));
    drop(fd);
    assert_eq!(answer_to(client), "");
}

#[test]
fn a_recalled_connection_cannot_be_taken() {
    let world = World::new();
    let address = world.listen();
    let mut blocked = world.peer().join_with_scoreboard();
    let client = client(address);
    let (head, _fd) = some(&mut blocked, 1).remove(0);
    let taken = world.worker().one();
    assert!(is_of(&taken, &client));
    assert!(taken.head.reissued);
    assert!(!take(&blocked, &head));
    // The copy of the blocked worker delays the FIN of a close, but not that of a shutdown.
    answer(taken, "by the other");
    assert_eq!(answer_to(client), "by the other");
}

#[test]
fn a_stalled_worker_receives_the_next_connection_when_its_event_loop_turns() {
    let world = World::new();
    let address = world.listen();
    let mut blocked = world.peer().join_with_scoreboard();
    let _first = client(address);
    grant(&blocked, 2);
    assert!(matches!(blocked.next_frame(), ParentFrame::Connections(_)));
    // Only the stalled worker has credit for the next, but it is not used while another worker is merely busy.
    let busy = world.worker();
    let _lease = busy.one();
    let next = client(address);
    world.await_queued(1);
    assert!(still_waits(&next));
    assert_eq!(world.server.stats().queued, 1);
    page(&blocked).beat();
    nudge(&blocked);
    let ParentFrame::Connections(connections) = blocked.next_frame() else {
        panic!("no connection");
    };
    assert_eq!(connections[0].0.remote, Some(next.local_addr().unwrap()));
}

#[test]
fn a_stalled_worker_recovers_without_a_connection_when_its_event_loop_turns() {
    let world = World::new();
    let address = world.listen();
    let mut blocked = world.peer().join_with_scoreboard();
    let stats = world.server.channel_stats(blocked.channel).unwrap();
    for grants in [1, 0] {
        let client = client(address);
        let _recalled = some(&mut blocked, 1);
        let other = world.worker();
        answer(other.one(), "by the other");
        assert_eq!(answer_to(client), "by the other");
        until_true("the worker is stalled", || stats.is_stalled());
        // A worker without room for connections grants no credit.
        page(&blocked).add(0, 0, grants);
        until_true("the parent waits for the worker", || page(&blocked).is_wanted());
        nudge(&blocked);
        until_true("the worker has recovered", || !stats.is_stalled());
    }
}

#[test]
fn connections_refused_on_the_page_go_to_another_worker_in_order() {
    for claim in [Claim::Unwanted, Claim::NoDescriptor] {
        let world = World::new();
        let address = world.listen();
        let clients = clients(address, 3);
        world.await_queued(3);
        let mut peer = world.peer().join_with_scoreboard();
        let came = some(&mut peer, 2);
        for (head, _) in &came {
            assert!(page(&peer).claim(head.slot, head.id, claim));
        }
        nudge(&peer);
        drop(came);
        world.stats("they are back", |stats| stats.requeued == 2);
        let taken = world.worker().take(3);
        assert!(taken.iter().zip(&clients).all(|(taken, client)| is_of(taken, client)));
        let limits = world.count(|notice| matches!(notice, Notice::WorkerLimit { .. }));
        assert_eq!(limits, usize::from(claim == Claim::NoDescriptor));
    }
}

#[test]
fn a_parent_that_ends_a_channel_requeues_exactly_the_untaken_connections() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let mut peer = world.peer().join_with_scoreboard();
        let clients = clients(address, 2);
        let came = some(&mut peer, 2);
        let [(first, _), (second, _)] = &came[..] else {
            panic!("two were asked for");
        };
        let (first, second) = (*first, *second);
        // The claim is only on the page.
        assert!(page(&peer).claim(first.slot, first.id, Claim::Taken));
        world.server.end_channel(peer.channel);
        assert_eq!(world.end_of(peer.channel), EndReason::Dismissed);
        assert!(!page(&peer).claim(second.slot, second.id, Claim::Taken));
        drop(came);
        assert!(is_of(&world.worker().one(), &clients[1]));
    }
    let stats = world.server.stats();
    assert_eq!((stats.requeued, stats.queued), (50, 0));
}

#[test]
fn ending_a_lease_returns_whether_the_parent_waits_for_the_next_exchange() {
    let world = World::new();
    let address = world.listen();
    let worker = world.worker_by(EventLoop::attached);
    let clients = clients(address, 31);
    // The worker takes all but the last, so the last waits in the queue, and the parent waits for credit.
    let taken = worker.take(30);
    world.await_queued(1);
    until_true("the parent waits", || worker.receiver.lease_ended(Duration::ZERO));
    drop(taken);
    assert!(is_of(&worker.one(), &clients[30]));
}

/// Returns the leases that were held when a channel ended.
fn held(world: &World, channel: ChannelId) -> u32 {
    world.notice("the channel's end is reported", |notice| match notice {
        Notice::Ended {
            channel: ended, leases, ..
        } if *ended == channel => Some(*leases),
        _ => None,
    })
}

#[test]
fn leases_that_a_worker_ends_after_its_channel_was_closed_count_as_cut_off() {
    // The parent reads the end of the channel, and then the page for the last time, only after the stall.
    let stalled = Arc::new(AtomicBool::new(false));
    let is_stalled = Arc::clone(&stalled);
    let sys = Faulty::default().receive(move |_| is_stalled.load(Ordering::SeqCst).then_some(Err(Errno::EINTR)));
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let worker = world.worker_by(EventLoop::attached);
    let _clients = clients(address, 3);
    let taken = worker.take(3);
    world.stats("all are taken", |stats| stats.leases == 3);
    worker.receiver.lease_ended(Duration::ZERO);
    stalled.store(true, Ordering::SeqCst);
    world.server.end_channel(worker.channel);
    worker.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    worker.receiver.lease_ended(Duration::ZERO);
    worker.done(1);
    drop(taken);
    stalled.store(false, Ordering::SeqCst);
    assert_eq!(held(&world, worker.channel), 2);
}

#[test]
fn a_lease_that_ended_just_before_its_worker_was_killed_does_not_count_as_cut_off() {
    let world = World::new();
    let address = world.listen();
    for _ in 0..50 {
        let worker = world.worker_by(EventLoop::attached);
        let _clients = clients(address, 2);
        let taken = worker.take(2);
        let channel = worker.channel;
        worker.receiver.lease_ended(Duration::ZERO);
        // The socket closes without a further frame, as for a killed process.
        drop(worker);
        assert_eq!(held(&world, channel), 1);
        drop(taken);
    }
}

#[test]
fn without_a_scoreboard_the_next_exchange_reports_an_ended_lease() {
    let world = World::new();
    let worker = world.worker_by(EventLoop::started);
    let _client = client(world.listen());
    drop(worker.one());
    assert!(worker.receiver.lease_ended(Duration::ZERO));
    worker.done(0);
    world.stats("it is counted", |stats| stats.handed_off == 1 && stats.leases == 0);
}

#[test]
fn connections_that_a_dead_worker_had_taken_do_not_go_to_another() {
    let world = World::new();
    let address = world.listen();
    let mut dying = world.peer().join_with_scoreboard();
    let clients = clients(address, 2);
    let came = some(&mut dying, 2);
    assert!(page(&dying).claim(came[0].0.slot, came[0].0.id, Claim::Taken));
    let channel = dying.channel;
    drop((came, dying));
    assert_eq!(world.end_of(channel), EndReason::Lost);
    assert!(is_of(&world.worker().one(), &clients[1]));
    assert_eq!(
        world.stats("both are counted", |stats| stats.handed_off == 2).requeued,
        1
    );
}

#[test]
fn a_nudge_that_is_lost_is_requested_again_with_the_next_frame() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    let client = client(address);
    world.await_queued(1);
    until_true("the parent waits for credit", || page(&peer).take_wanted());
    // The NUDGE did not fit into a socket full of frames; this is the last of these frames.
    peer.send_frames(|frames| frames.cancel([Credit { lane: 7, count: 1 }]));
    assert!(matches!(peer.next_frame(), ParentFrame::Cancelled(_)));
    until_true("the parent asks again", || page(&peer).is_wanted());
    page(&peer).add(0, 0, 1);
    peer.send_frames(Encoder::nudge);
    assert!(matches!(peer.next_frame(), ParentFrame::Connections(_)));
    drop(client);
}

#[test]
fn a_parent_that_waits_for_nothing_requests_no_nudge() {
    let world = World::new();
    world.listen();
    let peer = world.peer().join_with_scoreboard();
    world.stats("it has joined", |stats| stats.workers == 1);
    assert!(!page(&peer).is_wanted());
}

#[test]
fn a_worker_that_leaves_refuses_later_connections_on_the_page() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    let client = client(address);
    let (head, fd) = some(&mut peer, 1).remove(0);
    peer.send_frames(Encoder::leave);
    assert!(page(&peer).claim(head.slot, head.id, Claim::Unwanted));
    drop(fd);
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(client), "by another");
    let channel = peer.channel;
    drop(peer);
    assert_eq!(world.end_of(channel), EndReason::Left);
}

#[test]
fn a_channel_without_a_scoreboard_has_no_slots() {
    let world = World::new();
    let address = world.listen();
    let _client = client(address);
    let mut peer = world.peer().join();
    assert!(peer.page.is_none());
    assert_eq!(peer.one().0.slot, NO_SLOT);
}

/// Lets a worker write invalid values to its page while it holds a connection.
fn ends_with(expected: &ProtocolError, misbehave: impl FnOnce(&Peer, &ConnectionHead)) {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    let first = client(address);
    let (head, fd) = some(&mut peer, 1).remove(0);
    misbehave(&peer, &head);
    peer.send_frames(Encoder::nudge);
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected.clone()));
    let last_frame = peer.remaining_frames().pop();
    assert!(
        matches!(last_frame, Some(ParentFrame::Close(CloseReason::Protocol))),
        "{last_frame:?}"
    );
    drop(fd);
    let next = client(address);
    let worker = world.worker();
    let mut taken = worker.take(2);
    assert!(is_of(&taken[0], &first) && is_of(&taken[1], &next));
    answer(taken.remove(0), "by another worker");
    assert_eq!(answer_to(first), "by another worker");
}

#[test]
fn a_claim_of_another_connection() {
    ends_with(&ProtocolError::Scoreboard { id: 1 }, |peer, head| {
        page(peer).offer(head.slot, 77);
    });
}

#[test]
fn a_recall_by_the_worker() {
    let world = World::new();
    let mut peer = world.peer().join_with_scoreboard();
    let _client = client(world.listen());
    let (head, _fd) = some(&mut peer, 1).remove(0);
    assert!(page(&peer).claim(head.slot, head.id, Claim::Recalled));
    peer.send_frames(Encoder::nudge);
    let expected = ProtocolError::Scoreboard { id: head.id };
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected));
    world.await_queued(1);
}

#[test]
fn more_ended_leases_than_there_were() {
    let expected = ProtocolError::TooManyEnded { ended: 2, leases: 0 };
    ends_with(&expected, |peer, _| page(peer).add(0, 2, 0));
}

#[test]
fn more_ended_leases_than_can_be_counted() {
    let expected = ProtocolError::TooManyEnded {
        ended: u32::MAX,
        leases: 0,
    };
    ends_with(&expected, |peer, _| page(peer).add(0, u64::MAX, 0));
}

#[test]
fn credit_beyond_the_limit() {
    let expected = ProtocolError::TooMuchCredit {
        credit: (1 << 20) + 1,
        limit: 1 << 20,
    };
    ends_with(&expected, |peer, _| page(peer).add(0, 0, (1 << 20) + 1));
}

#[test]
fn a_counter_of_more_taken_connections_than_were_sent_is_ignored() {
    let world = World::new();
    let peer = world.peer().join_with_scoreboard();
    page(&peer).add(u64::MAX, 0, 0);
    let stats = world.stats("it has joined", |stats| stats.workers == 1);
    assert!(stats.handed_off < 1000 && stats.leases < 1000, "{stats:?}");
}

/// The descriptors of connections that a worker acks are in flight until the worker reads them, and count against the limit of
/// its user (unix(7)). The ids are no secret: they count up, and the parent offers each in the lowest free slot.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_acks_without_reading_is_disconnected_before_more_than_64_connections_are_in_flight() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    grant(&peer, 1000);
    let slots = 0..u8::try_from(SLOTS).unwrap();
    let claims = |id| slots.clone().any(|slot| page(&peer).claim(slot, id, Claim::Taken));
    let has_ended = || world.server.channel_stats(peer.channel).is_none();
    let (mut clients, mut claimed) = (Vec::new(), 0);
    while !has_ended() && claimed < 100 {
        clients.push(client(address));
        let id = clients.len() as u64;
        let is_claimed = until("a claim, or the end", || {
            claims(id).then_some(true).or(has_ended().then_some(false))
        });
        claimed += usize::from(is_claimed);
        nudge(&peer);
    }
    assert_eq!(
        world.end_of(peer.channel),
        EndReason::Protocol(ProtocolError::AckedUnread)
    );
    let frames = peer.remaining_frames().into_iter();
    let unread = frames.map(|frame| match frame {
        ParentFrame::Connections(connections) => connections.len(),
        _ => 0,
    });
    let unread = unread.sum::<usize>();
    assert!((claimed..=64).contains(&unread), "{claimed} claimed, {unread} unread");
}

#[test]
fn an_ack_by_frame() {
    ends_with(&ProtocolError::NotByFrame, |peer, head| {
        peer.send_frames(|frames| frames.ack([head.id]));
    });
}

#[test]
fn a_refusal_by_frame() {
    ends_with(&ProtocolError::NotByFrame, |peer, head| {
        peer.send_frames(|frames| {
            frames.refuse([Refusal {
                id: head.id,
                reason: RefusalReason::Unwanted,
            }]);
        });
    });
}

#[test]
fn an_end_by_frame() {
    ends_with(&ProtocolError::NotByFrame, |peer, _| {
        peer.send_frames(|frames| frames.ended(1));
    });
}

#[test]
fn unknown_flags() {
    let world = World::new();
    let peer = world.peer();
    let mut frames = Encoder::new();
    frames.hello(crate::peer::hello());
    let mut bytes = frames.bytes().to_vec();
    bytes[20] = 2;
    peer.send(&bytes, &[]);
    let expected = FrameError::Reserved(1).into();
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected));
}

#[test]
fn a_handoff_that_could_not_be_sent_frees_its_slot() {
    let sys = Faulty::default().send(|call| (call % 3 == 1).then_some(Err(Errno::ETOOMANYREFS)));
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    for _ in 0..20 {
        let client = client(address);
        let (head, fd) = some(&mut peer, 1).remove(0);
        assert_eq!(head.remote, Some(client.local_addr().unwrap()));
        assert!(take(&peer, &head));
        drop(fd);
        assert_eq!(answer_to(client), "");
    }
    assert_eq!(world.server.stats().requeued, 0);
}

#[test]
fn a_cancel_covers_credit_granted_on_the_page_before_it() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join_with_scoreboard();
    grant(&peer, 5);
    // The page is read before the frame.
    peer.send_frames(|frames| frames.cancel([Credit { lane: 0, count: 5 }]));
    let ParentFrame::Cancelled(answer) = peer.next_frame() else {
        panic!("no answer");
    };
    assert_eq!(answer, [Credit { lane: 0, count: 5 }]);
    let client = client(address);
    world.await_queued(1);
    assert!(still_waits(&client));
}
