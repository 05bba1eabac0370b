//! The tracked connections of a channel: those that are counted for their sources and whose ends the worker reports by their ids.

use std::collections::HashMap;

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::Channel;
use crate::parent::queue::Waiting;
use crate::parent::routing::source_counts::CountedSource;
use crate::protocol::ProtocolError;
use crate::protocol::limits::MAX_UNREPORTED;

/// The counts of the connections that the worker of a channel has taken. The end of the channel drops them.
#[derive(Debug, Default)]
pub(super) struct Tracked(HashMap<ConnectionId, CountedSource>);

impl<C: Waiting, I> State<C, I> {
    /// Records that the worker of a channel reports the ends of tracked connections by their ids.
    pub fn track(&mut self, id: ChannelId) {
        self.with(id, |channel| channel.tracked = Some(Box::default()));
    }
}

impl<C: Waiting, I> Channel<C, I> {
    /// Returns whether the worker reports the ends of tracked connections by their ids.
    pub(in crate::parent::dispatcher) fn reports_ends(&self) -> bool {
        self.tracked.is_some()
    }

    /// Keeps the count of a taken connection until the worker reports the end of the connection. If the worker does not report ends,
    /// the count ends now.
    pub(super) fn keep_counted(&mut self, id: ConnectionId, counted: CountedSource) -> Result<(), ProtocolError> {
        let Some(Tracked(tracked)) = self.tracked.as_deref_mut() else {
            return Ok(());
        };
        tracked.insert(id, counted);
        // An honest worker reports the ends soon. Without a limit, another one could fill the memory.
        if tracked.len().saturating_sub(MAX_UNREPORTED) > self.counters.leases as usize {
            return Err(ProtocolError::TooManyUnreported { limit: MAX_UNREPORTED });
        }
        Ok(())
    }

    /// Returns the count of a taken connection, which is no longer kept.
    pub(super) fn release_counted(&mut self, id: ConnectionId) -> Result<CountedSource, ProtocolError> {
        let tracked = self.tracked.as_mut();
        let counted = tracked.and_then(|tracked| tracked.0.remove(&id));
        counted.ok_or(ProtocolError::NotLeased { id })
    }
}
