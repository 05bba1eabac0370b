//! Opens channels: creates both ends, and announces each channel to the dispatcher before its first frame.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::channel::reader::Reader;
use crate::ids::ChannelId;
use crate::parent::dispatcher::io::reader::ChannelReader;
use crate::parent::dispatcher::io::room::report_room;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::dispatcher::message::Message;
use crate::parent::notice::{EndReason, Notice, Notices};
use crate::parent::rejoin::Seat;
use crate::protocol::records::Hello;
use crate::sys;
use crate::sys::{ForeignFd, Sys};

/// A worker that sent HELLO before its socket became a channel.
#[derive(Debug)]
pub struct Joining {
    /// The reader, with the bytes that followed HELLO.
    pub reader: Reader,
    /// The HELLO of the worker.
    pub hello: Hello,
    /// One of the seats of the shared path; free again when the channel ends.
    pub seat: Seat,
}

/// Opens a channel for a worker that the server starts. Returns false if the dispatcher has ended.
pub async fn open<S: Sys>(
    sys: &S,
    channel: ChannelId,
    socket: OwnedFd,
    dispatcher: &mpsc::Sender<Message>,
    notices: &Notices,
) -> bool {
    let (Ok(writing), Ok(reading)) = (socket.try_clone(), sys::watch(socket, Interest::READABLE)) else {
        // Out of descriptors or of epoll watches. The worker sees the end of its channel at once.
        notices.post(Notice::Ended {
            channel,
            reason: EndReason::Lost,
            leases: 0,
            taken: 0,
        });
        return true;
    };
    let writer = ChannelWriter::new(writing, report_room(channel, dispatcher.downgrade()));
    let reading = ChannelReader::new(sys.clone(), channel, reading, dispatcher.clone());
    // Reserve a place in the inbox first: no frame may precede `Open`.
    let Ok(permit) = dispatcher.reserve().await else {
        return false;
    };
    let reader = tokio::spawn(reading.run()).abort_handle();
    permit.send(Message::Open(channel, Box::new(writer), reader));
    true
}

/// Opens a channel for a worker that joined at a shared path. `admitted` is called before any notice of the channel.
pub async fn join<S: Sys>(
    sys: &S,
    channel: ChannelId,
    socket: AsyncFd<ForeignFd>,
    Joining { reader, hello, seat }: Joining,
    dispatcher: &mpsc::Sender<Message>,
    admitted: impl FnOnce(),
) {
    let Ok(writing) = socket.get_ref().try_clone() else {
        // Out of descriptors. The worker sees the end of its channel, and may try again.
        return;
    };
    let seat = Arc::new(seat);
    let writer = ChannelWriter::new(writing, report_room(channel, dispatcher.downgrade())).seated(Arc::clone(&seat));
    let reading = ChannelReader::after_hello(sys.clone(), channel, socket, dispatcher.clone(), reader, &hello, seat);
    let Ok(mut permits) = dispatcher.reserve_many(2).await else {
        return;
    };
    admitted();
    let reader = tokio::spawn(reading.run()).abort_handle();
    // Two permits were reserved.
    for message in [
        Message::Open(channel, Box::new(writer), reader),
        Message::Hello(channel, hello),
    ] {
        if let Some(permit) = permits.next() {
            permit.send(message);
        }
    }
}
