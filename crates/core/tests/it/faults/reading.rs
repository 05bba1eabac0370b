//! The reader of a channel: frames that are split, joined, and with missing or surplus descriptors.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};
use proptest::prelude::*;
use socketserver_core::ProtocolError;
use socketserver_core::channel::pair;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::frame::{MAX_FRAME, ToWorker};
use socketserver_core::protocol::limits::MAX_RECORDS;
use socketserver_core::protocol::proxied_record::{MAX_TLVS, Proxied};
use socketserver_core::protocol::records::Welcome;
use socketserver_core::sys::ancillary;
use socketserver_core::sys::ancillary::Received;
use socketserver_core::sys::{Accepted, Os, Sys};

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::faulty::Faulty;

fn head(id: u64) -> ConnectionHead {
    ConnectionHead {
        id,
        slot: socketserver_core::channel::scoreboard::NO_SLOT,
        reissued: false,
        tracked: false,
        waited: 7,
        lane: 0,
        family: Family::Ipv4,
        remote: Some("192.0.2.1:80".parse().unwrap()),
        local_port: 80,
    }
}

fn connections(ids: impl IntoIterator<Item = u64>) -> Encoder {
    let mut frames = Encoder::new();
    frames.connection(ids.into_iter().map(head));
    frames
}

/// A frame of the maximum size: PROXIED with the most TLVs.
fn largest() -> Encoder {
    let address = "192.0.2.1:80".parse().unwrap();
    let proxied = Proxied {
        version: 2,
        client: address,
        local: address,
        via: Some(address),
        tlvs: vec![0; MAX_TLVS].into(),
    };
    let mut frames = Encoder::new();
    frames.proxied(1, &proxied);
    frames
}

fn welcome() -> Encoder {
    let mut frames = Encoder::new();
    frames.welcome(Welcome {
        version: 1,
        channel: 1,
        scoreboard: false,
    });
    frames
}

/// Reads until the end of the stream or an error. Returns the frames as text, with the number of their descriptors.
fn read_all<S: Sys>(sys: &S, socket: &OwnedFd) -> (Vec<String>, Result<(), ProtocolError>) {
    setsockopt(socket, ReceiveTimeout, &TimeVal::seconds(20)).unwrap();
    let (mut reader, mut words) = (Reader::new(), Vec::new());
    let end = loop {
        match reader.fill(sys, socket.as_fd()).unwrap() {
            Fill::Some => {}
            Fill::Nothing => panic!("neither an end nor an error after {words:?}"),
            Fill::End => break reader.finish(),
        }
        if let Err(error) = read_some(&mut reader, &mut words) {
            break Err(error);
        }
    };
    (words, end)
}

fn read_some(reader: &mut Reader, words: &mut Vec<String>) -> Result<(), ProtocolError> {
    while let Some((frame, descriptors)) = reader.next(ToWorker::decode)? {
        words.push(match frame {
            ToWorker::Connection(heads) => {
                let ids: Vec<_> = heads.clone().map(|head| head.unwrap().id).collect();
                let came = descriptors.claim(heads.len())?.count();
                format!("connections {ids:?} with {came}")
            }
            ToWorker::Welcome(_) => "welcome".into(),
            ToWorker::Drain => "drain".into(),
            ToWorker::Proxied(..) => "proxied".into(),
            other => format!("{other:?}"),
        });
    }
    reader.check_descriptors()
}

fn send(socket: &OwnedFd, frames: &Encoder, descriptors: usize) {
    // Not a socket of the channel: a channel that contains itself never ends.
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let copies = vec![file.as_fd(); descriptors];
    assert_eq!(
        ancillary::send(socket.as_fd(), frames.bytes(), &copies),
        Ok(frames.bytes().len())
    );
}

