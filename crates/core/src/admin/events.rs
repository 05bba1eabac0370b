//! The status as server-sent events (HTML standard, section 9.2), one each second.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{interval, timeout};

use crate::admin::Shown;
use crate::admin::response::{OK, WRITE_WITHIN, head};

pub const CONTENT_TYPE: &str = "text/event-stream";

const INTERVAL: Duration = Duration::from_secs(1);

/// Sends events until the peer leaves.
pub async fn send(peer: &mut (impl AsyncRead + AsyncWrite + Unpin), shown: &Shown) {
    let (mut reader, mut writer) = tokio::io::split(peer);
    let head = head(OK, CONTENT_TYPE, "", None);
    if writer.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut ticks = interval(INTERVAL);
    let mut byte = [0; 64];
    loop {
        tokio::select! {
            // The peer sends nothing after its request, so readable means the end of the stream.
            read = reader.read(&mut byte) => if read.map_or(true, |count| count == 0) { return },
            _ = ticks.tick() => {
                // As a probe does, so that a page soon shows that the owner is blocked.
                shown.notices.wake();
                let event = format!("data: {}\n\n", shown.metrics.status().json());
                let sent = timeout(WRITE_WITHIN, writer.write_all(event.as_bytes())).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}
