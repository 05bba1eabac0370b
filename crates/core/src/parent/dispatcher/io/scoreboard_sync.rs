//! Synchronizes the rules with the scoreboards: reads the changes by workers, asks workers to announce changes, recalls
//! untaken connections, and settles a scoreboard when its channel ends.

use std::time::Instant;

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::message::{Event, WorkerEvent};
use crate::parent::notice::EndReason;
use crate::protocol::records::{CloseReason, Refusal, RefusalReason};
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    /// Applies the changes that workers have written to their scoreboards.
    pub(in crate::parent::dispatcher) fn read_scoreboards(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        let mut errors = Vec::new();
        for (id, channel) in self.state.channels.iter_mut() {
            if let Some(scoreboard) = &mut channel.io.scoreboard
                && scoreboard.may_have_events()
                && let Err(error) = scoreboard.read_events(id, &mut events)
            {
                errors.push((id, error));
            }
        }
        let mut wrong = None;
        for (id, event) in events.drain(..) {
            if wrong != Some(id)
                && let Err(error) = self.state.apply_worker(id, event, now, &mut self.actions)
            {
                wrong = Some(id);
                errors.push((id, error));
            }
        }
        self.events = events;
        for (id, error) in errors {
            self.end(id, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
        }
    }

    /// Asks workers to announce their changes by NUDGE while the dispatcher waits for changes. If connections are queued or
    /// untaken, the dispatcher waits for the credit of any worker. For a stalled worker the dispatcher waits until its event loop
    /// turns, because the statistics show the worker as stalled until then. Returns whether a worker was asked in this call:
    /// the scoreboards must then be read once more.
    pub(in crate::parent::dispatcher) fn request_nudges(&mut self, now: Instant) -> bool {
        let waits_for_any = self.state.queued() > 0
            || self.state.is_draining()
            || self.state.channels.values().any(|channel| {
                let scoreboard = channel.io.scoreboard.as_ref();
                scoreboard.is_some_and(|scoreboard| scoreboard.is_overdue(now))
            });
        let mut asked = false;
        for (_, channel) in self.state.channels.iter_mut() {
            let is_stalled = channel.is_stalled();
            if let Some(scoreboard) = &mut channel.io.scoreboard {
                asked |= scoreboard.want(waits_for_any || is_stalled || channel.lifecycle.is_retired());
            }
        }
        asked
    }

    /// Recalls connections that a worker left untaken: at once by the scoreboard, or by RECALL, which a worker without a
    /// scoreboard answers when its event loop turns.
    pub(in crate::parent::dispatcher) fn recall(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, now: Instant) {
        self.advance_again = true;
        let Some(scoreboard) = self.scoreboard(channel) else {
            return self.send_frames(channel, |frames| frames.recall(ids));
        };
        for id in scoreboard.recall(&ids) {
            let event = Event::Recalled(channel, id);
            self.state.apply(event, now, &mut self.actions);
        }
    }

    /// Reads a scoreboard for the last time, and recalls the connections that the worker has not taken.
    pub(in crate::parent::dispatcher) fn settle(&mut self, channel: ChannelId, now: Instant) {
        let Some(scoreboard) = self.scoreboard(channel) else {
            return;
        };
        let reason = RefusalReason::Recalled;
        let untaken = scoreboard.recall(&scoreboard.offered()).into_iter();
        let untaken = untaken.map(|id| (channel, WorkerEvent::Refused(Refusal { id, reason })));
        let mut events: Vec<_> = untaken.collect();
        // Changes that the worker wrote before an error still count.
        let _ = scoreboard.read_events(channel, &mut events);
        for (_, event) in events {
            // The channel has ended, so an error has no effect.
            let _ = self.state.apply_worker(channel, event, now, &mut self.actions);
        }
    }

    /// Records that a worker has announced its changes. Any frame counts as an announcement: a NUDGE that does not fit the full
    /// socket is lost, and the earlier frames take its place. Returns whether the worker has a scoreboard.
    pub(in crate::parent::dispatcher) fn mark_nudged(&mut self, channel: ChannelId) -> bool {
        let scoreboard = self.scoreboard(channel);
        scoreboard.map(ScoreboardView::nudged).is_some()
    }

    fn scoreboard(&mut self, channel: ChannelId) -> Option<&mut ScoreboardView> {
        self.state.channels.get_mut(channel)?.io.scoreboard.as_deref_mut()
    }
}
