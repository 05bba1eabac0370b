//! The head of a request.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// The parts of a request that the admin listener uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whether the response has a body.
    pub wants_body: bool,
    /// The path, without the query.
    pub path: String,
    /// The query; empty without one.
    pub query: String,
    /// The header `Host`; `None` if the request has none.
    pub host: Option<String>,
    /// The header `Accept`; empty if the request has none.
    pub accept: String,
}

/// Why a request was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The peer has left, or sent nothing in time.
    Gone,
    /// The head was not complete in time.
    Late,
    /// The head is too long.
    TooLong,
    /// The head is no valid HTTP/1.
    Invalid,
    /// The method is neither GET nor HEAD.
    Method,
}

/// The timeout of a head, from accept on, even if bytes keep arriving. A client on a busy machine needs a second or two; silent
/// clients do no harm, because new clients replace them.
pub const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// The maximum length of the head in bytes.
const MAX_HEAD: usize = 8 * 1024;

const MAX_HEADERS: usize = 64;

/// Reads the head of a request.
pub async fn read(peer: &mut (impl AsyncRead + Unpin)) -> Result<Request, Unread> {
    let mut bytes = Vec::with_capacity(1024);
    let read = async {
        loop {
            // Fails if the peer has reset the connection.
            let count = peer.read_buf(&mut bytes).await.unwrap_or(0);
            if count == 0 {
                return Err(Unread::Gone);
            }
            match parse(&bytes) {
                Ok(None) if bytes.len() >= MAX_HEAD => return Err(Unread::TooLong),
                Ok(None) => {}
                Ok(Some(request)) => return Ok(request),
                Err(unread) => return Err(unread),
            }
        }
    };
    match timeout(HEAD_WITHIN, read).await {
        Ok(done) => done,
        Err(_) if bytes.is_empty() => Err(Unread::Gone),
        Err(_) => Err(Unread::Late),
    }
}

/// Parses the head of a request; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Request>, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unread::TooLong),
        Err(_) => return Err(Unread::Invalid),
    }
    let wants_body = match head.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Err(Unread::Method),
    };
    // The absolute form is for proxies.
    let target = head.path.filter(|path| path.starts_with('/')).ok_or(Unread::Invalid)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut hosts = values(head.headers, "host");
    let host = hosts.next();
    // Different parsers would choose different headers (RFC 9112, section 3.2).
    if hosts.next().is_some() {
        return Err(Unread::Invalid);
    }
    Ok(Some(Request {
        wants_body,
        path: path.to_owned(),
        query: query.to_owned(),
        host,
        accept: values(head.headers, "accept").next().unwrap_or_default(),
    }))
}

fn values<'a>(headers: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = String> + 'a {
    let found = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    found.map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_head_is_parsed() {
        let head = b"GET /status?auto HTTP/1.1\r\nHOST: localhost:9090\r\naccept: text/html\r\n\r\n";
        assert_eq!(
            parse(head),
            Ok(Some(Request {
                wants_body: true,
                path: "/status".to_owned(),
                query: "auto".to_owned(),
                host: Some("localhost:9090".to_owned()),
                accept: "text/html".to_owned(),
            }))
        );
        assert_eq!(parse(&head[..head.len() - 1]), Ok(None));
    }

    #[test]
    fn other_methods_two_hosts_and_absolute_targets_are_refused() {
        assert_eq!(parse(b"POST / HTTP/1.1\r\n\r\n"), Err(Unread::Method));
        assert_eq!(
            parse(b"GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n"),
            Err(Unread::Invalid)
        );
        assert_eq!(parse(b"GET http://a/ HTTP/1.1\r\n\r\n"), Err(Unread::Invalid));
        assert_eq!(parse(b"\x16\x03\x01\x00\xa5 TLS"), Err(Unread::Invalid));
    }
}
