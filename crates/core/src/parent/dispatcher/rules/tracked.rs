//! The tracked connections of a channel: those that are counted for their sources and whose ends the worker reports by their ids.

use std::collections::HashMap;

use crate::ids::ConnectionId;
use crate::parent::routing::source_counts::CountedSource;
use crate::protocol::ProtocolError;
use crate::protocol::limits::MAX_UNREPORTED;

/// The counts of the connections that the worker of a channel has taken. The end of the channel drops them.
#[derive(Debug, Default)]
pub(super) struct Tracked(HashMap<ConnectionId, CountedSource>);

impl Tracked {
    /// Keeps the count of a taken connection until the worker, which has so many leases, reports the end of the connection.
    pub(super) fn keep(&mut self, id: ConnectionId, counted: CountedSource, leases: u32) -> Result<(), ProtocolError> {
        self.0.insert(id, counted);
        // An honest worker reports the ends soon. Without a limit, another one could fill the memory.
        if self.0.len().saturating_sub(MAX_UNREPORTED) > leases as usize {
            return Err(ProtocolError::TooManyUnreported { limit: MAX_UNREPORTED });
        }
        Ok(())
    }

    /// Returns the count of a taken connection, which is no longer kept.
    pub(super) fn release(&mut self, id: ConnectionId) -> Option<CountedSource> {
        self.0.remove(&id)
    }
}
