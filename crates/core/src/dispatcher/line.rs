//! A channel as the driver has it.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::AbortHandle;

use super::board::Board;
use super::outlet::Outlet;
use crate::channel::frame::Writer;
use crate::channel::record::CloseReason;
use crate::connection::ConnectionId;
use crate::notice::EndReason;
use crate::stats::ChannelStats;
use crate::sys::Sys;

/// A channel's socket and what belongs to it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) outlet: Box<Outlet>,
    pub(super) reader: AbortHandle,
    pub(super) stats: Arc<ChannelStats>,
    pub(super) board: Option<Board>,
    /// What it is to send again, and when to say so.
    pub(super) missed: Vec<(Instant, ConnectionId)>,
    /// Its worker has said hello and been welcomed: nothing is said on a channel before.
    pub(super) greeted: bool,
    pub(super) leaving: bool,
    /// Nothing goes in or out any more, but what the worker had said before is still to be read.
    pub(super) ending: Option<EndReason>,
}

impl Line {
    /// Says the last word and shuts the socket.
    pub(super) fn part<S: Sys>(&mut self, sys: &S, farewell: Option<CloseReason>, frames: &mut Writer) {
        if let Some(farewell) = farewell {
            frames.clear();
            frames.close(farewell);
            // The peer reads it or it does not: the channel is over either way.
            let _ = self.outlet.tell(sys, frames.bytes());
        }
        self.outlet.shut();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
