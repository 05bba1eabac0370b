//! How a worker joins: its hello, and the welcome that it is answered with.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;

use crate::channel::scoreboard::Scoreboard;
use crate::ids::ChannelId;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::io::scoreboard::ScoreboardView;
use crate::parent::dispatcher::message::Event;
use crate::parent::notice::{EndReason, Notice};
use crate::protocol::frame::VERSION;
use crate::protocol::records::{CloseReason, Hello, Welcome};
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    pub(in crate::parent::dispatcher) fn greet(&mut self, channel: ChannelId, hello: Hello, now: Instant) {
        let version = match hello.version() {
            Ok(version) => version,
            Err(error) => {
                let farewell = CloseReason::Version(VERSION);
                return self.end(channel, EndReason::Protocol(error), Some(farewell), now);
            }
        };
        let mut page = if hello.scoreboard {
            Scoreboard::create().ok()
        } else {
            None
        };
        let draining = self.state.is_draining();
        let Some(line) = self.channels.get_mut(channel).filter(|line| line.ending.is_none()) else {
            return;
        };
        line.greeted = true;
        let leaving = line.leaving;
        let mut welcome = |page: Option<&OwnedFd>| {
            self.frames.clear();
            self.frames.welcome(Welcome {
                version,
                channel,
                scoreboard: page.is_some(),
            });
            if draining {
                self.frames.drain();
            }
            if leaving {
                self.frames.retire();
            }
            let memory: Vec<_> = page.iter().map(|memory| memory.as_fd()).collect();
            line.writer.hand_off(&self.sys, self.frames.bytes(), &memory)
        };
        let mut sent = welcome(page.as_ref().map(|(_, memory)| memory));
        if sent == Err(Errno::ETOOMANYREFS) {
            // Its user has too many descriptors under way elsewhere, which is no reason to turn it away: frames will do.
            page = None;
            sent = welcome(None);
        }
        if sent.is_err() {
            return self.finish(channel, EndReason::Lost, None, now);
        }
        if let Some((page, _)) = page {
            let page = Arc::new(page);
            line.stats.share(page.clone());
            line.scoreboard = Some(ScoreboardView::new(page));
        }
        let _ = self.state.apply(Event::Joined(channel), now, &mut self.actions);
        self.outbox.push(Notice::Joined {
            channel,
            pid: hello.pid,
        });
    }
}
