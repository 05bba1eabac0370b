//! The messages of a listen channel, without I/O: a worker asks its parent to listen, and waits for the answer.
//!
//! A listen channel is a stream beside the channel of `PROTOCOL.md`, between a parent and a worker of this package only. Each
//! message is a length (4 bytes), a version (1 byte), a kind (1 byte), an id (4 bytes) and a body; numbers are little-endian. An
//! answer has the id of its request. If a new release is installed while a parent runs, its new workers are of another release
//! than the parent. So a parent answers EPROTONOSUPPORT to an unknown version or kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::ids::ListenerId;

/// The version of the messages.
pub const VERSION: u8 = 1;

/// Bytes of a message before its body: length, version, kind and id.
pub const HEADER: usize = 10;

/// The maximum size of a message. A request with a path is the longest. The path may exceed `sun_path` (108 bytes): the parent
/// then answers with the error.
pub const MAX_MESSAGE: usize = 8192;

/// A request of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Listen at an address, or share the listener that another worker has opened there.
    Listen(ListenRequest),
    /// Begin to accept: this worker takes connections of the listener.
    Accept(ListenerId),
    /// This worker has closed its server.
    Close(ListenerId),
}

/// The address and options to listen with. Equal requests of several workers share one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenRequest {
    /// The address.
    pub target: Target,
    /// The argument of listen(2).
    pub backlog: i32,
    /// The number of listeners that this worker already has with the same target, if the port is 0.
    pub ordinal: u16,
}

/// The address to bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A TCP port.
    Tcp {
        /// `None` means all addresses of both families, or of IPv4 if the system has no IPv6.
        host: Option<IpAddr>,
        /// 0 lets the system choose.
        port: u16,
        /// Whether an IPv6 socket rejects IPv4.
        ipv6_only: bool,
    },
    /// A Unix socket.
    Unix {
        /// An absolute path or, on Linux, a null byte and an abstract name.
        name: Vec<u8>,
        /// Whether every user may read.
        readable_all: bool,
        /// Whether every user may write.
        writable_all: bool,
    },
    /// A UDP port; the answer carries a copy of the socket.
    Udp {
        /// The address to bind.
        host: IpAddr,
        /// 0 lets the system choose.
        port: u16,
        /// Whether an IPv6 socket rejects IPv4.
        ipv6_only: bool,
        /// Whether other sockets may bind the port too (`SO_REUSEADDR`).
        reuse_address: bool,
    },
}

/// An answer of the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The parent listens.
    Listening {
        /// The number of the listener.
        listener: ListenerId,
        /// The lane of its connections; 0 for UDP.
        lane: u16,
        /// The address of the socket; `None` for a Unix socket.
        address: Option<SocketAddr>,
    },
    /// The parent cannot listen. The positive errno.
    Failed(i32),
    /// Done.
    Done,
}

/// The bytes are not a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A message in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    version: u8,
    kind: u8,
    /// Pairs a request with its answer.
    pub id: u32,
    body: &'a [u8],
    /// The whole message in bytes.
    pub length: usize,
}

impl<'a> Message<'a> {
    /// Returns the first message of these bytes; `None` if it is incomplete.
    pub fn first(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut input = Input(bytes);
        let Ok(length) = input.u32() else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        if !(HEADER..=MAX_MESSAGE).contains(&length) {
            return Err(Malformed);
        }
        let Some(body) = bytes.get(HEADER..length) else {
            return Ok(None);
        };
        Ok(Some(Self {
            version: input.u8()?,
            kind: input.u8()?,
            id: input.u32()?,
            body,
            length,
        }))
    }

    /// Reads a request; `None` if it is of another version.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        if self.version != VERSION {
            return None;
        }
        let mut input = Input(self.body);
        let request = match self.kind {
            LISTEN => input.listen(),
            ACCEPT => input.u32().map(Request::Accept),
            CLOSE => input.u32().map(Request::Close),
            _ => Err(Malformed),
        };
        request.ok().filter(|_| input.0.is_empty())
    }

    /// Reads an answer.
    pub fn answer(&self) -> Result<Answer, Malformed> {
        let mut input = Input(self.body);
        match self.kind {
            LISTENING => Ok(Answer::Listening {
                listener: input.u32()?,
                lane: input.u16()?,
                address: input.address()?,
            }),
            FAILED => Ok(Answer::Failed(input.i32()?)),
            DONE => Ok(Answer::Done),
            _ => Err(Malformed),
        }
    }
}

impl Request {
    /// Returns the message.
    #[must_use]
    pub fn encode(&self, id: u32) -> Vec<u8> {
        match self {
            Self::Listen(request) => {
                let mut output = Output::new(LISTEN, id);
                output.listen(request);
                output.finish()
            }
            Self::Accept(listener) => Output::new(ACCEPT, id).u32(*listener).finish(),
            Self::Close(listener) => Output::new(CLOSE, id).u32(*listener).finish(),
        }
    }
}

impl Answer {
    /// Returns the message.
    #[must_use]
    pub fn encode(&self, id: u32) -> Vec<u8> {
        match self {
            Self::Listening {
                listener,
                lane,
                address,
            } => Output::new(LISTENING, id)
                .u32(*listener)
                .u16(*lane)
                .address(*address)
                .finish(),
            Self::Failed(errno) => Output::new(FAILED, id).i32(*errno).finish(),
            Self::Done => Output::new(DONE, id).finish(),
        }
    }
}

const LISTEN: u8 = 1;
const ACCEPT: u8 = 2;
const CLOSE: u8 = 3;
const LISTENING: u8 = 0x81;
const FAILED: u8 = 0x82;
const DONE: u8 = 0x83;

