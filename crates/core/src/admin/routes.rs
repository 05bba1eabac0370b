//! The content of each path.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::admin::request::{Request, Unread};
use crate::admin::response::{OK, Response};
use crate::admin::{HttpSettings, Shown, host};
use crate::parent::metrics::Format;
use crate::parent::metrics::readiness::Checks;

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// A response.
    Once(Response),
    /// The status, repeated each second.
    Stream,
}

const UNAVAILABLE: &str = "503 Service Unavailable";
const JSON: &str = "application/json; charset=utf-8";
const PAGE: &str = include_str!("page.html");
/// The placeholder in the page for a value that differs in each response.
const NONCE: &str = "{nonce}";

/// Returns the answer to a request.
pub async fn answer(request: &Request, settings: &HttpSettings, shown: &Shown) -> Answer {
    if !host::is_allowed(request.host.as_deref(), &settings.hosts) {
        let host = request.host.as_deref().unwrap_or_default();
        return Answer::Once(Response::text(
            "403 Forbidden",
            format!("The host {host:?} is not allowed here: add it to the option 'hosts' of admin()\n"),
        ));
    }
    let metrics = &shown.metrics;
    Answer::Once(match request.path.as_str() {
        "/" => page(),
        "/events" => return Answer::Stream,
        "/status.json" => Response {
            content_type: JSON,
            ..Response::text(OK, metrics.status().json())
        },
        "/status" if request.query.split('&').any(|key| key == "auto") => Response::text(OK, metrics.status().auto()),
        "/status" => Response {
            headers: "Location: /\r\n".to_owned(),
            ..Response::text("302 Found", "")
        },
        "/metrics" => {
            let format = format_for(&request.accept);
            let app = metrics.app.ask(&shown.notices, format).await;
            Response {
                content_type: format.content_type(),
                ..Response::text(OK, metrics.text(format, app.as_ref()))
            }
        }
        "/livez" => probe(&liveness(settings)),
        "/readyz" => probe(&metrics.readiness(settings.ready_when)),
        "/startupz" => probe(&metrics.startup()),
        _ => Response::text(
            "404 Not Found",
            "Here are /, /status.json, /status?auto, /metrics, /livez, /readyz and /startupz\n",
        ),
    })
}

/// Returns the response to a request that was not read; `None` if no client waits for one.
pub fn refusal(unread: Unread) -> Option<Response> {
    Some(match unread {
        Unread::Gone => return None,
        Unread::Late => Response::text(
            "408 Request Timeout",
            "The head of the request was not complete in time\n",
        ),
        Unread::TooLong => Response::text(
            "431 Request Header Fields Too Large",
            "The head of the request is too long\n",
        ),
        Unread::Invalid => Response::text("400 Bad Request", "This is no valid HTTP/1 request\n"),
        Unread::Method => Response {
            headers: "Allow: GET, HEAD\r\n".to_owned(),
            ..Response::text("405 Method Not Allowed", "Only GET and HEAD are allowed here\n")
        },
    })
}

/// Returns OpenMetrics if the client accepts it, as Prometheus does since version 2.5. Quality values are ignored: a client that
/// names the format can read it.
fn format_for(accept: &str) -> Format {
    if accept.contains("application/openmetrics-text") {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

fn probe(checks: &Checks) -> Response {
    let status = if checks.have_passed() { OK } else { UNAVAILABLE };
    Response::text(status, checks.text())
}

/// Checks whether the event loop of the owner turns, or waits for events.
fn liveness(settings: &HttpSettings) -> Checks {
    let blocked = settings.owner_loop.blocked_for();
    let is_alive = blocked < settings.liveness_timeout;
    let sentence = if is_alive {
        "the event loop of the parent turns".to_owned()
    } else {
        format!(
            "the event loop of the parent has not turned for {} s",
            blocked.as_secs()
        )
    };
    Checks::new(vec![(is_alive, sentence)])
}

fn page() -> Response {
    let nonce = nonce();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    Response {
        content_type: "text/html; charset=utf-8",
        headers: format!("Content-Security-Policy: {policy}\r\n"),
        ..Response::text(OK, PAGE.replace(NONCE, &nonce))
    }
}

/// Returns a value that a site cannot guess. The keys of the standard library's hashers are random numbers of the system.
fn nonce() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}
