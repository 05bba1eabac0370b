//! Failures of the system and misbehaviour of peers.

mod accepting;
mod closing;
mod ending;
mod hostile;
mod limits;
mod panicking;
mod reading;
mod receiving;
mod sending;
mod sharing;
