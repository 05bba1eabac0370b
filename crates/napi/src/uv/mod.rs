//! libuv, and the part of Node-API that napi-rs does not wrap. All foreign functions of the binding are in this folder.

#![allow(
    unsafe_code,
    reason = "libuv and callback scopes of Node-API are C interfaces that napi-rs does not wrap"
)]

mod busy_meter;
mod callback;
mod libuv;
mod watch;

pub use self::busy_meter::BusyMeter;
pub use self::watch::{Seen, Wants, Watch};
