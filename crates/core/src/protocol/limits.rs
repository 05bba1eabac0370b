//! The limits that `PROTOCOL.md` sets.

use std::time::Duration;

/// The maximum number of records in a frame, and so of descriptors in a message. With 40 bytes per record a frame is far
/// smaller than a socket buffer on macOS (8 KiB), above which a send fails with EMSGSIZE.
pub const MAX_RECORDS: usize = 64;

/// The maximum credit of a channel, over all lanes. No worker needs more; the limit prevents a hostile peer from overflowing a
/// counter.
pub const MAX_CREDIT: u32 = 1 << 20;

/// The maximum number of lanes with unused credit on one channel. Each is a port that the worker serves.
pub const MAX_LANES: usize = 64;

/// The maximum number of listeners that the parent sends to a worker. Their frames must fit what a worker may leave unread.
pub const MAX_LISTENERS: usize = 256;

/// The lane for connections of all ports.
pub const ANY: u16 = 0;

/// The maximum number of connections in flight to one worker. Their frames must fit the socket's buffer, which holds 278 small
/// messages by default on Linux and 8 KiB on macOS.
pub const WINDOW: usize = MAX_RECORDS;

/// A worker may hand a connection back until it has taken this many others: the parent keeps the metadata for so long.
pub const RETURNABLE: usize = 1024;

/// The maximum number of tracked connections of a channel beyond its leases. The leases of these connections have ended, and the
/// worker has not reported the connections by their ids. No process of Linux has more open files by default (`fs.nr_open`), so an
/// honest worker stays below.
pub const MAX_UNREPORTED: usize = 1 << 20;

/// The timeout for the rest of a frame after its first byte, for workers and pending peers.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of descriptors that a worker may send for an incomplete frame: a RETURN carries one, other frames none.
pub const DESCRIPTORS_TO_PARENT: usize = 1;

/// The maximum number of successive rounds of recalls in which a worker with a scoreboard reads none of its connections although
/// its event loop turns or it grants credit. The rounds become rarer, so this takes minutes.
pub const MAX_IGNORED_ROUNDS: u32 = 8;
