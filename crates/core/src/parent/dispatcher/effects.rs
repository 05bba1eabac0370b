//! Performs what the rules decide: sends, releases, resets and tells.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;

use crate::channel::scoreboard::NO_SLOT;
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::{Action, Event, SendFailure};
use crate::parent::notice::{EndReason, Notice, Step};
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::records::CloseReason;
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    /// Does what the rules call for, and again if some of it failed, until nothing is left.
    pub(super) fn perform(&mut self, now: Instant) {
        loop {
            self.again = false;
            self.state.advance(now, &mut self.actions);
            for action in std::mem::take(&mut self.actions) {
                self.perform_one(action, now);
            }
            if !self.again && self.actions.is_empty() {
                return;
            }
        }
    }

    fn perform_one(&mut self, action: Action<Connection>, now: Instant) {
        match action {
            Action::HandOff(channel, ids) => self.hand_off(channel, ids, now),
            Action::Recall(channel, ids) => self.recall(channel, ids, now),
            Action::Cancelled(channel, credit) => self.tell(channel, |frames| frames.cancelled([credit])),
            Action::Release(channel, connection, waited) => {
                self.stats.waited(waited);
                self.step(connection.id(), Step::Taken, None);
                let line = self.channels.get(channel);
                // A worker that the server started and that maps the scoreboard is Node, which cannot set SO_LINGER with a time.
                let is_ours = line.is_some_and(|line| line.scoreboard.is_some() && !line.writer.is_of_joined());
                connection.release(is_ours);
            }
            Action::Shed(connection, reason) => {
                self.outbox.push(Notice::Shed {
                    id: connection.id(),
                    reason,
                    remote: connection.remote(),
                    local_port: connection.local_port(),
                    waited: now.saturating_duration_since(connection.since()),
                });
                connection.reset();
            }
            Action::OutOfDescriptors(channel) => self.outbox.push(Notice::WorkerLimit { channel }),
            Action::Unanswered(channel) => {
                let reason = EndReason::Protocol(ProtocolError::Unanswered);
                self.finish(channel, reason, Some(CloseReason::Protocol), now);
            }
            Action::TakesNothing(channel) => {
                let reason = EndReason::Protocol(ProtocolError::TakesNothing);
                self.finish(channel, reason, Some(CloseReason::Protocol), now);
            }
            Action::AskWhetherRead(channel) => {
                let line = self.channels.get(channel);
                if line.is_some_and(|line| line.writer.is_all_read(&self.sys)) {
                    let _ = self.state.apply(Event::Read(channel), now, &mut self.actions);
                    self.again = true;
                }
            }
            Action::Drained => self.outbox.push(Notice::Drained),
        }
    }

    /// Sends connections to a worker; those that cannot be sent go back.
    fn hand_off(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, now: Instant) {
        let Some(line) = self.channels.get_mut(channel) else {
            return;
        };
        let (mut heads, mut descriptors) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for &id in &ids {
            let Some((connection, lane)) = self.state.in_flight(channel, id) else {
                continue;
            };
            let slot = line
                .scoreboard
                .as_mut()
                .map_or(Some(NO_SLOT), |scoreboard| scoreboard.offer(id, now));
            let Some(slot) = slot else { continue };
            if line.writer.is_of_joined() {
                connection.identify();
            }
            heads.push(connection.head(lane, slot, now));
            descriptors.push(connection.as_fd());
        }
        self.frames.clear();
        self.frames.connection(heads);
        let sent = line.writer.hand_off(&self.sys, self.frames.bytes(), &descriptors);
        let trouble = match sent {
            Ok(()) => return ids.iter().for_each(|&id| self.step(id, Step::HandedOff, Some(channel))),
            Err(Errno::EAGAIN) => SendFailure::Full,
            // Of a kernel that is short of memory nobody says when that is over, as a socket does that has room again.
            Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => SendFailure::TooManyInFlight,
            Err(_) => return self.finish(channel, EndReason::Lost, None, now),
        };
        if let Some(scoreboard) = self.scoreboard(channel) {
            scoreboard.take_back(&ids);
        }
        let _ = self
            .state
            .apply(Event::NotSent(channel, ids, trouble), now, &mut self.actions);
        self.again = true;
    }

    pub(super) fn step(&mut self, id: ConnectionId, step: Step, channel: Option<ChannelId>) {
        if self.tells_steps {
            self.outbox.push(Notice::Step { id, step, channel });
        }
    }

    /// Sends what carries no connection; a worker that does not read it ends.
    pub(super) fn tell(&mut self, channel: ChannelId, write: impl FnOnce(&mut Encoder)) {
        let Some(line) = self.channels.get_mut(channel).filter(|line| line.greeted) else {
            return;
        };
        self.frames.clear();
        write(&mut self.frames);
        if line.writer.tell(&self.sys, self.frames.bytes()).is_err() {
            self.finish(channel, EndReason::Lost, None, self.sys.now());
        }
    }
}
