//! A hostile peer sends any bytes in pieces of any size, with any descriptors, in both directions. The reader must not panic, must
//! read the same frames from the pieces as from the whole, and each frame must encode to the same bytes.

#![no_main]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use nix::errno::Errno;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::frame::{ToParent, ToWorker};
use socketserver_core::sys::ancillary::Received;
use socketserver_core::sys::{Accepted, ForeignFd, Sys};

fuzz_target!(|input: (Vec<(u8, u8)>, Vec<u8>)| {
    let (pieces, bytes) = input;
    read(&bytes, &pieces, to_parent);
    read(&bytes, &pieces, to_worker);
});

/// A frame written anew, and its size as it was read.
type Written = (Encoder, usize);

fn to_parent(bytes: &[u8]) -> Result<Option<(Written, usize)>, FrameError> {
    let Some((frame, size)) = ToParent::decode(bytes)? else {
        return Ok(None);
    };
    let mut again = Encoder::new();
    match frame {
        ToParent::Hello(hello) => again.hello(hello),
        ToParent::Ack(ids) => again.ack(ids.collect::<Result<Vec<_>, _>>()?),
        ToParent::Refuse(refusals) => again.refuse(refusals.collect::<Result<Vec<_>, _>>()?),
        ToParent::Ended(leases) => again.ended(leases),
        ToParent::Credit(credit) => again.credit(credit.collect::<Result<Vec<_>, _>>()?),
        ToParent::Cancel(credit) => again.cancel(credit.collect::<Result<Vec<_>, _>>()?),
        ToParent::Leave => again.leave(),
        ToParent::Nudge => again.nudge(),
        ToParent::Return(id) => again.hand_back(id),
        ToParent::EndedIds(ids) => again.ended_ids(ids.collect::<Result<Vec<_>, _>>()?),
    }
    Ok(Some(((again, size), size)))
}

fn to_worker(bytes: &[u8]) -> Result<Option<(Written, usize)>, FrameError> {
    let Some((frame, size)) = ToWorker::decode(bytes)? else {
        return Ok(None);
    };
    let mut again = Encoder::new();
    match frame {
        ToWorker::Welcome(welcome) => again.welcome(welcome),
        ToWorker::Connection(heads) => again.connection(heads.collect::<Result<Vec<_>, _>>()?),
        ToWorker::Recall(ids) => again.recall(ids.collect::<Result<Vec<_>, _>>()?),
        ToWorker::Cancelled(credit) => again.cancelled(credit.collect::<Result<Vec<_>, _>>()?),
        ToWorker::Drain => again.drain(),
        ToWorker::DrainSoon => again.drain_soon(),
        ToWorker::Retire => again.retire(),
        ToWorker::Close(reason) => again.close(reason),
        ToWorker::Returned(returned) => again.returned(returned.collect::<Result<Vec<_>, _>>()?),
        ToWorker::Listening(address) => again.listening(address),
        ToWorker::Proxied(id, proxied) => again.proxied(id, &proxied),
        ToWorker::TicketKeys(keys) => again.ticket_keys(keys),
    }
    Ok(Some(((again, size), size)))
}

type Decode = fn(&[u8]) -> Result<Option<(Written, usize)>, FrameError>;

/// Reads the whole and the pieces, and compares.
fn read(bytes: &[u8], pieces: &[(u8, u8)], decode: Decode) {
    let (mut rest, mut whole) = (bytes, Vec::new());
    while let Ok(Some(((again, read), size))) = decode(rest) {
        assert_eq!(read, size);
        check(&rest[..size], again.bytes(), decode);
        whole.push(again.bytes().to_vec());
        rest = &rest[size..];
    }

    let (sys, file) = (Pieces::new(bytes, pieces), file());
    let (mut reader, mut cut) = (Reader::new(), Vec::new());
    'all: while reader.fill(&sys, file.as_fd()) == Ok(Fill::Some) {
        loop {
            match reader.next(decode) {
                Ok(Some(((again, _), descriptors))) => {
                    // As worker and parent do it.
                    if [0x82, 0x09].contains(&again.bytes()[4]) {
                        let declared = usize::from(again.bytes()[6]);
                        if descriptors.claim(declared).is_err() {
                            break 'all;
                        }
                    }
                    cut.push(again.bytes().to_vec());
                }
                Ok(None) => break,
                Err(_) => break 'all,
            }
        }
        if reader.check_descriptors().is_err() {
            break;
        }
    }
    // Descriptors that do not fit may end it earlier.
    assert!(whole.starts_with(&cut));
}

/// Unused bytes are written as zeroes, all others as they were.
fn check(read: &[u8], written: &[u8], decode: Decode) {
    assert_eq!(read.len(), written.len());
    assert!(read.iter().zip(written).all(|(old, new)| old == new || *new == 0));
    let again = decode(written).expect("what is written is a frame");
    let ((again, _), size) = again.expect("what is written is whole");
    assert_eq!((again.bytes(), size), (written, written.len()));
}

fn file() -> OwnedFd {
    std::fs::File::open("/dev/null").expect("/dev/null").into()
}

/// The bytes in pieces, some of them with descriptors, and some of these truncated by the kernel.
#[derive(Clone)]
struct Pieces(std::sync::Arc<Inner>);

struct Inner {
    bytes: Mutex<Vec<u8>>,
    pieces: Vec<(u8, u8)>,
    next: AtomicUsize,
}

impl Pieces {
    fn new(bytes: &[u8], pieces: &[(u8, u8)]) -> Self {
        Self(std::sync::Arc::new(Inner {
            bytes: Mutex::new(bytes.to_vec()),
            pieces: pieces.to_vec(),
            next: AtomicUsize::new(0),
        }))
    }
}

impl Sys for Pieces {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&self, _listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        Err(Errno::EAGAIN)
    }

    fn send(&self, _socket: BorrowedFd<'_>, bytes: &[u8], _descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        Ok(bytes.len())
    }

    fn receive(&self, socket: BorrowedFd<'_>, room: &mut [u8]) -> Result<Received, Errno> {
        let next = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (size, with) = self.0.pieces.get(next).copied().unwrap_or((255, 0));
        let mut bytes = self.0.bytes.lock().expect("no thread panics with the lock");
        assert!(!room.is_empty(), "no room for a piece");
        let size = usize::from(size).max(1).min(room.len()).min(bytes.len());
        room[..size].copy_from_slice(&bytes[..size]);
        bytes.drain(..size);
        // An end of the stream has no descriptors.
        let count = if size == 0 { 0 } else { with % 4 };
        let descriptors = (0..count).map(|_| socket.try_clone_to_owned().expect("a descriptor"));
        Ok(Received {
            bytes: size,
            descriptors: descriptors.map(ForeignFd::from).collect(),
            truncated: size > 0 && with >= 200,
        })
    }
}
