//! How a channel comes to the dispatcher: its two ends are made, and what they say cannot come before it is known.

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::channel::reader::Reader;
use crate::ids::ChannelId;
use crate::parent::dispatcher::io::reader::ChannelReader;
use crate::parent::dispatcher::io::writer::ChannelWriter;
use crate::parent::dispatcher::message::Message;
use crate::parent::notice::{EndReason, Notice, Notices};
use crate::parent::rejoin::Seat;
use crate::protocol::records::Hello;
use crate::sys;
use crate::sys::{ForeignFd, Sys};

/// A worker that has said hello before it became a channel.
#[derive(Debug)]
pub struct Joining {
    /// What has been read behind the hello.
    pub reader: Reader,
    /// What it said.
    pub hello: Hello,
    /// Its place among those that may join; free again when the channel is over.
    pub seat: Seat,
}

/// Opens a channel that was made here, for a worker that is to be started. False if the dispatcher has ended.
pub async fn open<S: Sys>(
    sys: &S,
    channel: ChannelId,
    socket: OwnedFd,
    dispatcher: &mpsc::Sender<Message>,
    notices: &Notices,
) -> bool {
    let (Ok(writing), Ok(reading)) = (socket.try_clone(), sys::watch(socket, Interest::READABLE)) else {
        // Out of descriptors, or epoll of watches: the worker sees its channel end at once.
        notices.post(Notice::Ended {
            channel,
            reason: EndReason::Lost,
            leases: 0,
            handed_off: 0,
        });
        return true;
    };
    let writer = ChannelWriter::new(channel, writing, dispatcher.downgrade());
    let inlet = ChannelReader::new(sys.clone(), channel, reading, dispatcher.clone());
    // The place in the inbox first: nothing that the inlet says may come before `Open`.
    let Ok(place) = dispatcher.reserve().await else {
        return false;
    };
    let reader = tokio::spawn(inlet.run()).abort_handle();
    place.send(Message::Open(channel, Box::new(writer), reader));
    true
}

/// The same for a worker that has come by itself; `admitted` is called before anything can be told of its channel.
pub async fn join<S: Sys>(
    sys: &S,
    channel: ChannelId,
    socket: AsyncFd<ForeignFd>,
    Joining { reader, hello, seat }: Joining,
    dispatcher: &mpsc::Sender<Message>,
    admitted: impl FnOnce(),
) {
    let Ok(writing) = socket.get_ref().try_clone() else {
        // Out of descriptors: the worker sees its channel end, and may try again.
        return;
    };
    let writer = ChannelWriter::new(channel, writing, dispatcher.downgrade()).seated(seat);
    let inlet = ChannelReader::greeted(sys.clone(), channel, socket, dispatcher.clone(), reader, &hello);
    let Ok(mut places) = dispatcher.reserve_many(2).await else {
        return;
    };
    admitted();
    let reader = tokio::spawn(inlet.run()).abort_handle();
    // Two places have been reserved.
    for message in [
        Message::Open(channel, Box::new(writer), reader),
        Message::Hello(channel, hello),
    ] {
        if let Some(place) = places.next() {
            place.send(message);
        }
    }
}
