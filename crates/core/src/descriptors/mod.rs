//! Streams of bytes and descriptors, as a general-purpose API.

pub mod kind;
pub mod stream;