#[test]
fn a_frame_split_at_any_byte_is_read() {
    for cut in 1..connections(1..=3).bytes().len() {
        let (left, right) = pair().unwrap();
        send(&left, &welcome(), 0);
        send(&left, &connections(1..=3), 3);
        send(&left, &connections([4]), 1);
        drop(left);
        let sys = Faulty::default().receive(move |_| Some(Ok(cut)));
        let (words, end) = read_all(&sys, &right);
        assert_eq!(
            words,
            ["welcome", "connections [1, 2, 3] with 3", "connections [4] with 1"],
            "in pieces of {cut}"
        );
        assert_eq!(end, Ok(()));
    }
}

#[test]
fn a_message_without_descriptors_can_be_joined_to_one_with_descriptors() {
    let (left, right) = pair().unwrap();
    send(&left, &welcome(), 0);
    send(&left, &connections([1]), 1);
    let mut bytes = [0; 256];
    // The kernel does join them.
    let received = ancillary::receive(right.as_fd(), &mut bytes).unwrap();
    assert_eq!(received.bytes, welcome().bytes().len() + connections([1]).bytes().len());
    assert_eq!(received.descriptors.len(), 1);
    send(&left, &welcome(), 0);
    send(&left, &connections([1]), 1);
    drop(left);
    let (words, end) = read_all(&Os, &right);
    assert_eq!(words, ["welcome", "connections [1] with 1"]);
    assert_eq!(end, Ok(()));
}

#[test]
fn the_largest_frames_follow_each_other() {
    let (left, right) = pair().unwrap();
    for batch in 0..10 {
        send(&left, &connections(batch * 64..batch * 64 + 64), MAX_RECORDS);
        assert_eq!(largest().bytes().len(), MAX_FRAME);
        send(&left, &largest(), 0);
    }
    drop(left);
    let (words, end) = read_all(&Os, &right);
    assert_eq!((words.len(), end), (20, Ok(())));
    assert!(words.iter().step_by(2).all(|word| word.ends_with("with 64")));
    assert!(words.iter().skip(1).step_by(2).all(|word| word == "proxied"));
}

#[test]
fn a_missing_descriptor_is_an_error() {
    let (left, right) = pair().unwrap();
    send(&left, &connections([1, 2]), 1);
    let error = ProtocolError::MissingDescriptors {
        declared: 2,
        received: 1,
    };
    assert_eq!(read_all(&Os, &right).1, Err(error));
}

#[test]
fn a_surplus_descriptor_is_an_error() {
    let (left, right) = pair().unwrap();
    send(&left, &connections([1]), 2);
    let (words, end) = read_all(&Os, &right);
    assert_eq!(words, ["connections [1] with 1"]);
    assert_eq!(end, Err(ProtocolError::SurplusDescriptors));
}

#[test]
fn a_descriptor_with_a_frame_without_descriptors_is_an_error() {
    let (left, right) = pair().unwrap();
    send(&left, &welcome(), 1);
    assert_eq!(read_all(&Os, &right).1, Err(ProtocolError::SurplusDescriptors));
}

#[test]
fn descriptors_do_not_accumulate_behind_an_unfinished_frame() {
    let (left, right) = pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    for byte in connections(1..=64).bytes().chunks(1).take(3) {
        let copies = vec![file.as_fd(); 60];
        ancillary::send(left.as_fd(), byte, &copies).unwrap();
    }
    assert_eq!(read_all(&Os, &right).1, Err(ProtocolError::SurplusDescriptors));
}

#[test]
fn a_stream_that_ends_within_a_frame_is_an_error() {
    let frame = connections([1]);
    for size in 1..frame.bytes().len() {
        let (left, right) = pair().unwrap();
        ancillary::send(left.as_fd(), &frame.bytes()[..size], &[]).unwrap();
        drop(left);
        assert_eq!(
            read_all(&Os, &right).1,
            Err(ProtocolError::IncompleteFrame),
            "after {size} bytes"
        );
    }
}

#[test]
fn a_header_with_an_invalid_length_is_an_error_at_once() {
    let (left, right) = pair().unwrap();
    let mut bytes = connections([1]).bytes()[..8].to_vec();
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    ancillary::send(left.as_fd(), &bytes, &[]).unwrap();
    let error = FrameError::Length {
        kind: 0x82,
        count: 1,
        length: u32::MAX,
    };
    assert_eq!(read_all(&Os, &right).1, Err(error.into()));
}

