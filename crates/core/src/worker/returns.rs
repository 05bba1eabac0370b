//! Connections that the worker has taken and hands back to the parent. Pure bookkeeping.

use std::collections::VecDeque;

use thiserror::Error;

use crate::error::SystemError;
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::limits::RETURNABLE;
use crate::protocol::records::{ReturnOutcome, Returned};
use crate::protocol::version::RETURNS_SINCE;
use crate::sys::ForeignFd;

/// Why a connection cannot be handed back; the worker still holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandBackError {
    /// The channel has ended.
    #[error("the channel has ended")]
    Ended,
    /// The parent speaks a version of the protocol without RETURN.
    #[error("the parent speaks version {0} of the protocol, in which connections cannot be handed back")]
    Version(u16),
    /// The connection was not taken on this channel, has been handed back already, or was taken before the last
    /// [`RETURNABLE`] connections, so that the parent no longer remembers the connection.
    #[error("the connection has already been handed back, or {RETURNABLE} other connections have been taken since")]
    Unknown,
    /// The frame cannot be sent.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// The connections that are being handed back, and the connections that may be handed back.
#[derive(Debug, Default)]
pub(super) struct Returns {
    version: u16,
    /// The connections that the parent remembers.
    taken: VecDeque<ConnectionId>,
    /// To be sent, in order.
    due: VecDeque<(ConnectionId, ForeignFd)>,
    /// Sent. The copy stays open until the parent confirms: macOS loses a descriptor that is closed before receipt
    /// (unix(4)), and a parent at its descriptor limit asks again.
    sent: Vec<(ConnectionId, ForeignFd)>,
    /// Confirmed by the parent, and not reported to the owner yet.
    settled: Vec<ConnectionId>,
}

impl Returns {
    /// Sets the version that the WELCOME names.
    pub(super) fn agree_on(&mut self, version: u16) {
        self.version = version;
    }

    /// Remembers connections that the worker has taken.
    pub(super) fn took(&mut self, ids: impl Iterator<Item = ConnectionId>) {
        for id in ids {
            if self.taken.len() == RETURNABLE {
                self.taken.pop_front();
            }
            self.taken.push_back(id);
        }
    }

    /// Checks whether a connection may be handed back.
    pub(super) fn check(&self, id: ConnectionId) -> Result<(), HandBackError> {
        if self.version < RETURNS_SINCE {
            Err(HandBackError::Version(self.version))
        } else if self.taken.contains(&id) {
            Ok(())
        } else {
            Err(HandBackError::Unknown)
        }
    }

    /// Queues a connection to be handed back.
    pub(super) fn add(&mut self, id: ConnectionId, fd: ForeignFd) {
        self.taken.retain(|&taken| taken != id);
        self.due.push_back((id, fd));
    }

    /// Returns the connection to send next.
    pub(super) fn next(&self) -> Option<&(ConnectionId, ForeignFd)> {
        self.due.front()
    }

    /// Records that the next connection has been sent.
    pub(super) fn next_is_sent(&mut self) {
        self.sent.extend(self.due.pop_front());
    }

    /// Withdraws a connection that could not be sent; the worker keeps the connection.
    pub(super) fn withdraw(&mut self, id: ConnectionId) {
        self.due.retain(|due| due.0 != id);
        self.took(std::iter::once(id));
    }

    /// Takes the parent's answer.
    pub(super) fn answer(&mut self, answer: Returned) -> Result<(), ProtocolError> {
        let id = answer.id;
        let index = self.sent.iter().position(|one| one.0 == id);
        let one = self
            .sent
            .swap_remove(index.ok_or(ProtocolError::UnknownConnection { id })?);
        match answer.outcome {
            ReturnOutcome::TakenBack => self.settled.push(id),
            ReturnOutcome::SendAgain => self.due.push_back(one),
        }
        Ok(())
    }

    /// Returns the connections that the parent has confirmed since the last call.
    pub(super) fn settled(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.settled)
    }

    /// Closes every unconfirmed connection: the parent may have received its copy, and two processes must not read one
    /// connection.
    pub(super) fn end(&mut self) {
        self.due.clear();
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    fn file() -> ForeignFd {
        OwnedFd::from(std::fs::File::open("/dev/null").unwrap()).into()
    }

    fn returns() -> Returns {
        let mut returns = Returns::default();
        returns.agree_on(RETURNS_SINCE);
        returns
    }

    fn answer(id: ConnectionId, outcome: ReturnOutcome) -> Returned {
        Returned { id, outcome }
    }

    #[test]
    fn a_taken_connection_is_handed_back_once() {
        let mut returns = returns();
        assert_eq!(returns.check(7), Err(HandBackError::Unknown));
        returns.took([7].into_iter());
        assert_eq!(returns.check(7), Ok(()));
        returns.add(7, file());
        assert_eq!(returns.check(7), Err(HandBackError::Unknown));
    }

    #[test]
    fn a_connection_that_the_parent_has_forgotten_cannot_be_handed_back() {
        let mut returns = returns();
        returns.took(0..=RETURNABLE as u64);
        assert_eq!(returns.check(0), Err(HandBackError::Unknown));
        assert_eq!(returns.check(1), Ok(()));
    }

    #[test]
    fn a_parent_of_version_1_gets_nothing_handed_back() {
        let mut returns = Returns::default();
        returns.agree_on(1);
        returns.took([7].into_iter());
        assert_eq!(returns.check(7), Err(HandBackError::Version(1)));
    }

    #[test]
    fn a_connection_that_did_not_arrive_is_sent_again() {
        let mut returns = returns();
        returns.took([7].into_iter());
        returns.add(7, file());
        returns.next_is_sent();
        assert!(returns.next().is_none());
        returns.answer(answer(7, ReturnOutcome::SendAgain)).unwrap();
        assert_eq!(returns.next().unwrap().0, 7);
        returns.next_is_sent();
        returns.answer(answer(7, ReturnOutcome::TakenBack)).unwrap();
        assert_eq!((returns.settled(), returns.settled()), (vec![7], vec![]));
    }

    #[test]
    fn an_answer_for_a_connection_that_was_not_sent_is_an_error() {
        let mut returns = returns();
        returns.took([7].into_iter());
        returns.add(7, file());
        let error = returns.answer(answer(7, ReturnOutcome::TakenBack));
        assert_eq!(error, Err(ProtocolError::UnknownConnection { id: 7 }));
    }
}
