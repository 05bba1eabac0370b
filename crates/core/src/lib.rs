//! One process accepts, any worker answers.
//!
//! ```text
//! kernel backlog -> listener -> acceptor -> queue -> dispatcher -> channel ==process==> receiver -> handler
//!                               (pauses when full)   ^    |           |                    |
//!                                                    |    +-----------+--- credit, acks ---+
//!                                                    +------ unclaimed or handed back -----+
//! ```
//!
//! The layers, from the ground up. A module imports only modules of the layers below its own; `tests/layers.rs` checks that.
//!
//! 1. [`backoff`], [`ids`], [`error`], [`stats`], [`waker`]
//! 2. [`sys`]: the operating system
//! 3. [`protocol`]: the wire format, without I/O
//! 4. [`channel`]: the socket and the shared page between a parent and one worker
//! 5. [`parent`], [`worker`], [`descriptors`]: the three components, which do not import each other
//! 6. [`admin`]: shows a parent by HTTP

#![deny(unsafe_code)]

pub mod backoff;
pub mod error;
pub mod ids;
pub mod stats;
pub mod waker;

pub mod sys;

pub mod protocol;

pub mod channel;

pub mod parent;
pub mod worker;

pub mod descriptors;

pub mod admin;

pub use admin::{Admin, AdminSpec};
pub use descriptors::stream::Stream;
pub use error::{ConfigError, ListenError, SystemError};
pub use parent::config::{Config, ListenSpec, PolicyName};
pub use parent::listener::ListenerAddress;
pub use parent::notice::Notice;
pub use parent::server::Server;
pub use parent::share::ShareSpec;
pub use protocol::ProtocolError;
pub use sys::unix_socket::UnixListener;
pub use worker::Receiver;
