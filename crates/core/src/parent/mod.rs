//! The parent's side: accepts connections, queues them and hands each to a worker.
//!
//! The modules are in the order in which a connection passes them.

pub mod config;
pub mod listener;

pub mod accept_error;
pub mod acceptor;
pub mod connection;
pub mod fd_headroom;
pub mod queue;
pub mod returned_socket;
pub mod routing;

pub mod dispatcher;

pub mod listen_requests;
pub mod rejoin;
pub mod share;

pub mod metrics;
pub mod notice;
pub mod panics;
pub mod server;
