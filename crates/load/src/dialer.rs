//! Opening connections cheaply, from as many source addresses as it takes never to run out of ports.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, socket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Makes connections to one target. Each thread has its own.
#[derive(Debug)]
pub struct Dialer {
    family: AddressFamily,
    target: SockaddrStorage,
    sources: u8,
    next: Cell<u8>,
}

impl Dialer {
    /// A dialer from 127.0.0.1 to 127.0.0.`sources` in turn; with one source the kernel chooses, as it does for anyone.
    pub fn new(target: SocketAddr, sources: u8) -> Self {
        let family = if target.is_ipv6() {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        Self {
            family,
            target: target.into(),
            sources,
            next: Cell::new(0),
        }
    }

    /// Begins a connection and sends `request` along, as far as that goes without waiting.
    ///
    /// On loopback the handshake is over when connect(2) returns, although it says EINPROGRESS: the SYN-ACK waits on
    /// the socket's own backlog and is handled as connect lets go of it. So the write succeeds at once, and the usual
    /// way round by epoll and `SO_ERROR` is saved.
    pub fn dial(&self, request: &[u8]) -> io::Result<Dialed> {
        let socket = open_socket(self.family)?;
        if self.sources > 1 {
            bind_source(&socket, self.next_source())?;
        }
        match connect(socket.as_raw_fd(), &self.target) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let mut stream = StdStream::from(socket);
        match stream.write(request) {
            Ok(sent) => Ok(Dialed { stream, sent }),
            // Linux says EAGAIN while the handshake is under way, macOS ENOTCONN.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                Ok(Dialed { stream, sent: 0 })
            }
            Err(error) => Err(error),
        }
    }

    fn next_source(&self) -> Ipv4Addr {
        let index = self.next.get();
        self.next.set((index + 1) % self.sources);
        Ipv4Addr::new(127, 0, 0, index + 1)
    }
}

/// A connection that has begun, and how much of its request has been sent.
#[derive(Debug)]
pub struct Dialed {
    stream: StdStream,
    sent: usize,
}

impl Dialed {
    /// Hands the socket to the runtime; the second part is how many bytes of the request have been sent.
    pub fn register(self) -> io::Result<(TcpStream, usize)> {
        Ok((TcpStream::from_std(self.stream)?, self.sent))
    }
}

/// Sends what `dial` could not.
pub async fn send_rest(stream: &mut TcpStream, rest: &[u8]) -> io::Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    stream.writable().await?;
    // A failed handshake waits in SO_ERROR, and says more than the EPIPE that a write would give.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.write_all(rest).await
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn open_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket(family, SockType::Stream, flags, None)?)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn open_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(socket)
}

fn bind_source(socket: &OwnedFd, source: Ipv4Addr) -> io::Result<()> {
    // Without it bind(2) takes a port for this address alone, whatever the target; ip(7): "particularly useful when a
    // large number of connections is made".
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    let address = SockaddrIn::from(SocketAddrV4::new(source, 0));
    Ok(bind(socket.as_raw_fd(), &address)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns() {
        let dialer = Dialer::new(SocketAddr::from(([127, 0, 0, 1], 1)), 3);
        let turns: Vec<u8> = (0..5).map(|_| dialer.next_source().octets()[3]).collect();
        assert_eq!(turns, [1, 2, 3, 1, 2]);
    }
}
