//! The record of a listener, which contains its address.

use std::ffi::OsStr;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::error::FrameError;
use super::record::{Fields, Record};

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerAddress {
    /// A TCP address with its real port.
    Tcp(SocketAddr),
    /// A path; empty for an inherited socket without a name.
    Unix(PathBuf),
}

impl ListenerAddress {
    /// The port; 0 for a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }
}

impl fmt::Display for ListenerAddress {
    /// Writes `127.0.0.1:80`, `[::1]:80`, or the path; an abstract name begins with `@`, as in ss(8).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => match path.as_os_str().as_bytes().strip_prefix(&[0]) {
                Some(name) => write!(formatter, "@{}", String::from_utf8_lossy(name)),
                None => path.display().fmt(formatter),
            },
        }
    }
}

/// The bytes of a record that hold an address. A path of a Unix socket has at most 108 bytes (unix(7)).
const ADDRESS: usize = 120;

impl Record for ListenerAddress {
    const SIZE: usize = 8 + ADDRESS;

    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut field = [0; ADDRESS];
        let mut write = |address: &[u8]| field[..address.len()].copy_from_slice(address);
        let (family, length, port, scope) = match self {
            Self::Tcp(SocketAddr::V4(v4)) => {
                write(&v4.ip().octets());
                (4, 0, v4.port(), 0)
            }
            Self::Tcp(SocketAddr::V6(v6)) => {
                write(&v6.ip().octets());
                (6, 0, v6.port(), v6.scope_id())
            }
            Self::Unix(path) => {
                let path = path.as_os_str().as_bytes();
                let path = &path[..path.len().min(ADDRESS)];
                write(path);
                // At most 120.
                (1, u8::try_from(path.len()).unwrap_or(0), 0, 0)
            }
        };
        bytes.extend_from_slice(&[family, length]);
        bytes.extend_from_slice(&port.to_le_bytes());
        bytes.extend_from_slice(&scope.to_le_bytes());
        bytes.extend_from_slice(&field);
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let (family, length) = (fields.u8(), fields.u8());
        let (port, scope) = (fields.u16(), fields.u32());
        let address: [u8; ADDRESS] = fields.array();
        match family {
            1 => {
                let path = address
                    .get(..usize::from(length))
                    .ok_or(FrameError::PathLength(length))?;
                Ok(Self::Unix(OsStr::from_bytes(path).into()))
            }
            4 => {
                let [a, b, c, d, ..] = address;
                let ip = Ipv4Addr::new(a, b, c, d);
                Ok(Self::Tcp(SocketAddrV4::new(ip, port).into()))
            }
            6 => {
                let ip = Ipv6Addr::from(Fields(&address).array::<16>());
                Ok(Self::Tcp(SocketAddrV6::new(ip, port, 0, scope).into()))
            }
            other => Err(FrameError::Family(other)),
        }
    }
}
