//! The dispatcher's view of the scoreboard of one channel: the connection in each slot, and the changes by the worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::scoreboard::{Claim, SLOTS, Scoreboard};
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::message::WorkerEvent;
use crate::protocol::ProtocolError;
use crate::protocol::limits::ANY;
use crate::protocol::records::{Credit, Refusal, RefusalReason};

/// The dispatcher checks after this time whether a connection has been taken, or earlier if another event wakes the dispatcher.
/// Until the check the parent's copy stays open, so a close by the worker does not reach the client. An idle worker takes a
/// connection within 0.1 ms.
pub const CHECK_AFTER: Duration = Duration::from_millis(1);

/// The parent's view of a scoreboard.
#[derive(Debug)]
pub struct ScoreboardView {
    page: Arc<Scoreboard>,
    slots: [Option<Offer>; SLOTS],
    /// One bit for each slot in use. The dispatcher checks every worker in each turn, and for an idle worker reads only this
    /// word. Of 64 workers, most are idle.
    held: u64,
    ended: u64,
    granted: u64,
    beats: u64,
    wanted: bool,
}

/// The connection in a slot.
#[derive(Debug, Clone, Copy)]
struct Offer {
    id: ConnectionId,
    since: Instant,
}

impl ScoreboardView {
    /// Creates the view of a new page.
    #[must_use]
    pub fn new(page: Arc<Scoreboard>) -> Self {
        Self {
            page,
            slots: [None; SLOTS],
            held: 0,
            ended: 0,
            granted: 0,
            beats: 0,
            wanted: false,
        }
    }

    /// Offers a connection in a free slot. Returns the slot; `None` if none is free, which the window of a channel rules out.
    pub fn offer(&mut self, id: ConnectionId, now: Instant) -> Option<u8> {
        let slot = bits(!self.held).next()?;
        self.slots[usize::from(slot)] = Some(Offer { id, since: now });
        self.held |= 1 << slot;
        self.page.offer(slot, id);
        Some(slot)
    }

    /// Recalls connections and returns those that the worker had not claimed. The next [`ScoreboardView::read_events`] reports
    /// the claims of the others.
    pub fn recall(&mut self, ids: &[ConnectionId]) -> Vec<ConnectionId> {
        let mut got = Vec::new();
        for slot in bits(self.held) {
            let Some(Offer { id, .. }) = self.offer_in(slot) else {
                continue;
            };
            if ids.contains(&id) && self.page.claim(slot, id, Claim::Recalled) {
                got.push(id);
                self.free(slot);
            }
        }
        got
    }

    /// Returns the connections in all slots.
    #[must_use]
    pub fn offered(&self) -> Vec<ConnectionId> {
        self.offers().map(|offer| offer.id).collect()
    }

    /// Returns whether [`ScoreboardView::read_events`] may add an event.
    #[must_use]
    pub fn may_have_events(&self) -> bool {
        let counted = (self.page.ended(), self.page.granted(), self.page.beats());
        self.held != 0 || counted != (self.ended, self.granted, self.beats)
    }

    /// Adds the worker's changes since the last call to `events`.
    pub fn read_events(
        &mut self,
        channel: ChannelId,
        events: &mut Vec<(ChannelId, WorkerEvent<Connection>)>,
    ) -> Result<(), ProtocolError> {
        // Read before the claims: a worker claims a connection before it ends the lease.
        let (ended, granted) = (self.page.ended(), self.page.granted());
        for slot in bits(self.held) {
            let Some(Offer { id, .. }) = self.offer_in(slot) else {
                continue;
            };
            let refused = |reason| WorkerEvent::Refused(Refusal { id, reason });
            let event = match self.page.claim_of(slot, id).ok_or(ProtocolError::Scoreboard { id })? {
                Claim::Offered => continue,
                Claim::Taken => WorkerEvent::Acked(id),
                Claim::Unwanted => refused(RefusalReason::Unwanted),
                Claim::NoDescriptor => refused(RefusalReason::NoDescriptor),
                // Only the parent recalls, and frees the slot at once.
                Claim::Recalled => return Err(ProtocolError::Scoreboard { id }),
            };
            self.free(slot);
            events.push((channel, event));
        }
        let new = |now: u64, before: u64| u32::try_from(now.wrapping_sub(before)).unwrap_or(u32::MAX);
        match new(ended, self.ended) {
            0 => {}
            count => events.push((channel, WorkerEvent::Ended(count))),
        }
        match new(granted, self.granted) {
            0 => {}
            count => events.push((channel, WorkerEvent::Credit(Credit { lane: ANY, count }))),
        }
        let beats = self.page.beats();
        if beats != self.beats {
            self.beats = beats;
            events.push((channel, WorkerEvent::Alive));
        }
        (self.ended, self.granted) = (ended, granted);
        Ok(())
    }

