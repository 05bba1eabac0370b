//! The parent's writer on a socket that is full, accepts a part, or has no peer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use socketserver_core::channel::pair;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::parent::dispatcher::io::room::report_room;
use socketserver_core::parent::dispatcher::io::writer::ChannelWriter;
use socketserver_core::parent::dispatcher::message::Message;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::ToWorker;
use socketserver_core::protocol::records::Credit;
use socketserver_core::sys::{Os, Sys};
use tokio::sync::mpsc;

use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer};
use crate::wait::{BOUND, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of};

/// Returns a writer, its inbox, and the other end of its channel.
fn writer() -> (ChannelWriter, mpsc::Sender<Message>, mpsc::Receiver<Message>, OwnedFd) {
    let (ours, theirs) = pair().unwrap();
    let (inbox, messages) = mpsc::channel(16);
    (
        ChannelWriter::new(ours, report_room(1, inbox.downgrade())),
        inbox,
        messages,
        theirs,
    )
}

fn connection_frame() -> Encoder {
    let mut frame = Encoder::new();
    frame.connection([ConnectionHead {
        id: 1,
        slot: socketserver_core::channel::scoreboard::NO_SLOT,
        reissued: false,
        tracked: false,
        waited: 0,
        lane: 0,
        family: Family::Unix,
        remote: None,
        local_port: 0,
    }]);
    frame
}

async fn writable(messages: &mut mpsc::Receiver<Message>) {
    let message = tokio::time::timeout(BOUND, messages.recv()).await.unwrap();
    assert!(matches!(message, Some(Message::Writable(1))), "{message:?}");
}

#[tokio::test]
async fn a_full_socket_accepts_no_part_of_a_handoff_and_is_waited_for() {
    let (mut writer, _inbox, mut messages, theirs) = writer();
    let mut frames = Encoder::new();
    frames.drain();
    let mut sent = 0;
    let frame = connection_frame();
    let fds = [theirs.as_fd()];
    // Fill the socket, which is not read.
    while writer.hand_off(&Os, frames.bytes(), &[]).is_ok() {
        sent += 1;
    }
    let sys = Faulty::default();
    assert_eq!(writer.hand_off(&sys, frame.bytes(), &fds), Err(Errno::EAGAIN));
    // No attempt while the socket is known to be full.
    assert_eq!(sys.sends(), 0);
    let (words, none) = received(&theirs);
    assert_eq!((words.len(), none), (sent * frames.bytes().len(), 0));
    writable(&mut messages).await;
    assert_eq!(writer.resume(&sys), Ok(()));
    assert_eq!(writer.hand_off(&sys, frame.bytes(), &fds), Ok(()));
    assert_eq!(received(&theirs), (frame.bytes().to_vec(), 1));
}

#[tokio::test]
async fn a_frame_that_was_sent_in_part_is_finished_and_its_descriptors_are_sent_once() {
    let (mut writer, _inbox, _messages, theirs) = writer();
    let sys = Faulty::default().send(|_| Some(Ok(1)));
    let frame = connection_frame();
    assert_eq!(writer.hand_off(&sys, frame.bytes(), &[theirs.as_fd()]), Ok(()));
    assert_eq!(sys.sends(), frame.bytes().len());
    assert_eq!(received(&theirs), (frame.bytes().to_vec(), 1));
}

#[tokio::test]
async fn nothing_is_sent_before_the_rest_of_a_frame() {
    let (mut writer, _inbox, mut messages, theirs) = writer();
    let sys = Faulty::default().send(|call| match call {
        0 => Some(Ok(10)),
        1 => Some(Err(Errno::EAGAIN)),
        _ => None,
    });
    let frame = connection_frame();
    let fds = [theirs.as_fd()];
    assert_eq!(writer.hand_off(&sys, frame.bytes(), &fds), Ok(()));
    assert_eq!(writer.hand_off(&sys, frame.bytes(), &fds), Err(Errno::EAGAIN));
    let mut frames = Encoder::new();
    frames.drain();
    assert_eq!(writer.send_buffered(&sys, frames.bytes()), Ok(()));
    assert_eq!(sys.sends(), 2);
    // Read the first part, so that the socket has room.
    let first = Os.receive(theirs.as_fd(), &mut [0; 64]).unwrap();
    assert_eq!((first.bytes, first.descriptors.len()), (10, 1));
    writable(&mut messages).await;
    assert_eq!(writer.resume(&sys), Ok(()));
    let mut rest = [0; 64];
    let second = Os.receive(theirs.as_fd(), &mut rest).unwrap();
    assert_eq!(second.descriptors.len(), 0);
    assert_eq!(rest[..second.bytes], [&frame.bytes()[10..], frames.bytes()].concat());
}

