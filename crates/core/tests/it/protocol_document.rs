//! PROTOCOL.md describes the code: its session is the output of the code, and its numbers are those of the code.

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;

use socketserver_core::ListenerAddress;
use socketserver_core::channel::scoreboard::{Claim, NO_SLOT, Scoreboard};
use socketserver_core::parent::dispatcher::rules::select::WITHHELD_FOR;
use socketserver_core::parent::dispatcher::rules::timeouts::ANSWER_WITHIN;
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::MAX_FRAME;
use socketserver_core::protocol::limits::FRAME_TIMEOUT;
use socketserver_core::protocol::limits::MAX_RECORDS;
use socketserver_core::protocol::limits::{MAX_CREDIT, MAX_LANES, MAX_LISTENERS, MAX_UNREPORTED};
use socketserver_core::protocol::limits::{RETURNABLE, WINDOW};
use socketserver_core::protocol::proxied_record::{FIXED, MAX_TLVS};
use socketserver_core::protocol::record::Record;
use socketserver_core::protocol::records::{
    CloseReason, Credit, Hello, Refusal, RefusalReason, ReturnOutcome, Returned, Welcome,
};
use socketserver_core::protocol::version::{
    DRAIN_SOON_SINCE, ENDED_IDS_SINCE, LISTENING_SINCE, OLDEST_VERSION, PROXIED_SINCE, RETURNS_SINCE, VERSION,
};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// One frame of the session: its sender, its name, and the size and meaning of each part.
struct Line {
    sender: char,
    frame: Encoder,
    title: &'static str,
    parts: &'static [(usize, &'static str)],
}

fn line(
    sender: char,
    write: impl FnOnce(&mut Encoder),
    title: &'static str,
    parts: &'static [(usize, &'static str)],
) -> Line {
    let mut frame = Encoder::new();
    write(&mut frame);
    Line {
        sender,
        frame,
        title,
        parts,
    }
}

fn v4(id: u64, waited: u32) -> ConnectionHead {
    ConnectionHead {
        id,
        slot: NO_SLOT,
        reissued: false,
        tracked: false,
        waited,
        lane: 0,
        family: Family::Ipv4,
        remote: Some("192.0.2.7:51234".parse().unwrap()),
        local_port: 8080,
    }
}

fn v6(id: u64) -> ConnectionHead {
    ConnectionHead {
        id,
        slot: NO_SLOT,
        reissued: false,
        tracked: false,
        waited: 250,
        lane: 8080,
        family: Family::Ipv6,
        remote: Some("[2001:db8::1]:40000".parse().unwrap()),
        local_port: 8080,
    }
}

const CONNECTION: &[(usize, &str)] = &[
    (8, "id"),
    (4, "microseconds waited"),
    (2, "lane"),
    (2, "local port 8080"),
    (2, "client's port"),
    (2, "family, no slot"),
    (4, "scope"),
    (16, "client's address"),
];

const CREDIT: &[(usize, &str)] = &[(4, "count"), (4, "lane")];

fn session() -> Vec<Line> {
    [beginning(), handing_back(), tracking(), end()]
        .into_iter()
        .flatten()
        .collect()
}

