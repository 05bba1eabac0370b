//! A dialer that opens connections cheaply, from several source addresses so that it never runs out of ports.

use std::cell::Cell;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrStorage, bind, connect, socket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Opens connections to one target. Each thread has its own dialer.
#[derive(Debug)]
pub struct Dialer {
    family: AddressFamily,
    target: SockaddrStorage,
    sources: u8,
    next: Cell<u8>,
}

impl Dialer {
    /// Creates a dialer that rotates over 127.0.0.1 to 127.0.0.`sources`. With one source the kernel chooses the address.
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

    /// Starts to connect, and sends as much of `request` as possible without waiting.
    ///
    /// On loopback the handshake is complete when connect(2) returns, although connect(2) fails with EINPROGRESS: the
    /// SYN-ACK is queued on the socket's backlog, which the kernel processes when connect(2) releases the socket. The
    /// write therefore succeeds at once, and the usual wait for epoll and `SO_ERROR` is not needed.
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
            // During the handshake write(2) fails with EAGAIN on Linux and with ENOTCONN on macOS.
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

/// A connection that was started, and the number of bytes of its request that were sent.
#[derive(Debug)]
pub struct Dialed {
    stream: StdStream,
    sent: usize,
}

impl Dialed {
    /// Registers the socket with the runtime. Returns the stream and the number of bytes sent.
    pub fn register(self) -> io::Result<(TcpStream, usize)> {
        Ok((TcpStream::from_std(self.stream)?, self.sent))
    }
}

/// Sends the bytes that [`Dialer::dial`] did not send.
pub async fn send_remaining(stream: &mut TcpStream, remaining: &[u8]) -> io::Result<()> {
    if remaining.is_empty() {
        return Ok(());
    }
    stream.writable().await?;
    // SO_ERROR has the error of a failed handshake, which is more exact than the EPIPE of a write.
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    stream.write_all(remaining).await
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
    // Without this option bind(2) chooses a port that is free for every target; ip(7) recommends the option for a large
    // number of connections.
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    let address = SockaddrIn::from(SocketAddrV4::new(source, 0));
    Ok(bind(socket.as_raw_fd(), &address)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_used_in_turn() {
        let dialer = Dialer::new(SocketAddr::from(([127, 0, 0, 1], 1)), 3);
        let sources: Vec<u8> = (0..5).map(|_| dialer.next_source().octets()[3]).collect();
        assert_eq!(sources, [1, 2, 3, 1, 2]);
    }
}
