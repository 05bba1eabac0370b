//! One channel's scoreboard as the dispatcher uses it: which connection is in which slot, and what is new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::scoreboard::{Claim, SLOTS, Scoreboard};
use crate::ids::ChannelId;
use crate::ids::ConnectionId;
use crate::parent::connection::Connection;
use crate::parent::dispatcher::message::Event;
use crate::protocol::ProtocolError;
use crate::protocol::limits::ANY;
use crate::protocol::records::{Credit, Refusal, RefusalReason};

/// After this long the dispatcher looks whether a connection has been taken, if nothing else has made it look: until
/// then its own copy keeps a worker's close from reaching the client. A worker at leisure takes one within a tenth.
pub const LOOK_AFTER: Duration = Duration::from_millis(1);

/// The parent's account of a scoreboard.
#[derive(Debug)]
pub struct ScoreboardView {
    page: Arc<Scoreboard>,
    slots: [Option<Offer>; SLOTS],
    /// A bit for each slot that holds something, so that a look at an idle worker is a look at one word: the dispatcher
    /// looks at all of them in every turn, and most of 64 workers are idle.
    held: u64,
    ended: u64,
    granted: u64,
    beats: u64,
    wanted: bool,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy)]
struct Offer {
    id: ConnectionId,
    since: Instant,
}

impl ScoreboardView {
    /// The account of a new page.
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

    /// Puts a connection in a slot, to be sent. `None` if all are taken, which the window of a channel rules out.
    pub fn offer(&mut self, id: ConnectionId, now: Instant) -> Option<u8> {
        let slot = bits(!self.held).next()?;
        self.slots[usize::from(slot)] = Some(Offer { id, since: now });
        self.held |= 1 << slot;
        self.page.offer(slot, id);
        Some(slot)
    }

    /// Takes connections back, those that could not be sent or that have lain too long, and says which it got. The
    /// worker has taken the others, which the next [`ScoreboardView::news`] tell.
    pub fn take_back(&mut self, ids: &[ConnectionId]) -> Vec<ConnectionId> {
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

    /// The connections in all slots.
    #[must_use]
    pub fn offered(&self) -> Vec<ConnectionId> {
        self.offers().map(|offer| offer.id).collect()
    }

    /// Whether [`ScoreboardView::news`] may have something. Most of many workers are idle, and all are looked at in each turn.
    #[must_use]
    pub fn may_have_news(&self) -> bool {
        let counted = (self.page.ended(), self.page.granted(), self.page.beats());
        self.held != 0 || counted != (self.ended, self.granted, self.beats)
    }

    /// What the worker has written since the last call, as events.
    pub fn news(&mut self, channel: ChannelId, events: &mut Vec<Event<Connection>>) -> Result<(), ProtocolError> {
        // Before the claims: a lease that has ended has been claimed before.
        let (ended, granted) = (self.page.ended(), self.page.granted());
        for slot in bits(self.held) {
            let Some(Offer { id, .. }) = self.offer_in(slot) else {
                continue;
            };
            let refused = |reason| Event::Refused(channel, Refusal { id, reason });
            let event = match self.page.standing(slot, id).ok_or(ProtocolError::Scoreboard { id })? {
                Claim::Offered => continue,
                Claim::Taken => Event::Acked(channel, id),
                Claim::Unwanted => refused(RefusalReason::Unwanted),
                Claim::NoDescriptor => refused(RefusalReason::NoDescriptor),
                // Only this side recalls, and frees the slot as it does.
                Claim::Recalled => return Err(ProtocolError::Scoreboard { id }),
            };
            self.free(slot);
            events.push(event);
        }
        let new = |now: u64, before: u64| u32::try_from(now.wrapping_sub(before)).unwrap_or(u32::MAX);
        match new(ended, self.ended) {
            0 => {}
            count => events.push(Event::Ended(channel, count)),
        }
        match new(granted, self.granted) {
            0 => {}
            count => events.push(Event::Credit(channel, Credit { lane: ANY, count })),
        }
        let beats = self.page.beats();
        if beats != self.beats {
            self.beats = beats;
            events.push(Event::Alive(channel));
        }
        (self.ended, self.granted) = (ended, granted);
        Ok(())
    }

    /// When to look again.
    #[must_use]
    pub fn look_at(&self, now: Instant) -> Option<Instant> {
        self.oldest().map(|since| since + LOOK_AFTER).filter(|&at| at > now)
    }

    /// Whether something has been offered for so long that the worker should say when it takes it.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.oldest().is_some_and(|since| since + LOOK_AFTER <= now)
    }

    /// Asks the worker to say when there is news, or no longer; true if it has just been asked, and has to be looked at
    /// once more, as it may have written before it saw so.
    pub fn want(&mut self, wanted: bool) -> bool {
        if wanted == self.wanted {
            return false;
        }
        self.wanted = wanted;
        self.page.want(wanted);
        wanted
    }

    /// The worker has said that there is news, and so cleared the wish.
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

/// The numbers of the bits that are set, from the lowest.
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

    /// Lets a worker write something, and says what is read of it, once.
    fn told(write: impl FnOnce(&Scoreboard)) -> Vec<Event<Connection>> {
        let (page, memory) = Scoreboard::create().unwrap();
        let worker = Scoreboard::open(&memory).unwrap();
        let mut scoreboard = ScoreboardView::new(Arc::new(page));
        let mut events = Vec::new();
        assert!(!scoreboard.may_have_news());
        write(&worker);
        assert!(scoreboard.may_have_news());
        scoreboard.news(7, &mut events).unwrap();
        assert!(!scoreboard.may_have_news());
        events
    }

    #[test]
    fn a_turn_of_the_event_loop_is_told_once() {
        let events = told(Scoreboard::beat);
        assert!(matches!(events[..], [Event::Alive(7)]), "{events:?}");
    }

    #[test]
    fn leases_that_end_are_told_once() {
        let events = told(|worker| worker.add(0, 2, 0));
        assert!(matches!(events[..], [Event::Ended(7, 2)]), "{events:?}");
    }

    #[test]
    fn credit_is_told_once() {
        let events = told(|worker| worker.add(0, 0, 3));
        assert!(
            matches!(events[..], [Event::Credit(7, Credit { lane: ANY, count: 3 })]),
            "{events:?}"
        );
    }
}
