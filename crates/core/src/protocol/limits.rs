//! The limits that `PROTOCOL.md` sets.

use std::time::Duration;

/// The records that one frame may hold, and so the descriptors that one message may carry. With 40 bytes a record a
/// frame stays far below the 8 KiB of a socket buffer on macOS, beyond which a send fails with EMSGSIZE.
pub const MAX_RECORDS: usize = 64;

/// The most that a channel may hold, over all lanes. A worker has no use for more than it can have under way; the
/// limit keeps a lying peer from overflowing a counter.
pub const MAX_CREDIT: u32 = 1 << 20;

/// The most lanes that a channel may have unused credit on at one time; each is a port that its process serves.
pub const MAX_LANES: usize = 64;

/// The lane that takes connections of every port.
pub const ANY: u16 = 0;

/// The most connections that may be under way to one worker: their frames have to fit the socket's buffer, which holds
/// 278 small messages by default on Linux and 8 KiB on macOS.
pub const WINDOW: usize = MAX_RECORDS;

/// A worker may hand a connection back until it has taken so many others: the parent remembers what it needs for that.
pub const RETURNABLE: usize = 1024;

/// How long a worker or a pending peer may take for the rest of a frame that it has begun.
pub const FRAME_WITHIN: Duration = Duration::from_secs(5);

/// The most descriptors that a worker may have sent for a frame that is not whole yet: a RETURN carries one, all other
/// frames none.
pub const DESCRIPTORS_TO_PARENT: usize = 1;

/// So many rounds of recalls in a row a worker on a scoreboard may leave all its connections unread although its event loop
/// turns or it grants credit. As the tries become rarer that takes minutes, in which an event loop reads its channel often.
pub const MAX_IGNORED_ROUNDS: u32 = 8;
