//! What is known of one connection, and what is still awaited. Each step looks at the unread bytes once.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use crate::parent::connection::Connection;
use crate::parent::routing::proxy_header::{self, Header, HeaderError, MAX_HEADER, MIN_HEADER, Parsed, Version};
use crate::parent::routing::spec::{Others, RoutingSpec};
use crate::protocol::proxied_record::Proxied;
use crate::sys::peek::{peek, set_low_water, take};

/// The maximum number of looks at the bytes of a connection. SO_RCVLOWAT keeps a client that sends single bytes from using them
/// up, because the length of a binary header is known after 16 bytes.
pub const MAX_PEEKS: u8 = 4;

/// The bytes that one look can show.
pub const SCRATCH: usize = MAX_HEADER;

/// The inspection of one connection.
#[derive(Debug)]
pub struct Inspection {
    awaits_header: bool,
    peeks: u8,
    /// Whether nothing has arrived yet.
    is_silent: bool,
    has_low_water: bool,
    /// What the header has told.
    proxied: Option<Proxied>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything is known.
    Done(Verdict),
    /// More bytes are awaited.
    Wait,
}

/// What happens to a connection, with the name of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection goes to the queue.
    Queue(&'static str),
    /// The client has gone: the connection is closed.
    Close(&'static str),
    /// The connection is reset.
    Reset(&'static str),
}

impl Inspection {
    /// Begins the inspection of a connection with this peer, or returns the verdict if nothing is awaited.
    pub fn begin(spec: &RoutingSpec, peer: Option<SocketAddr>) -> Result<Self, Verdict> {
        match &spec.proxy {
            Some(proxy) if proxy.from.contain(peer) => Ok(Self {
                awaits_header: true,
                peeks: 0,
                is_silent: true,
                has_low_water: false,
                proxied: None,
            }),
            Some(proxy) if proxy.others == Others::Refuse => Err(Verdict::Reset("refused")),
            _ => Err(Verdict::Queue("direct")),
        }
    }

    /// Returns whether nothing has arrived yet.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Looks at the unread bytes of the connection. `peer` is its peer, and `is_last` tells that no more bytes follow.
    pub fn step(
        &mut self,
        connection: BorrowedFd<'_>,
        peer: Option<SocketAddr>,
        is_last: bool,
        scratch: &mut [u8],
    ) -> Step {
        self.peeks += 1;
        let length = match peek(connection, scratch) {
            Ok(length @ 1..) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return self.wait(connection, MIN_HEADER),
            Ok(0) | Err(_) => return Step::Done(Verdict::Close("closed")),
        };
        self.is_silent = false;
        let header = match proxy_header::parse(&scratch[..length]) {
            Ok(Parsed::Complete(header)) => header,
            Ok(Parsed::Incomplete { .. }) if is_last => return Step::Done(Verdict::Close("closed")),
            Ok(Parsed::Incomplete { needed }) => return self.wait(connection, needed),
            Err(error) => return Step::Done(Verdict::Reset(name(error))),
        };
        self.proxied = proxied(&header, peer);
        let length = header.length;
        // Takes the header off the connection, and no byte more.
        if take(connection, &mut scratch[..length]).is_err() {
            return Step::Done(Verdict::Close("closed"));
        }
        Step::Done(Verdict::Queue(if self.proxied.is_some() { "proxied" } else { "local" }))
    }

    /// Returns the verdict if the time is up or another connection needs the room.
    #[must_use]
    pub fn give_up(&self, reason: &'static str) -> Verdict {
        debug_assert!(self.awaits_header, "nothing else is awaited");
        Verdict::Reset(reason)
    }

    /// Adds what was learnt to the connection, and restores what a worker expects of its socket.
    pub fn finish(self, connection: &mut Connection) {
        if self.has_low_water {
            // Has succeeded before with another number.
            let _ = set_low_water(connection.as_fd(), 1);
        }
        if let Some(proxied) = self.proxied {
            connection.set_proxied(proxied);
        }
    }

    fn wait(&mut self, connection: BorrowedFd<'_>, needed: usize) -> Step {
        if self.peeks >= MAX_PEEKS {
            return Step::Done(self.give_up("fragmented"));
        }
        // A failure only costs looks.
        self.has_low_water |= set_low_water(connection, needed).is_ok();
        Step::Wait
    }
}

/// Returns what a header tells about a client, if anything.
fn proxied(header: &Header<'_>, via: Option<SocketAddr>) -> Option<Proxied> {
    header.addresses.map(|addresses| Proxied {
        version: match header.version {
            Version::One => 1,
            Version::Two => 2,
        },
        client: addresses.client,
        local: addresses.local,
        via,
        tlvs: header.tlvs.into(),
    })
}

/// Returns the name of the counter of an error.
fn name(error: HeaderError) -> &'static str {
    match error {
        HeaderError::Signature => "no-header",
        HeaderError::Line => "malformed-line",
        HeaderError::TooLong => "header-too-long",
        HeaderError::Version => "unknown-version",
        HeaderError::Command => "unknown-command",
        HeaderError::Family => "unknown-family",
        HeaderError::Addresses => "malformed-addresses",
        HeaderError::Tlv => "malformed-tlv",
        HeaderError::Checksum => "wrong-checksum",
    }
}
