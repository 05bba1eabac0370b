//! Version 1: one line of text, `PROXY TCP4 192.0.2.1 192.0.2.2 51234 443` and CRLF.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Header, HeaderError, Parsed, Version};

pub const PREFIX: &[u8] = b"PROXY ";
/// The length of the shortest line.
pub const MIN_LENGTH: usize = "PROXY UNKNOWN\r\n".len();
/// The length of the longest line.
const MAX_LENGTH: usize = 107;

pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let window = &bytes[..bytes.len().min(MAX_LENGTH)];
    // A CR or LF elsewhere than in CRLF is an error.
    let end = window.iter().position(|&byte| byte == b'\r' || byte == b'\n');
    match end.map(|end| &window[end..]) {
        Some([b'\r', b'\n', ..]) => {}
        None | Some([b'\r']) if window.len() < MAX_LENGTH => {
            return Ok(Parsed::Incomplete {
                needed: MIN_LENGTH.max(bytes.len() + 1),
            });
        }
        None | Some([b'\r']) => return Err(HeaderError::TooLong),
        Some(_) => return Err(HeaderError::Line),
    }
    let end = end.unwrap_or_default();
    let line = std::str::from_utf8(&window[..end]).map_err(|_| HeaderError::Line)?;
    Ok(Parsed::Complete(Header {
        length: end + 2,
        version: Version::One,
        addresses: addresses(line)?,
        tlvs: &[],
    }))
}

fn addresses(line: &str) -> Result<Option<Addresses>, HeaderError> {
    let mut words = line.split(' ').skip(1);
    let parsed = match words.next() {
        // The rest of the line has no meaning.
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => ends::<Ipv4Addr>(&mut words),
        Some("TCP6") => ends::<Ipv6Addr>(&mut words),
        _ => None,
    };
    parsed
        .filter(|_| words.next().is_none())
        .map(Some)
        .ok_or(HeaderError::Line)
}

fn ends<'a, A: FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'a str>) -> Option<Addresses> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (client, local) = (address()?, address()?);
    let (client_port, local_port) = (port(words.next()?)?, port(words.next()?)?);
    Some(Addresses {
        client: SocketAddr::new(client, client_port),
        local: SocketAddr::new(local, local_port),
    })
}

/// Parses a port as the grammar has it: digits only, without leading zeros. `str::parse` also accepts `+80` and `080`.
fn port(word: &str) -> Option<u16> {
    let is_canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_canonical)
}
