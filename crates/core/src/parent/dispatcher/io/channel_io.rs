//! The driver's part of a channel: its socket, the task that reads it, its scoreboard and its statistics.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use crate::ids::ConnectionId;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::dispatcher::rules::channel::{Channel, Lifecycle};
use crate::protocol::encode::Encoder;
use crate::protocol::records::CloseReason;
use crate::stats::ChannelStats;
use crate::sys::Sys;

/// The driver's part of a channel. Dropping it ends the task that reads the channel.
#[derive(Debug)]
pub(in crate::parent::dispatcher) struct ChannelIo {
    pub(in crate::parent::dispatcher) writer: Box<ChannelWriter>,
    /// `None` until the worker is welcomed, and for a worker without a scoreboard. Boxed, so that the channels, which the
    /// dispatcher reads in each turn, are close together in memory.
    pub(in crate::parent::dispatcher) scoreboard: Option<Box<ScoreboardView>>,
    pub(in crate::parent::dispatcher) stats: Arc<ChannelStats>,
    /// The connections that the worker handed back and whose descriptors did not arrive, with the time of the next attempt.
    pub(in crate::parent::dispatcher) missed: Vec<(Instant, ConnectionId)>,
    /// Whether the worker speaks a version that has LISTENING. False until the worker is welcomed.
    pub(in crate::parent::dispatcher) has_listening: bool,
    /// Whether the worker speaks a version that has PROXIED. False until the worker is welcomed.
    pub(in crate::parent::dispatcher) has_proxied: bool,
    /// Whether the worker speaks a version that has `DRAIN_SOON`. False until the worker is welcomed.
    pub(in crate::parent::dispatcher) has_drain_soon: bool,
    reader: AbortHandle,
}

impl ChannelIo {
    pub(in crate::parent::dispatcher) fn new(
        writer: Box<ChannelWriter>,
        reader: AbortHandle,
        stats: Arc<ChannelStats>,
    ) -> Self {
        Self {
            writer,
            scoreboard: None,
            stats,
            missed: Vec::new(),
            has_listening: false,
            has_proxied: false,
            has_drain_soon: false,
            reader,
        }
    }

    /// Sends CLOSE if a reason is given, and shuts the socket down. Returns whether the worker can send no more.
    pub(in crate::parent::dispatcher) fn shut<S: Sys>(
        &mut self,
        sys: &S,
        reason: Option<CloseReason>,
        frames: &mut Encoder,
    ) -> bool {
        if let Some(reason) = reason {
            frames.clear();
            frames.close(reason);
            // The channel ends whether or not CLOSE arrives.
            let _ = self.writer.send_buffered(sys, frames.bytes());
        }
        self.writer.shut(sys)
    }
}

impl Channel<Connection, ChannelIo> {
    /// Returns when the driver has to check the channel.
    pub(in crate::parent::dispatcher) fn io_deadline(&self, now: Instant) -> Option<Instant> {
        let read_until = match self.lifecycle {
            Lifecycle::Closing { read_until, .. } => read_until,
            _ => None,
        };
        // Without connections in flight the scoreboard needs no check. Of many workers, most are idle.
        if self.in_flight.is_empty() && self.io.missed.is_empty() {
            return read_until;
        }
        let scoreboard = self.io.scoreboard.as_ref();
        let check = scoreboard.and_then(|scoreboard| scoreboard.check_at(now));
        let missed = self.io.missed.iter().map(|&(at, _)| at);
        missed.chain(check).chain(read_until).min()
    }
}

impl Drop for ChannelIo {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
