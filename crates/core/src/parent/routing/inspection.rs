//! The inspection of one connection: the known values, and the bytes that are still awaited. Each step reads the unread bytes once.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;

use crate::parent::connection::Connection;
use crate::parent::queue::Waiting;
use crate::parent::routing::affinity::{self, Affinity};
use crate::parent::routing::client_hello::{MAX_HELLO, ServerName, server_name};
use crate::parent::routing::proxy_header::{self, Header, HeaderError, MAX_HEADER, MIN_HEADER, Parsed, Version};
use crate::parent::routing::request_head::Found;
use crate::parent::routing::source_counts::{CountedSource, SourceCounts};
use crate::parent::routing::spec::{Others, RoutingSpec, StickyBy, StickySpec};
use crate::protocol::proxied_record::Proxied;
use crate::sys::peek::{peek, set_low_water, take};

/// The maximum number of looks at the bytes of a connection. SO_RCVLOWAT keeps a client that sends single bytes from using them
/// up, because the length of a binary header is known after 16 bytes.
pub const MAX_PEEKS: u8 = 4;

/// The maximum number of bytes of one look: a header and the bytes after it.
pub const SCRATCH: usize = MAX_HEADER + MAX_HELLO;

/// The results of a header with which a connection is not reset.
pub const HEADER_RESULTS: &[&str] = &["proxied", "local", "direct", "closed"];

/// Why a connection is reset.
pub const REFUSALS: &[&str] = &[
    "refused",
    "silent",
    "evicted",
    "fragmented",
    "unwatched",
    "no-header",
    "malformed-line",
    "header-too-long",
    "unknown-version",
    "unknown-command",
    "unknown-family",
    "malformed-addresses",
    "malformed-tlv",
    "wrong-checksum",
];

/// The result of a connection that is reset because its source has too many others.
pub const TOO_MANY: &str = "too-many-from-source";

/// The results of the search for a host name, beside [`MISSING_RESULTS`].
pub const NAME_RESULTS: &[&str] = &["named", "other-name"];

/// The results of the search for a slot, beside [`MISSING_RESULTS`].
pub const SLOT_RESULTS: &[&str] = &["sticky", "not-http"];

/// Why the value that determines the port or the slot is missing.
pub const MISSING_RESULTS: &[&str] = &[
    "no-key",
    "not-tls",
    "too-long",
    "no-key-silent",
    "no-key-closed",
    "no-key-evicted",
    "no-key-fragmented",
    "no-key-unwatched",
];

/// The inspection of one connection.
#[derive(Debug)]
pub struct Inspection {
    spec: Arc<RoutingSpec>,
    accepted_at: Instant,
    /// The peer of the socket.
    peer: Option<SocketAddr>,
    awaits_header: bool,
    peeks: u8,
    /// Whether nothing has arrived yet.
    is_silent: bool,
    has_low_water: bool,
    /// The result of the header, once there is one.
    header: Option<&'static str>,
    /// The values of the header.
    proxied: Option<Proxied>,
    /// The result of the host name, if it does not end the inspection.
    named: Option<&'static str>,
    /// The lane of the host name.
    lane: Option<u16>,
    affinity: Option<Affinity>,
    /// The connections of each source, if these are limited.
    sources: Option<SourceCounts>,
    /// The count of this connection.
    counted: Option<CountedSource>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All values are known.
    Done(Verdict),
    /// More bytes are awaited.
    Wait,
}

