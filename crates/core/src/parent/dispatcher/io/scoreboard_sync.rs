//! Keeps the rules and the scoreboards in step: reads what workers have written, asks workers to announce news, recalls
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
    /// Applies what workers have written to their scoreboards.
    pub(in crate::parent::dispatcher) fn read_scoreboards(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        let mut errors = Vec::new();
        for (id, channel) in self.state.channels.iter_mut() {
            if let Some(scoreboard) = &mut channel.io.scoreboard
                && scoreboard.may_have_news()
                && let Err(error) = scoreboard.news(id, &mut events)
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

    /// Asks workers to announce their news while the dispatcher waits for news. Returns whether a worker was asked just now, whose
    /// scoreboard has to be read once more. The credit of any worker counts for connections that wait in the queue or lie untaken.
    pub(in crate::parent::dispatcher) fn ask_for_news(&mut self, now: Instant) -> bool {
        let waits_for_any = self.state.queued() > 0
            || self.state.is_draining()
            || self.state.channels.values().any(|channel| {
                let scoreboard = channel.io.scoreboard.as_ref();
                scoreboard.is_some_and(|scoreboard| scoreboard.is_overdue(now))
            });
        let mut asked = false;
        for (_, channel) in self.state.channels.iter_mut() {
            if let Some(scoreboard) = &mut channel.io.scoreboard {
                asked |= scoreboard.want(waits_for_any || channel.lifecycle.is_retired());
            }
        }
        asked
    }

    /// Recalls connections that a worker left untaken: at once by the scoreboard, or by RECALL, which a worker without a
    /// scoreboard answers when its event loop turns.
    pub(in crate::parent::dispatcher) fn recall(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, now: Instant) {
        self.advance_again = true;
        let Some(scoreboard) = self.scoreboard(channel) else {
            return self.tell(channel, |frames| frames.recall(ids));
        };
        for id in scoreboard.recall(&ids) {
            let event = Event::Recalled(channel, id);
            self.state.apply(event, now, &mut self.actions);
        }
    }

    /// Reads a scoreboard for the last time. Connections that the worker has taken are the worker's, the others can no longer be
    /// taken.
    pub(in crate::parent::dispatcher) fn settle(&mut self, channel: ChannelId, now: Instant) {
        let Some(scoreboard) = self.scoreboard(channel) else {
            return;
        };
        let reason = RefusalReason::Recalled;
        let untaken = scoreboard.recall(&scoreboard.offered()).into_iter();
        let untaken = untaken.map(|id| (channel, WorkerEvent::Refused(Refusal { id, reason })));
        let mut events: Vec<_> = untaken.collect();
        // What a worker wrote before an error counts.
        let _ = scoreboard.news(channel, &mut events);
        for (_, event) in events {
            // The channel is over: an error changes nothing any more.
            let _ = self.state.apply_worker(channel, event, now, &mut self.actions);
        }
    }

    /// Notes that a worker has announced its news. Any frame does: a NUDGE that did not fit the socket is lost, and then there were
    /// other frames. Returns whether the worker has a scoreboard.
    pub(in crate::parent::dispatcher) fn mark_nudged(&mut self, channel: ChannelId) -> bool {
        let scoreboard = self.scoreboard(channel);
        scoreboard.map(ScoreboardView::nudged).is_some()
    }

    fn scoreboard(&mut self, channel: ChannelId) -> Option<&mut ScoreboardView> {
        self.state.channels.get_mut(channel)?.io.scoreboard.as_deref_mut()
    }
}
