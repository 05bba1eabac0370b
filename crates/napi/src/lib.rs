//! The Node-API binding of [`socketserver_core`]: converts types and errors, and decides nothing.
//!
//! `server` runs in the parent and rings JavaScript from its own thread; `receiver` runs in a worker, on its event loop.
//! Both hold all of their state per environment, and neither keeps an event loop alive.

#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "what Node hands over arrives owned")]

mod convert;
mod descriptor;
mod receiver;
mod server;
mod table;
mod wake;
mod watch;
