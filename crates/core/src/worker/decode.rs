//! Applies the parent's frames to the receiver's state.

use super::lane::Lane;
use super::state::{End, Phase, ReceiverState};
use crate::channel::reader::{Descriptors, Reader};
use crate::channel::scoreboard::{Claim, Scoreboard};
use crate::protocol::ProtocolError;
use crate::protocol::connection_record::ConnectionHead;
use crate::protocol::error::FrameError;
use crate::protocol::frame::ToWorker;
use crate::protocol::kind;
use crate::protocol::limits::{MAX_LISTENERS, WINDOW};
use crate::protocol::listener_record::ListenerAddress;
use crate::protocol::record::Records;
use crate::protocol::records::{Refusal, RefusalReason, Welcome};
use crate::protocol::version::{
    DRAIN_SOON_SINCE, ENDED_IDS_SINCE, LISTENING_SINCE, PROXIED_SINCE, TICKET_KEYS_SINCE, VERSION, common_version,
};

impl ReceiverState {
    /// Applies every complete frame. Returns true if connections wait or the phase has changed.
    pub(super) fn apply_frames(&mut self, reader: &mut Reader) -> Result<bool, End> {
        let mut has_changes = false;
        while let Some((frame, descriptors)) = reader.next(ToWorker::decode)? {
            if let ToWorker::Close(reason) = frame {
                return Err(End::Closed(reason));
            }
            has_changes |= self.apply_frame(frame, descriptors)?;
        }
        // The descriptors of a CONNECTION may arrive with the PROXIED frames before it.
        if self.proxied.is_empty() {
            reader.check_descriptors()?;
        }
        Ok(has_changes)
    }

    fn apply_frame(&mut self, frame: ToWorker<'_>, descriptors: &mut Descriptors) -> Result<bool, ProtocolError> {
        match frame {
            ToWorker::Welcome(welcome) => self.welcome(welcome, descriptors)?,
            ToWorker::Connection(heads) => return self.connections(heads, descriptors),
            ToWorker::Recall(ids) => {
                for id in ids {
                    let id = id?;
                    // A connection that is not waiting has been acknowledged; the ACK is on its way.
                    if self.lanes.iter_mut().any(|lane| lane.recall(id)) {
                        self.refusals.push(Refusal {
                            id,
                            reason: RefusalReason::Recalled,
                        });
                    }
                }
            }
            // After LEAVE or RETIRE the credit and the pending CANCEL are forgotten.
            ToWorker::Cancelled(_) if matches!(self.phase, Phase::Leaving | Phase::Retired) => {}
            ToWorker::Cancelled(credit) => {
                for one in credit {
                    let one = one?;
                    Lane::of(&mut self.lanes, one.lane).cancelled(one.count)?;
                }
            }
            ToWorker::DrainSoon if self.version < DRAIN_SOON_SINCE => {
                return Err(FrameError::Kind(kind::DRAIN_SOON).into());
            }
            ToWorker::DrainSoon => {
                if self.phase == Phase::Open {
                    self.phase = Phase::DrainingSoon;
                }
            }
            ToWorker::Drain => {
                if matches!(self.phase, Phase::Joining | Phase::Open | Phase::DrainingSoon) {
                    self.phase = Phase::Draining;
                }
            }
            ToWorker::Retire => {
                self.lanes.iter_mut().for_each(Lane::forget_credit);
                if self.phase != Phase::Leaving {
                    self.phase = Phase::Retired;
                }
            }
            ToWorker::Close(reason) => self.phase = Phase::Ended(End::Closed(reason)),
            ToWorker::Returned(answers) => {
                for answer in answers {
                    self.returns.answer(answer?)?;
                }
            }
            ToWorker::Listening(address) => self.add_listener(address)?,
            ToWorker::Proxied(..) if self.version < PROXIED_SINCE => {
                return Err(FrameError::Kind(kind::PROXIED).into());
            }
            ToWorker::Proxied(..) if self.proxied.len() >= WINDOW => {
                return Err(ProtocolError::TooManyProxied { limit: WINDOW });
            }
            ToWorker::Proxied(id, proxied) => {
                self.proxied.push((id, proxied));
                return Ok(false);
            }
            ToWorker::TicketKeys(_) if self.version < TICKET_KEYS_SINCE => {
                return Err(FrameError::Kind(kind::TICKET_KEYS).into());
            }
            ToWorker::TicketKeys(keys) => self.ticket_keys = Some(keys),
        }
        Ok(true)
    }

    fn welcome(&mut self, welcome: Welcome, descriptors: &mut Descriptors) -> Result<(), ProtocolError> {
        let version = common_version(welcome.version, welcome.version);
        let Some(version) = version.filter(|_| self.phase == Phase::Joining) else {
            let (theirs_min, theirs_max) = (welcome.version, welcome.version);
            return Err(ProtocolError::Version {
                theirs_min,
                theirs_max,
                ours: VERSION,
            });
        };
        self.version = version;
        self.returns.agree_on(version);
        if welcome.scoreboard {
            // The parent relies on the scoreboard from now on, so the channel cannot work without it.
            let memory = descriptors.claim(1)?.next().ok_or(ProtocolError::NoScoreboard)?;
            self.scoreboard = Some(Scoreboard::open(&memory).map_err(|_| ProtocolError::NoScoreboard)?);
        }
        self.phase = Phase::Open;
        Ok(())
    }

    fn add_listener(&mut self, address: ListenerAddress) -> Result<(), ProtocolError> {
        if self.version < LISTENING_SINCE {
            return Err(FrameError::Kind(kind::LISTENING).into());
        }
        if self.listeners.len() >= MAX_LISTENERS {
            return Err(ProtocolError::TooManyListeners { limit: MAX_LISTENERS });
        }
        self.listeners.push(address);
        Ok(())
    }

    fn connections(
        &mut self,
        heads: Records<'_, ConnectionHead>,
        descriptors: &mut Descriptors,
    ) -> Result<bool, ProtocolError> {
        let leaving = self.phase == Phase::Leaving;
        let mut arrived = descriptors.claim(heads.len())?;
        for head in heads {
            let head = head?;
            if head.tracked && self.version < ENDED_IDS_SINCE {
                return Err(FrameError::Reserved(kind::CONNECTION).into());
            }
            let proxied = self.proxied.iter().position(|(id, _)| *id == head.id);
            let proxied = proxied.map(|index| self.proxied.swap_remove(index).1);
            let (reason, claim) = match arrived.next() {
                Some(fd) if !leaving => {
                    Lane::of(&mut self.lanes, head.lane).arrive(head, fd, proxied)?;
                    continue;
                }
                Some(_) => (RefusalReason::Unwanted, Claim::Unwanted),
                None => {
                    Lane::of(&mut self.lanes, head.lane).missed();
                    (RefusalReason::NoDescriptor, Claim::NoDescriptor)
                }
            };
            match &self.scoreboard {
                Some(scoreboard) => self.has_refused |= scoreboard.claim(head.slot, head.id, claim),
                None => self.refusals.push(Refusal { id: head.id, reason }),
            }
        }
        Ok(true)
    }
}
