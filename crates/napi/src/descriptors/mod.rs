//! Descriptors that JavaScript objects own, and streams that carry descriptors.

pub mod descriptor;

mod awaited;
mod listener;
mod outcome;
mod stream;
