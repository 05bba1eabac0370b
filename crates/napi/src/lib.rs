//! The Node-API binding of [`socketserver_core`]: converts types and errors, and decides nothing.
//!
//! - `server`: the parent. Its Rust thread calls JavaScript through a thread-safe function.
//! - `receiver`: a worker, on the event loop of its environment.
//! - `descriptors`: streams, listeners and owned descriptors, in any environment.
//! - `uv`: all foreign functions: libuv's polls and timers, and calls from them into JavaScript.
//!
//! All state belongs to one environment. Nothing here keeps an event loop alive.

#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "napi passes arguments by value")]

mod address;
mod descriptors;
mod listen_channel;
mod number;
mod raw_fd;
mod receiver;
mod server;
mod system_error;
mod uv;
