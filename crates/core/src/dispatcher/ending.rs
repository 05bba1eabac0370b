//! How a channel ends, or all of them.

use std::time::Instant;

use super::Dispatcher;
use super::state::{Event, Standing};
use crate::channel::ChannelId;
use crate::channel::record::CloseReason;
use crate::notice::{EndReason, Notice};
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    /// Ends a channel whose worker may have said something that has not been read yet. An ack among that settles whose
    /// a connection is, so nothing goes back to the queue before the inlet has read to the end.
    pub(super) fn finish(
        &mut self,
        channel: ChannelId,
        reason: EndReason,
        farewell: Option<CloseReason>,
        now: Instant,
    ) {
        let Some(line) = self.channels.get_mut(channel).filter(|line| line.ending.is_none()) else {
            return;
        };
        line.ending = Some(reason);
        line.part(&self.sys, farewell, &mut self.frames);
        let _ = self.state.apply(Event::Retired(channel), now, &mut self.actions);
    }

    pub(super) fn end(&mut self, channel: ChannelId, reason: EndReason, farewell: Option<CloseReason>, now: Instant) {
        let Some(mut line) = self.channels.remove(channel) else {
            return;
        };
        if let Some(board) = &mut line.board {
            self.settle(channel, board, now);
        }
        let earlier = line.ending.take();
        if earlier.is_none() {
            line.part(&self.sys, farewell, &mut self.frames);
        }
        let reason = earlier.unwrap_or(reason);
        drop(line);
        let Standing { leases, handed_off, .. } = self.state.standing(channel);
        self.stats.close_channel(channel, handed_off);
        let _ = self.state.apply(Event::Lost(channel), now, &mut self.actions);
        self.again = true;
        if self.ends_by.is_some() {
            // Who ends all channels at once need not be told of each.
            return;
        }
        self.outbox.push(Notice::Ended {
            channel,
            reason,
            leases,
            handed_off,
        });
    }

    /// Resets what no worker has taken.
    pub(super) fn give_up(&mut self, now: Instant) {
        let all = self.channels.channels();
        for channel in all {
            self.end(channel, EndReason::Dismissed, None, now);
        }
        let _ = self.state.apply(Event::Destroyed, now, &mut self.actions);
        self.perform(now);
    }
}