    /// Returns when the dispatcher has to check again.
    #[must_use]
    pub fn check_at(&self, now: Instant) -> Option<Instant> {
        self.oldest().map(|since| since + CHECK_AFTER).filter(|&at| at > now)
    }

    /// Returns whether a connection has been offered for so long that the worker should announce its claim.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.oldest().is_some_and(|since| since + CHECK_AFTER <= now)
    }

    /// Sets whether the worker announces its changes. Returns true if this call has requested announcements: the worker may have
    /// written before it read the request, so the dispatcher has to check once more.
    pub fn want(&mut self, wanted: bool) -> bool {
        if wanted == self.wanted {
            return false;
        }
        self.wanted = wanted;
        self.page.want(wanted);
        wanted
    }

    /// Records that the worker has announced its changes, which cleared the request.
    pub fn nudged(&mut self) {
        self.wanted = false;
    }

    fn oldest(&self) -> Option<Instant> {
        self.offers().map(|offer| offer.since).min()
    }

    fn offers(&self) -> impl Iterator<Item = Offer> + '_ {
        bits(self.held).filter_map(|slot| self.offer_in(slot))
    }

    fn offer_in(&self, slot: u8) -> Option<Offer> {
        self.slots[usize::from(slot)]
    }

    fn free(&mut self, slot: u8) {
        self.slots[usize::from(slot)] = None;
        self.held &= !(1 << slot);
    }
}

/// Returns the numbers of the bits that are set, from the lowest.
fn bits(mut word: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        // 64 if none is set.
        let lowest = u8::try_from(word.trailing_zeros()).ok().filter(|&bit| bit < 64)?;
        word &= word - 1;
        Some(lowest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a worker write to its scoreboard. Returns what the parent reads, which reads nothing the second time.
    fn read_once(write: impl FnOnce(&Scoreboard)) -> Vec<WorkerEvent<Connection>> {
        let (page, memory) = Scoreboard::create().unwrap();
        let worker = Scoreboard::open(&memory).unwrap();
        let mut scoreboard = ScoreboardView::new(Arc::new(page));
        let mut events = Vec::new();
        assert!(!scoreboard.may_have_events());
        write(&worker);
        assert!(scoreboard.may_have_events());
        scoreboard.read_events(7, &mut events).unwrap();
        assert!(!scoreboard.may_have_events());
        events.into_iter().map(|(_, event)| event).collect()
    }

    #[test]
    fn a_turn_of_the_event_loop_is_reported_once() {
        let events = read_once(Scoreboard::beat);
        assert!(matches!(events[..], [WorkerEvent::Alive]), "{events:?}");
    }

    #[test]
    fn ended_leases_are_reported_once() {
        let events = read_once(|worker| worker.add(0, 2, 0));
        assert!(matches!(events[..], [WorkerEvent::Ended(2)]), "{events:?}");
    }

    #[test]
    fn credit_is_reported_once() {
        let events = read_once(|worker| worker.add(0, 0, 3));
        assert!(
            matches!(events[..], [WorkerEvent::Credit(Credit { lane: ANY, count: 3 })]),
            "{events:?}"
        );
    }
}
