//! The server name in the ClientHello of TLS (RFC 8446 and RFC 6066). Pure and without allocation.

/// The maximum length of the ClientHello with its records. A key share with ML-KEM takes about 1.8 KB.
pub const MAX_HELLO: usize = 16 * 1024;

/// The result of [`server_name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// The name that the client asks for.
    Name(&'a [u8]),
    /// The client asks for no name.
    Absent,
    /// The bytes are no ClientHello.
    NotTls,
    /// The ClientHello is longer than [`MAX_HELLO`].
    TooLong,
    /// The ClientHello is incomplete: there must be at least this many bytes.
    Incomplete {
        /// More than the length of the input.
        needed: usize,
    },
}

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Returns the server name in a ClientHello, which may span several records. Moves the contents of the records together within
/// `bytes`.
pub fn server_name(bytes: &mut [u8]) -> ServerName<'_> {
    let (mut at, mut filled) = (0, 0);
    loop {
        let Some(&[kind, major, _, high, low]) = bytes.get(at..).and_then(<[u8]>::first_chunk::<RECORD_HEADER>) else {
            // The incomplete header must be that of a handshake.
            if bytes.get(at).is_some_and(|&kind| kind != HANDSHAKE) {
                return ServerName::NotTls;
            }
            return incomplete(at + RECORD_HEADER);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != HANDSHAKE || major != 3 || length == 0 {
            return ServerName::NotTls;
        }
        let end = at + RECORD_HEADER + length;
        if bytes.len() < end {
            return incomplete(end);
        }
        bytes.copy_within(at + RECORD_HEADER..end, filled);
        filled += length;
        at = end;
        if let Some(&[kind, a, b, c]) = bytes[..filled].first_chunk::<HANDSHAKE_HEADER>() {
            let end = HANDSHAKE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
            if kind != CLIENT_HELLO {
                return ServerName::NotTls;
            }
            if end > MAX_HELLO {
                return ServerName::TooLong;
            }
            if filled >= end {
                return name_in(Fields(&bytes[HANDSHAKE_HEADER..end])).unwrap_or(ServerName::NotTls);
            }
        }
    }
}

fn incomplete(needed: usize) -> ServerName<'static> {
    if needed > MAX_HELLO {
        ServerName::TooLong
    } else {
        ServerName::Incomplete { needed }
    }
}

/// Returns the name in the body of a ClientHello; `None` if the body is malformed.
fn name_in(mut hello: Fields<'_>) -> Option<ServerName<'_>> {
    // The version, the random bytes, the session id, the cipher suites and the compression methods.
    hello.take(2 + 32)?;
    hello.short()?;
    hello.long()?;
    hello.short()?;
    if hello.0.is_empty() {
        return Some(ServerName::Absent);
    }
    let mut extensions = Fields(hello.long()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long()?;
        if kind != SERVER_NAME {
            continue;
        }
        let mut names = Fields(Fields(content).long()?);
        while !names.0.is_empty() {
            let kind = names.take(1)?[0];
            let name = names.long()?;
            if kind == HOST_NAME && !name.is_empty() {
                return Some(ServerName::Name(name));
            }
        }
    }
    Some(ServerName::Absent)
}

/// Reads fields one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    fn number(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// Reads a field with a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    /// Reads a field with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn hello(name: Option<&[u8]>, padding: usize) -> Vec<u8> {
        let mut extensions = [&[0, 21][..], &long(&vec![0; padding])].concat();
        if let Some(name) = name {
            let list = long(&[&[0][..], &long(name)].concat());
            extensions.extend([&[0, 0][..], &long(&list)].concat());
        }
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &long(&[0x13, 1]),
            &[1, 0],
            &long(&extensions),
        ]
        .concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    fn records(handshake: &[u8], size: usize) -> Vec<u8> {
        let records = handshake
            .chunks(size)
            .map(|part| [&[22, 3, 1][..], &long(part)].concat());
        records.collect::<Vec<_>>().concat()
    }

    #[test]
    fn other_protocols_are_not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"G",
            b"\x16\x02\x01\0\x01\x01",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\0\x04\x02\0\0\0",
        ] {
            assert_eq!(server_name(&mut bytes.to_vec()), ServerName::NotTls, "{bytes:?}");
        }
        assert_eq!(server_name(&mut []), ServerName::Incomplete { needed: 5 });
    }

    #[test]
    fn a_hello_without_a_name_or_beyond_the_limit_has_none() {
        assert_eq!(server_name(&mut records(&hello(None, 0), 1000)), ServerName::Absent);
        assert_eq!(
            server_name(&mut records(&hello(Some(b""), 0), 1000)),
            ServerName::Absent
        );
        assert_eq!(
            server_name(&mut records(&hello(None, 17_000), 16_000)),
            ServerName::TooLong
        );
        let mut cut = hello(Some(b"a.example"), 0);
        let end = cut.len() - 3;
        cut[end] = 255;
        assert!(!matches!(
            server_name(&mut records(&cut, 1000)),
            ServerName::Incomplete { .. }
        ));
    }

    proptest! {
        #[test]
        fn a_name_is_found_over_any_records_and_its_parts_are_incomplete(
            name in "[a-z.]{1,60}",
            padding in 0_usize..3000,
            size in 1_usize..4000,
        ) {
            let bytes = records(&hello(Some(name.as_bytes()), padding), size);
            prop_assume!(bytes.len() <= MAX_HELLO);
            let mut copy = bytes.clone();
            prop_assert_eq!(server_name(&mut copy), ServerName::Name(name.as_bytes()));
            for length in [0, 1, 4, 5, 9, bytes.len() / 2, bytes.len() - 1] {
                let mut copy = bytes[..length].to_vec();
                let part = server_name(&mut copy);
                let is_right = matches!(part, ServerName::Incomplete { needed } if length < needed && needed <= bytes.len().max(5));
                prop_assert!(is_right, "{:?} after {} of {}", part, length, bytes.len());
            }
        }

        #[test]
        fn no_input_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = server_name(&mut bytes.clone());
            bytes.splice(0..0, [22, 3, 1, 0, 200, 1, 0, 0, 190]);
            let _ = server_name(&mut bytes);
        }
    }
}
