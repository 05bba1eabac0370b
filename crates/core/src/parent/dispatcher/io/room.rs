//! Waits for room in a full socket.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::ids::ChannelId;
use crate::parent::dispatcher::message::Message;
use crate::sys::{self, ForeignFd};

/// The pause before the next attempt if the socket cannot be watched for room.
const ROOM: Duration = Duration::from_millis(10);

/// Returns a function that waits until the full socket of a channel has room, and then sends [`Message::Writable`].
pub fn report_room(channel: ChannelId, dispatcher: mpsc::WeakSender<Message>) -> impl Fn(Arc<ForeignFd>) + Send {
    move |socket| {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move {
            if sys::await_writable(socket.as_fd()).await.is_err() {
                // Out of epoll watches.
                tokio::time::sleep(ROOM).await;
            }
            if let Some(dispatcher) = dispatcher.upgrade() {
                // Fails only if the dispatcher has ended.
                let _ = dispatcher.send(Message::Writable(channel)).await;
            }
        });
    }
}
