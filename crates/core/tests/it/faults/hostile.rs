//! Workers that break the protocol: only their own channel ends.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use socketserver_core::ProtocolError;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::records::{CloseReason, Credit, Hello, Refusal, RefusalReason, Welcome};
use socketserver_core::protocol::version::VERSION;

use crate::peer::{ParentFrame, Peer, hello};
use crate::world::{World, answer, answer_to, client, is_of};

/// Lets a peer break the protocol while it holds a connection. Its channel ends, and a correct worker serves the connection.
fn ends_with(expected: &ProtocolError, misbehave: impl FnOnce(&mut Peer, u64)) {
    ends(expected, true, misbehave);
}

/// Lets a peer break the protocol before its HELLO.
fn ends_unjoined_with(expected: &ProtocolError, misbehave: impl FnOnce(&mut Peer, u64)) {
    ends(expected, false, misbehave);
}

fn ends(expected: &ProtocolError, join: bool, misbehave: impl FnOnce(&mut Peer, u64)) {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer();
    let mut held = None;
    let mut first = None;
    if join {
        peer = peer.join();
        first = Some(client(address));
        held = Some(peer.one());
    }
    let id = held.as_ref().map_or(0, |(head, _)| head.id);
    misbehave(&mut peer, id);
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected.clone()));
    let last_frame = peer.remaining_frames().pop();
    assert!(
        matches!(last_frame, Some(ParentFrame::Close(CloseReason::Protocol))),
        "{last_frame:?}"
    );
    drop(held);
    // Another worker answers its connection, and the next one.
    let worker = world.worker();
    let held = first.into_iter();
    for client in held.chain([client(address)]) {
        answered_by_another(&worker, client, address);
    }
}

fn answered_by_another(worker: &crate::world::Worker, client: std::net::TcpStream, address: SocketAddr) {
    let taken = worker.one();
    assert!(is_of(&taken, &client));
    assert_eq!(taken.head.local_port, address.port());
    answer(taken, "by another worker");
    assert_eq!(answer_to(client), "by another worker");
    worker.done(1);
}

/// Encodes a frame and replaces bytes from position `at` on.
fn forged(write: impl FnOnce(&mut Encoder), at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frames = Encoder::new();
    write(&mut frames);
    let mut forged = frames.bytes().to_vec();
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    forged
}

fn file() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

#[test]
fn credit_for_no_connection() {
    ends_with(&ProtocolError::EmptyCredit { lane: 7 }, |peer, _| {
        peer.send_frames(|frames| frames.credit([Credit { lane: 7, count: 0 }]));
    });
}

#[test]
fn a_flood_of_frames_is_read_at_a_limited_rate() {
    const FRAME: usize = 12;
    let world = World::new();
    let peer = world.peer().join();
    let mut frames = Encoder::new();
    (0..400).for_each(|_| frames.ended(0));
    let (flood, began) = (frames.bytes(), Instant::now());
    let (mut sent, mut offset) = (0, 0);
    while began.elapsed() < Duration::from_secs(1) {
        // Continue in the middle of a frame if the socket accepted a part of it.
        sent += peer.send_some(&flood[offset..]);
        offset = sent % flood.len();
    }
    // 125 frames per millisecond, a burst, and the contents of the socket's two buffers.
    let most = 125 * began.elapsed().as_millis() + 1_024 + 50_000;
    let sent = (sent / FRAME) as u128;
    assert!(sent <= most, "{sent} frames, {most} at most");
    assert!(
        world.server.channel_stats(peer.channel).is_some(),
        "the channel goes on"
    );
}

#[test]
fn bad_magic() {
    ends_unjoined_with(&FrameError::Magic(*b"HTTP").into(), |peer, _| {
        peer.send(&forged(|frames| frames.hello(hello()), 8, b"HTTP"), &[]);
    });
}

#[test]
fn no_hello() {
    ends_unjoined_with(&ProtocolError::NoHello, |peer, _| {
        peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
    });
}

#[test]
fn a_second_hello() {
    ends_with(&ProtocolError::SecondHello, |peer, _| {
        peer.send_frames(|frames| frames.hello(hello()));
    });
}

#[test]
fn an_unknown_kind() {
    ends_with(&FrameError::Kind(0x3f).into(), |peer, _| {
        peer.send(&forged(Encoder::leave, 4, &[0x3f]), &[]);
    });
}

#[test]
fn a_frame_of_the_other_direction() {
    ends_with(&FrameError::Kind(0x81).into(), |peer, _| {
        peer.send_frames(|frames| {
            frames.welcome(Welcome {
                version: 1,
                channel: 1,
                scoreboard: false,
            });
        });
    });
}

