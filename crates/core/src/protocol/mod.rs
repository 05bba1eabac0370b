//! The wire format between parent and worker, without I/O. `PROTOCOL.md` is the specification.

pub mod connection_record;
pub mod encode;
pub mod error;
pub mod frame;
pub mod kind;
pub mod limits;
pub mod listen_request;
pub mod listener_record;
pub mod proxied_record;
pub mod record;
pub mod records;
pub mod session_id;
pub mod ticket_keys;
pub mod version;

pub use self::error::ProtocolError;
