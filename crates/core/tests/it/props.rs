//! Property tests of frames and of the dispatcher's rules.

mod frames;
mod rules;
mod simulation;
