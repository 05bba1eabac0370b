//! HAProxy's agent-check: the peer connects, may send something, and reads one line (configuration manual, `agent-check`).

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::admin::Shown;

const WITHIN: Duration = Duration::from_secs(1);

/// Sends the line and closes the connection.
pub async fn answer(peer: &mut (impl AsyncWrite + Unpin), shown: &Shown, concurrency: Option<u32>) {
    let line = format!("{}\n", shown.metrics.agent_answer(concurrency));
    let send = async {
        peer.write_all(line.as_bytes()).await?;
        peer.shutdown().await
    };
    // Fails if the peer has left.
    let _ = timeout(WITHIN, send).await;
}
