//! The credit of one channel, by lane.

use crate::protocol::ProtocolError;
use crate::protocol::limits::{ANY, MAX_CREDIT, MAX_LANES};
use crate::protocol::records::Credit;

/// A channel's credit: the number of connections that the worker has asked for and that were not sent yet.
#[derive(Debug, Clone, Default)]
pub struct CreditBook {
    entries: Vec<Credit>,
}

impl CreditBook {
    /// Adds credit.
    pub fn grant(&mut self, credit: Credit) -> Result<(), ProtocolError> {
        let total = self.entries.iter().map(|entry| u64::from(entry.count)).sum::<u64>() + u64::from(credit.count);
        if total > u64::from(MAX_CREDIT) {
            return Err(ProtocolError::TooMuchCredit {
                credit: total,
                limit: MAX_CREDIT,
            });
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.lane == credit.lane) {
            entry.count += credit.count;
            return Ok(());
        }
        if self.entries.len() >= MAX_LANES {
            self.free_lane()?;
        }
        self.entries.push(credit);
        Ok(())
    }

    /// Forgets the oldest lane without unused credit. Only a full book forgets lanes: a worker whose credit is used up still
    /// serves the port, see [`CreditBook::serves`].
    fn free_lane(&mut self) -> Result<(), ProtocolError> {
        let unused = self.entries.iter().position(|entry| entry.count == 0);
        let index = unused.ok_or(ProtocolError::TooManyLanes { limit: MAX_LANES })?;
        self.entries.remove(index);
        Ok(())
    }

    /// Removes up to `credit.count` of the unused credit of a lane. Returns how much was removed.
    pub fn cancel(&mut self, credit: Credit) -> Credit {
        let removed = match self.entries.iter_mut().find(|entry| entry.lane == credit.lane) {
            Some(entry) => {
                let removed = entry.count.min(credit.count);
                entry.count -= removed;
                removed
            }
            None => 0,
        };
        Credit {
            lane: credit.lane,
            count: removed,
        }
    }

    /// Uses one credit for a connection of `port`, from the lane of that port first. Returns the lane, if any has credit.
    pub fn spend(&mut self, port: u16) -> Option<u16> {
        let lane = if self.on(port) > 0 { port } else { ANY };
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.lane == lane && entry.count > 0)?;
        entry.count -= 1;
        Some(lane)
    }

    /// Undoes [`CreditBook::spend`].
    pub fn restore(&mut self, lane: u16) {
        match self.entries.iter_mut().find(|entry| entry.lane == lane) {
            Some(entry) => entry.count += 1,
            // The lane was freed in between. At most WINDOW connections are in flight, so the book stays bounded.
            None => self.entries.push(Credit { lane, count: 1 }),
        }
    }

    /// Returns whether there is unused credit for a connection of `port`.
    #[must_use]
    pub fn covers(&self, port: u16) -> bool {
        self.of(port).any(|entry| entry.count > 0)
    }

    /// Returns whether credit for connections of `port` has been granted, used up or not.
    #[must_use]
    pub fn serves(&self, port: u16) -> bool {
        self.of(port).next().is_some()
    }

    /// Removes all credit.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Returns the lanes whose credit is valid for a connection of `port`.
    fn of(&self, port: u16) -> impl Iterator<Item = &Credit> {
        self.entries
            .iter()
            .filter(move |entry| entry.lane == port || entry.lane == ANY)
    }

    fn on(&self, lane: u16) -> u32 {
        self.entries
            .iter()
            .find(|entry| entry.lane == lane)
            .map_or(0, |entry| entry.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_own_credit_is_spent_before_the_general() {
        let mut book = CreditBook::default();
        book.grant(Credit { lane: ANY, count: 1 }).unwrap();
        book.grant(Credit { lane: 80, count: 1 }).unwrap();
        assert_eq!(
            (book.spend(80), book.spend(80), book.spend(80)),
            (Some(80), Some(ANY), None)
        );
    }

    #[test]
    fn credit_for_one_port_serves_no_other() {
        let mut book = CreditBook::default();
        book.grant(Credit { lane: 80, count: 1 }).unwrap();
        assert!(book.covers(80) && !book.covers(81));
        assert_eq!(book.spend(81), None);
    }

    #[test]
    fn only_unused_credit_can_be_cancelled() {
        let mut book = CreditBook::default();
        book.grant(Credit { lane: ANY, count: 3 }).unwrap();
        book.spend(80);
        assert_eq!(
            book.cancel(Credit { lane: ANY, count: 5 }),
            Credit { lane: ANY, count: 2 }
        );
        assert_eq!(book.cancel(Credit { lane: 7, count: 5 }), Credit { lane: 7, count: 0 });
    }

    #[test]
    fn a_lane_without_unused_credit_makes_room_for_another() {
        let mut book = CreditBook::default();
        for lane in 1..=64 {
            book.grant(Credit { lane, count: 1 }).unwrap();
        }
        assert!(matches!(
            book.grant(Credit { lane: 65, count: 1 }),
            Err(ProtocolError::TooManyLanes { limit: 64 })
        ));
        book.cancel(Credit { lane: 7, count: 1 });
        book.grant(Credit { lane: 65, count: 1 }).unwrap();
        assert!(book.covers(65) && !book.serves(7));
        assert_eq!(book.spend(9), Some(9));
        book.grant(Credit { lane: 66, count: 1 }).unwrap();
        book.restore(9);
        assert!(book.covers(66) && book.covers(9));
    }

    #[test]
    fn credit_beyond_the_limit_is_a_protocol_error() {
        let mut book = CreditBook::default();
        book.grant(Credit {
            lane: 1,
            count: MAX_CREDIT,
        })
        .unwrap();
        let error = book.grant(Credit {
            lane: 2,
            count: u32::MAX,
        });
        assert!(matches!(error, Err(ProtocolError::TooMuchCredit { .. })));
    }
}
