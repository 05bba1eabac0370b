//! A real server and real receivers in one process, over real sockets; and the same code on a system that fails on
//! demand. Everything waits for a condition with a bound, nothing for a time.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed; clippy exempts test functions only, not what they share"
)]

mod child;
mod faulty;
mod peer;
mod wait;
mod world;

mod accept;
mod credit;
mod drain;
mod faults;
mod fd_leaks;
mod hand_back;
mod handoff;
mod lending;
mod metronome;
mod props;
mod protocol_document;
mod rush;
mod scoreboard;
mod share;
mod stream;