fn beginning() -> Vec<Line> {
    let hello = Hello {
        oldest: OLDEST_VERSION,
        newest: VERSION,
        pid: 12345,
        scoreboard: false,
    };
    let welcome = Welcome {
        version: VERSION,
        channel: 1,
        scoreboard: false,
    };
    let refusal = Refusal {
        id: 8,
        reason: RefusalReason::Recalled,
    };
    vec![
        line(
            'W',
            |frames| frames.hello(hello),
            "HELLO, one record of 16 bytes",
            &[
                (4, "\"SSRV\""),
                (4, "versions 1 to 6"),
                (4, "process 12345"),
                (4, "no flags"),
            ],
        ),
        line(
            'P',
            |frames| frames.welcome(welcome),
            "WELCOME",
            &[(4, "\"SSRV\""), (4, "version 6, no flags"), (4, "channel 1")],
        ),
        line(
            'P',
            |frames| frames.listening(ListenerAddress::Tcp("192.0.2.1:8080".parse().unwrap())),
            "LISTENING on 192.0.2.1:8080",
            &[
                (2, "family, no path"),
                (2, "port 8080"),
                (4, "scope"),
                (16, "address"),
                (104, "unused"),
            ],
        ),
        line(
            'W',
            |frames| frames.credit([Credit { lane: 0, count: 1 }]),
            "CREDIT: one on any lane",
            CREDIT,
        ),
        line(
            'P',
            |frames| frames.connection([v4(7, 1500)]),
            "CONNECTION 7 from 192.0.2.7:51234, with one descriptor",
            CONNECTION,
        ),
        line('W', |frames| frames.ack([7]), "ACK", &[(8, "id")]),
        line(
            'W',
            |frames| {
                frames.credit([Credit { lane: 8080, count: 3 }]);
            },
            "CREDIT: three on port 8080",
            CREDIT,
        ),
        line(
            'P',
            |frames| frames.connection([v6(8)]),
            "CONNECTION 8 from [2001:db8::1]:40000, with one descriptor",
            CONNECTION,
        ),
        line(
            'P',
            |frames| frames.recall([8]),
            "RECALL: not acknowledged for 5 ms, and another has credit",
            &[(8, "id")],
        ),
        line(
            'W',
            |frames| frames.refuse([refusal]),
            "REFUSE",
            &[(8, "id"), (4, "Recalled")],
        ),
        line(
            'W',
            |frames| frames.ended(1),
            "ENDED: connection 7 is finished",
            &[(4, "leases")],
        ),
    ]
}

fn handing_back() -> Vec<Line> {
    let returned = Returned {
        id: 9,
        outcome: ReturnOutcome::TakenBack,
    };
    vec![
        line(
            'P',
            |frames| frames.connection([v6(9)]),
            "CONNECTION 9, with one descriptor",
            CONNECTION,
        ),
        line('W', |frames| frames.ack([9]), "ACK", &[(8, "id")]),
        line(
            'W',
            |frames| frames.hand_back(9),
            "RETURN, with the descriptor: for another worker",
            &[(8, "id")],
        ),
        line(
            'P',
            |frames| frames.returned([returned]),
            "RETURNED: close your copy",
            &[(8, "id"), (4, "taken back")],
        ),
    ]
}

fn tracking() -> Vec<Line> {
    let tracked = ConnectionHead {
        tracked: true,
        ..v6(10)
    };
    vec![
        line(
            'P',
            |frames| frames.connection([tracked]),
            "CONNECTION 10, tracked, with one descriptor",
            CONNECTION,
        ),
        line('W', |frames| frames.ack([10]), "ACK", &[(8, "id")]),
        line(
            'W',
            |frames| frames.ended(1),
            "ENDED: connection 10 is finished",
            &[(4, "leases")],
        ),
        line(
            'W',
            |frames| frames.ended_ids([10]),
            "ENDED_IDS, because it was tracked",
            &[(8, "id")],
        ),
    ]
}

