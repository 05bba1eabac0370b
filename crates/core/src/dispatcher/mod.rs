//! Pairs the next connection with a channel that has credit. This is the thin driver around the pure [`state`]: the
//! one owner of all state, spoken to by a closed set of [`Message`]s.

pub mod credit;
pub mod inlet;
pub mod ledger;
pub mod outlet;
pub mod policy;
pub mod state;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use nix::errno::Errno;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::outlet::Outlet;
use self::state::{Action, Event, SendTrouble, State};
use crate::channel::ChannelId;
use crate::channel::frame::{VERSION, Writer};
use crate::channel::record::{CloseReason, Hello, Welcome};
use crate::connection::{Connection, ConnectionId};
use crate::error::ProtocolError;
use crate::notice::{EndReason, Notice, Notices};
use crate::queue::Waiting;
use crate::stats::{ChannelStats, Stats};
use crate::sys::Sys;

/// What the dispatcher is told.
#[derive(Debug)]
pub enum Message {
    /// Something that the rules know.
    Event(Event<Connection>),
    /// A new channel, with the task that reads it.
    Open(ChannelId, Box<Outlet>, AbortHandle),
    /// A worker introduces itself.
    Hello(ChannelId, Hello),
    /// A worker's frames, all of one read.
    Frames(ChannelId, Vec<Event<Connection>>),
    /// A channel's stream has ended.
    End(ChannelId, Result<(), ProtocolError>),
    /// A channel's socket has room again.
    Writable(ChannelId),
    /// The owner wants a worker to finish and leave.
    Retire(ChannelId),
    /// The owner wants a channel to end now.
    Dismiss(ChannelId),
}

/// The driver: performs what the rules decide.
#[derive(Debug)]
pub struct Dispatcher<S> {
    sys: S,
    state: State<Connection>,
    channels: HashMap<ChannelId, Line>,
    inbox: mpsc::Receiver<Message>,
    actions: Vec<Action<Connection>>,
    frames: Writer,
    again: bool,
    stats: Arc<Stats>,
    notices: Arc<Notices>,
}

/// A channel's socket and what belongs to it.
#[derive(Debug)]
struct Line {
    outlet: Box<Outlet>,
    reader: AbortHandle,
    stats: Arc<ChannelStats>,
    leaving: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Messages taken in one turn: what comes in a burst is decided together, so that one frame carries several
/// connections, while a lone one is never delayed.
const TURN: usize = 64;

impl<S: Sys> Dispatcher<S> {
    /// A dispatcher that listens to `inbox`.
    pub fn new(
        sys: S,
        state: State<Connection>,
        inbox: mpsc::Receiver<Message>,
        stats: Arc<Stats>,
        notices: Arc<Notices>,
    ) -> Self {
        let (channels, actions, frames) = (HashMap::new(), Vec::new(), Writer::new());
        Self {
            sys,
            state,
            channels,
            inbox,
            actions,
            frames,
            again: false,
            stats,
            notices,
        }
    }

    /// Works until all senders of its inbox are gone.
    pub async fn run(mut self) {
        let mut turn = Vec::with_capacity(TURN);
        loop {
            let deadline = self.state.deadline(self.sys.now());
            tokio::select! {
                biased;
                taken = self.inbox.recv_many(&mut turn, TURN) => if taken == 0 { return },
                () = sleep_until(deadline) => {}
            }
            let now = self.sys.now();
            for message in turn.drain(..) {
                self.take(message, now);
            }
            self.perform(now);
            self.publish();
        }
    }

    fn take(&mut self, message: Message, now: Instant) {
        match message {
            Message::Event(event) => {
                let draining = matches!(event, Event::Drain);
                // Only what a worker says can be wrong, and that comes as `Frames`.
                let _ = self.state.apply(event, now, &mut self.actions);
                if draining {
                    let all: Vec<ChannelId> = self.channels.keys().copied().collect();
                    for channel in all {
                        self.tell(channel, Writer::drain);
                    }
                }
            }
            Message::Open(channel, outlet, reader) => {
                let stats = self.stats.open_channel(channel);
                self.channels.insert(
                    channel,
                    Line {
                        outlet,
                        reader,
                        stats,
                        leaving: false,
                    },
                );
                let _ = self.state.apply(Event::Opened(channel), now, &mut self.actions);
            }
            Message::Hello(channel, hello) => self.greet(channel, hello, now),
            Message::Frames(channel, events) => {
                for event in events {
                    if matches!(event, Event::Retired(_)) {
                        self.mark_leaving(channel);
                    }
                    if let Err(error) = self.state.apply(event, now, &mut self.actions) {
                        return self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
                    }
                }
            }
            Message::End(channel, Ok(())) => {
                let leaving = self.channels.get(&channel).is_some_and(|line| line.leaving);
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
                let Some(line) = self.channels.get_mut(&channel) else {
                    return;
                };
                if line.outlet.resume(&self.sys).is_err() {
                    return self.end(channel, EndReason::Lost, None, now);
                }
                let _ = self.state.apply(Event::Writable(channel), now, &mut self.actions);
            }
            Message::Retire(channel) => {
                self.mark_leaving(channel);
                let _ = self.state.apply(Event::Retired(channel), now, &mut self.actions);
                self.tell(channel, Writer::retire);
            }
            Message::Dismiss(channel) => {
                self.end(channel, EndReason::Dismissed, Some(CloseReason::Dismissed), now);
            }
        }
    }

