//! The phase of a receiver as JavaScript sees it.

use napi_derive::napi;
use socketserver_core::protocol::records::CloseReason;
use socketserver_core::protocol::version::{OLDEST_VERSION, VERSION};
use socketserver_core::worker::{End, Phase};

/// The phase of a receiver.
#[napi(object)]
pub struct ReceiverPhase {
    /// Moves down this list only.
    #[napi(ts_type = "'joining' | 'open' | 'draining-soon' | 'draining' | 'retired' | 'leaving' | 'ended'")]
    pub phase: String,
    /// ended: the reason.
    #[napi(ts_type = "'eof' | 'closed' | 'refused' | 'protocol' | 'left'")]
    pub reason: Option<String>,
    /// ended: details of the reason.
    pub message: Option<String>,
    /// refused: why the parent refused this worker.
    #[napi(ts_type = "'version' | 'not-allowed' | 'full' | 'late'")]
    pub refusal: Option<String>,
}

impl From<Phase> for ReceiverPhase {
    fn from(phase: Phase) -> Self {
        let (phase, end) = match phase {
            Phase::Joining => ("joining", None),
            Phase::Open => ("open", None),
            Phase::DrainingSoon => ("draining-soon", None),
            Phase::Draining => ("draining", None),
            Phase::Retired => ("retired", None),
            Phase::Leaving => ("leaving", None),
            Phase::Ended(end) => ("ended", Some(end)),
        };
        let (reason, message) = match &end {
            None => (None, None),
            Some(End::Gone) => (Some("eof"), None),
            Some(End::Left) => (Some("left"), None),
            Some(End::Closed(reason)) => match refusal(*reason) {
                Some((_, message)) => (Some("refused"), Some(message)),
                None => (Some("closed"), Some(format!("{reason:?}").to_lowercase())),
            },
            Some(End::Protocol(error)) => (Some("protocol"), Some(error.to_string())),
        };
        let refusal = match end {
            Some(End::Closed(reason)) => refusal(reason).map(|(word, _)| word.to_owned()),
            _ => None,
        };
        Self {
            phase: phase.to_owned(),
            reason: reason.map(str::to_owned),
            message,
            refusal,
        }
    }
}

/// Returns why the parent refused this worker; `None` if the channel was closed for another reason.
fn refusal(reason: CloseReason) -> Option<(&'static str, String)> {
    match reason {
        CloseReason::Version(theirs) => Some((
            "version",
            format!(
                "the parent supports the protocol up to version {theirs}, this worker versions {OLDEST_VERSION} to {VERSION}"
            ),
        )),
        CloseReason::NotAllowed => Some(("not-allowed", "this user may not join at this path".to_owned())),
        CloseReason::Full(limit) => Some(("full", format!("the limit of {limit} joined workers is reached"))),
        CloseReason::Late(limit) => Some(("late", format!("no HELLO arrived within {limit} ms"))),
        CloseReason::Ended | CloseReason::Dismissed | CloseReason::Protocol => None,
    }
}
