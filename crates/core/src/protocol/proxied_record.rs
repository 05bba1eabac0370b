//! The record of PROXIED: what a proxy in front of the server tells about the client of a connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::error::FrameError;
use super::record::Fields;
use crate::ids::ConnectionId;

/// The size of the record without the TLVs.
pub const FIXED: usize = 84;

/// The maximum size of the TLVs.
pub const MAX_TLVS: usize = 4096;

/// What a proxy told about the client of a connection, by the PROXY protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The version of the PROXY protocol, 1 or 2.
    pub version: u8,
    /// The client.
    pub client: SocketAddr,
    /// The address to which the client has connected.
    pub local: SocketAddr,
    /// The address of the proxy; `None` if it has connected to a Unix socket.
    pub via: Option<SocketAddr>,
    /// The TLVs of version 2, as received.
    pub tlvs: Box<[u8]>,
}

impl Proxied {
    /// Appends the record of a connection.
    pub(super) fn encode(&self, id: ConnectionId, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&[self.version, 0, 0, 0]);
        for address in [Some(self.client), Some(self.local), self.via] {
            encode_address(address, bytes);
        }
        bytes.extend_from_slice(&self.tlvs);
    }

    /// Decodes a record of at least [`FIXED`] bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<(ConnectionId, Self), FrameError> {
        let mut fields = Fields(bytes);
        let (id, version, _unused) = (fields.u64(), fields.u8(), fields.array::<3>());
        let client = decode_address(&mut fields)?.ok_or(FrameError::Family(UNIX))?;
        let local = decode_address(&mut fields)?.ok_or(FrameError::Family(UNIX))?;
        let via = decode_address(&mut fields)?;
        let proxied = Self {
            version,
            client,
            local,
            via,
            tlvs: fields.0.into(),
        };
        Ok((id, proxied))
    }
}

const UNIX: u8 = 1;

fn encode_address(address: Option<SocketAddr>, bytes: &mut Vec<u8>) {
    let (family, port, scope, octets) = match address {
        None => (UNIX, 0, 0, [0; 16]),
        Some(SocketAddr::V4(v4)) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&v4.ip().octets());
            (4, v4.port(), 0, octets)
        }
        Some(SocketAddr::V6(v6)) => (6, v6.port(), v6.scope_id(), v6.ip().octets()),
    };
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&port.to_le_bytes());
    bytes.extend_from_slice(&scope.to_le_bytes());
    bytes.extend_from_slice(&octets);
}

fn decode_address(fields: &mut Fields<'_>) -> Result<Option<SocketAddr>, FrameError> {
    let (family, _unused, port, scope) = (fields.u8(), fields.u8(), fields.u16(), fields.u32());
    let octets: [u8; 16] = fields.array();
    match family {
        UNIX => Ok(None),
        4 => {
            let [a, b, c, d, ..] = octets;
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port)))
        }
        6 => Ok(Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())),
        other => Err(FrameError::Family(other)),
    }
}