#[test]
fn a_reserved_byte() {
    ends_with(&FrameError::Reserved(7).into(), |peer, _| {
        peer.send(&forged(Encoder::leave, 5, &[1]), &[]);
    });
}

#[test]
fn a_frame_without_the_records_of_its_kind() {
    ends_with(&FrameError::Count { kind: 2, count: 0 }.into(), |peer, _| {
        peer.send(&[0, 0, 0, 0, 2, 0, 0, 0], &[]);
    });
}

#[test]
fn a_frame_with_too_many_records() {
    ends_with(&FrameError::Count { kind: 2, count: 65 }.into(), |peer, _| {
        peer.send(&[8, 2, 0, 0, 2, 0, 65, 0], &[]);
    });
}

#[test]
fn a_length_that_does_not_fit() {
    let expected = FrameError::Length {
        kind: 2,
        count: 1,
        length: 9,
    };
    ends_with(&expected.into(), |peer, _| {
        peer.send(&[9, 0, 0, 0, 2, 0, 1, 0], &[]);
    });
}

#[test]
fn an_unknown_reason() {
    ends_with(&FrameError::Reason(9).into(), |peer, id| {
        let refusal = Refusal {
            id,
            reason: RefusalReason::Unwanted,
        };
        peer.send(&forged(|frames| frames.refuse([refusal]), 16, &[9]), &[]);
    });
}

#[test]
fn a_descriptor_to_the_parent() {
    ends_with(&ProtocolError::SurplusDescriptors, |peer, _| {
        let mut frames = Encoder::new();
        frames.ended(0);
        peer.send(frames.bytes(), &[file().as_fd()]);
    });
}

#[test]
fn a_descriptor_to_the_parent_within_a_frame() {
    ends_with(&ProtocolError::SurplusDescriptors, |peer, _| {
        let mut frames = Encoder::new();
        frames.ended(0);
        peer.send(&frames.bytes()[..3], &[file().as_fd()]);
        peer.send(&frames.bytes()[3..], &[]);
    });
}

#[test]
fn more_than_one_descriptor_for_an_unfinished_frame() {
    ends_with(&ProtocolError::SurplusDescriptors, |peer, id| {
        let mut frames = Encoder::new();
        frames.hand_back(id);
        let files: Vec<OwnedFd> = (0..64).map(|_| file()).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        peer.send(&frames.bytes()[..7], &files);
    });
}

#[test]
fn a_frame_that_is_never_finished() {
    ends_with(&ProtocolError::UnfinishedFrame, |peer, id| {
        let mut frames = Encoder::new();
        frames.hand_back(id);
        peer.send(&frames.bytes()[..7], &[file().as_fd()]);
    });
}

#[test]
fn a_descriptor_with_the_hello() {
    ends_unjoined_with(&ProtocolError::SurplusDescriptors, |peer, _| {
        let mut frames = Encoder::new();
        frames.hello(hello());
        let files = [file(), file()];
        peer.send(frames.bytes(), &files.each_ref().map(AsFd::as_fd));
    });
}

#[test]
fn an_ack_of_a_connection_that_is_not_in_flight() {
    ends_with(&ProtocolError::UnknownConnection { id: 77 }, |peer, _| {
        peer.send_frames(|frames| frames.ack([77]));
    });
}

#[test]
fn a_refusal_of_a_connection_that_is_not_in_flight() {
    ends_with(&ProtocolError::UnknownConnection { id: 77 }, |peer, _| {
        peer.send_frames(|frames| {
            frames.refuse([Refusal {
                id: 77,
                reason: RefusalReason::Recalled,
            }]);
        });
    });
}

#[test]
fn more_ended_leases_than_there_were() {
    ends_with(&ProtocolError::TooManyEnded { ended: 1, leases: 0 }, |peer, _| {
        peer.send_frames(|frames| frames.ended(1));
    });
}

#[test]
fn credit_beyond_the_limit() {
    let expected = ProtocolError::TooMuchCredit {
        credit: u64::from(u32::MAX),
        limit: 1 << 20,
    };
    ends_with(&expected, |peer, _| {
        peer.send_frames(|frames| {
            frames.credit([Credit {
                lane: 1,
                count: u32::MAX,
            }]);
        });
    });
}

#[test]
fn credit_that_adds_up_beyond_the_limit() {
    let expected = ProtocolError::TooMuchCredit {
        credit: (1 << 20) + 1,
        limit: 1 << 20,
    };
    ends_with(&expected, |peer, _| {
        peer.send_frames(|frames| frames.credit([1, 2].map(|lane| Credit { lane, count: 1 << 19 })));
        peer.send_frames(|frames| frames.credit([Credit { lane: 1, count: 1 }]));
    });
}

