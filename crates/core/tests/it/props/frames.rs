//! Encoded frames decode to the same frames, and no input causes a panic.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use socketserver_core::ListenerAddress;
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::{ToParent, ToWorker};
use socketserver_core::protocol::limits::MAX_RECORDS;
use socketserver_core::protocol::proxied_record::Proxied;
use socketserver_core::protocol::records::{
    CloseReason, Credit, Hello, Refusal, RefusalReason, ReturnOutcome, Returned, Welcome,
};
use socketserver_core::protocol::ticket_keys::TicketKeys;

/// A frame of either direction that owns its records.
#[derive(Debug, Clone, PartialEq)]
enum Frame {
    Hello(Hello),
    Ack(Vec<u64>),
    Refuse(Vec<Refusal>),
    Ended(u32),
    Credit(Vec<Credit>),
    Cancel(Vec<Credit>),
    Leave,
    Nudge,
    Return(u64),
    EndedIds(Vec<u64>),
    Welcome(Welcome),
    Connection(Vec<ConnectionHead>),
    Recall(Vec<u64>),
    Cancelled(Vec<Credit>),
    Drain,
    DrainSoon,
    Retire,
    Close(CloseReason),
    Returned(Vec<Returned>),
    Listening(ListenerAddress),
    Proxied(u64, Proxied),
    TicketKeys(TicketKeys),
}

impl Frame {
    fn write(&self, frames: &mut Encoder) {
        match self.clone() {
            Self::Hello(hello) => frames.hello(hello),
            Self::Ack(ids) => frames.ack(ids),
            Self::Refuse(refusals) => frames.refuse(refusals),
            Self::Ended(leases) => frames.ended(leases),
            Self::Credit(credit) => frames.credit(credit),
            Self::Cancel(credit) => frames.cancel(credit),
            Self::Leave => frames.leave(),
            Self::Nudge => frames.nudge(),
            Self::Return(id) => frames.hand_back(id),
            Self::EndedIds(ids) => frames.ended_ids(ids),
            Self::Welcome(welcome) => frames.welcome(welcome),
            Self::Connection(heads) => frames.connection(heads),
            Self::Recall(ids) => frames.recall(ids),
            Self::Cancelled(credit) => frames.cancelled(credit),
            Self::Drain => frames.drain(),
            Self::DrainSoon => frames.drain_soon(),
            Self::Retire => frames.retire(),
            Self::Close(reason) => frames.close(reason),
            Self::Returned(returned) => frames.returned(returned),
            Self::Listening(address) => frames.listening(address),
            Self::Proxied(id, proxied) => frames.proxied(id, &proxied),
            Self::TicketKeys(keys) => frames.ticket_keys(keys),
        }
    }

    /// The first frame of `bytes`; `None` if it is invalid or incomplete, or has an invalid record.
    fn to_parent(bytes: &[u8]) -> Option<(Self, usize)> {
        let (frame, size) = ToParent::decode(bytes).ok()??;
        let frame = match frame {
            ToParent::Hello(hello) => Self::Hello(hello),
            ToParent::Ack(ids) => Self::Ack(ids.collect::<Result<_, _>>().ok()?),
            ToParent::Refuse(refusals) => Self::Refuse(refusals.collect::<Result<_, _>>().ok()?),
            ToParent::Ended(leases) => Self::Ended(leases),
            ToParent::Credit(credit) => Self::Credit(credit.collect::<Result<_, _>>().ok()?),
            ToParent::Cancel(credit) => Self::Cancel(credit.collect::<Result<_, _>>().ok()?),
            ToParent::Leave => Self::Leave,
            ToParent::Nudge => Self::Nudge,
            ToParent::Return(id) => Self::Return(id),
            ToParent::EndedIds(ids) => Self::EndedIds(ids.collect::<Result<_, _>>().ok()?),
        };
        Some((frame, size))
    }

