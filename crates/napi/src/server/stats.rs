//! The counters of a server and of its channels.

use std::collections::HashMap;

use napi_derive::napi;
use socketserver_core::stats::Snapshot;

use crate::number::{count, millis};

/// The counters of a server at one moment.
#[napi(object)]
pub struct NativeStats {
    /// Accepted connections.
    pub accepted: f64,
    /// Connections that a worker has acknowledged.
    pub handed_off: f64,
    /// Requeued connections; one connection can count several times.
    pub requeued: f64,
    /// Connections that a worker took and handed back.
    pub handed_back: f64,
    /// Connections that the server closed unserved.
    pub shed: f64,
    /// Connections in the queue now.
    pub queued: f64,
    /// The largest number of queued connections so far.
    pub max_queued: f64,
    /// Leases held now.
    pub leases: f64,
    /// Workers that are connected now.
    pub workers: f64,
    /// Peers refused at shared paths.
    pub refused: f64,
    /// Whether the server has paused accepting.
    pub paused: bool,
    /// The time from accept to handoff.
    pub wait_ms: WaitMs,
    /// Failed calls of accept(2) by error code.
    pub accept_errors: HashMap<String, f64>,
    /// Connections of listeners that route, by result.
    pub routed: HashMap<String, f64>,
}

/// Waiting times in milliseconds.
#[napi(object)]
pub struct WaitMs {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
}

/// The counters of one channel.
#[napi(object)]
pub struct ChannelStats {
    /// Leases held now.
    pub leases: f64,
    /// Acknowledged connections so far.
    pub handed_off: f64,
    /// Turns of the worker's event loop, if the worker counts them.
    pub beats: f64,
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
            routed: now
                .routed
                .into_iter()
                .filter(|(_, times)| *times > 0)
                .map(|(result, times)| (result.to_owned(), count(times)))
                .collect(),
        }
    }
}
