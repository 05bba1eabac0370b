//! Plain objects in which a stream tells what has become of a call.

use std::os::fd::OwnedFd;

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::stream::{Found, Sent, Settled as CoreSettled, Stream};

use crate::convert::SystemError;
use crate::owned_descriptor::NativeDescriptor;
use crate::stream::NativeStream;

/// Either the one or the other.
#[napi(object, object_from_js = false)]
pub struct StreamOutcome {
    /// The stream.
    pub stream: Option<NativeStream>,
    /// Why there is none.
    pub error: Option<SystemError>,
}

/// Both ends, or neither.
#[napi(object, object_from_js = false)]
pub struct PairOutcome {
    /// One end.
    pub left: Option<NativeStream>,
    /// The other.
    pub right: Option<NativeStream>,
    /// Why there are none.
    pub error: Option<SystemError>,
}

/// What has become of something that was to be sent. Neither: the kernel has all of it.
#[napi(object, object_from_js = false)]
pub struct SendOutcome {
    /// It waits, and `settled` will name this ticket.
    pub ticket: Option<u32>,
    /// It has failed.
    pub error: Option<SystemError>,
}

/// What has become of something that waited.
#[napi(object, object_from_js = false)]
pub struct Settled {
    /// Of the call of `send`.
    pub ticket: u32,
    /// Absent: the kernel has taken all of it.
    pub error: Option<SystemError>,
}

/// What has come.
#[napi(object, object_from_js = false)]
pub struct ReceiveOutcome {
    /// `nothing`: `wake` will be called once.
    #[napi(ts_type = "'nothing' | 'data' | 'truncated' | 'end' | 'error'")]
    pub kind: String,
    /// data, truncated: at least one byte.
    pub data: Option<Buffer>,
    /// data: what was sent along.
    pub descriptors: Option<Vec<NativeDescriptor>>,
    /// error: which; truncated: the limit that this process is at, if it is at one.
    pub error: Option<SystemError>,
}

impl From<Result<OwnedFd, CoreError>> for StreamOutcome {
    fn from(outcome: Result<OwnedFd, CoreError>) -> Self {
        match outcome.and_then(Stream::adopt) {
            Ok(stream) => Self {
                stream: Some(stream.into()),
                error: None,
            },
            Err(error) => Self {
                stream: None,
                error: Some(error.into()),
            },
        }
    }
}

impl From<Result<Sent, CoreError>> for SendOutcome {
    fn from(outcome: Result<Sent, CoreError>) -> Self {
        let (ticket, error) = match outcome {
            Ok(Sent::Whole) => (None, None),
            Ok(Sent::Waiting(ticket)) => (Some(ticket), None),
            Err(error) => (None, Some(error.into())),
        };
        Self { ticket, error }
    }
}

impl From<CoreSettled> for Settled {
    fn from(settled: CoreSettled) -> Self {
        Self {
            ticket: settled.ticket,
            error: settled.result.err().map(SystemError::from),
        }
    }
}

impl From<Result<Found, CoreError>> for ReceiveOutcome {
    fn from(outcome: Result<Found, CoreError>) -> Self {
        let none = Self {
            kind: String::new(),
            data: None,
            descriptors: None,
            error: None,
        };
        match outcome {
            Ok(Found::Nothing) => Self {
                kind: "nothing".to_owned(),
                ..none
            },
            Ok(Found::End) => Self {
                kind: "end".to_owned(),
                ..none
            },
            Ok(Found::Some(bytes, descriptors)) => Self {
                kind: "data".to_owned(),
                data: Some(bytes.into()),
                descriptors: Some(descriptors.into_iter().map(NativeDescriptor::from).collect()),
                ..none
            },
            Ok(Found::Truncated(bytes, limit)) => Self {
                kind: "truncated".to_owned(),
                data: Some(bytes.into()),
                error: limit.map(CoreError::of("recvmsg")).map(SystemError::from),
                ..none
            },
            Err(error) => Self {
                kind: "error".to_owned(),
                error: Some(error.into()),
                ..none
            },
        }
    }
}
