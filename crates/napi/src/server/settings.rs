//! The settings of a server and of a shared path. TypeScript has checked them.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// The settings of a server.
#[napi(object)]
pub struct NativeServerSettings {
    /// The largest number of queued connections.
    pub max_queue: u32,
    /// Milliseconds; 0 means no timeout.
    pub queue_timeout_ms: u32,
    /// How to select the worker for the next connection.
    #[napi(ts_type = "'least-busy' | 'round-robin' | 'first'")]
    pub policy: String,
    /// Whether to report each step of each connection.
    pub steps: bool,
    /// The version of Node, for metrics.
    pub runtime: String,
    /// When the server was created, ISO 8601.
    pub started_at: String,
    /// The same in milliseconds since 1970.
    pub started_at_ms: f64,
    /// The 48 bytes with which the workers encrypt TLS session tickets.
    pub ticket_keys: Buffer,
}

/// A path at which programs join as workers, and the programs that may.
#[napi(object)]
pub struct NativeShareSettings {
    /// A path, or a NUL byte and an abstract name.
    pub path: String,
    /// The permissions of the socket file.
    pub mode: u32,
    /// Users that may join, besides the user of this process.
    pub uids: Vec<u32>,
    /// Groups whose members may join.
    pub gids: Vec<u32>,
    /// The largest number of joined workers.
    pub max_workers: u32,
    /// The time limit for a HELLO in milliseconds; 0 means no limit.
    pub hello_timeout_ms: u32,
}