    fn greet(&mut self, channel: ChannelId, hello: Hello, now: Instant) {
        if !(hello.oldest..=hello.newest).contains(&VERSION) {
            let error = ProtocolError::Version {
                theirs_min: hello.oldest,
                theirs_max: hello.newest,
                ours: VERSION,
            };
            return self.end(
                channel,
                EndReason::Protocol(error),
                Some(CloseReason::Version(VERSION)),
                now,
            );
        }
        let draining = self.state.is_draining();
        let leaving = self.channels.get(&channel).is_some_and(|line| line.leaving);
        self.tell(channel, |frames| {
            frames.welcome(Welcome {
                version: VERSION,
                channel,
            });
            if draining {
                frames.drain();
            }
            if leaving {
                frames.retire();
            }
        });
        let _ = self.state.apply(Event::Joined(channel), now, &mut self.actions);
        self.notices.post(Notice::Joined {
            channel,
            pid: hello.pid,
        });
    }

    /// Does what the rules call for, and again if some of it failed, until nothing is left.
    fn perform(&mut self, now: Instant) {
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
            Action::Recall(channel, ids) => self.tell(channel, |frames| frames.recall(ids)),
            Action::Cancelled(channel, credit) => self.tell(channel, |frames| frames.cancelled([credit])),
            Action::Release(connection, waited) => {
                self.stats.waited(waited);
                drop(connection);
            }
            Action::Shed(connection) => {
                self.notices.post(Notice::Shed {
                    id: connection.id(),
                    remote: connection.remote(),
                    local_port: connection.local_port(),
                    waited: now.saturating_duration_since(connection.since()),
                });
                connection.reset();
            }
            Action::OutOfDescriptors(channel) => self.notices.post(Notice::WorkerLimit { channel }),
            Action::Drained => self.notices.post(Notice::Drained),
        }
    }

    /// Sends connections to a worker; those that cannot be sent go back.
    fn hand_off(&mut self, channel: ChannelId, ids: Vec<ConnectionId>, now: Instant) {
        let Some(line) = self.channels.get_mut(&channel) else {
            return;
        };
        let under_way: Vec<_> = ids.iter().filter_map(|&id| self.state.under_way(channel, id)).collect();
        let descriptors: Vec<_> = under_way.iter().map(|(connection, _)| connection.as_fd()).collect();
        self.frames.clear();
        self.frames
            .connection(under_way.iter().map(|(connection, lane)| connection.head(*lane, now)));
        let sent = line.outlet.hand_off(&self.sys, self.frames.bytes(), &descriptors);
        let trouble = match sent {
            Ok(()) => return,
            Err(Errno::EAGAIN | Errno::ENOBUFS) => SendTrouble::Full,
            Err(Errno::ETOOMANYREFS) => SendTrouble::TooManyUnderWay,
            Err(_) => return self.end(channel, EndReason::Lost, None, now),
        };
        let _ = self
            .state
            .apply(Event::NotSent(channel, ids, trouble), now, &mut self.actions);
        self.again = true;
    }

    /// Sends what carries no connection; a worker that does not read it ends.
    fn tell(&mut self, channel: ChannelId, write: impl FnOnce(&mut Writer)) {
        let Some(line) = self.channels.get_mut(&channel) else {
            return;
        };
        self.frames.clear();
        write(&mut self.frames);
        if line.outlet.tell(&self.sys, self.frames.bytes()).is_err() {
            self.end(channel, EndReason::Lost, None, self.sys.now());
        }
    }

    fn end(&mut self, channel: ChannelId, reason: EndReason, farewell: Option<CloseReason>, now: Instant) {
        let Some(mut line) = self.channels.remove(&channel) else {
            return;
        };
        if let Some(farewell) = farewell {
            self.frames.clear();
            self.frames.close(farewell);
            // The peer reads it or it does not: the channel is over either way.
            let _ = line.outlet.tell(&self.sys, self.frames.bytes());
        }
        line.outlet.shut();
        drop(line);
        self.stats.close_channel(channel);
        let _ = self.state.apply(Event::Lost(channel), now, &mut self.actions);
        self.again = true;
        self.notices.post(Notice::Ended { channel, reason });
    }

    fn mark_leaving(&mut self, channel: ChannelId) {
        if let Some(line) = self.channels.get_mut(&channel) {
            line.leaving = true;
        }
    }

    fn publish(&self) {
        let (mut leases, mut workers) = (0, 0);
        for (channel, held, handed_off, joined) in self.state.channels() {
            leases += u64::from(held);
            workers += u64::from(joined);
            if let Some(line) = self.channels.get(&channel) {
                line.stats.leases.store(held, Relaxed);
                line.stats.handed_off.store(handed_off, Relaxed);
            }
        }
        self.stats
            .publish(self.state.counts(), self.state.queued(), leases, workers);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
