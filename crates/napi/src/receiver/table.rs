//! Passes connections to JavaScript as rows of numbers in one reused array.
//!
//! Creating an object per connection here, property by property, cost two to three microseconds, and collecting it one
//! more. A worker spends about forty microseconds per connection.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use napi::bindgen_prelude::Float64ArraySlice;
use socketserver_core::protocol::connection_record::ConnectionHead;

use crate::number::count;

/// `id, fd, waited, local port, remote port, family, flags, a, b, c, d, scope`.
///
/// - `fd`: the reader owns the descriptor from then on.
/// - `waited`: milliseconds in the queue.
/// - `local port`: 0 for none.
/// - `family`: 4, 6, or 0 for a Unix socket, whose client has neither port nor address.
/// - `flags`: plus 1 if the connection must be shut down before it is closed, because a blocked worker may have an unread copy; plus 2
///   if a proxy told about the client; plus 4 if the end of the lease is also reported by `tracked_ended`.
/// - `a` to `d`: the address, 32 bits in `a` or 128 bits in `a` to `d`, most significant first.
pub type Row = [f64; 12];

/// Returns the complete rows of a table.
#[allow(
    unsafe_code,
    reason = "napi cannot know that nothing else writes to the array meanwhile"
)]
pub fn rows<'a>(table: &'a mut Float64ArraySlice<'_>) -> &'a mut [Row] {
    // SAFETY: JavaScript of this environment does not run before the call with this table returns, and the client does not
    // share the table's memory with other threads.
    let numbers = unsafe { table.as_mut() };
    numbers.as_chunks_mut().0
}

/// Returns the row of a connection whose descriptor has the number `fd`.
pub fn row(head: &ConnectionHead, fd: i32, is_proxied: bool) -> Row {
    let (family, [a, b, c, d], scope) = match head.remote {
        None => (0, [0; 4], 0),
        Some(SocketAddr::V4(v4)) => (4, [v4.ip().to_bits(), 0, 0, 0], 0),
        Some(SocketAddr::V6(v6)) => (6, words(*v6.ip()), v6.scope_id()),
    };
    let remote_port = head.remote.map_or(0, |address| address.port());
    [
        count(head.id),
        f64::from(fd),
        f64::from(head.waited) / 1000.0,
        f64::from(head.local_port),
        f64::from(remote_port),
        f64::from(family),
        f64::from(u8::from(head.reissued) + 2 * u8::from(is_proxied) + 4 * u8::from(head.tracked)),
        f64::from(a),
        f64::from(b),
        f64::from(c),
        f64::from(d),
        f64::from(scope),
    ]
}

/// Returns the address that a row has as four numbers.
pub fn ipv6([a, b, c, d]: [u32; 4], scope: u32) -> SocketAddr {
    let bits = [b, c, d]
        .iter()
        .fold(u128::from(a), |bits, word| bits << 32 | u128::from(*word));
    SocketAddrV6::new(Ipv6Addr::from_bits(bits), 0, 0, scope).into()
}

#[allow(clippy::cast_possible_truncation, reason = "each word is the 32 lowest bits")]
fn words(address: Ipv6Addr) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| (address.to_bits() >> shift) as u32)
}
