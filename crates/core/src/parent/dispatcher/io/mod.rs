//! The dispatcher's side of each channel: sockets, handshake and scoreboards.

mod close;
mod frame_budget;
mod hand_back;
mod handshake;
pub mod open;
pub mod reader;
pub mod scoreboard;
mod scoreboard_sync;
pub mod writer;
