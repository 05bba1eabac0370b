//! Examples from the specification and from senders, and properties over generated headers.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn complete(bytes: &[u8]) -> Header<'_> {
    match parse(bytes) {
        Ok(Parsed::Complete(header)) => header,
        other => panic!("{other:?} for {bytes:?}"),
    }
}

fn addresses(client: &str, local: &str) -> Addresses {
    Addresses {
        client: client.parse().unwrap(),
        local: local.parse().unwrap(),
    }
}

/// Returns a header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = v2::SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xc8, 0x22, 0x01, 0xbb];

fn v4_with(tlvs: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&V4, tlvs].concat())
}

#[test]
fn a_line_of_version_1_names_both_ends() {
    let header = complete(b"PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\nGET / HTTP/1.1\r\n");
    assert_eq!(header.addresses, Some(addresses("192.0.2.1:51234", "198.51.100.7:443")));
    assert_eq!((header.length, header.version), (45, Version::One));
    let header = complete(b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 65535\r\n");
    assert_eq!(
        header.addresses,
        Some(addresses("[2001:db8::1]:0", "[::ffff:192.0.2.1]:65535"))
    );
}

#[test]
fn the_longest_line_of_version_1_is_accepted_and_a_longer_one_is_not() {
    let unknown = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_eq!(unknown.len(), 107);
    assert_eq!(complete(unknown).addresses, None);
    let longer = [&unknown[..105], b"x\r\n"].concat();
    assert_eq!(parse(&longer), Err(HeaderError::TooLong));
    assert_eq!(parse(&unknown[..106]), Ok(Parsed::Incomplete { needed: 107 }));
}

#[test]
fn a_line_of_version_1_follows_the_grammar_exactly() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r \n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443 1\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.7 51234 443\r\n",
        "PROXY TCP4\r192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 051234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 +51234 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 51234\r\n",
        "PROXY TCP4 ::1 ::1 51234 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP6 [::1] ::1 51234 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 51234 443\r\n",
        "PROXY TCP4 \u{661}92.0.2.1 198.51.100.7 51234 443\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Line), "{line:?}");
    }
}

#[test]
fn other_protocols_are_an_error_at_their_first_wrong_byte() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01",
        b"PROXZ",
        b"\r\n\r\nX",
        b"\0",
    ] {
        assert_eq!(parse(bytes), Err(HeaderError::Signature), "{bytes:?}");
    }
    for bytes in [&b""[..], b"P", b"PROXY", b"\r", b"\r\n\r\n\0\r\nQUIT\n"] {
        let parsed = parse(bytes);
        assert!(
            matches!(parsed, Ok(Parsed::Incomplete { needed }) if needed >= MIN_HEADER),
            "{parsed:?}"
        );
    }
}

#[test]
fn a_header_of_version_2_names_both_ends() {
    let header = v4_with(&[]);
    assert_eq!(
        complete(&header).addresses,
        Some(addresses("192.0.2.1:51234", "198.51.100.7:443"))
    );
    let mut ends = [0; 36];
    ends[15] = 1;
    ends[31] = 2;
    ends[33] = 80;
    ends[35] = 81;
    let header = v2(0x21, 0x21, &ends);
    assert_eq!(complete(&header).addresses, Some(addresses("[::1]:80", "[::2]:81")));
    assert_eq!(
        (complete(&header).length, complete(&header).version),
        (52, Version::Two)
    );
}

#[test]
fn local_unspecified_unix_and_datagram_headers_keep_the_addresses_of_the_socket() {
    // A health check of HAProxy, with and without a rest that has no meaning.
    for header in [
        v2(0x20, 0, &[]),
        v2(0x20, 0x11, &[1, 2, 3]),
        v2(0x20, 0xff, &[0; 40]),
        v2(0x21, 0, &[]),
        v2(0x21, 0, &[1, 2]),
        v2(0x21, 0x31, &[0; 216]),
        v2(0x21, 0x12, &V4),
    ] {
        let parsed = complete(&header);
        assert_eq!((parsed.addresses, parsed.length), (None, header.len()), "{header:?}");
        assert!(parsed.tlvs.is_empty());
    }
}

