//! Why a connection cannot be handed back, as JavaScript sees it.

use napi_derive::napi;
use socketserver_core::worker::HandBackError;

use crate::system_error::SystemError;

/// Why a connection stays with the worker that wanted to hand it back.
#[napi(object)]
pub struct HandBackRefusal {
    /// The kind of reason.
    #[napi(ts_type = "'ended' | 'version' | 'unknown' | 'system'")]
    pub reason: String,
    /// The reason in words.
    pub message: String,
    /// system: the system call that failed.
    pub error: Option<SystemError>,
}

impl From<HandBackError> for HandBackRefusal {
    fn from(refusal: HandBackError) -> Self {
        let message = refusal.to_string();
        let (reason, error) = match refusal {
            HandBackError::Ended => ("ended", None),
            HandBackError::Version(_) => ("version", None),
            HandBackError::Unknown => ("unknown", None),
            HandBackError::System(error) => ("system", Some(error.into())),
        };
        Self {
            reason: reason.to_owned(),
            message,
            error,
        }
    }
}
