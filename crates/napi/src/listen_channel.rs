//! The worker's end of a listen channel.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use napi::{Error, Result, Status};
use napi_derive::napi;
use socketserver_core::ListenerAddress as CoreAddress;
use socketserver_core::SystemError as CoreError;
use socketserver_core::protocol::listen_request::{ListenRequest, Target};
use socketserver_core::worker::listen_channel::{ListenChannel, Listening};

use crate::address::ListenerAddress;
use crate::raw_fd;
use crate::system_error::SystemError;

/// A listener that the parent has opened for this worker, or the error.
#[napi(object)]
pub struct ListenAnswer {
    /// The number of the listener.
    pub listener: Option<u32>,
    /// The lane of its connections.
    pub lane: Option<u16>,
    /// The address; absent for a Unix socket.
    pub address: Option<ListenerAddress>,
    /// UDP: a copy of the socket, which the caller owns.
    pub fd: Option<i32>,
    /// The reason why the parent does not listen.
    pub error: Option<SystemError>,
}

/// Asks the parent to listen. Every method blocks until the parent's Rust thread has answered.
#[napi]
pub struct NativeListenChannel {
    channel: RefCell<ListenChannel>,
}

#[napi]
impl NativeListenChannel {
    /// Takes ownership of a worker's end or, if `borrowed`, copies it: a thread of the parent's process borrows its end.
    #[napi(constructor)]
    pub fn new(fd: i32, borrowed: bool) -> Result<Self> {
        let socket: OwnedFd = if borrowed {
            raw_fd::copy(fd)?
        } else {
            raw_fd::adopt(fd)?
        };
        let channel = ListenChannel::adopt(socket)
            .map_err(|error| Error::new(Status::InvalidArg, format!("the descriptor is no channel: {error}")))?;
        Ok(Self {
            channel: RefCell::new(channel),
        })
    }

    /// `host` is an IP address; an empty `host` means all addresses.
    #[napi]
    pub fn listen_tcp(
        &self,
        host: String,
        port: u16,
        ipv6_only: bool,
        backlog: i32,
        ordinal: u16,
    ) -> Result<ListenAnswer> {
        let host = if host.is_empty() { None } else { Some(ip(&host)?) };
        let target = Target::Tcp { host, port, ipv6_only };
        Ok(self.listen(target, backlog, ordinal))
    }

    /// `path` is absolute, or a null byte and an abstract name.
    #[napi]
    pub fn listen_path(&self, path: String, readable_all: bool, writable_all: bool, backlog: i32) -> ListenAnswer {
        let target = Target::Unix {
            name: path.into_bytes(),
            readable_all,
            writable_all,
        };
        self.listen(target, backlog, 0)
    }

    /// Binds a UDP port; the answer has a descriptor.
    #[napi]
    pub fn bind_udp(
        &self,
        host: String,
        port: u16,
        ipv6_only: bool,
        reuse_address: bool,
        ordinal: u16,
    ) -> Result<ListenAnswer> {
        let target = Target::Udp {
            host: ip(&host)?,
            port,
            ipv6_only,
            reuse_address,
        };
        Ok(self.listen(target, 0, ordinal))
    }

    /// Reports that this worker takes connections of the listener.
    #[napi]
    pub fn accept(&self, listener: u32) {
        // Fails only if the parent has ended, which the channel reports.
        let _ = self.channel.borrow_mut().accept(listener);
    }

    /// Reports that this worker has closed its server. The port is free when this returns, unless other workers listen.
    #[napi]
    pub fn close(&self, listener: u32) {
        // As above.
        let _ = self.channel.borrow_mut().close(listener);
    }

    fn listen(&self, target: Target, backlog: i32, ordinal: u16) -> ListenAnswer {
        let listening = self.channel.borrow_mut().listen(ListenRequest {
            target,
            backlog,
            ordinal,
        });
        match listening {
            Ok(Listening {
                listener,
                lane,
                address,
                socket,
            }) => ListenAnswer {
                listener: Some(listener),
                lane: Some(lane),
                address: address.map(|address| (&CoreAddress::Tcp(address)).into()),
                fd: socket.map(raw_fd::give_away),
                error: None,
            },
            Err(errno) => ListenAnswer {
                listener: None,
                lane: None,
                address: None,
                fd: None,
                error: Some(CoreError::of("listen")(errno).into()),
            },
        }
    }
}

fn ip(text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| Error::new(Status::InvalidArg, format!("{text:?} is no IP address")))
}