/// What happens to a connection, with the name of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection goes to the queue.
    Queue(&'static str),
    /// The client has closed the connection, so the parent closes it too.
    Close(&'static str),
    /// The connection is reset.
    Reset(&'static str),
}

impl Inspection {
    /// Begins the inspection of a connection.
    #[must_use]
    pub fn new(spec: Arc<RoutingSpec>, sources: Option<SourceCounts>, connection: &Connection) -> Self {
        let peer = connection.peer();
        Self {
            awaits_header: spec.proxy.as_ref().is_some_and(|proxy| proxy.from.contain(peer)),
            spec,
            accepted_at: connection.since(),
            peer,
            peeks: 0,
            is_silent: true,
            has_low_water: false,
            header: None,
            proxied: None,
            named: None,
            lane: None,
            affinity: None,
            sources,
            counted: None,
        }
    }

    /// Returns whether nothing has arrived yet.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns the time by which the awaited bytes must arrive.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let timeout = if self.awaits_header {
            self.spec.proxy.as_ref().map(|proxy| proxy.timeout)
        } else {
            let names = self.spec.names.as_ref().map(|names| names.timeout);
            names.or_else(|| self.spec.sticky.as_ref().map(|sticky| sticky.timeout))
        };
        self.accepted_at + timeout.unwrap_or_default()
    }

    /// Begins with the values that are known without a look.
    pub fn start(&mut self, connection: BorrowedFd<'_>, scratch: &mut [u8]) -> Step {
        if !self.awaits_header {
            if self
                .spec
                .proxy
                .as_ref()
                .is_some_and(|proxy| proxy.others == Others::Refuse)
            {
                return Step::Done(Verdict::Reset("refused"));
            }
            if !self.count_source(self.peer) {
                return Step::Done(Verdict::Reset(TOO_MANY));
            }
            self.header = self.spec.proxy.as_ref().map(|_| "direct");
            if !self.awaits_content() {
                return Step::Done(self.stick_by_address());
            }
        }
        self.step(connection, false, scratch)
    }

    /// Looks at the unread bytes of the connection. `is_last` means that no more bytes follow.
    pub fn step(&mut self, connection: BorrowedFd<'_>, is_last: bool, scratch: &mut [u8]) -> Step {
        self.peeks += 1;
        let length = match peek(connection, scratch) {
            Ok(length @ 1..) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => {
                let needed = if self.awaits_header { MIN_HEADER } else { 1 };
                return self.wait(connection, needed);
            }
            // A worker sees the end of a connection whose header is not awaited.
            Ok(0) | Err(_) => return Step::Done(self.give_up(GiveUp::Closed)),
        };
        self.is_silent = false;
        let mut rest = 0;
        if self.awaits_header {
            let header = match proxy_header::parse(&scratch[..length]) {
                Ok(Parsed::Complete(header)) => header,
                Ok(Parsed::Incomplete { .. }) if is_last => return Step::Done(self.give_up(GiveUp::Closed)),
                Ok(Parsed::Incomplete { needed }) => return self.wait(connection, needed),
                Err(error) => return Step::Done(Verdict::Reset(name(error))),
            };
            self.proxied = proxied(&header, self.peer);
            rest = header.length;
            // Takes the header off the connection, and no byte more.
            if take(connection, &mut scratch[..rest]).is_err() {
                return Step::Done(self.give_up(GiveUp::Closed));
            }
            self.awaits_header = false;
            // A proxy opens connections for many clients, so its own address is not limited.
            if !self.count_source(self.proxied.as_ref().map(|proxied| proxied.client)) {
                return Step::Done(Verdict::Reset(TOO_MANY));
            }
            self.header = Some(if self.proxied.is_some() { "proxied" } else { "local" });
        }
        if !self.awaits_content() {
            return Step::Done(self.stick_by_address());
        }
        match self.route_by_content(&mut scratch[rest..length]) {
            Ok(verdict) => Step::Done(verdict),
            Err(_) if is_last => Step::Done(self.give_up(GiveUp::Closed)),
            Err(needed) => self.wait(connection, needed),
        }
    }

    /// Counts the connection for the source of its client, if sources are limited. A client without a known address is not limited.
    /// Returns false if the source has as many connections as allowed.
    fn count_source(&mut self, client: Option<SocketAddr>) -> bool {
        let (Some(sources), Some(client)) = (&self.sources, client) else {
            return true;
        };
        self.counted = sources.add(client);
        self.counted.is_some()
    }

    fn awaits_content(&self) -> bool {
        let sticky = self.spec.sticky.as_ref();
        self.spec.names.is_some() || sticky.is_some_and(|sticky| sticky.by != StickyBy::Address)
    }

    /// Determines the affinity by the client's address, if the listener is configured so.
    fn stick_by_address(&mut self) -> Verdict {
        if let Some(sticky) = &self.spec.sticky {
            let client = self.proxied.as_ref().map(|proxied| proxied.client).or(self.peer);
            let hash = client.map(|client| affinity::of_address(&sticky.key, client));
            self.affinity = hash.map(|hash| sticky.affinity(hash, self.accepted_at));
            return Verdict::Queue(if client.is_some() { "sticky" } else { "no-key" });
        }
        Verdict::Queue(self.header.take().unwrap_or("direct"))
    }

    /// Determines the lane and the affinity by the first bytes of the client. An error is the number of bytes that are needed.
    fn route_by_content(&mut self, bytes: &mut [u8]) -> Result<Verdict, usize> {
        if let Some(StickySpec {
            by: StickyBy::Request(place),
            ..
        }) = &self.spec.sticky
        {
            let found = match place.find(bytes) {
                Found::Value(value) => Ok(value),
                Found::Absent => Err("no-key"),
                Found::NotHttp => Err("not-http"),
                Found::TooLong => Err("too-long"),
                Found::Incomplete => return Err(bytes.len() + 1),
            };
            return Ok(self.stick_by_value(found));
        }
        let found = match server_name(bytes) {
            ServerName::Name(host) => Ok(host),
            ServerName::Absent => Err("no-key"),
            ServerName::NotTls => Err("not-tls"),
            ServerName::TooLong => Err("too-long"),
            ServerName::Incomplete { needed } => return Err(needed),
        };
        Ok(self.route_by_host(found))
    }

    fn stick_by_value(&mut self, found: Result<&[u8], &'static str>) -> Verdict {
        if let (Some(sticky), Ok(value)) = (&self.spec.sticky, found) {
            self.affinity = Some(match affinity::session_slot(&sticky.key, value) {
                Some(slot) => Affinity::Slot(slot, self.accepted_at + sticky.wait),
                None => sticky.affinity(affinity::of_value(&sticky.key, value), self.accepted_at),
            });
        }
        Verdict::Queue(found.err().unwrap_or("sticky"))
    }

    fn route_by_host(&mut self, found: Result<&[u8], &'static str>) -> Verdict {
        let mut result = found.err().unwrap_or("sticky");
        if let Some(names) = &self.spec.names {
            self.lane = found.ok().and_then(|host| names.names.lane_of(host));
            let other = found.err().unwrap_or("other-name");
            result = self.lane.map_or(other, |_| "named");
        }
        match &self.spec.sticky {
            Some(sticky) if sticky.by == StickyBy::ServerName => {
                if let Ok(host) = found {
                    self.named = self.spec.names.as_ref().map(|_| result);
                    self.affinity = Some(sticky.affinity(affinity::of_host(&sticky.key, host), self.accepted_at));
                    result = "sticky";
                }
                Verdict::Queue(result)
            }
            Some(_) => {
                self.named = Some(result);
                self.stick_by_address()
            }
            None => Verdict::Queue(result),
        }
    }

    /// Returns the verdict if the time is up or another connection needs the room: without its header a connection is reset, but
    /// one that only lacks an affinity goes to any worker.
    #[must_use]
    pub fn give_up(&self, reason: GiveUp) -> Verdict {
        match (self.awaits_header, reason) {
            (true, GiveUp::Closed) => Verdict::Close("closed"),
            (true, GiveUp::Silent) => Verdict::Reset("silent"),
            (true, GiveUp::Evicted) => Verdict::Reset("evicted"),
            (true, GiveUp::Fragmented) => Verdict::Reset("fragmented"),
            (true, GiveUp::Unwatched) => Verdict::Reset("unwatched"),
            (false, GiveUp::Closed) => Verdict::Queue("no-key-closed"),
            (false, GiveUp::Silent) => Verdict::Queue("no-key-silent"),
            (false, GiveUp::Evicted) => Verdict::Queue("no-key-evicted"),
            (false, GiveUp::Fragmented) => Verdict::Queue("no-key-fragmented"),
            (false, GiveUp::Unwatched) => Verdict::Queue("no-key-unwatched"),
        }
    }

    /// Adds what was learnt to the connection, and restores what a worker expects of its socket. Returns the results of the header
    /// and of the host name that are still to be counted.
    pub fn finish(self, connection: &mut Connection) -> [Option<&'static str>; 2] {
        if self.has_low_water {
            // Has succeeded before with another number.
            let _ = set_low_water(connection.as_fd(), 1);
        }
        if let Some(proxied) = self.proxied {
            connection.set_proxied(proxied);
        }
        if let Some(affinity) = self.affinity {
            connection.set_affinity(affinity);
        }
        if let Some(lane) = self.lane {
            connection.set_lane(lane);
        }
        if let Some(counted) = self.counted {
            connection.set_counted(counted);
        }
        [self.header, self.named]
    }

    fn wait(&mut self, connection: BorrowedFd<'_>, needed: usize) -> Step {
        if self.peeks >= MAX_PEEKS {
            return Step::Done(self.give_up(GiveUp::Fragmented));
        }
        // A failure only costs looks.
        self.has_low_water |= set_low_water(connection, needed).is_ok();
        Step::Wait
    }
}

/// Why the inspection of a connection ends before all values are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// The client has closed the connection, or sends no more bytes.
    Closed,
    /// The time is up.
    Silent,
    /// Another connection needs the room.
    Evicted,
    /// The bytes arrived in too many parts.
    Fragmented,
    /// The system has no more epoll watches.
    Unwatched,
}

/// Returns the values of a header about the client, if the header has any.
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