#[test]
fn credit_on_too_many_lanes() {
    ends_with(&ProtocolError::TooManyLanes { limit: 64 }, |peer, _| {
        peer.send_frames(|frames| frames.credit((1..=65).map(|lane| Credit { lane, count: 1 })));
    });
}

#[test]
fn a_stream_that_ends_within_a_frame() {
    ends_with(&ProtocolError::IncompleteFrame, |peer, _| {
        let mut frames = Encoder::new();
        frames.ack([1]);
        peer.send(&frames.bytes()[..11], &[]);
        peer.socket.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn an_ack_before_an_error_counts() {
    let world = World::new();
    let mut peer = world.peer().join();
    let _client = client(world.listen());
    let (head, _fd) = peer.one();
    // The second ACK is the error.
    peer.send_frames(|frames| frames.ack([head.id, head.id]));
    let expected = ProtocolError::UnknownConnection { id: head.id };
    assert_eq!(world.end_of(peer.channel), EndReason::Protocol(expected));
    let stats = world.stats("the first is counted", |stats| stats.handed_off == 1);
    assert_eq!((stats.requeued, stats.queued), (0, 0));
}

#[test]
fn without_a_common_version_the_close_names_the_version_of_the_parent() {
    let world = World::new();
    for (oldest, newest) in [(VERSION + 1, 9), (0, 0), (2, 1)] {
        let mut peer = world.peer();
        peer.send_frames(|frames| {
            frames.hello(Hello {
                oldest,
                newest,
                pid: 1,
                scoreboard: false,
            });
        });
        assert_eq!(
            world.end_of(peer.channel),
            EndReason::Protocol(ProtocolError::Version {
                theirs_min: oldest,
                theirs_max: newest,
                ours: VERSION
            })
        );
        let words = peer.remaining_frames();
        assert!(
            matches!(words[..], [ParentFrame::Close(CloseReason::Version(VERSION))]),
            "{words:?}"
        );
    }
}

#[test]
fn the_version_of_a_session_is_the_newest_that_both_sides_support() {
    let world = World::new();
    for (newest, spoken) in [(9, VERSION), (VERSION, VERSION), (1, 1)] {
        let mut peer = world.peer();
        peer.send_frames(|frames| {
            frames.hello(Hello {
                oldest: 1,
                newest,
                pid: 1,
                scoreboard: false,
            });
        });
        let welcome = peer.next_frame();
        assert!(
            matches!(welcome, ParentFrame::Welcome(version) if version == spoken),
            "{welcome:?}"
        );
    }
}

#[test]
fn a_channel_closed_before_its_hello_is_lost_without_an_error() {
    let world = World::new();
    let peer = world.peer();
    let channel = peer.channel;
    drop(peer);
    assert_eq!(world.end_of(channel), EndReason::Lost);
}

#[test]
fn a_worker_that_shuts_only_its_reading_side_is_disconnected() {
    let world = World::new();
    let address = world.listen();
    let peer = world.peer().join();
    peer.send_frames(|frames| frames.credit([Credit { lane: 0, count: 1 }]));
    peer.socket.shutdown(std::net::Shutdown::Read).unwrap();
    let client = client(address);
    assert_eq!(world.end_of(peer.channel), EndReason::Lost);
    answered_by_another(&world.worker(), client, address);
}

#[test]
fn one_bad_channel_among_many_ends_alone() {
    let world = World::new();
    let address = world.listen();
    let correct = [world.worker(), world.worker()];
    let bad = world.peer().join();
    world.stats("all have joined", |stats| stats.workers == 3);
    bad.send(&[0xff; 64], &[]);
    assert!(matches!(world.end_of(bad.channel), EndReason::Protocol(_)));
    world.stats("the others are left", |stats| stats.workers == 2);
    for worker in &correct {
        answered_by_another(worker, client(address), address);
    }
}

#[test]
fn a_receiver_rejects_a_descriptor_that_is_not_a_channel() {
    use nix::errno::Errno;
    use socketserver_core::Receiver;
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = std::os::unix::net::UnixDatagram::unbound().unwrap();
    for (end, errno) in [
        (file(), Errno::ENOTSOCK),
        (tcp.into(), Errno::EPROTOTYPE),
        (datagrams.into(), Errno::EPROTOTYPE),
    ] {
        assert_eq!(Receiver::start(end, || {}).unwrap_err().errno, errno);
    }
}
