//! Plain objects that cross the border, and how the core's types become them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use napi_derive::napi;
use socketserver_core::error::SystemError as CoreError;
use socketserver_core::ids::ShareId;
use socketserver_core::stats::Snapshot;
use socketserver_core::{ListenError, ListenerAddress as CoreAddress};

/// A failed system call, in Node's terms.
#[napi(object)]
pub struct SystemError {
    /// `EADDRINUSE` and its like.
    pub code: String,
    /// Negative, as Node's own.
    pub errno: i32,
    /// The call's name.
    pub syscall: String,
    /// The system's words, in lower case.
    pub message: String,
}

/// Where a listener listens.
#[napi(object)]
pub struct ListenerAddress {
    /// `IPv4`, `IPv6` or `Unix`.
    pub family: String,
    /// An IP address or a path.
    pub address: String,
    /// 0 for a Unix socket.
    pub port: u16,
}

/// Either the one or the other.
#[napi(object)]
pub struct ListenOutcome {
    /// Where the server listens now.
    pub address: Option<ListenerAddress>,
    /// Why it does not.
    pub error: Option<SystemError>,
}

/// Either the one or the other.
#[napi(object)]
pub struct ShareOutcome {
    /// The number of the shared path.
    pub share: Option<u32>,
    /// Why it is not shared.
    pub error: Option<SystemError>,
}

/// The counters of a server at one moment.
#[napi(object)]
pub struct NativeStats {
    /// Connections accepted.
    pub accepted: f64,
    /// Connections that a worker has acked.
    pub handed_off: f64,
    /// Times that a connection went back to the queue.
    pub requeued: f64,
    /// Connections that a worker had taken and handed back.
    pub handed_back: f64,
    /// Connections given up.
    pub shed: f64,
    /// Connections that wait now.
    pub queued: f64,
    /// The most that ever waited.
    pub max_queued: f64,
    /// Leases held now.
    pub leases: f64,
    /// Workers that have joined.
    pub workers: f64,
    /// Peers turned away at shared paths.
    pub refused: f64,
    /// Whether accepting pauses.
    pub paused: bool,
    /// From accept to handoff.
    pub wait_ms: WaitMs,
    /// Failed accepts by code.
    pub accept_errors: HashMap<String, f64>,
}

/// Milliseconds.
#[napi(object)]
pub struct WaitMs {
    /// The median.
    pub p50: f64,
    /// 99 of 100 waited no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<CoreError> for SystemError {
    fn from(error: CoreError) -> Self {
        let mut message = error.errno.desc().to_owned();
        message.get_mut(..1).into_iter().for_each(str::make_ascii_lowercase);
        Self {
            code: error.code(),
            errno: -(error.errno as i32),
            syscall: error.syscall.to_owned(),
            message,
        }
    }
}

impl From<&CoreAddress> for ListenerAddress {
    fn from(address: &CoreAddress) -> Self {
        match address {
            CoreAddress::Tcp(address) => Self {
                family: if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
                address: address.ip().to_string(),
                port: address.port(),
            },
            CoreAddress::Unix(path) => Self {
                family: "Unix".to_owned(),
                address: path.to_string_lossy().into_owned(),
                port: 0,
            },
        }
    }
}

impl From<Result<CoreAddress, ListenError>> for ListenOutcome {
    fn from(outcome: Result<CoreAddress, ListenError>) -> Self {
        let error = match outcome {
            Ok(address) => {
                return Self {
                    address: Some((&address).into()),
                    error: None,
                };
            }
            Err(error) => error.into(),
        };
        Self {
            address: None,
            error: Some(error),
        }
    }
}

impl From<Result<ShareId, ListenError>> for ShareOutcome {
    fn from(outcome: Result<ShareId, ListenError>) -> Self {
        match outcome {
            Ok(share) => Self {
                share: Some(share),
                error: None,
            },
            Err(error) => Self {
                share: None,
                error: Some(error.into()),
            },
        }
    }
}

impl From<ListenError> for SystemError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::System(error) => error.into(),
            // TypeScript checks options and the server's phase before it comes here.
            ListenError::Config(_) | ListenError::Closed => Self {
                code: "EINVAL".to_owned(),
                errno: -22,
                syscall: "listen".to_owned(),
                message: error.to_string(),
            },
        }
    }
}

impl NativeStats {
    pub fn new(now: Snapshot, paused: bool) -> Self {
        Self {
            accepted: count(now.accepted),
            handed_off: count(now.handed_off),
            requeued: count(now.requeued),
            handed_back: count(now.handed_back),
            shed: count(now.shed),
            queued: count(now.queued),
            max_queued: count(now.max_queued),
            leases: count(now.leases),
            workers: count(now.workers),
            refused: count(now.refused_peers),
            paused,
            wait_ms: WaitMs {
                p50: millis(now.wait_p50),
                p99: millis(now.wait_p99),
                max: millis(now.wait_max),
            },
            accept_errors: now
                .accept_errors
                .into_iter()
                .map(|(code, times)| (code, count(times)))
                .collect(),
        }
    }
}

/// A count as JavaScript's number: exact up to 2^53, which takes a century at three million a second.
#[allow(clippy::cast_precision_loss, reason = "see above")]
pub fn count(count: u64) -> f64 {
    count as f64
}

/// A count that JavaScript gives back as it got it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number below 2^53, from `count`"
)]
pub fn id_of(count: f64) -> u64 {
    count as u64
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The client's address as Node prints it: with its zone where a link-local address has one.
pub fn remote_parts(remote: Option<SocketAddr>) -> (Option<String>, Option<u16>) {
    (remote.map(ip_text), remote.map(|address| address.port()))
}

/// An address without its port, as Node writes it.
pub fn ip_text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}
