//! Version 2: a binary header with the length of its addresses and TLVs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Header, HeaderError, MAX_HEADER, Parsed, Version, tlv};

pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, the version and command, the family and transport, and the length of the rest.
const FIXED: usize = 16;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

/// The length of the two names of a Unix socket.
const UNIX_LENGTH: usize = 216;

pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::Incomplete { needed: FIXED });
    };
    let [.., command, family, high, low] = *fixed;
    if command >> 4 != 2 {
        return Err(HeaderError::Version);
    }
    let is_local = match command & 0xf {
        LOCAL => true,
        PROXY => false,
        _ => return Err(HeaderError::Command),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_HEADER {
        return Err(HeaderError::TooLong);
    }
    if bytes.len() < length {
        return Ok(Parsed::Incomplete { needed: length });
    }
    let header = &bytes[..length];
    let (addresses, tlvs) = if is_local {
        // The receiver must ignore the rest, which need not be well-formed.
        (None, &[][..])
    } else {
        proxied(header, family)?
    };
    Ok(Parsed::Complete(Header {
        length,
        version: Version::Two,
        addresses,
        tlvs: if addresses.is_some() { tlvs } else { &[] },
    }))
}

/// Returns the addresses and the TLVs of a complete header with the command PROXY.
fn proxied(header: &[u8], family: u8) -> Result<(Option<Addresses>, &[u8]), HeaderError> {
    let (family, transport) = (family >> 4, family & 0xf);
    if family > UNIX || transport > DATAGRAM {
        return Err(HeaderError::Family);
    }
    let rest = &header[FIXED..];
    let (addresses, tlvs) = match family {
        INET => {
            let ([client @ .., a, b, c, d], tlvs) = split::<12>(rest)?;
            let [a1, b1, c1, d1, a2, b2, c2, d2] = client;
            let ip = |a, b, c, d| IpAddr::from(Ipv4Addr::new(a, b, c, d));
            let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            (Some(ends(ip(a1, b1, c1, d1), ip(a2, b2, c2, d2), ports)), tlvs)
        }
        INET6 => {
            let ([ips @ .., a, b, c, d], tlvs) = split::<36>(rest)?;
            let (client, local) = ips.split_at(16);
            let ip = |octets: &[u8]| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            let (Ok(client), Ok(local)) = (ip(client), ip(local)) else {
                return Err(HeaderError::Addresses);
            };
            let ports = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            (Some(ends(client, local, ports)), tlvs)
        }
        // The client of a Unix socket has no address.
        UNIX => (None, split::<UNIX_LENGTH>(rest)?.1),
        _ => (None, rest),
    };
    if family != 0 {
        tlv::check(header, tlvs)?;
    }
    // A proxied datagram cannot be a connection: like HAProxy, keep the addresses of the socket.
    Ok((addresses.filter(|_| transport == STREAM), tlvs))
}

fn split<const N: usize>(rest: &[u8]) -> Result<([u8; N], &[u8]), HeaderError> {
    let (addresses, tlvs) = rest.split_first_chunk::<N>().ok_or(HeaderError::Addresses)?;
    Ok((*addresses, tlvs))
}

fn ends(client: IpAddr, local: IpAddr, (client_port, local_port): (u16, u16)) -> Addresses {
    Addresses {
        client: SocketAddr::new(client, client_port),
        local: SocketAddr::new(local, local_port),
    }
}
