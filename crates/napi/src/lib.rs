//! The Node-API binding of [`socketserver_core`]: converts types and errors, and decides nothing.
//!
//! `server` runs in the parent and rings JavaScript from its own thread; `receiver` runs in a worker, on its event loop,
//! and `stream` and `unix_listener` anywhere in the same way. All hold their state per environment, and none keeps an event
//! loop alive.

#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "what Node hands over arrives owned")]

mod convert;
mod descriptor;
mod notice;
mod owned_descriptor;
mod receiver;
mod server;
mod stream;
mod stream_outcome;
mod table;
mod unix_listener;
mod uv;
mod wake;
mod watch;
