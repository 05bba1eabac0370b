//! How a channel ends, or all of them.

use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::Event;
use crate::parent::notice::{EndReason, Notice};
use crate::protocol::records::CloseReason;
use crate::stats::ChannelCounters;
use crate::sys::Sys;

/// How long what a worker had sent before its channel was to end is read, where shutting the reading side discards it
/// (macOS). A worker that does not close then would keep the connections that it has not acked.
const LAST_FRAMES: Duration = Duration::from_millis(100);

impl<S: Sys> Dispatcher<S> {
    /// Ends a channel whose worker may have said something that has not been read yet. An ack among that settles whose
    /// a connection is, so nothing goes back to the queue before the inlet has read to the end.
    pub(in crate::parent::dispatcher) fn finish(
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
        let is_whole = line.part(&self.sys, farewell, &mut self.frames);
        line.read_until = (!is_whole).then(|| now + LAST_FRAMES);
        let _ = self.state.apply(Event::Retired(channel), now, &mut self.actions);
    }

    pub(in crate::parent::dispatcher) fn end(
        &mut self,
        channel: ChannelId,
        reason: EndReason,
        farewell: Option<CloseReason>,
        now: Instant,
    ) {
        let Some(mut line) = self.channels.remove(channel) else {
            return;
        };
        if let Some(scoreboard) = &mut line.scoreboard {
            self.settle(channel, scoreboard, now);
        }
        let earlier = line.ending.take();
        if earlier.is_none() {
            line.part(&self.sys, farewell, &mut self.frames);
        }
        let reason = earlier.unwrap_or(reason);
        if let (EndReason::Protocol(_), Some(seat)) = (&reason, line.writer.seat()) {
            seat.record_protocol_error(now);
        }
        drop(line);
        let ChannelCounters { leases, handed_off, .. } = self.state.standing(channel);
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

    /// Shuts the reading side of each channel that is ending and whose worker has not closed it in time.
    pub(in crate::parent::dispatcher) fn shut_overdue(&mut self, now: Instant) {
        for (_, line) in self.channels.iter_mut() {
            if line.read_until.is_some_and(|until| until <= now) {
                line.read_until = None;
                line.writer.shut_reading();
            }
        }
    }

    /// Resets what no worker has taken.
    pub(in crate::parent::dispatcher) fn give_up(&mut self, now: Instant) {
        let all = self.channels.channels();
        for channel in all {
            self.end(channel, EndReason::Dismissed, None, now);
        }
        let _ = self.state.apply(Event::Destroyed, now, &mut self.actions);
        self.perform(now);
    }
}