#[test]
fn a_reset_by_a_peer_that_died_with_unread_bytes_is_an_end() {
    let (left, right) = pair().unwrap();
    send(&right, &welcome(), 0);
    drop(left);
    assert_eq!(read_all(&Os, &right).1, Ok(()));
}

/// The real system with a limit of descriptors per message.
#[derive(Clone)]
struct Truncating(usize);

impl Sys for Truncating {
    fn now(&self) -> std::time::Instant {
        Os.now()
    }

    fn accept(&self, listener: std::os::fd::BorrowedFd<'_>) -> Result<Accepted, nix::errno::Errno> {
        Os.accept(listener)
    }

    fn send(
        &self,
        socket: std::os::fd::BorrowedFd<'_>,
        bytes: &[u8],
        descriptors: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<usize, nix::errno::Errno> {
        Os.send(socket, bytes, descriptors)
    }

    fn receive(&self, socket: std::os::fd::BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, nix::errno::Errno> {
        let mut received = Os.receive(socket, bytes)?;
        received.truncated = received.descriptors.len() > self.0;
        received.descriptors.truncate(self.0);
        Ok(received)
    }
}

#[test]
fn missing_descriptors_after_a_truncation_are_not_an_error() {
    for arrive in 0..3 {
        let (left, right) = pair().unwrap();
        send(&left, &welcome(), 0);
        send(&left, &connections([1, 2, 3]), 3);
        send(&left, &connections([4]), 1);
        drop(left);
        let (words, end) = read_all(&Truncating(arrive), &right);
        let first = format!("connections [1, 2, 3] with {arrive}");
        let second = format!("connections [4] with {}", arrive.min(1));
        assert_eq!(words, ["welcome", &first, &second]);
        assert_eq!(end, Ok(()));
    }
}

#[test]
fn a_truncation_explains_missing_descriptors_of_one_frame_only() {
    let (left, right) = pair().unwrap();
    // A parent sends the descriptors of one frame per message.
    let mut frames = connections([1, 2]);
    frames.connection([head(3)]);
    send(&left, &frames, 3);
    let (words, end) = read_all(&Truncating(1), &right);
    assert_eq!(words, ["connections [1, 2] with 1"]);
    assert!(matches!(end, Err(ProtocolError::MissingDescriptors { .. })), "{end:?}");
}

#[test]
fn the_kernel_truncates_at_the_limit_of_open_files_and_nothing_leaks() {
    alone(
        "faults::reading::the_kernel_truncates_at_the_limit_of_open_files_and_nothing_leaks",
        || {
            let (left, right) = pair().unwrap();
            let before = open_descriptors();
            send(&left, &connections(1..=5), 5);
            limit_descriptors(2);
            let mut bytes = [0; 1024];
            let received = ancillary::receive(right.as_fd(), &mut bytes).unwrap();
            assert!(received.truncated);
            assert_eq!(received.bytes, connections(1..=5).bytes().len());
            assert_eq!(received.descriptors.len(), 2);
            drop(received);
            lift_limit();
            assert_eq!(open_descriptors(), before);
        },
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_split_at_any_bytes_reads_the_same(cuts in prop::collection::vec(1_usize..200, 1..40)) {
        let (left, right) = pair().unwrap();
        send(&left, &welcome(), 0);
        for batch in [1..4_u64, 4..5, 5..12] {
            send(&left, &connections(batch.clone()), usize::try_from(batch.end - batch.start).unwrap());
            let mut drain = Encoder::new();
            drain.drain();
            send(&left, &drain, 0);
        }
        drop(left);
        let sys = Faulty::default().receive(move |call| Some(Ok(cuts[call % cuts.len()])));
        let (words, end) = read_all(&sys, &right);
        prop_assert_eq!(words, [
            "welcome",
            "connections [1, 2, 3] with 3", "drain",
            "connections [4] with 1", "drain",
            "connections [5, 6, 7, 8, 9, 10, 11] with 7", "drain",
        ]);
        prop_assert_eq!(end, Ok(()));
    }
}
