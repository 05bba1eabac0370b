//! Performs the actions of the rules: sends, releases, resets and reports.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;

use crate::channel::scoreboard::NO_SLOT;
use crate::ids::{ChannelId, ConnectionId};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::{Action, Event, SendFailure};
use crate::parent::dispatcher::rules::channel::Channel;
use crate::parent::notice::{EndReason, Notice, Step};
use crate::parent::queue::Waiting;
use crate::protocol::encode::Encoder;
use crate::protocol::proxied_record::FIXED;
use crate::sys::Sys;

/// The maximum size of the PROXIED frames in a message of several connections. On macOS a message with descriptors has to fit the
/// socket's buffer of 8 KiB whole.
const MAX_PROXIED: usize = 4096;

impl<S: Sys> Dispatcher<S> {
    /// Lets the rules advance and performs their actions, until there are none.
    pub(super) fn perform(&mut self, now: Instant) {
        let mut actions = Vec::new();
        loop {
            self.advance_again = false;
            self.state.advance(now, &mut self.actions);
            std::mem::swap(&mut actions, &mut self.actions);
            for action in actions.drain(..) {
                self.perform_one(action, now);
            }
            if !self.advance_again && self.actions.is_empty() {
                // Keeps the buffer that has grown.
                self.actions = actions;
                return;
            }
        }
    }

    fn perform_one(&mut self, action: Action<Connection>, now: Instant) {
        match action {
            Action::HandOff(channel, ids) => self.hand_off(channel, ids, now),
            Action::Recall(channel, ids) => self.recall(channel, ids, now),
            Action::Cancelled(channel, credit) => self.send_frames(channel, |frames| frames.cancelled([credit])),
            Action::Release(channel, connection, waited) => {
                self.stats.waited(waited);
                self.report_step(connection.id(), Step::Taken, None);
                let channel = self.state.channels.get(channel);
                // A worker that the server started and that maps the scoreboard is Node, which cannot set SO_LINGER with a time.
                let is_ours =
                    channel.is_some_and(|channel| channel.io.scoreboard.is_some() && !channel.io.writer.is_of_joined());
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
            Action::ReportNoDescriptors(channel) => self.outbox.push(Notice::WorkerLimit { channel }),
            Action::Close(channel, reason) => self.shut(channel, Some(reason), now),
            Action::CheckRead(channel) => {
                let Some(open) = self.state.channels.get(channel) else {
                    return;
                };
                let event = if open.io.writer.is_all_read(&self.sys) {
                    self.advance_again |= open.is_held_unread();
                    Event::AllRead(channel)
                } else {
                    Event::NotAllRead(channel, open.io.writer.ends_with_handoff())
                };
                self.state.apply(event, now, &mut self.actions);
            }
            Action::ReportDrained => self.outbox.push(Notice::Drained),
        }
    }

    /// Sends the connections that were added last to a channel's connections in flight. Connections that cannot be sent return
    /// to the queue.
    fn hand_off(&mut self, channel: ChannelId, mut ids: Vec<ConnectionId>, now: Instant) {
        let mut rest = self.split_message(channel, &mut ids);
        while self.send_handoff(channel, ids, &rest, now) && !rest.is_empty() {
            ids = rest;
            rest = self.split_message(channel, &mut ids);
        }
    }

    /// Splits a message whose PROXIED frames would be large. Returns the connections of later messages: most often none.
    fn split_message(&self, channel: ChannelId, ids: &mut Vec<ConnectionId>) -> Vec<ConnectionId> {
        let open = self.state.channels.get(channel);
        let Some(open) = open.filter(|open| open.io.has_proxied && ids.len() > 1) else {
            return Vec::new();
        };
        let first = open.in_flight.len().saturating_sub(ids.len());
        let mut size = 0;
        let count = open.in_flight.range(first..).take_while(|sent| {
            let proxied = sent.connection.proxied();
            size += proxied.map_or(0, |proxied| FIXED + proxied.tlvs.len());
            size <= MAX_PROXIED
        });
        let count = count.count().max(1);
        ids.split_off(count.min(ids.len()))
    }

    /// Sends `ids`, which are before `rest` among the connections in flight, in one message. After a failure both return to the
    /// queue. Returns whether the message was sent.
    fn send_handoff(
        &mut self,
        channel: ChannelId,
        mut ids: Vec<ConnectionId>,
        rest: &[ConnectionId],
        now: Instant,
    ) -> bool {
        let Some(open) = self.state.channels.get_mut(channel) else {
            return false;
        };
        let reports_ends = open.reports_ends();
        let Channel { io, in_flight, .. } = open;
        let (mut heads, mut descriptors) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        let end = in_flight.len().saturating_sub(rest.len());
        let first = end.saturating_sub(ids.len());
        if io.writer.is_of_joined() {
            in_flight
                .range_mut(first..end)
                .for_each(|sent| sent.connection.record_identity());
        }
        self.frames.clear();
        for sent in in_flight.range(first..end) {
            let connection = &sent.connection;
            debug_assert!(
                ids.contains(&connection.id()),
                "the connections in flight were added last"
            );
            let slot = io
                .scoreboard
                .as_mut()
                .map_or(Some(NO_SLOT), |scoreboard| scoreboard.offer(connection.id(), now));
            let Some(slot) = slot else { continue };
            if let Some(proxied) = connection.proxied().filter(|_| io.has_proxied) {
                self.frames.proxied(connection.id(), proxied);
            }
            heads.push(connection.head(sent.lane, slot, sent.waited));
            descriptors.push(connection.as_fd());
        }
        if !reports_ends {
            for head in &mut heads {
                head.tracked = false;
            }
        }
        self.frames.connection(heads);
        let failure = match io.writer.hand_off(&self.sys, self.frames.bytes(), &descriptors) {
            Ok(()) => {
                self.report_handoffs(channel, &ids);
                return true;
            }
            Err(Errno::EAGAIN) => SendFailure::Full,
            // Like ETOOMANYREFS, a shortage of kernel memory ends without an event.
            Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => SendFailure::TooManyInFlight,
            Err(_) => {
                self.close(channel, EndReason::Lost, None, now);
                return false;
            }
        };
        if let Some(scoreboard) = &mut io.scoreboard {
            scoreboard.recall(&ids);
        }
        ids.extend_from_slice(rest);
        let event = Event::NotSent(channel, ids, failure);
        self.state.apply(event, now, &mut self.actions);
        self.advance_again = true;
        false
    }

    fn report_handoffs(&mut self, channel: ChannelId, ids: &[ConnectionId]) {
        for &id in ids {
            self.report_step(id, Step::HandedOff, Some(channel));
        }
    }

    pub(super) fn report_step(&mut self, id: ConnectionId, step: Step, channel: Option<ChannelId>) {
        if self.reports_steps {
            self.outbox.push(Notice::Step { id, step, channel });
        }
    }

    /// Sends frames without descriptors to a welcomed worker. A channel whose worker does not read them is closed.
    pub(super) fn send_frames(&mut self, channel: ChannelId, write: impl FnOnce(&mut Encoder)) {
        let open = self.state.channels.get_mut(channel);
        let Some(open) = open.filter(|open| open.lifecycle.is_welcomed()) else {
            return;
        };
        self.frames.clear();
        write(&mut self.frames);
        if open.io.writer.send_buffered(&self.sys, self.frames.bytes()).is_err() {
            self.close(channel, EndReason::Lost, None, self.sys.now());
        }
    }
}
