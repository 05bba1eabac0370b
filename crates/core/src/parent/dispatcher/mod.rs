//! Pairs the next connection with a channel that has credit. The dispatcher owns all state of the server: [`Message`]s come in,
//! the pure [`rules`] decide, and the driver in this module performs the [`Action`]s.

mod channel_map;
mod effects;
pub mod io;
pub mod message;
pub mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::mpsc;

use crate::ids::ChannelId;
use crate::parent::config::Config;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::io::channel_io::ChannelIo;
use crate::parent::dispatcher::message::{Action, Event, Message, WorkerEvent};
use crate::parent::dispatcher::rules::State;
use crate::parent::dispatcher::rules::channel::Channel;
use crate::parent::notice::{EndReason, Notice, Notices, Step};
use crate::parent::queue::Waiting;
use crate::protocol::ProtocolError;
use crate::protocol::encode::Encoder;
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::records::CloseReason;
use crate::protocol::ticket_keys::TicketKeys;
use crate::protocol::version::VERSION;
use crate::stats::Stats;
use crate::sys::Sys;
use crate::sys::alarm::Alarm;
use crate::sys::scheduling::AcceptRate;

/// The driver of the rules.
#[derive(Debug)]
pub struct Dispatcher<S> {
    sys: S,
    state: State<Connection, ChannelIo>,
    /// Whether each step of a connection is reported.
    reports_steps: bool,
    /// The addresses of the listeners, which are sent to workers.
    listeners: Vec<ListenerAddress>,
    /// The keys of TLS session tickets that started workers share.
    ticket_keys: Option<TicketKeys>,
    /// Whether the owner has announced a drain.
    drains_soon: bool,
    inbox: mpsc::Receiver<Message>,
    alarm: Alarm,
    accept_rate: AcceptRate,
    actions: Vec<Action<Connection>>,
    /// A buffer for the events of the scoreboards.
    events: Vec<(ChannelId, WorkerEvent<Connection>)>,
    frames: Encoder,
    /// Whether the rules have to advance again in this turn.
    advance_again: bool,
    /// When a channel needs the driver's attention next, as of the last turn.
    io_deadline: Option<Instant>,
    /// The deadline for the end of a destroyed server.
    ends_by: Option<Instant>,
    /// Posted at the end of the turn, after the counters are published.
    outbox: Vec<Notice>,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

/// The limit of messages in one turn. The messages of a burst are decided together, so that one frame carries several
/// connections; a lone message is never delayed.
const TURN: usize = 64;

/// How long a destroyed server waits for the ends of its channels. An end settles which connections the worker had taken. On
/// Linux a channel ends at once, on macOS when the worker closes its end.
const LAST_FRAMES: Duration = Duration::from_millis(100);

/// Returns the soft limit of open files of this process.
fn descriptor_limit() -> usize {
    // getrlimit(2) cannot fail here.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(usize::MAX, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

impl<S: Sys> Dispatcher<S> {
    /// Creates a dispatcher without channels and connections.
    pub fn new(
        sys: S,
        config: &Config,
        inbox: mpsc::Receiver<Message>,
        alarm: Alarm,
        stats: Arc<Stats>,
        notices: Arc<Notices>,
    ) -> Self {
        Self {
            sys,
            state: State::new(config, descriptor_limit()),
            reports_steps: config.reports_steps(),
            listeners: Vec::new(),
            ticket_keys: config.ticket_keys(),
            drains_soon: false,
            inbox,
            alarm,
            accept_rate: AcceptRate::default(),
            actions: Vec::new(),
            events: Vec::new(),
            frames: Encoder::new(),
            advance_again: false,
            io_deadline: None,
            ends_by: None,
            outbox: Vec::new(),
            stats,
            notices,
        }
    }

    /// Runs until the server is destroyed, or until all senders of the inbox are gone.
    pub async fn run(mut self) {
        let mut turn = Vec::with_capacity(TURN);
        let mut now = self.sys.now();
        loop {
            // From the time of the last turn: a deadline that has passed since then has not been handled yet.
            let deadline = self.deadline(now);
            tokio::select! {
                biased;
                taken = self.inbox.recv_many(&mut turn, TURN) => if taken == 0 { return },
                () = self.alarm.wait(deadline) => {}
            }
            now = self.sys.now();
            // Before the messages: what a worker writes to its scoreboard precedes the frames that it sends afterwards.
            self.read_scoreboards(now);
            if self.io_deadline.is_some_and(|due| due <= now) {
                self.request_missed(now);
                self.shut_overdue(now);
            }
            for message in turn.drain(..) {
                self.handle(message, now);
            }
            self.accept_rate.expire(now, &self.sys);
            loop {
                self.perform(now);
                if !self.request_nudges(now) {
                    break;
                }
                self.read_scoreboards(now);
            }
            let is_over = self
                .ends_by
                .is_some_and(|by| self.state.channels.is_empty() || now >= by);
            if is_over {
                self.end_all(now);
            }
            self.publish();
            if is_over {
                return;
            }
        }
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let channels = self.state.channels.values();
        self.io_deadline = channels.filter_map(|channel| channel.io_deadline(now)).min();
        let due = self.io_deadline.into_iter().chain(self.state.deadline(now));
        due.chain(self.accept_rate.expires_at()).chain(self.ends_by).min()
    }

    fn handle(&mut self, message: Message, now: Instant) {
        match message {
            Message::Event(event) => {
                let draining = matches!(event, Event::Drain);
                if let Event::Accepted(connection) = &event {
                    self.accept_rate.record(connection.id(), &self.sys);
                    self.report_step(connection.id(), Step::Accepted, None);
                }
                self.state.apply(event, now, &mut self.actions);
                if draining {
                    for channel in self.state.channels.ids() {
                        self.send_frames(channel, Encoder::drain);
                    }
                }
            }
            Message::Open(channel, writer, reader) => {
                let stats = self.stats.open_channel(channel, now);
                self.state.open(channel, ChannelIo::new(writer, reader, stats));
            }
            Message::Listening(address) => self.add_listener(address),
            Message::Hello(channel, hello) => self.welcome(channel, hello, now),
            Message::Nudge(channel) => {
                self.mark_nudged(channel);
                // A worker that has no room for connections grants no credit, but its event loop turns.
                if self.state.channels.get(channel).is_some_and(Channel::is_stalled) {
                    // Never fails for this event.
                    let _ = self
                        .state
                        .apply_worker(channel, WorkerEvent::Alive, now, &mut self.actions);
                }
            }
            Message::Frames(channel, events) => {
                let has_scoreboard = self.mark_nudged(channel);
                for event in events {
                    if let Err(error) = self.handle_frame(channel, has_scoreboard, event, now) {
                        return self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
                    }
                }
            }
            Message::HandBack(channel, id, socket) => {
                self.take_handed_back(channel, id, socket.map(|socket| *socket), now);
            }
            // A panic of a task that reads a channel ends the dispatcher too.
            Message::Panicked(message) => std::panic::resume_unwind(Box::new(message)),
            Message::End(channel, Ok(())) => {
                let channels = &self.state.channels;
                let is_retired = channels
                    .get(channel)
                    .is_some_and(|channel| channel.lifecycle.is_retired());
                let reason = if is_retired { EndReason::Left } else { EndReason::Lost };
                self.end(channel, reason, None, now);
            }
            Message::End(channel, Err(error)) => {
                let reason = match error {
                    ProtocolError::Version { .. } => CloseReason::Version(VERSION),
                    _ => CloseReason::Protocol,
                };
                self.end(channel, EndReason::Protocol(error), Some(reason), now);
            }
            Message::Writable(channel) => {
                let Some(open) = self.state.channels.get_mut(channel) else {
                    return;
                };
                if open.io.writer.resume(&self.sys).is_err() {
                    return self.close(channel, EndReason::Lost, None, now);
                }
                self.state.apply(Event::Writable(channel), now, &mut self.actions);
            }
            Message::Retire(channel) => {
                self.state.apply(Event::Retired(channel), now, &mut self.actions);
                self.send_frames(channel, Encoder::retire);
            }
            Message::DrainSoon => self.announce_drain(),
            Message::Slots { first, count } => self.state.set_slots(first, count),
            Message::Assign(channel, slot) => self.state.assign(channel, slot),
            Message::Destroy => {
                self.ends_by = Some(now + LAST_FRAMES);
                for channel in self.state.channels.ids() {
                    self.close(channel, EndReason::Dismissed, Some(CloseReason::Ended), now);
                }
            }
            Message::Dismiss(channel) => {
                self.close(channel, EndReason::Dismissed, Some(CloseReason::Dismissed), now);
            }
        }
    }

    fn handle_frame(
        &mut self,
        channel: ChannelId,
        has_scoreboard: bool,
        event: WorkerEvent<Connection>,
        now: Instant,
    ) -> Result<(), ProtocolError> {
        match event {
            WorkerEvent::Leaves => {
                if self.state.retire(channel) {
                    self.outbox.push(Notice::Leaving { channel });
                }
                Ok(())
            }
            WorkerEvent::Acked(..) | WorkerEvent::Refused(..) | WorkerEvent::Ended(..) if has_scoreboard => {
                Err(ProtocolError::NotByFrame)
            }
            event => self.state.apply_worker(channel, event, now, &mut self.actions),
        }
    }

    fn publish(&mut self) {
        for (io, counters) in self.state.changed_counters() {
            io.stats.publish(counters);
        }
        let (counts, queued, workers) = (self.state.counts(), self.state.queued(), self.state.workers());
        self.stats.publish(&counts, queued, workers);
        for notice in self.outbox.drain(..) {
            self.notices.post(notice);
        }
    }
}
