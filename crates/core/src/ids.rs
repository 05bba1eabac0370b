//! The identifiers that every layer shares.

/// Names a connection within its server. 1 is the first connection that was accepted; a lower id was accepted earlier.
pub type ConnectionId = u64;

/// Names a channel within its server, in the order in which channels were opened.
pub type ChannelId = u32;

/// Names a shared path within its server, in the order in which paths were shared.
pub type ShareId = u32;

/// Names an app that listens through its server, in the order in which the apps were started.
pub type AppId = u32;

/// Names a listener that an app asked for within its server.
pub type ListenerId = u32;
