//! A listener: a bound and listening socket, created here or inherited.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{
    self, AddressFamily, SockType, SockaddrLike, SockaddrStorage, UnixAddr, getsockname, getsockopt, setsockopt,
    sockopt,
};
use nix::sys::stat::Mode;

use crate::error::{SystemError, system_error};
use crate::parent::config::ListenSpec;
use crate::parent::routing::spec::RoutingSpec;
pub use crate::protocol::listener_record::ListenerAddress;
use crate::sys::unix_socket::{OwnPath, add_permissions, address as socket_address, bind_long};
use crate::sys::{ForeignFd, clamp_backlog, internet_address, stream_socket};

/// A listening socket. Dropping it stops listening and removes the socket file that it created, if any.
#[derive(Debug)]
pub struct Listener {
    /// Clients in the backlog of a Unix socket may have sent descriptors, which the close of the listener closes too.
    fd: Arc<ForeignFd>,
    endpoint: Endpoint,
    path: Option<OwnPath>,
}

/// Copies the socket of a listener while the listener is open. Does not keep the socket open.
#[derive(Debug)]
pub struct Lender {
    fd: Weak<ForeignFd>,
    is_handed_on: Option<Arc<AtomicBool>>,
}

/// The address and backlog of a listener.
#[derive(Debug)]
pub struct Endpoint {
    address: ListenerAddress,
    backlog: u32,
    /// The lane of its connections, if it is not the port.
    lane: Option<u16>,
    /// How the connections are routed; `None` if these go to the queue at once.
    routing: Option<Arc<RoutingSpec>>,
}

impl Listener {
    /// Binds and listens, or adopts an inherited socket. All errors name `listen` as the system call, as Node's do.
    pub fn open(spec: ListenSpec) -> Result<Self, SystemError> {
        match spec {
            ListenSpec::Tcp {
                host: Some(ip),
                port,
                backlog,
                ipv6_only,
            } => tcp(ip, port, backlog, ipv6_only),
            ListenSpec::Tcp {
                host: None,
                port,
                backlog,
                ipv6_only,
            } => {
                match tcp(Ipv6Addr::UNSPECIFIED.into(), port, backlog, ipv6_only) {
                    // The system has no IPv6; Node falls back to IPv4 in the same way.
                    Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EINVAL) if !ipv6_only => {
                        tcp(Ipv4Addr::UNSPECIFIED.into(), port, backlog, false)
                    }
                    done => done,
                }
            }
            ListenSpec::Unix {
                path,
                backlog,
                readable_all,
                writable_all,
            } => socket_address(path.as_os_str().as_bytes())
                .and_then(|_| unix(path, backlog, readable_all, writable_all)),
            ListenSpec::Inherited(fd) => inherited(fd),
        }
        .map_err(SystemError::of("listen"))
    }

    /// Listens on a path for a worker, whose name for the path may be relative and short enough where the absolute path is not.
    pub fn open_path(path: PathBuf, backlog: i32, readable_all: bool, writable_all: bool) -> Result<Self, SystemError> {
        unix(path, backlog, readable_all, writable_all).map_err(SystemError::of("listen"))
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> &ListenerAddress {
        &self.endpoint.address
    }

    /// Returns a lender of the socket.
    #[must_use]
    pub fn lender(&self) -> Lender {
        Lender {
            fd: Arc::downgrade(&self.fd),
            is_handed_on: self.path.as_ref().map(|own| Arc::clone(&own.is_handed_on)),
        }
    }

    /// Sets the lane of its connections.
    #[must_use]
    pub fn with_lane(mut self, lane: u16) -> Self {
        self.endpoint.lane = Some(lane);
        self
    }

    /// Takes the socket file, if any, which the caller keeps for as long as the socket.
    pub(crate) fn take_path(&mut self) -> Option<OwnPath> {
        self.path.take()
    }

    /// Routes its connections.
    #[must_use]
    pub fn with_routing(mut self, routing: RoutingSpec) -> Self {
        self.endpoint.routing = Some(Arc::new(routing));
        self
    }

    /// Returns the socket and the endpoint. Removes the socket file, if any, unless it was taken.
    #[must_use]
    pub fn into_parts(self) -> (Arc<ForeignFd>, Endpoint) {
        (self.fd, self.endpoint)
    }
}

impl Lender {
    /// Returns a copy of the socket for another process; `None` after the listener has been closed. From then on the socket
    /// file is not removed, because clients reach the other process by it.
    #[must_use]
    pub fn copy(&self) -> Option<Result<OwnedFd, SystemError>> {
        let fd = self.fd.upgrade()?;
        let copy = fd.try_clone().map_err(|error| system_error("fcntl", &error));
        if let (Ok(_), Some(is_handed_on)) = (&copy, &self.is_handed_on) {
            is_handed_on.store(true, Ordering::Relaxed);
        }
        Some(copy)
    }
}

/// The assumed backlog of an inherited socket, which the system does not report: the default of `net.core.somaxconn` since Linux
/// 5.4.
const INHERITED_BACKLOG: u32 = 4096;

impl Endpoint {
    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> &ListenerAddress {
        &self.address
    }