    /// The same in the other direction.
    fn to_worker(bytes: &[u8]) -> Option<(Self, usize)> {
        let (frame, size) = ToWorker::decode(bytes).ok()??;
        let frame = match frame {
            ToWorker::Welcome(welcome) => Self::Welcome(welcome),
            ToWorker::Connection(heads) => Self::Connection(heads.collect::<Result<_, _>>().ok()?),
            ToWorker::Recall(ids) => Self::Recall(ids.collect::<Result<_, _>>().ok()?),
            ToWorker::Cancelled(credit) => Self::Cancelled(credit.collect::<Result<_, _>>().ok()?),
            ToWorker::Drain => Self::Drain,
            ToWorker::DrainSoon => Self::DrainSoon,
            ToWorker::Retire => Self::Retire,
            ToWorker::Close(reason) => Self::Close(reason),
            ToWorker::Returned(returned) => Self::Returned(returned.collect::<Result<_, _>>().ok()?),
            ToWorker::Listening(address) => Self::Listening(address),
            ToWorker::Proxied(id, proxied) => Self::Proxied(id, *proxied),
            ToWorker::TicketKeys(keys) => Self::TicketKeys(keys),
        };
        Some((frame, size))
    }

    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        Self::to_parent(bytes).or_else(|| Self::to_worker(bytes))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut frames = Encoder::new();
        self.write(&mut frames);
        frames.bytes().to_vec()
    }
}

fn many<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 1..=MAX_RECORDS)
}

fn credit() -> impl Strategy<Value = Credit> {
    (any::<u16>(), any::<u32>()).prop_map(|(lane, count)| Credit { lane, count })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let reason = prop::sample::select(vec![
        RefusalReason::Recalled,
        RefusalReason::NoDescriptor,
        RefusalReason::Unwanted,
    ]);
    (any::<u64>(), reason).prop_map(|(id, reason)| Refusal { id, reason })
}

fn returned() -> impl Strategy<Value = Returned> {
    let outcome = prop::sample::select(vec![ReturnOutcome::TakenBack, ReturnOutcome::SendAgain]);
    (any::<u64>(), outcome).prop_map(|(id, outcome)| Returned { id, outcome })
}

fn remote() -> impl Strategy<Value = Option<SocketAddr>> {
    (any::<Option<IpAddr>>(), any::<u16>(), any::<u32>()).prop_map(|(ip, port, scope)| {
        ip.map(|ip| match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
        })
    })
}

fn listener() -> impl Strategy<Value = ListenerAddress> {
    let path = prop::collection::vec(any::<u8>(), 0..=108);
    prop_oneof![
        remote().prop_filter_map("a Unix socket", |address| address.map(ListenerAddress::Tcp)),
        path.prop_map(|path| ListenerAddress::Unix(OsString::from_vec(path).into())),
    ]
}

fn proxied() -> impl Strategy<Value = Proxied> {
    let known = || remote().prop_filter_map("a known address", |address| address);
    let tlvs = prop::collection::vec(any::<u8>(), 0..200);
    (1_u8..=2, known(), known(), remote(), tlvs).prop_map(|(version, client, local, via, tlvs)| Proxied {
        version,
        client,
        local,
        via,
        tlvs: tlvs.into(),
    })
}

fn head() -> impl Strategy<Value = ConnectionHead> {
    let numbers = (any::<u64>(), any::<u32>(), any::<u16>(), any::<u16>());
    let place = (any::<u8>(), any::<bool>(), any::<bool>());
    (numbers, remote(), place).prop_map(|((id, waited, lane, local_port), remote, (slot, reissued, tracked))| {
        ConnectionHead {
            id,
            slot,
            reissued,
            tracked,
            waited,
            lane,
            family: match remote {
                None => Family::Unix,
                Some(SocketAddr::V4(_)) => Family::Ipv4,
                Some(SocketAddr::V6(_)) => Family::Ipv6,
            },
            remote,
            local_port,
        }
    })
}

