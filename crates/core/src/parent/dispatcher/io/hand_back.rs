//! What workers hand back: a connection that has been taken returns to its old place, with the descriptor that the worker
//! has sent.

use std::os::fd::AsFd;
use std::time::Instant;

use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::Event;
use crate::parent::dispatcher::rules::ledger::REST;
use crate::parent::notice::{EndReason, Step};
use crate::protocol::ProtocolError;
use crate::protocol::records::{CloseReason, ReturnOutcome, Returned};
use crate::sys::{ForeignFd, Sys};

impl<S: Sys> Dispatcher<S> {
    /// A worker returns a connection; `fd` is missing if this process is at its limit of open files. The worker keeps its
    /// copy until it is told that this side has one (on macOS one that is closed too early is lost, unix(4)).
    pub(in crate::parent::dispatcher) fn take_returned(
        &mut self,
        channel: ChannelId,
        id: ConnectionId,
        fd: Option<ForeignFd>,
        now: Instant,
    ) {
        let Some(line) = self.channels.get_mut(channel) else {
            return;
        };
        if let Some(scoreboard) = &mut line.scoreboard {
            // As with every frame: a bell that did not fit the socket beside it is lost.
            scoreboard.nudged();
        }
        // It is not to be sent again before it has been asked for.
        let is_missed = line.missed.iter().any(|&(_, missed)| missed == id);
        let taken = match (self.state.metadata(channel, id).filter(|_| !is_missed), fd) {
            (None, _) => Err(ProtocolError::NotLeased { id }),
            (Some(past), Some(fd)) if past.fits(fd.as_fd()) => Ok(Some(Connection::returned(*past, fd.into_owned()))),
            (Some(_), Some(_)) => Err(ProtocolError::NotTheConnection { id }),
            (Some(_), None) => Ok(None),
        };
        let taken = taken.and_then(|connection| {
            let Some(connection) = connection else { return Ok(false) };
            self.state
                .apply(Event::HandedBack(channel, connection), now, &mut self.actions)
                .map(|()| true)
        });
        match taken {
            Ok(true) => {
                self.step(id, Step::HandedBack, Some(channel));
                self.answer_return(channel, id, ReturnOutcome::TakenBack);
            }
            Ok(false) => {
                if let Some(line) = self.channels.get_mut(channel) {
                    line.missed.push((now + REST, id));
                }
            }
            Err(error) => self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now),
        }
    }

    /// Asks workers to send again what did not arrive a while ago: at once it would not arrive either.
    pub(in crate::parent::dispatcher) fn ask_again(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (channel, line) in self.channels.iter_mut().filter(|(_, line)| !line.missed.is_empty()) {
            let missed = line.missed.extract_if(.., |&mut (at, _)| at <= now);
            due.extend(missed.map(|(_, id)| (channel, id)));
        }
        for (channel, id) in due {
            self.answer_return(channel, id, ReturnOutcome::SendAgain);
        }
    }

    /// When [`Dispatcher::ask_again`] has something to do.
    pub(in crate::parent::dispatcher) fn next_to_ask_again(&self) -> Option<Instant> {
        let missed = self.channels.values().flat_map(|line| &line.missed);
        missed.map(|&(at, _)| at).min()
    }

    fn answer_return(&mut self, channel: ChannelId, id: ConnectionId, outcome: ReturnOutcome) {
        self.tell(channel, |frames| frames.returned([Returned { id, outcome }]));
    }
}
