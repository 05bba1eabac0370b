//! Runs a real server and real receivers in one process, over real sockets, and the same code on a system that fails on
//! demand. Tests wait for conditions with a bound, never for a fixed time.

#![allow(
    clippy::unwrap_used,
    reason = "a panic fails a test; clippy exempts test functions only, not the functions that they share"
)]

mod child;
mod faulty;
mod file_identity;
mod peer;
mod wait;
mod world;

mod accept;
mod accept_rate;
mod credit;
mod drain;
mod faults;
mod fd_leaks;
mod hand_back;
mod handoff;
mod lending;
mod listening;
mod metronome;
mod props;
mod protocol_document;
mod routing;
mod scoreboard;
mod share;
mod source_limit;
mod stream;
mod ticket_keys;
