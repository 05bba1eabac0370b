//! The wire format between a parent and a worker, without I/O. `PROTOCOL.md` is its specification.

pub mod connection_record;
pub mod encode;
pub mod error;
pub mod frame;
pub mod kind;
pub mod limits;
pub mod records;

pub use self::error::ProtocolError;
