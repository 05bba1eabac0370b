//! Streams of bytes and descriptors, over real sockets and over a system that fails on demand.

use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use socketserver_core::descriptors::kind::{Domain, Kind};
use socketserver_core::descriptors::stream::{Found, MAX_DESCRIPTORS, Sent, Settled, Stream, pair};
use socketserver_core::sys::closer::settle;
use socketserver_core::sys::{ForeignFd, Sys};

use crate::child::{alone, lift_limit, limit_descriptors, open_descriptors};
use crate::faulty::Faulty;
use crate::file_identity::identity;
use crate::wait::BOUND;

fn null() -> File {
    File::open("/dev/null").unwrap()
}

/// Returns a stream on the given system, and its peer on the real one.
fn faulty(sys: Faulty) -> (Stream<Faulty>, Stream) {
    let (left, right) = UnixStream::pair().unwrap();
    (
        Stream::adopt_on(sys, left.into()).unwrap(),
        Stream::adopt(right.into()).unwrap(),
    )
}

fn receive<S: Sys>(stream: &Stream<S>) -> (Vec<u8>, Vec<OwnedFd>) {
    match stream.receive(1 << 16).unwrap() {
        Found::Some(bytes, descriptors) => (bytes, owned(descriptors)),
        other => panic!("{other:?} is not what was sent"),
    }
}

/// Receives everything that was sent.
fn drain<S: Sys>(stream: &Stream<S>) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    while let Found::Some(more, along) = stream.receive(1 << 16).unwrap() {
        bytes.extend(more);
        descriptors.extend(owned(along));
    }
    (bytes, descriptors)
}

fn owned(descriptors: Vec<ForeignFd>) -> Vec<OwnedFd> {
    descriptors.into_iter().map(ForeignFd::into_owned).collect()
}

/// Sends until the kernel accepts no more, and returns how many bytes were sent in whole messages.
fn fill(stream: &mut Stream) -> usize {
    let mut whole = 0;
    while stream.send(&[b'.'; 4096], &[]).unwrap() == Sent::Whole {
        whole += 4096;
    }
    whole
}

#[test]
fn bytes_and_descriptors_arrive_together() {
    let (mut left, right) = pair().unwrap();
    let (reader, mut writer) = pipe().unwrap();
    assert_eq!(left.send(b"pipe", &[reader.as_fd()]).unwrap(), Sent::Whole);
    let (bytes, descriptors) = receive(&right);
    assert_eq!((bytes.as_slice(), descriptors.len()), (&b"pipe"[..], 1));
    writer.write_all(b"through").unwrap();
    drop(writer);
    let mut text = String::new();
    for descriptor in descriptors {
        File::from(descriptor).read_to_string(&mut text).unwrap();
    }
    assert_eq!(text, "through");
    assert!(matches!(right.receive(10).unwrap(), Found::Nothing));
}

#[test]
fn descriptors_of_all_kinds_can_be_sent() {
    let (mut left, right) = pair().unwrap();
    let (reader, writer) = pipe().unwrap();
    let (unix, _other) = UnixStream::pair().unwrap();
    let mut sent: Vec<(OwnedFd, Kind)> = vec![
        (null().into(), Kind::Device),
        (File::open(std::env::current_exe().unwrap()).unwrap().into(), Kind::File),
        (reader.into(), Kind::Pipe),
        (writer.into(), Kind::Pipe),
        (
            TcpListener::bind("127.0.0.1:0").unwrap().into(),
            Kind::Listener(Domain::Network),
        ),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), Kind::Datagram),
        (unix.into(), Kind::Stream(Domain::Unix)),
    ];
    #[cfg(target_os = "linux")]
    sent.push((
        nix::sys::memfd::memfd_create("memory", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap(),
        Kind::File,
    ));
    let borrowed: Vec<_> = sent.iter().map(|(fd, _)| fd.as_fd()).collect();
    left.send(b".", &borrowed).unwrap();
    let (_, arrived) = receive(&right);
    assert_eq!(arrived.len(), sent.len());
    for (fd, (original, kind)) in arrived.iter().zip(&sent) {
        assert_eq!(Kind::of(fd.as_fd()).unwrap(), *kind);
        assert_eq!(identity(fd.as_fd()), identity(original.as_fd()));
    }
}

