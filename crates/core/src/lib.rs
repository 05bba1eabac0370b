//! One process accepts, any worker answers.
//!
//! ```text
//! Connections flow right, credit flows left, nothing else crosses.
//!
//! kernel backlog -> listener -> acceptor -> queue -> dispatcher -> channel ==process==> receiver
//!                               (pauses when full)      ^                                   |
//!                                                       +------------- credit -------------+
//! ```
//!
//! The modules stand in the order in which a connection meets them. A stage holds only the next stage's sender;
//! [`server`] alone knows all of them. What crosses the process border is specified in `PROTOCOL.md`.

#![deny(unsafe_code)]

pub mod config;
pub mod listener;

pub mod acceptor;
pub mod connection;
pub mod queue;
pub mod reserve;

pub mod dispatcher;

pub mod channel;

pub mod receiver;

pub mod share;

pub mod server;

// Beside that: streams of bytes and descriptors, for any purpose.
pub mod kind;
pub mod stream;
pub mod unix_socket;

pub mod error;
pub mod notice;
mod rush;
pub mod stats;
pub mod sys;

pub use config::{Config, ListenSpec, PolicyName};
pub use error::{ConfigError, ListenError, ProtocolError, SystemError};
pub use listener::ListenerAddress;
pub use notice::Notice;
pub use receiver::Receiver;
pub use server::Server;
pub use share::ShareSpec;
pub use stream::Stream;
pub use unix_socket::UnixListener;
