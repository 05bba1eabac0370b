//! Pairs the next connection with a channel that has credit. This is the thin driver around the pure [`state`]: the
//! one owner of all state, spoken to by a closed set of [`Message`]s.

mod channel_map;
mod effects;
pub mod io;
mod line;
pub mod message;
pub mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::ids::ChannelId;
use crate::parent::config::Config;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::channel_map::ChannelMap;
use crate::parent::dispatcher::line::Line;
use crate::parent::dispatcher::message::Message;
use crate::parent::dispatcher::message::{Action, Event};
use crate::parent::dispatcher::rules::State;
use crate::parent::notice::{EndReason, Notice, Notices, Step};
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::frame::VERSION;
use crate::protocol::records::CloseReason;
use crate::stats::Stats;
use crate::sys::Sys;
use crate::sys::alarm::Alarm;
use crate::sys::scheduling::AcceptRate;

/// The driver: performs what the rules decide.
#[derive(Debug)]
pub struct Dispatcher<S> {
    sys: S,
    state: State<Connection>,
    /// Whether each step of a connection is to be told.
    tells_steps: bool,
    channels: ChannelMap<Line>,
    inbox: mpsc::Receiver<Message>,
    alarm: Alarm,
    rush: AcceptRate,
    actions: Vec<Action<Connection>>,
    events: Vec<Event<Connection>>,
    frames: Encoder,
    again: bool,
    /// It ends, by this time at the latest.
    ends_by: Option<Instant>,
    /// Told at the end of the turn, when the counters say the same.
    outbox: Vec<Notice>,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

/// Messages taken in one turn: what comes in a burst is decided together, so that one frame carries several
/// connections, while a lone one is never delayed.
const TURN: usize = 64;

/// How long a server that ends at once waits for the ends of its channels, to know what their workers had taken. On Linux
/// they are there at once; on macOS when the workers close.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl<S: Sys> Dispatcher<S> {
    /// A dispatcher that listens to `inbox`, without channels and connections.
    pub fn new(
        sys: S,
        config: &Config,
        inbox: mpsc::Receiver<Message>,
        alarm: Alarm,
        stats: Arc<Stats>,
        notices: Arc<Notices>,
    ) -> Self {
        let (channels, actions, events, frames) = (ChannelMap::new(), Vec::new(), Vec::new(), Encoder::new());
        Self {
            sys,
            state: State::new(config),
            tells_steps: config.tells_steps(),
            channels,
            inbox,
            alarm,
            rush: AcceptRate::default(),
            actions,
            events,
            frames,
            again: false,
            ends_by: None,
            outbox: Vec::new(),
            stats,
            notices,
        }
    }