#[tokio::test]
async fn an_error_after_the_descriptors_were_sent_ends_the_channel() {
    let (mut writer, _inbox, _messages, theirs) = writer();
    let sys = Faulty::default().send(|call| Some(if call == 0 { Ok(10) } else { Err(Errno::ENOBUFS) }));
    let frame = connection_frame();
    assert_eq!(
        writer.hand_off(&sys, frame.bytes(), &[theirs.as_fd()]),
        Err(Errno::EPIPE)
    );
}

#[tokio::test]
async fn a_worker_that_reads_no_answers_is_disconnected() {
    let (mut writer, _inbox, _messages, _theirs) = writer();
    let mut frames = Encoder::new();
    frames.recall(0..64);
    let mut sent = 0;
    let error = loop {
        match writer.send_buffered(&Os, frames.bytes()) {
            Ok(()) => sent += frames.bytes().len(),
            Err(errno) => break errno,
        }
        assert!(sent < 4 << 20, "the unsent bytes have no limit");
    };
    assert_eq!(error, Errno::ENOBUFS);
}

#[tokio::test]
async fn a_disconnected_peer_is_epipe() {
    let (mut writer, _inbox, _messages, theirs) = writer();
    let spare = theirs.try_clone().unwrap();
    drop(theirs);
    writer.shut(&Os);
    let frame = connection_frame();
    assert_eq!(writer.hand_off(&Os, frame.bytes(), &[spare.as_fd()]), Err(Errno::EPIPE));
}

