//! The record of a connection, which is sent with its descriptor.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::error::FrameError;
use super::record::{Fields, Record};
use crate::ids::ConnectionId;

/// The metadata of a connection, which is sent with its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionHead {
    /// The id, unique within the server.
    pub id: ConnectionId,
    /// Microseconds from accept to this handoff; 2^32 - 1 means that or more.
    pub waited: u32,
    /// The lane whose credit the connection used.
    pub lane: u16,
    /// The slot on the scoreboard; [`crate::channel::scoreboard::NO_SLOT`] on a channel without a scoreboard.
    pub slot: u8,
    /// The address family of the socket.
    pub family: Family,
    /// Another worker may have an unread copy of the descriptor. While that copy exists, close(2) alone sends no FIN, so call
    /// shutdown(2) first.
    pub reissued: bool,
    /// The worker reports the end of the lease by `ENDED_IDS`. Since version
    /// [`ENDED_IDS_SINCE`](super::version::ENDED_IDS_SINCE).
    pub tracked: bool,
    /// The address of the client; `None` for a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The local port; 0 for a Unix socket.
    pub local_port: u16,
}

/// The address family of a connection's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `AF_UNIX`
    Unix,
    /// `AF_INET`
    Ipv4,
    /// `AF_INET6`, including IPv4-mapped addresses
    Ipv6,
}

/// The flag of a reissued connection, in the byte of the family.
const REISSUED: u8 = 0x80;

/// The flag of a tracked connection, in the same byte.
const TRACKED: u8 = 0x40;

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
        let reissued = if self.reissued { REISSUED } else { 0 };
        let tracked = if self.tracked { TRACKED } else { 0 };
        bytes.extend_from_slice(&[family | reissued | tracked, self.slot]);
        bytes.extend_from_slice(&scope.to_le_bytes());
        bytes.extend_from_slice(&address);
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let (id, waited, lane) = (fields.u64(), fields.u32(), fields.u16());
        let (local_port, port) = (fields.u16(), fields.u16());
        let (family, slot, scope) = (fields.u8(), fields.u8(), fields.u32());
        let address: [u8; 16] = fields.array();
        let (reissued, tracked) = (family & REISSUED != 0, family & TRACKED != 0);
        let (family, remote) = match family & !(REISSUED | TRACKED) {
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
            tracked,
            remote,
            local_port,
        })
    }
}
