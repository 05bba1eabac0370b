//! The results of a stream's methods.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::stream::{Found, Sent, Settled as CoreSettled};

use super::descriptor::NativeDescriptor;
use crate::system_error::SystemError;

/// The result of `send`. If neither field is set, the kernel has taken everything.
#[napi(object, object_from_js = false)]
pub struct SendOutcome {
    /// The rest waits for room in the socket. `settled` returns this ticket at the end.
    pub ticket: Option<u32>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// The end of a send that waited.
#[napi(object, object_from_js = false)]
pub struct Settled {
    /// The ticket that `send` returned.
    pub ticket: u32,
    /// The system call that failed; absent if the kernel has taken everything.
    pub error: Option<SystemError>,
}

/// The result of `receive`.
#[napi(object, object_from_js = false)]
pub struct ReceiveOutcome {
    /// `nothing`: no data yet; `wake` will be called once.
    #[napi(ts_type = "'nothing' | 'data' | 'truncated' | 'end' | 'error'")]
    pub kind: String,
    /// data, truncated: at least one byte.
    pub data: Option<Buffer>,
    /// data: the descriptors that were sent with the data.
    pub descriptors: Option<Vec<NativeDescriptor>>,
    /// error: the system call that failed; truncated: the descriptor limit that was reached, if known.
    pub error: Option<SystemError>,
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