#[test]
fn a_receive_returns_at_most_size_bytes_and_descriptors_stay_with_their_bytes() {
    let (mut left, right) = pair().unwrap();
    left.send(b"abc", &[]).unwrap();
    left.send(b"def", &[null().as_fd()]).unwrap();
    let sizes = [(3, 0), (1, 1), (10, 0)];
    for (size, count) in sizes {
        let Found::Some(_, descriptors) = right.receive(size).unwrap() else {
            panic!("there is more")
        };
        assert_eq!(descriptors.len(), count);
    }
}

#[test]
fn messages_that_do_not_fit_wait_in_order_with_copies_of_their_descriptors() {
    let (mut left, right) = pair().unwrap();
    let filled = fill(&mut left);
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let original = identity(file.as_fd());
    assert!(matches!(
        left.send(b"first", &[file.as_fd()]).unwrap(),
        Sent::Waiting(_)
    ));
    // The caller may close its descriptor at once.
    drop(file);
    assert!(matches!(left.send(b"", &[]).unwrap(), Sent::Waiting(_)));
    assert!(matches!(
        left.send(b"second", &[null().as_fd()]).unwrap(),
        Sent::Waiting(_)
    ));
    assert!(left.wants_room() && left.flush().is_empty());

    let (mut bytes, mut descriptors) = (Vec::new(), Vec::new());
    let mut settled = Vec::new();
    while left.wants_room() {
        let (more, along) = drain(&right);
        bytes.extend(more);
        descriptors.extend(along);
        settled.extend(left.flush());
    }
    let (more, along) = drain(&right);
    bytes.extend(more);
    descriptors.extend(along);
    assert_eq!(bytes.len(), filled + 4096 + 5 + 6);
    assert!(bytes.ends_with(b".firstsecond"));
    assert_eq!(identity(descriptors[0].as_fd()), original);
    assert_eq!(descriptors.len(), 2);
    let tickets: Vec<_> = settled.iter().map(|settled| settled.ticket).collect();
    assert_eq!(tickets, [0, 1, 2, 3]);
    assert!(settled.iter().all(|settled| settled.result.is_ok()));
}

#[test]
fn descriptors_are_sent_once_even_if_each_send_accepts_one_byte() {
    // The socket is full, accepts one byte, is full again, and so on.
    let sys = Faulty::default().send(|call| Some(if call % 2 == 1 { Ok(1) } else { Err(Errno::EAGAIN) }));
    let (mut left, right) = faulty(sys);
    assert!(matches!(
        left.send(b"abcde", &[null().as_fd()]).unwrap(),
        Sent::Waiting(0)
    ));
    let mut settled = Vec::new();
    for _ in 0..5 {
        settled.extend(left.flush());
    }
    assert_eq!(
        settled,
        [Settled {
            ticket: 0,
            result: Ok(())
        }]
    );
    let (bytes, descriptors) = drain(&right);
    assert_eq!((bytes.as_slice(), descriptors.len()), (&b"abcde"[..], 1));
}

#[test]
fn a_message_that_the_kernel_rejects_fails_alone() {
    let sys = Faulty::default().send(|call| match call {
        0 | 3 => Some(Err(Errno::ETOOMANYREFS)),
        1 => Some(Err(Errno::EAGAIN)),
        _ => None,
    });
    let (mut left, right) = faulty(sys);
    let error = left.send(b"now", &[null().as_fd()]).unwrap_err();
    assert_eq!((error.syscall, error.errno), ("sendmsg", Errno::ETOOMANYREFS));
    assert_eq!(left.send(b"one ", &[]).unwrap(), Sent::Waiting(0));
    assert_eq!(left.send(b"two ", &[null().as_fd()]).unwrap(), Sent::Waiting(1));
    assert_eq!(left.send(b"three", &[]).unwrap(), Sent::Waiting(2));
    let errors: Vec<_> = left
        .flush()
        .into_iter()
        .map(|settled| settled.result.err().map(|e| e.errno))
        .collect();
    assert_eq!(errors, [None, Some(Errno::ETOOMANYREFS), None]);
    assert_eq!(receive(&right).0, b"one three");
}

