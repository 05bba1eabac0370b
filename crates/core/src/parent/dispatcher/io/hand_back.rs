//! Hand-backs: a connection that a worker had taken returns to its old position in the queue, with the descriptor that the worker
//! sent.

use std::time::Instant;

use crate::ids::{ChannelId, ConnectionId};
use crate::parent::connection::Connection;
use crate::parent::dispatcher::Dispatcher;
use crate::parent::dispatcher::message::WorkerEvent;
use crate::parent::dispatcher::rules::requeue::EXHAUSTED_PAUSE;
use crate::parent::notice::{EndReason, Step};
use crate::parent::returned_socket::ReturnedSocket;
use crate::protocol::ProtocolError;
use crate::protocol::records::{CloseReason, ReturnOutcome, Returned};
use crate::sys::Sys;

impl<S: Sys> Dispatcher<S> {
    /// Takes a connection that a worker hands back. `socket` is missing if this process is at its limit of open files. The
    /// worker keeps its copy until the parent confirms the receipt: on macOS a copy that is closed too early is lost (unix(4)).
    pub(in crate::parent::dispatcher) fn take_handed_back(
        &mut self,
        channel: ChannelId,
        id: ConnectionId,
        socket: Option<ReturnedSocket>,
        now: Instant,
    ) {
        self.mark_nudged(channel);
        match self.identify_handed_back(channel, id, socket) {
            Ok(Some(connection)) => {
                let event = WorkerEvent::HandedBack(Box::new(connection));
                if let Err(error) = self.state.apply_worker(channel, event, now, &mut self.actions) {
                    return self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now);
                }
                self.report_step(id, Step::HandedBack, Some(channel));
                self.answer_hand_back(channel, id, ReturnOutcome::TakenBack);
            }
            Ok(None) => {
                if let Some(open) = self.state.channels.get_mut(channel) {
                    open.io.missed.push((now + EXHAUSTED_PAUSE, id));
                }
            }
            Err(error) => self.end(channel, EndReason::Protocol(error), Some(CloseReason::Protocol), now),
        }
    }

    /// Returns the connection that a worker hands back, or `None` if the descriptor did not arrive.
    fn identify_handed_back(
        &self,
        channel: ChannelId,
        id: ConnectionId,
        socket: Option<ReturnedSocket>,
    ) -> Result<Option<Connection>, ProtocolError> {
        let Some(open) = self.state.channels.get(channel) else {
            return Ok(None);
        };
        // The worker may send a missed connection again only when asked.
        let is_missed = open.io.missed.iter().any(|&(_, missed)| missed == id);
        let metadata = self.state.metadata(channel, id).filter(|_| !is_missed);
        let metadata = metadata.ok_or(ProtocolError::NotLeased { id })?;
        match socket {
            Some(socket) if metadata.fits(&socket) => Ok(Some(Connection::from_hand_back(metadata.clone(), socket))),
            Some(_) => Err(ProtocolError::NotTheConnection { id }),
            None => Ok(None),
        }
    }

    /// Asks workers, after a pause, to send the missing descriptors again: without the pause they would be lost again.
    pub(in crate::parent::dispatcher) fn request_missed(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (id, channel) in self.state.channels.iter_mut() {
            let missed = channel.io.missed.extract_if(.., |&mut (at, _)| at <= now);
            due.extend(missed.map(|(_, connection)| (id, connection)));
        }
        for (channel, id) in due {
            self.answer_hand_back(channel, id, ReturnOutcome::SendAgain);
        }
    }

    fn answer_hand_back(&mut self, channel: ChannelId, id: ConnectionId, outcome: ReturnOutcome) {
        self.send_frames(channel, |frames| frames.returned([Returned { id, outcome }]));
    }
}