fn end() -> Vec<Line> {
    vec![
        line(
            'W',
            |frames| frames.cancel([Credit { lane: 8080, count: 1 }]),
            "CANCEL: the rest on port 8080",
            CREDIT,
        ),
        line(
            'P',
            |frames| frames.cancelled([Credit { lane: 8080, count: 1 }]),
            "CANCELLED: all was unused",
            CREDIT,
        ),
        line('P', Encoder::drain_soon, "DRAIN_SOON", &[]),
        line('P', Encoder::drain, "DRAIN", &[]),
        line('P', Encoder::retire, "RETIRE", &[]),
        line('W', Encoder::leave, "LEAVE, if the worker ends the session", &[]),
        line(
            'P',
            |frames| frames.close(CloseReason::Dismissed),
            "CLOSE, if the parent does not wait",
            &[(4, "dismissed"), (4, "detail")],
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

fn rendered() -> String {
    let mut text = String::new();
    for Line {
        sender,
        frame,
        title,
        parts,
    } in session()
    {
        let (header, mut rest) = frame.bytes().split_at(8);
        writeln!(text, "{sender} {:<50}{title}", hex(header)).unwrap();
        for (size, meaning) in parts {
            let (part, after) = rest.split_at(*size);
            let bytes = if *meaning == "unused" {
                format!("{size} bytes of 00")
            } else {
                hex(part)
            };
            writeln!(text, "  {bytes:<50}{meaning}").unwrap();
            rest = after;
        }
        assert!(rest.is_empty(), "{title} has bytes without a meaning");
    }
    text
}

#[test]
fn the_session_is_the_output_of_the_code() {
    let block = DOCUMENT
        .split("```text\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let block = block.unwrap();
    let ours = rendered();
    assert!(block == ours, "PROTOCOL.md must contain:\n\n{ours}");
}

#[test]
fn every_kind_and_size_is_in_the_tables() {
    let rows = session().into_iter().map(|Line { frame, title, .. }| {
        let name = title
            .split(|letter: char| !letter.is_uppercase() && letter != '_')
            .next()
            .unwrap();
        let bytes = frame.bytes();
        let count = u16::from_le_bytes([bytes[6], bytes[7]]);
        (name, bytes[4], count, bytes.len() - 8)
    });
    for (name, kind, count, size) in rows {
        let row = format!("| 0x{kind:02x} | {name} |");
        let row = DOCUMENT.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("no row of {name}, 0x{kind:02x}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if count == 0 {
            assert_eq!(cells[3], "0", "{name}");
        } else {
            assert_eq!(cells[4], size.to_string(), "{name}");
        }
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    for (what, limit) in [
        ("records in a frame, descriptors in a message", MAX_RECORDS as u64),
        ("bytes in a frame", MAX_FRAME as u64),
        (
            "connections that are neither acknowledged nor refused, per channel",
            WINDOW as u64,
        ),
        ("listeners of which a worker learns", MAX_LISTENERS as u64),
        ("credit of a channel", MAX_CREDIT.into()),
        (
            "tracked connections of a channel beyond its leases",
            MAX_UNREPORTED as u64,
        ),
        ("lanes of a channel with unused credit, at one time", MAX_LANES as u64),
        ("seconds to finish a frame", FRAME_TIMEOUT.as_secs()),
        ("seconds to answer a RECALL", ANSWER_WITHIN.as_secs()),
        (
            "later connections after which a connection can no longer be returned",
            RETURNABLE as u64,
        ),
    ] {
        let row = format!("| {what} | {limit} |");
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    assert!(DOCUMENT.contains(&format!(
        "# The protocol of a channel, versions {OLDEST_VERSION} to {VERSION}\n"
    )));
    assert_eq!(
        (
            RETURNS_SINCE,
            LISTENING_SINCE,
            PROXIED_SINCE,
            DRAIN_SOON_SINCE,
            ENDED_IDS_SINCE
        ),
        (2, 3, 4, 5, VERSION)
    );
    let proxied = format!("| 0x8a | PROXIED | {FIXED} to {} | 1 |", FIXED + MAX_TLVS);
    assert!(DOCUMENT.contains(&proxied), "{proxied}");
    assert!(DOCUMENT.contains("8 + 84 + 4096 = 4188"));
    assert!(DOCUMENT.contains(&format!("for {} ms", WITHHELD_FOR.as_millis())));
    assert_eq!(ConnectionHead::SIZE, 40);
    assert!(DOCUMENT.contains("8 + 64 × 40 = 2568"));
}

#[test]
fn the_reasons_of_a_close_are_those_of_the_code() {
    let record = DOCUMENT.split("The record of CLOSE:").nth(1).unwrap();
    for (close, number, detail, words) in [
        (CloseReason::Ended, 1, 0, "1 the server ends"),
        (CloseReason::Dismissed, 2, 0, "2 this worker is dismissed"),
        (CloseReason::Protocol, 3, 0, "3 it broke the protocol"),
        (CloseReason::Version(9), 4, 9, "4 no version in common"),
        (CloseReason::NotAllowed, 5, 0, "5 not allowed"),
        (CloseReason::Full(64), 6, 64, "6 full"),
        (CloseReason::Late(5000), 7, 5000, "7 late"),
    ] {
        let mut bytes = Vec::new();
        close.encode(&mut bytes);
        let [reason, written] = [&bytes[..4], &bytes[4..]].map(|half| u32::from_le_bytes(half.try_into().unwrap()));
        assert_eq!((reason, written), (number, detail), "{words}");
        assert_eq!(CloseReason::decode(&bytes), Ok(close));
        assert!(record.contains(words), "{words}");
    }
    // The reasons of a refused peer.
    for row in [
        "| 3 | the first frame",
        "| 4 | no version",
        "| 5 | the user",
        "| 6 | the maximum",
        "| 7 | no HELLO",
    ] {
        assert!(DOCUMENT.contains(row), "{row}");
    }
}

#[test]
fn a_connection_record_has_the_offsets_of_the_table() {
    let head = ConnectionHead {
        id: 0x0807_0605_0403_0201,
        slot: 0x14,
        reissued: true,
        tracked: true,
        waited: 0x0c0b_0a09,
        lane: 0x0e0d,
        family: Family::Ipv6,
        remote: Some(
            std::net::SocketAddrV6::new(
                std::array::from_fn::<u8, 16, _>(|at| 0x19 + u8::try_from(at).unwrap()).into(),
                0x1211,
                0,
                0x1817_1615,
            )
            .into(),
        ),
        local_port: 0x100f,
    };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    // Every byte but that of the family is its own position.
    let positions: Vec<u8> = (1..=40).collect();
    assert_eq!((&bytes[..18], &bytes[19..]), (&positions[..18], &positions[19..]));
    assert_eq!(bytes[18], 128 + 64 + 6);
    let table = DOCUMENT.split("A CONNECTION record:").nth(1).unwrap();
    let rows: Vec<(usize, usize)> = table
        .lines()
        .skip(4)
        .map_while(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            Some((cells.next()?.parse().ok()?, cells.next()?.parse().ok()?))
        })
        .collect();
    assert_eq!(rows.len(), 9);
    let mut end = 0;
    for (offset, size) in rows {
        assert_eq!(offset, end);
        end = offset + size;
    }
    assert_eq!(end, ConnectionHead::SIZE);
}

#[test]
fn the_scoreboard_has_the_offsets_of_the_table() {
    let (page, memory) = Scoreboard::create().unwrap();
    let memory = File::from(memory);
    let field = |name: &str, size: usize| {
        let mut rows = DOCUMENT.lines().filter(|row| row.contains(name));
        let row = rows.find(|row| {
            row.split('|')
                .nth(2)
                .is_some_and(|cell| cell.trim() == size.to_string())
        });
        let offset = row.and_then(|row| row.split('|').nth(1)?.trim().parse().ok());
        let mut bytes = [0; 8];
        memory
            .read_exact_at(&mut bytes[..size.min(8)], offset.unwrap())
            .unwrap();
        // A field of 4 bytes is in the low half.
        if size == 4 {
            u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into()
        } else {
            u64::from_ne_bytes(bytes)
        }
    };
    page.want(true);
    page.add(3, 4, 5);
    page.beat();
    page.offer(0, 700);
    assert_eq!(field("wanted:", 4), 1);
    assert_eq!(field("leases ended", 8), 4);
    assert_eq!(field("credit granted on lane 0", 8), 5);
    assert_eq!(field("connections taken", 8), 3);
    assert_eq!(field("turns of the worker's event loop", 8), 1);
    assert_eq!(field("64 claim words", 512), 700 * 8);
    page.turn_ended(77, 90);
    page.set_thread(12);
    page.add_lease(900);
    assert_eq!(field("layout of the measured values", 8), 1);
    assert_eq!(field("busy time of the event loop", 8), 77);
    assert_eq!(field("sum of the lease times", 8), 900);
    assert_eq!(field("ended leases by duration", 136), 1);
    assert_eq!(field("turns of the event loop by duration", 136), 1);
    assert_eq!(field("sum of the durations of the turns", 8), 90);
    assert_eq!(field("id of the thread of the event loop", 8), 12);
    for (claim, state, name) in [
        (Claim::Taken, 1, "taken"),
        (Claim::Recalled, 2, "recalled"),
        (Claim::Unwanted, 3, "unwanted"),
        (Claim::NoDescriptor, 4, "no descriptor"),
    ] {
        page.offer(0, 700);
        assert!(page.claim(0, 700, claim));
        assert_eq!(field("64 claim words", 512), 700 * 8 + state);
        assert!(DOCUMENT.contains(&format!("| {state} | {name}")), "{name}");
    }
}
