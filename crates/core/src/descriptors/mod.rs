//! Streams of bytes and descriptors, for any purpose.

pub mod kind;
pub mod stream;
