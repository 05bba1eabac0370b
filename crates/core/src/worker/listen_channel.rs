//! The worker's end of a listen channel: asks the parent to listen and waits for the answer.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::SystemError;
use crate::ids::ListenerId;
use crate::protocol::listen_request::{Answer, ListenRequest, MAX_MESSAGE, Message, Request};
use crate::sys::{ForeignFd, Os, Sys, prepare};

/// Sends requests to the parent, one at a time. Every call blocks until the parent's thread has answered.
#[derive(Debug)]
pub struct ListenChannel {
    socket: OwnedFd,
    next: u32,
    unread: Vec<u8>,
    descriptors: Vec<ForeignFd>,
}

/// A listener that the parent has opened for this worker.
#[derive(Debug)]
pub struct Listening {
    /// The number of the listener.
    pub listener: ListenerId,
    /// The lane of its connections.
    pub lane: u16,
    /// The address; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// A copy of the socket, for UDP.
    pub socket: Option<OwnedFd>,
}

/// The timeout of an answer. The parent's thread answers within a millisecond unless the system is short of CPU time.
const TIME_LIMIT: Duration = Duration::from_secs(5);

impl ListenChannel {
    /// Takes ownership of a worker's end, which is blocking.
    pub fn adopt(socket: OwnedFd) -> Result<Self, SystemError> {
        prepare(&socket)?;
        Ok(Self {
            socket,
            next: 0,
            unread: Vec::new(),
            descriptors: Vec::new(),
        })
    }

    /// Asks the parent to listen.
    pub fn listen(&mut self, request: ListenRequest) -> Result<Listening, Errno> {
        match self.ask(&Request::Listen(request))? {
            Answer::Listening {
                listener,
                lane,
                address,
            } => Ok(Listening {
                listener,
                lane,
                address,
                socket: self.descriptors.pop().map(ForeignFd::into_owned),
            }),
            Answer::Failed(errno) => Err(Errno::from_raw(errno)),
            Answer::Done => Err(Errno::EPROTO),
        }
    }

    /// Reports to the parent that this worker takes connections of a listener.
    pub fn accept(&mut self, listener: ListenerId) -> Result<(), Errno> {
        self.notify(&Request::Accept(listener))
    }

    /// Reports to the parent that this worker has closed its server. The port is free when this returns, unless other workers listen.
    pub fn close(&mut self, listener: ListenerId) -> Result<(), Errno> {
        self.notify(&Request::Close(listener))
    }

    fn notify(&mut self, request: &Request) -> Result<(), Errno> {
        match self.ask(request)? {
            Answer::Failed(errno) => Err(Errno::from_raw(errno)),
            Answer::Listening { .. } | Answer::Done => Ok(()),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, Errno> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.descriptors.clear();
        let bytes = request.encode(id);
        // Each request is answered before the next, so the socket's buffer is empty.
        if Os.send(self.socket.as_fd(), &bytes, &[])? != bytes.len() {
            return Err(Errno::ENOBUFS);
        }
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            if let Some(message) = Message::first(&self.unread).map_err(|_| Errno::EPROTO)? {
                let (answer, length, answered) = (message.answer(), message.length, message.id);
                self.unread.drain(..length);
                // The late answer of an earlier request that timed out is skipped.
                if answered == id {
                    return answer.map_err(|_| Errno::EPROTO);
                }
                self.descriptors.clear();
                continue;
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), Errno> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
        if left == 0 {
            return Err(Errno::ETIMEDOUT);
        }
        setsockopt(&self.socket, ReceiveTimeout, &TimeVal::microseconds(left))?;
        let mut bytes = [0; MAX_MESSAGE];
        let received = match Os.receive(self.socket.as_fd(), &mut bytes) {
            Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
            done => done?,
        };
        if received.bytes == 0 {
            // The parent has gone.
            return Err(Errno::ECONNRESET);
        }
        self.unread.extend_from_slice(&bytes[..received.bytes]);
        self.descriptors.extend(received.descriptors);
        Ok(())
    }
}
