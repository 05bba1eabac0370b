//! Encodes frames.

use super::connection_record::ConnectionHead;
use super::frame::HEADER;
use super::kind;
use super::limits::MAX_RECORDS;
use super::listener_record::ListenerAddress;
use super::proxied_record::Proxied;
use super::record::Record;
use super::records::{CloseReason, Credit, Hello, Refusal, Returned, Welcome};
use super::ticket_keys::TicketKeys;
use crate::ids::ConnectionId;

/// Appends frames to a buffer, so that one system call sends several frames.
#[derive(Debug, Default, Clone)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Creates an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the encoded frames.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether the buffer is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// See [`super::frame::ToParent::Hello`].
    pub fn hello(&mut self, hello: Hello) {
        self.frames(kind::HELLO, [hello]);
    }

    /// See [`super::frame::ToParent::Ack`].
    pub fn ack(&mut self, ids: impl IntoIterator<Item = ConnectionId>) {
        self.frames(kind::ACK, ids);
    }

    /// See [`super::frame::ToParent::Refuse`].
    pub fn refuse(&mut self, refusals: impl IntoIterator<Item = Refusal>) {
        self.frames(kind::REFUSE, refusals);
    }

    /// See [`super::frame::ToParent::Ended`].
    pub fn ended(&mut self, leases: u32) {
        self.frames(kind::ENDED, [leases]);
    }

    /// See [`super::frame::ToParent::Credit`].
    pub fn credit(&mut self, credit: impl IntoIterator<Item = Credit>) {
        self.frames(kind::CREDIT, credit);
    }

    /// See [`super::frame::ToParent::Cancel`].
    pub fn cancel(&mut self, credit: impl IntoIterator<Item = Credit>) {
        self.frames(kind::CANCEL, credit);
    }

    /// See [`super::frame::ToParent::Leave`].
    pub fn leave(&mut self) {
        self.frames::<ConnectionId>(kind::LEAVE, []);
    }

    /// See [`super::frame::ToParent::Nudge`].
    pub fn nudge(&mut self) {
        self.frames::<ConnectionId>(kind::NUDGE, []);
    }

    /// See [`super::frame::ToParent::Return`]. Send the descriptor with the first byte.
    pub fn hand_back(&mut self, id: ConnectionId) {
        self.frames(kind::RETURN, [id]);
    }

    /// Appends `ENDED_IDS`; see [`super::frame::ToParent::EndedIds`].
    pub fn ended_ids(&mut self, ids: impl IntoIterator<Item = ConnectionId>) {
        self.frames(kind::ENDED_IDS, ids);
    }

    /// See [`super::frame::ToWorker::Welcome`].
    pub fn welcome(&mut self, welcome: Welcome) {
        self.frames(kind::WELCOME, [welcome]);
    }

    /// See [`super::frame::ToWorker::Connection`]. At most [`MAX_RECORDS`], because one message carries the descriptors.
    pub fn connection(&mut self, heads: impl IntoIterator<Item = ConnectionHead>) {
        self.frames(kind::CONNECTION, heads);
    }

    /// See [`super::frame::ToWorker::Recall`].
    pub fn recall(&mut self, ids: impl IntoIterator<Item = ConnectionId>) {
        self.frames(kind::RECALL, ids);
    }

    /// See [`super::frame::ToWorker::Cancelled`].
    pub fn cancelled(&mut self, credit: impl IntoIterator<Item = Credit>) {
        self.frames(kind::CANCELLED, credit);
    }

    /// See [`super::frame::ToWorker::Drain`].
    pub fn drain(&mut self) {
        self.frames::<ConnectionId>(kind::DRAIN, []);
    }

    /// Appends `DRAIN_SOON`; see [`super::frame::ToWorker::DrainSoon`].
    pub fn drain_soon(&mut self) {
        self.frames::<ConnectionId>(kind::DRAIN_SOON, []);
    }

    /// See [`super::frame::ToWorker::Retire`].
    pub fn retire(&mut self) {
        self.frames::<ConnectionId>(kind::RETIRE, []);
    }

    /// See [`super::frame::ToWorker::Close`].
    pub fn close(&mut self, reason: CloseReason) {
        self.frames(kind::CLOSE, [reason]);
    }

    /// See [`super::frame::ToWorker::Returned`].
    pub fn returned(&mut self, returned: impl IntoIterator<Item = Returned>) {
        self.frames(kind::RETURNED, returned);
    }

    /// Appends LISTENING; see [`super::frame::ToWorker::Listening`].
    pub fn listening(&mut self, listener: ListenerAddress) {
        self.frames(kind::LISTENING, [listener]);
    }

    /// Appends PROXIED; see [`super::frame::ToWorker::Proxied`].
    pub fn proxied(&mut self, id: ConnectionId, proxied: &Proxied) {
        let start = self.begin(kind::PROXIED);
        proxied.encode(id, &mut self.bytes);
        // Each byte is a record. At most MAX_FRAME bytes, so the length fits.
        let count = self.bytes.len() - start - HEADER;
        self.finish(start, u16::try_from(count).unwrap_or(u16::MAX));
    }

    /// Appends `TICKET_KEYS`; see [`super::frame::ToWorker::TicketKeys`].
    pub fn ticket_keys(&mut self, keys: TicketKeys) {
        self.frames(kind::TICKET_KEYS, [keys]);
    }

    /// Appends one frame per [`MAX_RECORDS`] records. A kind without records gets one empty frame.
    fn frames<R: Record>(&mut self, kind: u8, records: impl IntoIterator<Item = R>) {
        let bare = matches!(
            kind,
            kind::LEAVE | kind::NUDGE | kind::DRAIN | kind::RETIRE | kind::DRAIN_SOON
        );
        let mut records = records.into_iter().peekable();
        if !bare && records.peek().is_none() {
            return;
        }
        loop {
            let start = self.begin(kind);
            let mut count: u16 = 0;
            for record in records.by_ref().take(MAX_RECORDS) {
                record.encode(&mut self.bytes);
                count += 1;
            }
            self.finish(start, count);
            if records.peek().is_none() {
                return;
            }
        }
    }

    /// Appends a header without its numbers. Returns where the frame begins.
    fn begin(&mut self, kind: u8) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, kind, 0, 0, 0]);
        start
    }

    /// Sets the numbers in the header of the last frame, which begins at `start`.
    fn finish(&mut self, start: usize, count: u16) {
        // A frame has at most MAX_FRAME bytes: far below 2^32.
        let length = u32::try_from(self.bytes.len() - start - HEADER).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes[start + 6..start + 8].copy_from_slice(&count.to_le_bytes());
    }
}