    /// Works until it is destroyed, or all senders of its inbox are gone.
    pub async fn run(mut self) {
        let mut turn = Vec::with_capacity(TURN);
        let mut now = self.sys.now();
        loop {
            // By the time of the last turn: what has become due since then has not been looked at.
            let deadline = self.deadline(now);
            tokio::select! {
                biased;
                taken = self.inbox.recv_many(&mut turn, TURN) => if taken == 0 { return },
                () = self.alarm.wait(deadline) => {}
            }
            now = self.sys.now();
            // Before the messages: what a worker has written before it sent a frame is true before that frame.
            self.read_boards(now);
            self.ask_again(now);
            for message in turn.drain(..) {
                self.take(message, now);
            }
            self.rush.look(now, &self.sys);
            self.shut_overdue(now);
            loop {
                self.perform(now);
                if !self.ask_for_news(now) {
                    break;
                }
                self.read_boards(now);
            }
            let is_over = self.ends_by.is_some_and(|by| self.channels.is_empty() || now >= by);
            if is_over {
                self.give_up(now);
            }
            self.publish();
            if is_over {
                return;
            }
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let looks = self
            .channels
            .values()
            .filter_map(|line| line.scoreboard.as_ref()?.look_at(now));
        let due = self.state.deadline(now).into_iter().chain(looks);
        let due = due.chain(self.channels.values().filter_map(|line| line.read_until));
        let due = due.chain(self.next_to_ask_again()).chain(self.rush.over_at());
        due.chain(self.ends_by).min()
    }

    fn take(&mut self, message: Message, now: Instant) {
        match message {
            Message::Event(event) => {
                let draining = matches!(event, Event::Drain);
                if let Event::Accepted(connection) = &event {
                    self.rush.saw(connection.id(), &self.sys);
                    self.step(connection.id(), Step::Accepted, None);
                }
                // Only what a worker says can be wrong, and that comes as `Frames`.
                let _ = self.state.apply(event, now, &mut self.actions);
                if draining {
                    let all = self.channels.channels();
                    for channel in all {
                        self.tell(channel, Encoder::drain);
                    }
                }
            }
            Message::Open(channel, writer, reader) => {
                let stats = self.stats.open_channel(channel);
                self.channels.insert(channel, Line::new(writer, reader, stats));
                let _ = self.state.apply(Event::Opened(channel), now, &mut self.actions);
            }
            Message::Hello(channel, hello) => self.greet(channel, hello, now),
            Message::Nudge(channel) => {
                if let Some(scoreboard) = self.scoreboard(channel) {
                    scoreboard.nudged();
                }
            }
            Message::Frames(channel, events) => {
                let by_frame = self.scoreboard(channel).is_none();
                if let Some(scoreboard) = self.scoreboard(channel) {
                    // A bell that did not fit the socket is lost, and the wish with it; then there were other frames.
                    scoreboard.nudged();
                }
                for event in events {
                    match event {
                        Event::Retired(_) if self.mark_leaving(channel) => {
                            self.outbox.push(Notice::Leaving { channel });
                        }
                        Event::Acked(..) | Event::Refused(..) | Event::Ended(..) if !by_frame => {
                            let reason = EndReason::Protocol(ProtocolError::NotByFrame);
                            return self.end(channel, reason, Some(CloseReason::Protocol), now);
                        }
                        _ => {}
                    }
                    if let Err(error) = self.state.apply(event, now, &mut self.actions) {
                        return self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
                    }
                }
            }
            Message::Returned(channel, id, fd) => self.take_returned(channel, id, fd, now),
            // One task cannot go on without the other.
            Message::Panicked(message) => std::panic::resume_unwind(Box::new(message)),
            Message::End(channel, Ok(())) => {
                let leaving = self.channels.get(channel).is_some_and(|line| line.leaving);
                self.end(
                    channel,
                    if leaving { EndReason::Left } else { EndReason::Lost },
                    None,
                    now,
                );
            }
            Message::End(channel, Err(error)) => {
                let reason = match error {
                    ProtocolError::Version { .. } => CloseReason::Version(VERSION),
                    _ => CloseReason::Protocol,
                };
                self.end(channel, EndReason::Protocol(error), Some(reason), now);
            }
            Message::Writable(channel) => {
                let Some(line) = self.channels.get_mut(channel) else {
                    return;
                };
                if line.writer.resume(&self.sys).is_err() {
                    return self.finish(channel, EndReason::Lost, None, now);
                }
                let _ = self.state.apply(Event::Writable(channel), now, &mut self.actions);
            }
            Message::Retire(channel) => {
                self.mark_leaving(channel);
                let _ = self.state.apply(Event::Retired(channel), now, &mut self.actions);
                self.tell(channel, Encoder::retire);
            }
            Message::Destroy => {
                self.ends_by = Some(now + LAST_WORDS);
                let all = self.channels.channels();
                for channel in all {
                    self.finish(channel, EndReason::Dismissed, Some(CloseReason::Ended), now);
                }
            }
            Message::Dismiss(channel) => {
                self.finish(channel, EndReason::Dismissed, Some(CloseReason::Dismissed), now);
            }
        }
    }

    /// Marks a channel whose end is expected from now on. Returns whether that is new.
    fn mark_leaving(&mut self, channel: ChannelId) -> bool {
        self.channels
            .get_mut(channel)
            .is_some_and(|line| !std::mem::replace(&mut line.leaving, true))
    }

    fn publish(&mut self) {
        for (channel, standing) in self.state.changes() {
            if let Some(line) = self.channels.get(channel) {
                line.stats.publish(standing);
            }
        }
        self.stats
            .publish(self.state.counts(), self.state.queued(), self.state.workers());
        for notice in self.outbox.drain(..) {
            self.notices.post(notice);
        }
    }
}
