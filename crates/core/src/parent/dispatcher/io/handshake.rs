//! The handshake: a worker sends HELLO, and the parent answers with WELCOME.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;

use crate::channel::scoreboard::Scoreboard;
use crate::ids::ChannelId;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::rules::channel::Lifecycle;
use crate::parent::notice::{EndReason, Notice};
use crate::protocol::encode::Encoder;
use crate::protocol::limits::MAX_LISTENERS;
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::records::{CloseReason, Hello, Welcome};
use crate::protocol::version::{
    DRAIN_SOON_SINCE, ENDED_IDS_SINCE, LISTENING_SINCE, PROXIED_SINCE, TICKET_KEYS_SINCE, VERSION,
};
use crate::sys::Sys;

/// The maximum number of LISTENING frames in the message of WELCOME. On macOS a message with a descriptor must fit the
/// socket's buffer of 8 KiB.
const WITH_WELCOME: usize = 32;

impl<S: Sys> Dispatcher<S> {
    /// Answers HELLO.
    pub(in crate::parent::dispatcher) fn welcome(&mut self, channel: ChannelId, hello: Hello, now: Instant) {
        let version = match hello.version() {
            Ok(version) => version,
            Err(error) => {
                let close = CloseReason::Version(VERSION);
                return self.end(channel, EndReason::Protocol(error), Some(close), now);
            }
        };
        let draining = self.state.is_draining();
        let has_listening = version >= LISTENING_SINCE;
        let listeners = if has_listening { &self.listeners[..] } else { &[] };
        let (with_welcome, later) = listeners.split_at(listeners.len().min(WITH_WELCOME));
        let joining = self.state.channels.get_mut(channel);
        let Some((joining, retire)) = joining.and_then(|joining| match joining.lifecycle {
            Lifecycle::Joining { retire } => Some((joining, retire)),
            _ => None,
        }) else {
            return;
        };
        joining.io.has_listening = has_listening;
        joining.io.has_proxied = version >= PROXIED_SINCE;
        joining.io.has_drain_soon = version >= DRAIN_SOON_SINCE;
        let drains_soon = self.drains_soon && joining.io.has_drain_soon;
        // A worker that joined may be another user's: with the keys it could read the recorded sessions of other workers.
        let shares_keys = version >= TICKET_KEYS_SINCE && !joining.io.writer.is_of_joined();
        let ticket_keys = self.ticket_keys.filter(|_| shares_keys);
        let mut page = hello.scoreboard.then(Scoreboard::create).and_then(Result::ok);
        let mut send = |memory: Option<&OwnedFd>| {
            self.frames.clear();
            self.frames.welcome(Welcome {
                version,
                channel,
                scoreboard: memory.is_some(),
            });
            if let Some(keys) = ticket_keys {
                self.frames.ticket_keys(keys);
            }
            for address in with_welcome {
                self.frames.listening(address.clone());
            }
            if draining {
                self.frames.drain();
            } else if drains_soon {
                self.frames.drain_soon();
            }
            if retire {
                self.frames.retire();
            }
            let memory: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
            joining.io.writer.hand_off(&self.sys, self.frames.bytes(), &memory)
        };
        let mut sent = send(page.as_ref().map(|(_, memory)| memory));
        if sent == Err(Errno::ETOOMANYREFS) {
            // The worker's user has too many descriptors in flight elsewhere. The channel also works without a scoreboard.
            page = None;
            sent = send(None);
        }
        if sent.is_err() {
            return self.close(channel, EndReason::Lost, None, now);
        }
        if let Some((page, _)) = page {
            let page = Arc::new(page);
            joining.io.stats.share(page.clone());
            joining.io.scoreboard = Some(Box::new(ScoreboardView::new(page)));
        }
        if version >= ENDED_IDS_SINCE {
            self.state.track(channel);
        }
        self.state.apply(Event::Welcomed(channel), now, &mut self.actions);
        let pid = hello.pid;
        self.outbox.push(Notice::Joined { channel, pid });
        if !later.is_empty() {
            let later = later.to_vec();
            self.send_frames(channel, |frames| {
                for address in later {
                    frames.listening(address);
                }
            });
        }
    }

    /// Sends `DRAIN_SOON` to all workers, and to those that join later.
    pub(in crate::parent::dispatcher) fn announce_drain(&mut self) {
        self.drains_soon = true;
        for channel in self.state.channels.ids() {
            let open = self.state.channels.get(channel);
            if open.is_some_and(|open| open.io.has_drain_soon) {
                self.send_frames(channel, Encoder::drain_soon);
            }
        }
    }

    /// Adds a listener and sends LISTENING to all workers.
    pub(in crate::parent::dispatcher) fn add_listener(&mut self, address: ListenerAddress) {
        if self.listeners.len() >= MAX_LISTENERS {
            return;
        }
        for channel in self.state.channels.ids() {
            let open = self.state.channels.get(channel);
            if open.is_some_and(|open| open.io.has_listening) {
                self.send_frames(channel, |frames| frames.listening(address.clone()));
            }
        }
        self.listeners.push(address);
    }
}
