//! The record of a connection: what travels beside its descriptor.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::frame::FrameError;
use super::records::{Fields, Record};
use crate::ids::ConnectionId;

/// What is told of a connection beside its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionHead {
    /// Unique within the server.
    pub id: ConnectionId,
    /// Microseconds from accept to this handoff; 2^32 - 1 is that or more.
    pub waited: u32,
    /// The lane whose credit it used.
    pub lane: u16,
    /// Its slot on the scoreboard; [`crate::channel::scoreboard::NO_SLOT`] on a channel without one.
    pub slot: u8,
    /// The socket's kind.
    pub family: Family,
    /// A copy of the descriptor may lie unread at a worker that had been offered it before: a close alone would not
    /// reach the client before that copy is gone too, so shut the connection down first, shutdown(2).
    pub reissued: bool,
    /// The client; `None` for a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The port it came in by; 0 for a Unix socket.
    pub local_port: u16,
}

/// The kind of a connection's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `AF_UNIX`
    Unix,
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`, IPv4-mapped addresses included
    Ipv6,
}

/// In the byte of the family.
const REISSUED: u8 = 0x80;

impl Record for ConnectionHead {
    const SIZE: usize = 40;

    fn encode(&self, bytes: &mut Vec<u8>) {
        let family = match self.family {
            Family::Unix => 1,
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        let (address, port, scope) = match self.remote {
            None => ([0; 16], 0, 0),
            Some(SocketAddr::V4(v4)) => {
                let mut address = [0; 16];
                address[..4].copy_from_slice(&v4.ip().octets());
                (address, v4.port(), 0)
            }
            Some(SocketAddr::V6(v6)) => (v6.ip().octets(), v6.port(), v6.scope_id()),
        };
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&self.waited.to_le_bytes());
        bytes.extend_from_slice(&self.lane.to_le_bytes());
        bytes.extend_from_slice(&self.local_port.to_le_bytes());
        bytes.extend_from_slice(&port.to_le_bytes());
        bytes.extend_from_slice(&[family | if self.reissued { REISSUED } else { 0 }, self.slot]);
        bytes.extend_from_slice(&scope.to_le_bytes());
        bytes.extend_from_slice(&address);
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let (id, waited, lane) = (fields.u64(), fields.u32(), fields.u16());
        let (local_port, port) = (fields.u16(), fields.u16());
        let (family, slot, scope) = (fields.u8(), fields.u8(), fields.u32());
        let address: [u8; 16] = fields.array();
        let reissued = family & REISSUED != 0;
        let (family, remote) = match family & !REISSUED {
            1 => (Family::Unix, None),
            4 => {
                let ip = Ipv4Addr::new(address[0], address[1], address[2], address[3]);
                (Family::Ipv4, Some(SocketAddr::V4(SocketAddrV4::new(ip, port))))
            }
            6 => {
                let ip = Ipv6Addr::from(address);
                (
                    Family::Ipv6,
                    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))),
                )
            }
            other => return Err(FrameError::Family(other)),
        };
        Ok(Self {
            id,
            waited,
            lane,
            slot,
            family,
            reissued,
            remote,
            local_port,
        })
    }
}
