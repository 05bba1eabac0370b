//! Ends one channel, or all channels.

use std::time::{Duration, Instant};

use crate::ids::ChannelId;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::rules::channel::Lifecycle;
use crate::parent::notice::{EndReason, Notice};
use crate::protocol::records::CloseReason;
use crate::stats::ChannelCounters;
use crate::sys::Sys;

/// How long the parent reads the frames that a worker sent before CLOSE, on macOS, where shutting the reading side discards
/// them. Without this limit, a worker that does not close its end would keep the connections that it has not acked.
const LAST_FRAMES: Duration = Duration::from_millis(100);

impl<S: Sys> Dispatcher<S> {
    /// Closes a channel whose worker may have sent frames that are not read yet. Such a frame may be the ack of a connection, so
    /// no connection returns to the queue before the reader has reached the end of the stream.
    pub(in crate::parent::dispatcher) fn close(
        &mut self,
        channel: ChannelId,
        reason: EndReason,
        close: Option<CloseReason>,
        now: Instant,
    ) {
        let open = self.state.channels.get_mut(channel);
        if open.is_some_and(|open| open.lifecycle.close(reason)) {
            self.shut(channel, close, now);
        }
    }

    /// Sends CLOSE on a channel that is closing and shuts its socket.
    pub(in crate::parent::dispatcher) fn shut(
        &mut self,
        channel: ChannelId,
        reason: Option<CloseReason>,
        now: Instant,
    ) {
        let Some(closing) = self.state.channels.get_mut(channel) else {
            return;
        };
        let is_whole = closing.io.shut(&self.sys, reason, &mut self.frames);
        if let Lifecycle::Closing { read_until, .. } = &mut closing.lifecycle {
            *read_until = (!is_whole).then(|| now + LAST_FRAMES);
        }
    }

    /// Ends a channel: its connections in flight return to the queue, and a notice reports the end.
    pub(in crate::parent::dispatcher) fn end(
        &mut self,
        channel: ChannelId,
        reason: EndReason,
        close: Option<CloseReason>,
        now: Instant,
    ) {
        self.settle(channel, now);
        let Some(open) = self.state.channels.get_mut(channel) else {
            return;
        };
        // The first reason counts.
        let reason = if open.lifecycle.close(reason.clone()) {
            open.io.shut(&self.sys, close, &mut self.frames);
            reason
        } else if let Lifecycle::Closing { reason: earlier, .. } = &open.lifecycle {
            earlier.clone()
        } else {
            reason
        };
        if let (EndReason::Protocol(_), Some(seat)) = (&reason, open.io.writer.seat()) {
            seat.record_protocol_error(now);
        }
        let ChannelCounters { leases, taken, .. } = self.state.counters(channel);
        self.stats.close_channel(channel, taken, now);
        self.state.apply(Event::Lost(channel), now, &mut self.actions);
        self.advance_again = true;
        if self.ends_by.is_none() {
            self.outbox.push(Notice::Ended {
                channel,
                reason,
                leases,
                taken,
            });
        }
    }

    /// Shuts the reading side of each closing channel whose worker has not closed its end in time.
    pub(in crate::parent::dispatcher) fn shut_overdue(&mut self, now: Instant) {
        for (_, channel) in self.state.channels.iter_mut() {
            if let Lifecycle::Closing { read_until, .. } = &mut channel.lifecycle
                && read_until.take_if(|until| *until <= now).is_some()
            {
                channel.io.writer.shut_reading();
            }
        }
    }

    /// Ends all channels and sheds every connection that no worker has taken.
    pub(in crate::parent::dispatcher) fn end_all(&mut self, now: Instant) {
        for channel in self.state.channels.ids() {
            self.end(channel, EndReason::Dismissed, None, now);
        }
        self.state.apply(Event::Destroyed, now, &mut self.actions);
        self.perform(now);
    }
}
