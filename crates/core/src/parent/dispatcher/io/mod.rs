//! The driver's side of each channel: sockets, handshake and scoreboards.

pub(super) mod channel_io;
mod close;
mod frame_budget;
mod hand_back;
mod handshake;
pub mod open;
pub mod reader;
pub mod room;
pub mod scoreboard;
mod scoreboard_sync;
pub mod writer;
