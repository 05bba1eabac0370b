//! The kind of a frame, which is the fifth byte of its header. The parent sends kinds from 0x80, the worker lower ones.

pub(crate) const HELLO: u8 = 0x01;
pub(crate) const ACK: u8 = 0x02;
pub(crate) const REFUSE: u8 = 0x03;
pub(crate) const ENDED: u8 = 0x04;
pub(crate) const CREDIT: u8 = 0x05;
pub(crate) const CANCEL: u8 = 0x06;
pub(crate) const LEAVE: u8 = 0x07;
pub(crate) const NUDGE: u8 = 0x08;
pub(crate) const RETURN: u8 = 0x09;
pub(crate) const ENDED_IDS: u8 = 0x0a;

pub(crate) const WELCOME: u8 = 0x81;
pub(crate) const CONNECTION: u8 = 0x82;
pub(crate) const RECALL: u8 = 0x83;
pub(crate) const CANCELLED: u8 = 0x84;
pub(crate) const DRAIN: u8 = 0x85;
pub(crate) const RETIRE: u8 = 0x86;
pub(crate) const CLOSE: u8 = 0x87;
pub(crate) const RETURNED: u8 = 0x88;
pub(crate) const LISTENING: u8 = 0x89;
pub(crate) const PROXIED: u8 = 0x8a;
pub(crate) const TICKET_KEYS: u8 = 0x8b;
pub(crate) const DRAIN_SOON: u8 = 0x8c;