#[test]
fn an_error_after_a_part_of_a_message_breaks_the_stream() {
    let (part, full, broken) = (Ok(2), Err(Errno::EAGAIN), Err(Errno::ENOMEM));
    // The error occurs in `send`, in the first `flush`, and in the second `flush`. Later sends would succeed.
    for (plan, flushes) in [
        (vec![part, broken], 0),
        (vec![part, full, broken], 1),
        (vec![full, part, full, broken], 2),
    ] {
        let (mut left, right) = faulty(Faulty::default().send(move |call| plan.get(call).copied()));
        let errno = if flushes == 0 {
            left.send(b"broken", &[]).unwrap_err().errno
        } else {
            assert_eq!(left.send(b"broken", &[]).unwrap(), Sent::Waiting(0));
            assert_eq!(left.send(b"after", &[]).unwrap(), Sent::Waiting(1));
            let settled: Vec<_> = (0..flushes).flat_map(|_| left.flush()).collect();
            assert_eq!((settled.len(), left.wants_room()), (2, false));
            assert_eq!(settled[0].result, settled[1].result);
            settled[0].result.unwrap_err().errno
        };
        assert_eq!(errno, Errno::ENOMEM);
        assert_eq!(left.send(b"later", &[]).unwrap_err().errno, Errno::ENOMEM);
        assert_eq!(receive(&right).0, b"br");
    }
}

#[test]
fn an_invalid_message_is_rejected_before_any_byte_is_sent() {
    let (mut left, right) = pair().unwrap();
    let file = null();
    let many = vec![file.as_fd(); MAX_DESCRIPTORS + 1];
    assert_eq!(left.send(b"a", &many).unwrap_err().errno, Errno::EINVAL);
    assert_eq!(left.send(b"", &many[..1]).unwrap_err().errno, Errno::EINVAL);
    assert_eq!(left.send(b"", &[]).unwrap(), Sent::Whole);
    assert_eq!(left.send(b"a", &many[1..]).unwrap(), Sent::Whole);
    assert_eq!(receive(&right).1.len(), MAX_DESCRIPTORS);
}

#[test]
fn after_the_peer_has_closed_sending_fails_and_receiving_ends() {
    let (mut left, mut right) = pair().unwrap();
    right.send(b"last", &[]).unwrap();
    right.end().unwrap();
    assert_eq!(right.send(b"more", &[]).unwrap_err().errno, Errno::EPIPE);
    assert_eq!(left.send(b"unread", &[]).unwrap(), Sent::Whole);
    drop(right);
    settle(BOUND);
    assert_eq!(receive(&left).0, b"last");
    // Linux reports that the peer closed without reading everything.
    let is_reported = matches!(left.receive(10), Err(error) if error.errno == Errno::ECONNRESET);
    assert!(is_reported || cfg!(not(target_os = "linux")));
    assert!(matches!(left.receive(10).unwrap(), Found::End));
    assert_eq!(left.send(b"a", &[]).unwrap_err().errno, Errno::EPIPE);
    left.end().unwrap();
}

#[test]
fn a_receiver_at_its_descriptor_limit_gets_an_error_and_keeps_none() {
    alone(
        "stream::a_receiver_at_its_descriptor_limit_gets_an_error_and_keeps_none",
        || {
            let (mut left, right) = pair().unwrap();
            let file = null();
            left.send(b"three", &[file.as_fd(); 3]).unwrap();
            left.send(b"one", &[file.as_fd()]).unwrap();
            let before = open_descriptors();
            limit_descriptors(2);
            let found = right.receive(100).unwrap();
            assert!(
                matches!(&found, Found::Truncated(bytes, Some(Errno::EMFILE)) if bytes == b"three"),
                "{found:?}"
            );
            drop(found);
            settle(BOUND);
            // The next message is complete.
            assert_eq!(receive(&right).1.len(), 1);
            // A message that must wait needs a copy of its descriptor.
            fill(&mut left);
            let held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            assert_eq!(left.send(b"a", &[file.as_fd()]).unwrap_err().errno, Errno::EMFILE);
            drop(held);
            lift_limit();
            assert_eq!(open_descriptors(), before);
        },
    );
}

#[test]
fn dropping_a_stream_closes_all_descriptors() {
    alone("stream::dropping_a_stream_closes_all_descriptors", || {
        let file = null();
        let before = open_descriptors();
        for _ in 0..100 {
            let (mut left, mut right) = pair().unwrap();
            let three: [BorrowedFd<'_>; 3] = [file.as_fd(); 3];
            left.send(b"received", &three).unwrap();
            drop(receive(&right));
            left.send(b"unread", &three).unwrap();
            fill(&mut left);
            left.send(b"waits", &three).unwrap();
            right.send(b"ended", &three).unwrap();
            fill(&mut right);
            right.send(b"waits", &three).unwrap();
            right.end().unwrap();
        }
        assert_eq!(open_descriptors(), before);
    });
}
