//! A response. Every response ends its connection.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A response with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: &'static str,
    pub content_type: &'static str,
    /// More headers, each with its line end.
    pub headers: String,
    pub body: String,
}

pub const OK: &str = "200 OK";

/// How long a peer may take to read a response.
pub const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How long to read and discard the bytes that a peer still sends. A close with unread data resets the connection, and the peer
/// might not get the response.
const LINGER: Duration = Duration::from_secs(1);

impl Response {
    /// Returns a response of plain text.
    pub fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            headers: String::new(),
            body: body.into(),
        }
    }

    /// Sends the response and closes the connection.
    pub async fn send(&self, peer: &mut (impl AsyncRead + AsyncWrite + Unpin), wants_body: bool) {
        let mut bytes = head(self.status, self.content_type, &self.headers, Some(self.body.len())).into_bytes();
        if wants_body {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        let send = async {
            peer.write_all(&bytes).await?;
            peer.shutdown().await
        };
        // Fails if the peer has left.
        if let Ok(Ok(())) = timeout(WRITE_WITHIN, send).await {
            let mut discarded = [0; 4096];
            let discard = async { while peer.read(&mut discarded).await.is_ok_and(|count| count > 0) {} };
            // The limit passes only if the peer keeps the connection open.
            let _ = timeout(LINGER, discard).await;
        }
    }
}

/// Returns the head of a response, without `Content-Length` if the length is unknown.
pub fn head(status: &str, content_type: &str, headers: &str, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |length| format!("Content-Length: {length}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{length}{headers}Cache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
    )
}
