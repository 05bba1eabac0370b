//! The dispatcher's dealings with scoreboards: reads what workers have written, asks them to speak up, takes back what
//! they leave lying, and settles accounts when a channel ends.

use std::time::Instant;

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::line::Line;
use crate::parent::dispatcher::message::Event;
use crate::parent::notice::EndReason;
use crate::protocol::records::{CloseReason, Refusal, RefusalReason};
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    /// Takes in what the workers have written on their scoreboards.
    pub(in crate::parent::dispatcher) fn read_boards(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        let mut liars = Vec::new();
        for (channel, line) in self.channels.iter_mut() {
            let Some(scoreboard) = line.scoreboard.as_mut().filter(|scoreboard| scoreboard.may_have_news()) else {
                continue;
            };
            let read = scoreboard.news(channel, &mut events);
            let applied = events
                .drain(..)
                .try_for_each(|event| self.state.apply(event, now, &mut self.actions));
            if let Err(error) = read.and(applied) {
                liars.push((channel, error));
            }
        }
        self.events = events;
        for (channel, error) in liars {
            self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
        }
    }

    /// Asks workers to speak up where their next word is waited for; true if one has just been asked. Anybody's credit
    /// counts for what waits in the queue, and for what lies untaken at somebody else's.
    pub(in crate::parent::dispatcher) fn ask_for_news(&mut self, now: Instant) -> bool {
        let overdue = |line: &Line| {
            line.scoreboard
                .as_ref()
                .is_some_and(|scoreboard| scoreboard.is_overdue(now))
        };
        let of_all = self.state.queued() > 0 || self.state.is_draining() || self.channels.values().any(overdue);
        let mut asked = false;
        for line in self.channels.iter_mut().map(|(_, line)| line) {
            if let Some(scoreboard) = &mut line.scoreboard {
                asked |= scoreboard.want(of_all || line.leaving);
            }
        }
        asked
    }

    /// Takes back what a worker has left lying: at once by the scoreboard, else by asking for it, which nobody waits for, as
    /// a worker without a thread for it may not answer.
    pub(in crate::parent::dispatcher) fn recall(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, now: Instant) {
        self.again = true;
        let Some(scoreboard) = self.scoreboard(channel) else {
            return self.tell(channel, |frames| frames.recall(ids));
        };
        for id in scoreboard.take_back(&ids) {
            let _ = self.state.apply(Event::TakenBack(channel, id), now, &mut self.actions);
        }
    }

    /// The last look at a scoreboard: what its worker has taken is the worker's, the rest can no longer be taken.
    pub(in crate::parent::dispatcher) fn settle(
        &mut self,
        channel: ChannelId,
        scoreboard: &mut ScoreboardView,
        now: Instant,
    ) {
        for id in scoreboard.take_back(&scoreboard.offered()) {
            let refusal = Refusal {
                id,
                reason: RefusalReason::Recalled,
            };
            let _ = self
                .state
                .apply(Event::Refused(channel, refusal), now, &mut self.actions);
        }
        let mut events = Vec::new();
        // A liar's last words count as far as they make sense.
        let _ = scoreboard.news(channel, &mut events);
        for event in events {
            let _ = self.state.apply(event, now, &mut self.actions);
        }
    }

    pub(in crate::parent::dispatcher) fn scoreboard(&mut self, channel: ChannelId) -> Option<&mut ScoreboardView> {
        self.channels.get_mut(channel)?.scoreboard.as_mut()
    }
}