#[test]
fn a_malformed_header_of_version_2_is_an_error() {
    for (header, error) in [
        (v2(0x11, 0x11, &V4), HeaderError::Version),
        (v2(0x31, 0x11, &V4), HeaderError::Version),
        (v2(0x22, 0x11, &V4), HeaderError::Command),
        (v2(0x21, 0x41, &V4), HeaderError::Family),
        (v2(0x21, 0x13, &V4), HeaderError::Family),
        (v2(0x21, 0x11, &V4[..11]), HeaderError::Addresses),
        (v2(0x21, 0x21, &V4), HeaderError::Addresses),
        (v2(0x21, 0x31, &[0; 215]), HeaderError::Addresses),
        (v4_with(&[4, 0]), HeaderError::Tlv),
        (v4_with(&[4, 0, 2, 0]), HeaderError::Tlv),
        (v4_with(&tlv(5, &[7; 129])), HeaderError::Tlv),
        (v4_with(&tlv(0x20, &[0; 4])), HeaderError::Tlv),
        (v4_with(&tlv(0x20, &[0, 0, 0, 0, 0, 0x21, 0, 1])), HeaderError::Tlv),
        (v4_with(&tlv(3, &[0; 3])), HeaderError::Tlv),
        (v4_with(&tlv(3, &[0; 4])), HeaderError::Checksum),
        (v2(0x21, 0x11, &[0; 4081]), HeaderError::TooLong),
    ] {
        assert_eq!(parse(&header), Err(error), "{header:?}");
    }
}

#[test]
fn well_formed_tlvs_are_passed_on() {
    let ssl = [
        &[7, 0, 0, 0, 0][..],
        &tlv(0x21, b"TLSv1.3"),
        &tlv(0x22, b"client.example"),
    ]
    .concat();
    let tlvs = [
        tlv(1, b"h2"),
        tlv(2, b"a.example"),
        tlv(5, &[7; 128]),
        tlv(0x20, &ssl),
        tlv(0xea, b"\x01vpce"),
    ]
    .concat();
    let header = v4_with(&tlvs);
    assert_eq!(complete(&header).tlvs, tlvs);
}

#[test]
fn the_checksum_is_that_of_rfc_4960() {
    // The test vector of RFC 3720, B.4.
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    let mut header = v4_with(&tlv(3, &[0; 4]));
    let sum = crc32c::crc32c(&header);
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(complete(&header).length, 35);
    // A change of the TLV's type, at 28, removes the checksum.
    for index in (12..header.len()).filter(|&index| index != 28) {
        header[index] ^= 1;
        assert!(
            !matches!(parse(&header), Ok(Parsed::Complete(Header { addresses: Some(_), .. }))),
            "byte {index}"
        );
        header[index] ^= 1;
    }
}

fn header() -> impl Strategy<Value = (Vec<u8>, Option<Addresses>)> {
    let ends = (any::<(u16, u16)>(), any::<bool>(), any::<([u8; 16], [u8; 16])>());
    let tlvs = prop::collection::vec((0x80_u8..0xff, prop::collection::vec(any::<u8>(), 0..40)), 0..6);
    (ends, tlvs, 0_u8..4).prop_map(|(((from, to), is_v6, (client, local)), tlvs, kind)| {
        let (client, local): (std::net::IpAddr, std::net::IpAddr) = if is_v6 {
            (Ipv6Addr::from(client).into(), Ipv6Addr::from(local).into())
        } else {
            let v4 = |octets: [u8; 16]| Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]);
            (v4(client).into(), v4(local).into())
        };
        let ends = Addresses {
            client: SocketAddr::new(client, from),
            local: SocketAddr::new(local, to),
        };
        let family = if is_v6 { "TCP6" } else { "TCP4" };
        match kind {
            0 => (
                format!("PROXY {family} {client} {local} {from} {to}\r\n").into_bytes(),
                Some(ends),
            ),
            1 => (b"PROXY UNKNOWN anything\r\n".to_vec(), None),
            2 => (v2(0x20, 0, &[0; 7]), None),
            _ => {
                let octets = |ip: std::net::IpAddr| match ip {
                    std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                    std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let mut rest = [octets(client), octets(local)].concat();
                rest.extend(from.to_be_bytes());
                rest.extend(to.to_be_bytes());
                rest.extend(tlvs.iter().flat_map(|(kind, value)| tlv(*kind, value)));
                (v2(0x21, if is_v6 { 0x21 } else { 0x11 }, &rest), Some(ends))
            }
        }
    })
}

proptest! {
    #[test]
    fn a_header_is_taken_to_its_last_byte_and_no_further(
        (header, ends) in header(),
        after in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes = [&header[..], &after].concat();
        let parsed = complete(&bytes);
        prop_assert_eq!(parsed.length, header.len());
        prop_assert_eq!(parsed.addresses, ends);
    }

    #[test]
    fn every_part_of_a_header_is_incomplete_and_asks_for_no_more_than_the_rest((header, _) in header()) {
        for length in 0..header.len() {
            match parse(&header[..length]) {
                Ok(Parsed::Incomplete { needed }) => prop_assert!(length < needed && needed <= header.len()),
                other => prop_assert!(false, "{:?} after {} bytes", other, length),
            }
        }
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), version in 0..3) {
        let prefix: &[u8] = match version {
            0 => b"",
            1 => b"PROXY TCP4 ",
            _ => &v2::SIGNATURE,
        };
        let _ = parse(&[prefix, &bytes].concat());
    }
}