fn frame() -> impl Strategy<Value = Frame> {
    let hello = (any::<u16>(), any::<u16>(), any::<u32>(), any::<bool>());
    let close = prop_oneof![
        Just(CloseReason::Ended),
        Just(CloseReason::Dismissed),
        Just(CloseReason::Protocol),
        any::<u16>().prop_map(CloseReason::Version),
    ];
    prop_oneof![
        hello.prop_map(|(oldest, newest, pid, scoreboard)| Frame::Hello(Hello {
            oldest,
            newest,
            pid,
            scoreboard
        })),
        many(any::<u64>()).prop_map(Frame::Ack),
        many(refusal()).prop_map(Frame::Refuse),
        any::<u32>().prop_map(Frame::Ended),
        many(credit()).prop_map(Frame::Credit),
        many(credit()).prop_map(Frame::Cancel),
        Just(Frame::Leave),
        Just(Frame::Nudge),
        any::<u64>().prop_map(Frame::Return),
        any::<(u16, u32, bool)>().prop_map(|(version, channel, scoreboard)| Frame::Welcome(Welcome {
            version,
            channel,
            scoreboard
        })),
        many(head()).prop_map(Frame::Connection),
        many(any::<u64>()).prop_map(Frame::Recall),
        many(credit()).prop_map(Frame::Cancelled),
        Just(Frame::Drain),
        Just(Frame::DrainSoon),
        Just(Frame::Retire),
        close.prop_map(Frame::Close),
        many(returned()).prop_map(Frame::Returned),
        listener().prop_map(Frame::Listening),
        (any::<u64>(), proxied()).prop_map(|(id, proxied)| Frame::Proxied(id, proxied)),
        any::<[u8; 32]>()
            .prop_map(|bytes| Frame::TicketKeys(TicketKeys([bytes, bytes].concat()[..48].try_into().unwrap()))),
    ]
}

/// Bytes that begin like a frame more often than random bytes.
fn nearly_a_frame() -> impl Strategy<Value = Vec<u8>> {
    let patch = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (frame(), patch).prop_map(|(frame, patch)| {
        let mut bytes = frame.bytes();
        for (at, byte) in patch {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(frames in prop::collection::vec(frame(), 1..6)) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let (mut rest, mut read) = (&bytes[..], Vec::new());
        while let Some((frame, size)) = Frame::decode(rest) {
            rest = &rest[size..];
            read.push(frame);
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn a_frame_is_not_read_before_it_is_whole(frame in frame(), cut in any::<prop::sample::Index>()) {
        let bytes = frame.bytes();
        let cut = &bytes[..cut.index(bytes.len())];
        // In its own direction it is neither a frame nor an error.
        if Frame::to_parent(&bytes).is_some() {
            prop_assert!(matches!(ToParent::decode(cut), Ok(None)));
        } else {
            prop_assert!(matches!(ToWorker::decode(cut), Ok(None)));
        }
    }

    #[test]
    fn no_frame_travels_both_ways(frame in frame()) {
        let bytes = frame.bytes();
        prop_assert!(Frame::to_parent(&bytes).is_none() || ToWorker::decode(&bytes).is_err());
        prop_assert!(Frame::to_worker(&bytes).is_none() || ToParent::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Frame::to_parent(&bytes), Frame::to_worker(&bytes));
    }

    #[test]
    fn what_is_read_is_written_the_same(bytes in nearly_a_frame()) {
        if let Some((frame, size)) = Frame::decode(&bytes) {
            prop_assert!(size <= bytes.len());
            let again = frame.bytes();
            // Unused bytes are written as zeroes, all others as they were.
            prop_assert_eq!(again.len(), size);
            for (at, (new, old)) in again.iter().zip(&bytes).enumerate() {
                prop_assert!(new == old || *new == 0, "byte {} of {:?}", at, frame);
            }
            prop_assert_eq!(Frame::decode(&again), Some((frame, size)));
        }
    }

    #[test]
    fn more_records_than_a_frame_holds_go_into_several(ids in prop::collection::vec(any::<u64>(), 65..300)) {
        let mut frames = Encoder::new();
        frames.ack(ids.iter().copied());
        let (mut rest, mut read) = (frames.bytes(), Vec::new());
        while let Some((Frame::Ack(some), size)) = Frame::decode(rest) {
            rest = &rest[size..];
            prop_assert!(some.len() <= MAX_RECORDS);
            read.extend(some);
        }
        prop_assert!(rest.is_empty());
        prop_assert_eq!(read, ids);
    }
}

#[test]
fn a_frame_without_records_that_has_some_is_not_written() {
    let mut frames = Encoder::new();
    frames.ack([]);
    frames.connection([]);
    frames.cancelled([]);
    assert!(frames.is_empty());
}