const TCP: u8 = 1;
const UNIX: u8 = 2;
const UDP: u8 = 3;

struct Output(Vec<u8>);

impl Output {
    fn new(kind: u8, id: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend([VERSION, kind]);
        bytes.extend(id.to_le_bytes());
        Self(bytes)
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn host(self, host: Option<IpAddr>) -> Self {
        match host {
            None => self.u8(0),
            Some(IpAddr::V4(ip)) => {
                let mut output = self.u8(4);
                output.0.extend(ip.octets());
                output
            }
            Some(IpAddr::V6(ip)) => {
                let mut output = self.u8(6);
                output.0.extend(ip.octets());
                output
            }
        }
    }

    fn address(self, address: Option<SocketAddr>) -> Self {
        let scope = match address {
            Some(SocketAddr::V6(v6)) => v6.scope_id(),
            _ => 0,
        };
        let port = address.map_or(0, |address| address.port());
        self.host(address.map(|address| address.ip())).u16(port).u32(scope)
    }

    fn listen(&mut self, request: &ListenRequest) {
        let output = Self(std::mem::take(&mut self.0))
            .i32(request.backlog)
            .u16(request.ordinal);
        self.0 = match &request.target {
            Target::Tcp { host, port, ipv6_only } => output.u8(TCP).u8((*ipv6_only).into()).u16(*port).host(*host).0,
            Target::Unix {
                name,
                readable_all,
                writable_all,
            } => {
                let mut output = output.u8(UNIX).u8((*readable_all).into()).u8((*writable_all).into());
                output.0.extend(name);
                output.0
            }
            Target::Udp {
                host,
                port,
                ipv6_only,
                reuse_address,
            } => {
                let output = output.u8(UDP).u8((*ipv6_only).into()).u8((*reuse_address).into());
                output.u16(*port).host(Some(*host)).0
            }
        };
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(u8::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.u8()? != 0)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.take().map(i32::from_le_bytes)
    }

    fn host(&mut self) -> Result<Option<IpAddr>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            4 => Ok(Some(Ipv4Addr::from(self.take::<4>()?).into())),
            6 => Ok(Some(Ipv6Addr::from(self.take::<16>()?).into())),
            _ => Err(Malformed),
        }
    }

    fn address(&mut self) -> Result<Option<SocketAddr>, Malformed> {
        let (host, port, scope) = (self.host()?, self.u16()?, self.u32()?);
        Ok(host.map(|host| match host {
            IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
        }))
    }

    fn listen(&mut self) -> Result<Request, Malformed> {
        let (backlog, ordinal) = (self.i32()?, self.u16()?);
        let target = match self.u8()? {
            TCP => {
                let (ipv6_only, port) = (self.flag()?, self.u16()?);
                let host = self.host()?;
                Target::Tcp { host, port, ipv6_only }
            }
            UNIX => Target::Unix {
                readable_all: self.flag()?,
                writable_all: self.flag()?,
                name: std::mem::take(&mut self.0).to_vec(),
            },
            UDP => {
                let (ipv6_only, reuse_address, port) = (self.flag()?, self.flag()?, self.u16()?);
                let host = self.host()?.ok_or(Malformed)?;
                Target::Udp {
                    host,
                    port,
                    ipv6_only,
                    reuse_address,
                }
            }
            _ => return Err(Malformed),
        };
        Ok(Request::Listen(ListenRequest {
            target,
            backlog,
            ordinal,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Message<'_> {
        Message::first(bytes).unwrap().unwrap()
    }

    fn targets() -> impl Strategy<Value = Target> {
        let host = proptest::option::of(any::<IpAddr>());
        prop_oneof![
            (host, any::<u16>(), any::<bool>()).prop_map(|(host, port, ipv6_only)| Target::Tcp {
                host,
                port,
                ipv6_only
            }),
            (any::<Vec<u8>>(), any::<bool>(), any::<bool>()).prop_map(|(name, readable_all, writable_all)| {
                Target::Unix {
                    name,
                    readable_all,
                    writable_all,
                }
            }),
            (any::<IpAddr>(), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
                |(host, port, ipv6_only, reuse_address)| Target::Udp {
                    host,
                    port,
                    ipv6_only,
                    reuse_address
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(target in targets(), backlog: i32, ordinal: u16, id: u32) {
            let request = Request::Listen(ListenRequest { target, backlog, ordinal });
            let bytes = request.encode(id);
            let message = read(&bytes);
            prop_assert_eq!((message.id, message.length), (id, bytes.len()));
            prop_assert_eq!(message.request(), Some(request));
        }

        #[test]
        fn an_answer_is_read_as_it_was_written(listener: u32, lane: u16, address: Option<SocketAddrV4>, id: u32) {
            let answer = Answer::Listening { listener, lane, address: address.map(SocketAddr::V4) };
            let bytes = answer.encode(id);
            prop_assert_eq!(read(&bytes).answer(), Ok(answer));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            if let Ok(Some(message)) = Message::first(&bytes) {
                let _ = message.request();
                let _ = message.answer();
            }
        }
    }

    #[test]
    fn an_incomplete_message_is_waited_for() {
        let bytes = Request::Close(7).encode(1);
        for length in 0..bytes.len() {
            assert_eq!(Message::first(&bytes[..length]), Ok(None));
        }
    }

    #[test]
    fn a_request_of_another_version_is_none() {
        let mut bytes = Request::Close(7).encode(1);
        bytes[4] = VERSION + 1;
        assert_eq!(read(&bytes).request(), None);
    }
}
