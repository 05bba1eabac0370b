//! The parent's reading end of one channel: a worker's frames become the dispatcher's events.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::Message;
use super::state::Event;
use crate::channel::frame::ToParent;
use crate::channel::{ChannelId, Fill, Reader};
use crate::connection::Connection;
use crate::error::ProtocolError;
use crate::sys::Sys;

/// Reads one worker's frames until its channel ends.
#[derive(Debug)]
pub struct Inlet<S> {
    sys: S,
    channel: ChannelId,
    socket: AsyncFd<OwnedFd>,
    dispatcher: mpsc::Sender<Message>,
    reader: Reader,
    greeted: bool,
}

impl<S: Sys> Inlet<S> {
    /// The reading end of `socket`.
    pub fn new(sys: S, channel: ChannelId, socket: AsyncFd<OwnedFd>, dispatcher: mpsc::Sender<Message>) -> Self {
        Self {
            sys,
            channel,
            socket,
            dispatcher,
            reader: Reader::new(),
            greeted: false,
        }
    }

    /// Reads to the end, and says how it ended.
    pub async fn run(mut self) {
        let end = self.read().await;
        // Fails only if the dispatcher has ended.
        let _ = self.dispatcher.send(Message::End(self.channel, end)).await;
    }

    async fn read(&mut self) -> Result<(), ProtocolError> {
        loop {
            let Ok(mut ready) = self.socket.readable().await else {
                return Ok(());
            };
            match self.reader.fill(&self.sys, self.socket.as_fd()) {
                Ok(Fill::Nothing) => ready.clear_ready(),
                Ok(Fill::End) => return self.reader.finish(),
                Ok(Fill::Some) => {
                    for message in self.messages()? {
                        if self.dispatcher.send(message).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    fn messages(&mut self) -> Result<Vec<Message>, ProtocolError> {
        let channel = self.channel;
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        while let Some((frame, descriptors)) = self.reader.next(ToParent::decode)? {
            if descriptors.any() {
                return Err(ProtocolError::SurplusDescriptors);
            }
            match frame {
                ToParent::Hello(_) if self.greeted => return Err(ProtocolError::SecondHello),
                ToParent::Hello(hello) => {
                    self.greeted = true;
                    messages.push(Message::Hello(channel, hello));
                }
                _ if !self.greeted => return Err(ProtocolError::NoHello),
                ToParent::Nudge => messages.push(Message::Nudge(channel)),
                frame => add_events(&mut events, channel, frame)?,
            }
        }
        self.reader.check_descriptors()?;
        if !events.is_empty() {
            messages.push(Message::Frames(channel, events));
        }
        Ok(messages)
    }
}

fn add_events(
    events: &mut Vec<Event<Connection>>,
    channel: ChannelId,
    frame: ToParent<'_>,
) -> Result<(), ProtocolError> {
    match frame {
        ToParent::Hello(_) => return Err(ProtocolError::SecondHello),
        ToParent::Ack(ids) => {
            for id in ids {
                events.push(Event::Acked(channel, id?));
            }
        }
        ToParent::Refuse(refusals) => {
            for refusal in refusals {
                events.push(Event::Refused(channel, refusal?));
            }
        }
        ToParent::Ended(leases) => events.push(Event::Ended(channel, leases)),
        ToParent::Credit(credit) => {
            for one in credit {
                events.push(Event::Credit(channel, one?));
            }
        }
        ToParent::Cancel(credit) => {
            for one in credit {
                events.push(Event::Cancel(channel, one?));
            }
        }
        ToParent::Leave => events.push(Event::Retired(channel)),
        ToParent::Nudge => {}
    }
    Ok(())
}
