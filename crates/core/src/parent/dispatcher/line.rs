//! A channel as the driver has it.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use crate::ids::ConnectionId;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::notice::EndReason;
use crate::protocol::encode::Encoder;
use crate::protocol::records::CloseReason;
use crate::stats::ChannelStats;
use crate::sys::Sys;

/// A channel's socket and what belongs to it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) writer: Box<ChannelWriter>,
    pub(super) reader: AbortHandle,
    pub(super) stats: Arc<ChannelStats>,
    pub(super) scoreboard: Option<ScoreboardView>,
    /// What it is to send again, and when to say so.
    pub(super) missed: Vec<(Instant, ConnectionId)>,
    /// Its worker has said hello and been welcomed: nothing is said on a channel before.
    pub(super) greeted: bool,
    pub(super) leaving: bool,
    /// Nothing goes in or out any more, but what the worker had said before is still to be read.
    pub(super) ending: Option<EndReason>,
    /// When the reading side is shut, if the channel has not ended by then.
    pub(super) read_until: Option<Instant>,
}

impl Line {
    /// Creates the line of a channel whose worker has not said hello.
    pub(super) fn new(writer: Box<ChannelWriter>, reader: AbortHandle, stats: Arc<ChannelStats>) -> Self {
        Self {
            writer,
            reader,
            stats,
            scoreboard: None,
            missed: Vec::new(),
            greeted: false,
            leaving: false,
            ending: None,
            read_until: None,
        }
    }

    /// Sends CLOSE if there is a reason and shuts the socket. Returns whether the peer can send no more.
    pub(super) fn part<S: Sys>(&mut self, sys: &S, farewell: Option<CloseReason>, frames: &mut Encoder) -> bool {
        if let Some(farewell) = farewell {
            frames.clear();
            frames.close(farewell);
            // The peer reads it or it does not: the channel is over either way.
            let _ = self.writer.tell(sys, frames.bytes());
        }
        self.writer.shut(sys)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
