//! The records of frames: fixed sizes, little-endian, without I/O. `PROTOCOL.md` has their tables.

use super::ProtocolError;
use super::error::FrameError;
use super::kind;
use super::record::{Fields, Record};
use super::version::{VERSION, common_version};
use crate::ids::ConnectionId;

/// The magic bytes: the first four bytes of a HELLO or WELCOME record.
pub const MAGIC: [u8; 4] = *b"SSRV";

/// The record of HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the worker supports.
    pub oldest: u16,
    /// The newest version that the worker supports.
    pub newest: u16,
    /// The process id of the worker, for information only.
    pub pid: u32,
    /// The worker can map a [`crate::channel::scoreboard::Scoreboard`].
    pub scoreboard: bool,
}

impl Hello {
    /// Returns the newest version that both sides support.
    pub fn version(&self) -> Result<u16, ProtocolError> {
        common_version(self.oldest, self.newest).ok_or(ProtocolError::Version {
            theirs_min: self.oldest,
            theirs_max: self.newest,
            ours: VERSION,
        })
    }
}

/// The record of WELCOME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The version of the session.
    pub version: u16,
    /// The number of the channel within the server, for information only.
    pub channel: u32,
    /// The descriptor of a scoreboard is sent with the frame.
    pub scoreboard: bool,
}

/// An amount of credit on one lane: for connections of one local port, or, on lane 0, of all ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// The local port; 0 means all ports.
    pub lane: u16,
    /// The number of connections.
    pub count: u32,
}

/// A connection that the worker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The connection.
    pub id: ConnectionId,
    /// Why the worker refuses it.
    pub reason: RefusalReason,
}

/// Why a worker refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// The parent has recalled the connection.
    Recalled,
    /// The descriptor did not arrive: the worker is at its limit of open files.
    NoDescriptor,
    /// The worker has cancelled its credit or is leaving.
    Unwanted,
}

/// The answer to a RETURN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// The connection.
    pub id: ConnectionId,
    /// Whether the parent has the connection.
    pub outcome: ReturnOutcome,
}

/// Whether the parent has a returned connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnOutcome {
    /// The connection is back in the queue.
    TakenBack,
    /// The descriptor did not arrive, because the parent is at its limit of open files. The worker may send it again.
    SendAgain,
}

/// Why the parent closes a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The server ends.
    Ended,
    /// The owner of the server has dismissed the worker.
    Dismissed,
    /// The worker broke the protocol.
    Protocol,
    /// No version in common. The number is the newest version that the parent supports.
    Version(u16),
    /// The user of the worker may not join.
    NotAllowed,
    /// The maximum number of workers has joined. The number is that maximum.
    Full(u32),
    /// No HELLO in time. The number is the timeout in milliseconds.
    Late(u32),
}

/// Checks the magic bytes.
fn magic(fields: &mut Fields<'_>) -> Result<(), FrameError> {
    let magic = fields.array();
    if magic == MAGIC {
        Ok(())
    } else {
        Err(FrameError::Magic(magic))
    }
}

/// Decodes a flag word, whose bits other than the first are reserved.
fn flag(kind: u8, word: u32) -> Result<bool, FrameError> {
    match word {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FrameError::Reserved(kind)),
    }
}

impl Record for ConnectionId {
    const SIZE: usize = 8;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        Ok(Fields(bytes).u64())
    }
}

impl Record for u32 {
    const SIZE: usize = 4;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        Ok(Fields(bytes).u32())
    }
}

impl Record for Hello {
    const SIZE: usize = 16;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.oldest.to_le_bytes());
        bytes.extend_from_slice(&self.newest.to_le_bytes());
        bytes.extend_from_slice(&self.pid.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.scoreboard).to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        magic(&mut fields)?;
        Ok(Self {
            oldest: fields.u16(),
            newest: fields.u16(),
            pid: fields.u32(),
            scoreboard: flag(kind::HELLO, fields.u32())?,
        })
    }
}

impl Record for Welcome {
    const SIZE: usize = 12;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&u16::from(self.scoreboard).to_le_bytes());
        bytes.extend_from_slice(&self.channel.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        magic(&mut fields)?;
        let version = fields.u16();
        let scoreboard = flag(kind::WELCOME, fields.u16().into())?;
        Ok(Self {
            version,
            channel: fields.u32(),
            scoreboard,
        })
    }
}

impl Record for Credit {
    const SIZE: usize = 8;

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.lane.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let count = fields.u32();
        Ok(Self {
            lane: fields.u16(),
            count,
        })
    }
}

impl Record for Refusal {
    const SIZE: usize = 12;

    fn encode(&self, bytes: &mut Vec<u8>) {
        let reason: u32 = match self.reason {
            RefusalReason::Recalled => 1,
            RefusalReason::NoDescriptor => 2,
            RefusalReason::Unwanted => 3,
        };
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&reason.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let id = fields.u64();
        let reason = match fields.u32() {
            1 => RefusalReason::Recalled,
            2 => RefusalReason::NoDescriptor,
            3 => RefusalReason::Unwanted,
            other => return Err(FrameError::Reason(other)),
        };
        Ok(Self { id, reason })
    }
}

impl Record for Returned {
    const SIZE: usize = 12;

    fn encode(&self, bytes: &mut Vec<u8>) {
        let outcome: u32 = match self.outcome {
            ReturnOutcome::TakenBack => 1,
            ReturnOutcome::SendAgain => 2,
        };
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&outcome.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        let id = fields.u64();
        let outcome = match fields.u32() {
            1 => ReturnOutcome::TakenBack,
            2 => ReturnOutcome::SendAgain,
            other => return Err(FrameError::Reason(other)),
        };
        Ok(Self { id, outcome })
    }
}

impl Record for CloseReason {
    const SIZE: usize = 8;

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (reason, detail): (u32, u32) = match *self {
            Self::Ended => (1, 0),
            Self::Dismissed => (2, 0),
            Self::Protocol => (3, 0),
            Self::Version(version) => (4, u32::from(version)),
            Self::NotAllowed => (5, 0),
            Self::Full(limit) => (6, limit),
            Self::Late(limit) => (7, limit),
        };
        bytes.extend_from_slice(&reason.to_le_bytes());
        bytes.extend_from_slice(&detail.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut fields = Fields(bytes);
        match fields.u32() {
            1 => Ok(Self::Ended),
            2 => Ok(Self::Dismissed),
            3 => Ok(Self::Protocol),
            4 => Ok(Self::Version(fields.u16())),
            5 => Ok(Self::NotAllowed),
            6 => Ok(Self::Full(fields.u32())),
            7 => Ok(Self::Late(fields.u32())),
            other => Err(FrameError::Reason(other)),
        }
    }
}
