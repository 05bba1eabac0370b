//! The record of `TICKET_KEYS`.

use std::fmt;

use super::error::FrameError;
use super::record::{Fields, Record};

/// The keys with which all workers of a server encrypt their TLS session tickets, so that each resumes the sessions of all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketKeys(pub [u8; 48]);

impl fmt::Debug for TicketKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A log must not hold them.
        formatter.write_str("TicketKeys(..)")
    }
}

impl Record for TicketKeys {
    const SIZE: usize = 48;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0);
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        Ok(Self(Fields(bytes).array()))
    }
}
