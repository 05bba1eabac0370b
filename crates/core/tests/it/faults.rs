//! What the system and the other side may do to us.

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
