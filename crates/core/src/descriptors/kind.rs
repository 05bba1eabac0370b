//! Determines what a descriptor refers to, for receivers that do not know or do not trust the sender.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::stat::SFlag;

use crate::sys::file_type::file_type;
use crate::sys::socket::is_unix;

/// The kind of file that a descriptor refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, including memory from memfd_create(2).
    File,
    /// A directory.
    Directory,
    /// An end of a pipe or FIFO.
    Pipe,
    /// A character or block device, including terminals.
    Device,
    /// A stream socket that does not listen.
    Stream(Domain),
    /// A stream socket that listens.
    Listener(Domain),
    /// A datagram socket, for example of UDP.
    Datagram,
    /// Any other file, for example an epoll set, an eventfd or a sequenced-packet socket.
    Other,
}

/// The domain of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// AF_UNIX: the peer is on this machine, and descriptors can be sent.
    Unix,
    /// Any other domain, mostly TCP over IPv4 or IPv6.
    Network,
}

impl Kind {
    /// Returns the kind of a descriptor. On Linux the sender cannot make the call wait: neither for a file system nor for the
    /// lock of a socket.
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        match getsockopt(&fd, sockopt::SockType) {
            Ok(SockType::Stream) if listens(fd)? => Ok(Self::Listener(domain(fd)?)),
            Ok(SockType::Stream) => Ok(Self::Stream(domain(fd)?)),
            Ok(SockType::Datagram) => Ok(Self::Datagram),
            // nix returns EINVAL for an unknown socket type.
            Ok(_) | Err(Errno::EINVAL) => Ok(Self::Other),
            Err(Errno::ENOTSOCK) => Ok(match file_type(fd)? {
                SFlag::S_IFREG => Self::File,
                SFlag::S_IFDIR => Self::Directory,
                SFlag::S_IFIFO => Self::Pipe,
                SFlag::S_IFCHR | SFlag::S_IFBLK => Self::Device,
                _ => Self::Other,
            }),
            Err(errno) => Err(errno),
        }
    }
}

fn domain(fd: BorrowedFd<'_>) -> Result<Domain, Errno> {
    Ok(if is_unix(fd)? { Domain::Unix } else { Domain::Network })
}

#[cfg(target_os = "linux")]
fn listens(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    getsockopt(&fd, sockopt::AcceptConn)
}

// macOS does not allow getsockopt(2) of SO_ACCEPTCONN. There a stream socket without a peer listens, unless it had a peer
// before: then both directions are shut down, and poll(2) reports POLLHUP.
#[cfg(not(target_os = "linux"))]
fn listens(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    use std::os::fd::AsRawFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::socket::{SockaddrStorage, getpeername};
    match getpeername::<SockaddrStorage>(fd.as_raw_fd()) {
        Err(Errno::ENOTCONN) => {}
        _ => return Ok(false),
    }
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::ZERO)?;
    let hung_up = |polled: &PollFd<'_>| {
        polled
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP))
    };
    Ok(!polled.iter().any(hung_up))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn kind(of: &impl AsFd) -> Kind {
        Kind::of(of.as_fd()).unwrap()
    }

    #[test]
    fn each_descriptor_is_of_its_kind() {
        let (pipe, _writer) = io::pipe().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (unix, _other) = UnixStream::pair().unwrap();
        assert_eq!(kind(&File::open(std::env::current_exe().unwrap()).unwrap()), Kind::File);
        assert_eq!(kind(&File::open("/").unwrap()), Kind::Directory);
        assert_eq!(kind(&File::open("/dev/null").unwrap()), Kind::Device);
        assert_eq!(kind(&pipe), Kind::Pipe);
        assert_eq!(kind(&listener), Kind::Listener(Domain::Network));
        assert_eq!(kind(&client), Kind::Stream(Domain::Network));
        assert_eq!(kind(&unix), Kind::Stream(Domain::Unix));
        assert_eq!(kind(&UdpSocket::bind("127.0.0.1:0").unwrap()), Kind::Datagram);
        assert_eq!(kind(&UnixDatagram::unbound().unwrap()), Kind::Datagram);
    }

    #[test]
    fn a_connection_whose_peer_has_disconnected_is_still_a_stream() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        drop(client);
        drop(connection.try_clone().unwrap());
        assert_eq!(kind(&connection), Kind::Stream(Domain::Network));
    }
}
