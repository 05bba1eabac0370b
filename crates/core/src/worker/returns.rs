//! The way back: connections that the worker has taken and hands back to the parent. Pure bookkeeping.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use thiserror::Error;

use crate::error::SystemError;
use crate::ids::ConnectionId;
use crate::protocol::ProtocolError;
use crate::protocol::frame::RETURNS_SINCE;
use crate::protocol::limits::RETURNABLE;
use crate::protocol::records::{ReturnOutcome, Returned};

/// Why a connection stays with the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandBackError {
    /// The channel is over.
    #[error("the channel is over")]
    Ended,
    /// The parent speaks a version of the protocol that has no way back.
    #[error("the parent speaks version {0} of the protocol, in which nothing is handed back")]
    Version(u16),
    /// It has not been taken on this channel, or has been handed back, or so many have been taken since that the parent has
    /// forgotten it.
    #[error("the connection has been handed back, or {RETURNABLE} others have been taken since")]
    Unknown,
    /// It cannot be sent.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// What goes back, and what may.
#[derive(Debug, Default)]
pub(super) struct Returns {
    version: u16,
    /// What the parent remembers.
    taken: VecDeque<ConnectionId>,
    /// To be sent, the first first.
    due: VecDeque<(ConnectionId, OwnedFd)>,
    /// Sent. The copy stays open until the parent has its own: on macOS one that is closed too early is lost (unix(4)),
    /// and a parent at its limit of open files asks for it again.
    sent: Vec<(ConnectionId, OwnedFd)>,
    /// Taken back by the parent, not told to the owner yet.
    settled: Vec<ConnectionId>,
}

impl Returns {
    /// The parent has said which version both speak.
    pub(super) fn agree_on(&mut self, version: u16) {
        self.version = version;
    }

    /// The worker has taken these.
    pub(super) fn took(&mut self, ids: impl Iterator<Item = ConnectionId>) {
        for id in ids {
            if self.taken.len() == RETURNABLE {
                self.taken.pop_front();
            }
            self.taken.push_back(id);
        }
    }

    /// Whether this one may go back.
    pub(super) fn check(&self, id: ConnectionId) -> Result<(), HandBackError> {
        if self.version < RETURNS_SINCE {
            Err(HandBackError::Version(self.version))
        } else if self.taken.contains(&id) {
            Ok(())
        } else {
            Err(HandBackError::Unknown)
        }
    }

    /// This one goes back.
    pub(super) fn add(&mut self, id: ConnectionId, fd: OwnedFd) {
        self.taken.retain(|&taken| taken != id);
        self.due.push_back((id, fd));
    }

    /// What is to be sent next.
    pub(super) fn next(&self) -> Option<&(ConnectionId, OwnedFd)> {
        self.due.front()
    }

    /// It has been.
    pub(super) fn next_is_sent(&mut self) {
        self.sent.extend(self.due.pop_front());
    }

    /// The one that was added last could not be sent, and stays.
    pub(super) fn withdraw(&mut self, id: ConnectionId) {
        self.due.retain(|due| due.0 != id);
        self.took(std::iter::once(id));
    }

    /// The parent's answer.
    pub(super) fn answer(&mut self, answer: Returned) -> Result<(), ProtocolError> {
        let id = answer.id;
        let place = self.sent.iter().position(|one| one.0 == id);
        let one = self
            .sent
            .swap_remove(place.ok_or(ProtocolError::UnknownConnection { id })?);
        match answer.outcome {
            ReturnOutcome::TakenBack => self.settled.push(id),
            ReturnOutcome::SendAgain => self.due.push_back(one),
        }
        Ok(())
    }

    /// What the parent has taken back since the last call.
    pub(super) fn settled(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.settled)
    }

    /// The channel is over. What the parent has not answered ends here: whether it has arrived there nobody can say, and
    /// two must not read it.
    pub(super) fn end(&mut self) {
        self.due.clear();
        self.sent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
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
    fn what_has_been_taken_goes_back_once() {
        let mut returns = returns();
        assert_eq!(returns.check(7), Err(HandBackError::Unknown));
        returns.took([7].into_iter());
        assert_eq!(returns.check(7), Ok(()));
        returns.add(7, file());
        assert_eq!(returns.check(7), Err(HandBackError::Unknown));
    }

    #[test]
    fn what_the_parent_has_forgotten_stays() {
        let mut returns = returns();
        returns.took(0..=RETURNABLE as u64);
        assert_eq!(returns.check(0), Err(HandBackError::Unknown));
        assert_eq!(returns.check(1), Ok(()));
    }

    #[test]
    fn nothing_goes_back_to_a_parent_of_the_first_version() {
        let mut returns = Returns::default();
        returns.agree_on(1);
        returns.took([7].into_iter());
        assert_eq!(returns.check(7), Err(HandBackError::Version(1)));
    }

    #[test]
    fn what_did_not_arrive_is_sent_again() {
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
    fn an_answer_to_what_was_not_sent_is_an_error() {
        let mut returns = returns();
        returns.took([7].into_iter());
        returns.add(7, file());
        let error = returns.answer(answer(7, ReturnOutcome::TakenBack));
        assert_eq!(error, Err(ProtocolError::UnknownConnection { id: 7 }));
    }
}