    /// Returns the addresses that workers learn: that of the listener, and the same with each port of its host names. A worker that
    /// serves such a port behaves as if it listened there.
    #[must_use]
    pub fn announced_addresses(&self) -> Vec<ListenerAddress> {
        let ip = match &self.address {
            ListenerAddress::Tcp(address) => address.ip(),
            ListenerAddress::Unix(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let names = self.routing.as_ref().and_then(|routing| routing.names.as_ref());
        let lanes = names.map(|names| names.names.lanes()).unwrap_or_default();
        let named = lanes.into_iter().map(|lane| ListenerAddress::Tcp((ip, lane).into()));
        std::iter::once(self.address.clone()).chain(named).collect()
    }

    /// Returns the lane of its connections: the port (0 for a Unix socket), unless another lane was set.
    #[must_use]
    pub fn lane(&self) -> u16 {
        self.lane.unwrap_or_else(|| self.address.port())
    }

    /// Returns how its connections are routed; `None` if these go to the queue at once.
    #[must_use]
    pub fn routing(&self) -> Option<&Arc<RoutingSpec>> {
        self.routing.as_ref()
    }

    /// Returns an upper bound of the connections in the backlog. Linux holds one more than the argument of `listen(2)`, macOS
    /// half as many more.
    #[must_use]
    pub fn max_backlog(&self) -> u32 {
        self.backlog.saturating_mul(2).saturating_add(1)
    }
}

fn tcp(ip: IpAddr, port: u16, backlog: i32, ipv6_only: bool) -> Result<Listener, Errno> {
    let family = if ip.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = stream_socket(family)?;
    // As in libuv: allows to bind a port that has connections in TIME_WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if ip.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &ipv6_only)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, port)))?;
    socket::listen(&fd, clamp_backlog(backlog)?)?;
    let address = ListenerAddress::Tcp(bound_to(&fd)?.ok_or(Errno::EAFNOSUPPORT)?);
    Ok(Listener {
        fd: Arc::new(ForeignFd::own(fd)),
        endpoint: Endpoint {
            address,
            backlog: backlog.unsigned_abs(),
            lane: None,
            routing: None,
        },
        path: None,
    })
}

fn unix(path: PathBuf, backlog: i32, readable_all: bool, writable_all: bool) -> Result<Listener, Errno> {
    let name = path.as_os_str().as_bytes();
    let is_abstract = name.first() == Some(&0);
    let fd = stream_socket(AddressFamily::Unix)?;
    match socket_address(name) {
        Err(Errno::ENAMETOOLONG) if !is_abstract => bind_long(&fd, &path)?,
        address => socket::bind(fd.as_raw_fd(), &address?)?,
    }
    // An abstract name has no file and disappears with its socket.
    let own = if is_abstract { None } else { OwnPath::new(&path) };
    let mut added = Mode::empty();
    added.set(Mode::S_IRUSR | Mode::S_IRGRP | Mode::S_IROTH, readable_all);
    added.set(Mode::S_IWUSR | Mode::S_IWGRP | Mode::S_IWOTH, writable_all);
    if !added.is_empty() && !is_abstract {
        add_permissions(&path, added)?;
    }
    socket::listen(&fd, clamp_backlog(backlog)?)?;
    Ok(Listener {
        fd: Arc::new(fd.into()),
        endpoint: Endpoint {
            address: ListenerAddress::Unix(path),
            backlog: backlog.unsigned_abs(),
            lane: None,
            routing: None,
        },
        path: own,
    })
}

fn inherited(fd: OwnedFd) -> Result<Listener, Errno> {
    // Fails with ENOTSOCK if the descriptor is not a socket.
    if getsockopt(&fd, sockopt::SockType)? != SockType::Stream || !is_listening(&fd)? {
        return Err(Errno::EINVAL);
    }
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let (fd, address) = if let Some(address) = bound_to(&fd)? {
        (ForeignFd::own(fd), ListenerAddress::Tcp(address))
    } else {
        let name: UnixAddr = getsockname(fd.as_raw_fd())?;
        let path = name.path().map(Path::to_path_buf).unwrap_or_default();
        (fd.into(), ListenerAddress::Unix(path))
    };
    Ok(Listener {
        fd: Arc::new(fd),
        endpoint: Endpoint {
            address,
            backlog: INHERITED_BACKLOG,
            lane: None,
            routing: None,
        },
        path: None,
    })
}

#[cfg(target_os = "linux")]
fn is_listening(fd: &OwnedFd) -> Result<bool, Errno> {
    getsockopt(fd, sockopt::AcceptConn)
}

// macOS does not allow getsockopt(2) of SO_ACCEPTCONN. There accept(2) fails with EINVAL for a socket that does not listen.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "the other platform's signature")]
fn is_listening(_fd: &OwnedFd) -> Result<bool, Errno> {
    Ok(true)
}

/// Returns the address of an IPv4 or IPv6 socket; `None` for a Unix socket.
fn bound_to(fd: &OwnedFd) -> Result<Option<SocketAddr>, Errno> {
    let storage: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    match (internet_address(&storage), storage.family()) {
        (None, Some(AddressFamily::Unix)) => Ok(None),
        (None, _) => Err(Errno::EAFNOSUPPORT),
        (address, _) => Ok(address),
    }
}