#[test]
fn a_worker_that_reads_late_receives_its_connections_late_and_in_order() {
    let world = World::new();
    let address = world.listen();
    let mut late = world.peer().join();
    // The parent answers each frame, and the answers are not read, so the socket fills up.
    let mut asked = 0_usize;
    until_true("the parent's answers fill the socket", || {
        late.send_frames(|frames| (0..50).for_each(|_| frames.cancel([Credit { lane: 7, count: 1 }])));
        asked += 50;
        asked == 2000
    });
    late.send_frames(|frames| frames.credit([Credit { lane: 0, count: 3 }]));
    let clients = clients(address, 3);
    world.stats("they have been accepted", |stats| stats.accepted == 3);
    let (mut answered, mut came) = (0, Vec::new());
    while came.len() < clients.len() {
        match late.next_frame() {
            ParentFrame::Cancelled(_) => answered += 1,
            ParentFrame::Connections(connections) => came.extend(connections),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, asked);
    for ((head, _), client) in came.iter().zip(&clients) {
        assert_eq!(head.remote, Some(client.local_addr().unwrap()));
    }
    assert_eq!(world.server.stats().requeued, 0);
}

macro_rules! unsent {
    ($($name:ident: $errno:ident,)*) => {$(
        #[test]
        fn $name() {
            loses_no_connection(Errno::$errno);
        }
    )*};
}

unsent! {
    etoomanyrefs_loses_no_connection: ETOOMANYREFS,
    enobufs_loses_no_connection: ENOBUFS,
    enomem_loses_no_connection: ENOMEM,
}

/// Runs a server of which every other send fails.
fn loses_no_connection(errno: Errno) {
    let sys = Faulty::default().send(move |call| (call % 2 == 1).then_some(Err(errno)));
    let world = World::on(sys.clone(), &queue_of(64));
    let address = world.listen();
    let worker = world.worker();
    let clients = clients(address, 20);
    for client in clients {
        let taken = worker.one();
        assert!(is_of(&taken, &client), "the order is kept");
        answer(taken, "sent at last");
        assert_eq!(answer_to(client), "sent at last");
        worker.done(1);
    }
    let stats = world.stats("all are acked", |stats| stats.handed_off == 20);
    // The parent kept the connections, so none counts as requeued.
    assert_eq!(stats.requeued, 0);
    assert!(sys.sends() < 200, "{} sends for 20 handoffs", sys.sends());
}

#[test]
fn failing_sends_are_retried_at_a_limited_rate() {
    let sys = Faulty::default().send(|call| (call > 0).then_some(Err(Errno::ETOOMANYREFS)));
    let world = World::on(sys.clone(), &queue_of(64));
    // Before the worker joins: LISTENING is then sent with WELCOME, in the send that succeeds.
    let address = world.listen();
    let worker = world.worker();
    worker.grant_and_block(1);
    let start = std::time::Instant::now();
    let _client = client(address);
    until_true("a few are tried", || sys.sends() > 5);
    // One attempt per ten milliseconds, and the WELCOME.
    let most = 3 + start.elapsed().as_millis() / 10;
    assert!(
        sys.sends() as u128 <= most,
        "{} sends in {:?}",
        sys.sends(),
        start.elapsed()
    );
}

#[test]
fn a_send_that_fails_permanently_ends_only_its_channel() {
    // The WELCOME is sent, the first handoff fails.
    let sys = Faulty::default().send(|call| (call == 1).then_some(Err(Errno::EPIPE)));
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let broken = world.worker();
    world.stats("it has joined", |stats| stats.workers == 1);
    broken.grant_and_block(1);
    let client = client(address);
    assert_eq!(world.end_of(broken.channel), EndReason::Lost);
    answer(world.worker().one(), "by another");
    assert_eq!(answer_to(client), "by another");
}

/// Returns everything that was sent: the bytes and the number of descriptors.
fn received(theirs: &OwnedFd) -> (Vec<u8>, usize) {
    fcntl(theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let (mut reader, mut frames, mut descriptors) = (Reader::new(), Encoder::new(), 0);
    loop {
        while let Some((frame, waiting)) = reader.next(ToWorker::decode).unwrap() {
            match frame {
                ToWorker::Connection(heads) => {
                    descriptors += waiting.claim(heads.len()).unwrap().count();
                    frames.connection(heads.map(Result::unwrap));
                }
                ToWorker::Drain => frames.drain(),
                other => panic!("{other:?}"),
            }
        }
        match reader.fill(&Os, theirs.as_fd()).unwrap() {
            Fill::Some => {}
            Fill::Nothing | Fill::End => {
                reader.check_descriptors().unwrap();
                return (frames.bytes().to_vec(), descriptors);
            }
        }
    }
}

/// Returns a system that stops before send number `number`, a channel that reports the stop, and one that ends it.
fn stops_before_send(number: usize) -> (Faulty, Receiver<()>, Sender<()>) {
    let (stopped, stops) = channel();
    let (go, goes) = channel::<()>();
    let sys = Faulty::default().send(move |call| {
        if call == number {
            stopped.send(()).unwrap();
            // Continues after a timeout if the test has failed.
            let _ = goes.recv_timeout(BOUND);
        }
        None
    });
    (sys, stops, go)
}

#[test]
fn an_ack_that_is_unread_when_a_frame_cannot_be_sent_counts() {
    // Sends 0 to 3 are two WELCOMEs and two CONNECTIONs; send 4 is the DRAIN.
    let (sys, stops, go) = stops_before_send(4);
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let mut dying = [world.peer().join(), world.peer().join()];
    let _clients = clients(address, 2);
    let held = dying.each_mut().map(Peer::one);
    world.server.drain();
    stops.recv_timeout(BOUND).unwrap();
    let channels = dying.each_ref().map(|peer| peer.channel);
    for (peer, (head, fd)) in dying.into_iter().zip(held) {
        peer.send_frames(|frames| frames.ack([head.id]));
        drop((peer, fd));
    }
    go.send(()).unwrap();
    for channel in channels {
        assert_eq!(world.end_of(channel), EndReason::Lost);
    }
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.requeued), (2, 0));
}

#[test]
fn an_ack_that_is_unread_when_a_connection_cannot_be_sent_counts() {
    // Sends 0 and 1 are the WELCOME and the first CONNECTION; send 2 is the second.
    let (sys, stops, go) = stops_before_send(2);
    let world = World::on(sys, &queue_of(64));
    let address = world.listen();
    let mut dying = world.peer().join();
    let _first = client(address);
    let (head, fd) = dying.one();
    dying.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
    let second = client(address);
    stops.recv_timeout(BOUND).unwrap();
    dying.send_frames(|frames| frames.ack([head.id]));
    let channel = dying.channel;
    drop((dying, fd));
    go.send(()).unwrap();
    assert_eq!(world.end_of(channel), EndReason::Lost);
    let stats = world.server.stats();
    assert_eq!((stats.handed_off, stats.requeued), (1, 1));
    assert!(is_of(&world.worker().one(), &second));
}
