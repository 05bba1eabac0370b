//! The seam to the operating system: every call that may fail in an interesting way, and the clock.
//!
//! Production code runs on [`Os`]; tests put a [`Sys`] in its place that fails on demand, so that EMFILE, short sends
//! and dead peers are unit tests.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
#[cfg(target_os = "linux")]
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel::ancillary::{self, Received};
#[cfg(target_os = "linux")]
use crate::error::SystemError;

/// The system calls of the pipeline.
pub trait Sys: Clone + Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// `accept4(2)`: one connection with its peer's address, close-on-exec and non-blocking.
    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno>;

    /// `sendmsg(2)` without blocking: bytes, and descriptors that travel with the first of them.
    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno>;

    /// `recvmsg(2)`, blocking or not as the socket is.
    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno>;

    /// `recvmsg(2)` without blocking, however the socket is.
    fn try_receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        ancillary::try_receive(socket, bytes)
    }

    /// Who has connected to a Unix socket, as the kernel says (unix(7), SO_PEERCRED).
    fn credentials(&self, peer: &OwnedFd) -> Result<Credentials, Errno> {
        credentials(peer)
    }

    /// Has the calling thread wait its turn from now on, or no longer: woken, it does not push aside what runs (SCHED_BATCH,
    /// sched(7)). True if it waits by this. Where that is forbidden (a seccomp filter), unknown (macOS), or the thread
    /// runs as somebody else has chosen, all stays as it is.
    fn wait_turn(&self, waits: bool) -> bool {
        wait_turn(waits)
    }
}

/// Who a process runs as; of a peer, as of when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its process; `None` for one that this process cannot see, being in another pid namespace.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// Its other groups, as far as the system tells: Linux since 4.13 does, macOS does not.
    pub groups: Vec<u32>,
}

/// What `accept` gives.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, owned.
    pub fd: OwnedFd,
    /// The peer; `None` for a Unix socket, whose clients have no name.
    pub remote: Option<SocketAddr>,
}

/// The real system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Os;

impl Sys for Os {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
        accept(listener)
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        ancillary::send(socket, bytes, descriptors)
    }

    fn receive(&self, socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
        ancillary::receive(socket, bytes)
    }
}

// The address comes with accept itself: nix's accept4 leaves it out, and getpeername afterwards is a second call that
// fails with ENOTCONN for a client that has already gone.
#[allow(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "nix::sys::socket::accept4 gives no peer address"
)]
fn accept(listener: BorrowedFd<'_>) -> Result<Accepted, Errno> {
    // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = socklen_of::<libc::sockaddr_storage>();
    let address = (&raw mut storage).cast::<libc::sockaddr>();
    // SAFETY: `address` and `length` describe `storage`, which outlives the call.
    #[cfg(target_os = "linux")]
    let raw = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            address,
            &raw mut length,
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    // SAFETY: as above. macOS has no accept4.
    #[cfg(not(target_os = "linux"))]
    let raw = unsafe { libc::accept(listener.as_raw_fd(), address, &raw mut length) };
    let raw = Errno::result(raw)?;
    // SAFETY: accept has just returned this descriptor, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    #[cfg(not(target_os = "linux"))]
    set_cloexec_nonblock(&fd)?;
    Ok(Accepted {
        fd,
        remote: socket_address(&storage),
    })
}

/// SO_NOSIGPIPE, which nix does not have: macOS has no MSG_NOSIGNAL.
#[cfg(target_vendor = "apple")]
#[allow(unsafe_code, reason = "setsockopt(2) of an option that nix lacks")]
pub fn no_sigpipe(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let (value, length) = ((&raw const on).cast(), socklen_of::<libc::c_int>());
    // SAFETY: `value` and `length` describe `on`, which outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NOSIGPIPE, value, length) };
    Errno::result(set).map(drop)
}

#[cfg(target_os = "linux")]
fn credentials(peer: &OwnedFd) -> Result<Credentials, Errno> {
    use nix::sys::socket::{getsockopt, sockopt};
    let found = getsockopt(peer, sockopt::PeerCredentials)?;
    Ok(Credentials {
        // 0 stands for a process of another namespace (pid_namespaces(7)).
        pid: u32::try_from(found.pid()).ok().filter(|&pid| pid != 0),
        uid: found.uid(),
        gid: found.gid(),
        // A kernel that cannot say knows of no more than the one.
        groups: peer_groups(peer).unwrap_or_default(),
    })
}

/// SO_PEERGROUPS, which nix does not have: the supplementary groups, by which most people belong to a group at all.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "getsockopt(2) of an option that nix lacks")]
fn peer_groups(peer: &OwnedFd) -> Result<Vec<u32>, Errno> {
    let mut groups = vec![0_u32; 32];
    loop {
        let bytes = groups.len() * size_of::<u32>();
        let mut length = libc::socklen_t::try_from(bytes).map_err(|_| Errno::ERANGE)?;
        let value = groups.as_mut_ptr().cast();
        // SAFETY: `value` and `length` describe `groups`, which outlives the call.
        let found = unsafe {
            libc::getsockopt(
                peer.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                value,
                &raw mut length,
            )
        };
        let needed = usize::try_from(length).map_err(|_| Errno::ERANGE)? / size_of::<u32>();
        match Errno::result(found) {
            Ok(_) => {
                groups.truncate(needed);
                return Ok(groups);
            }
            // There are more, and it says how many; they do not change afterwards.
            Err(Errno::ERANGE) if needed > groups.len() => groups.resize(needed, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn credentials(peer: &OwnedFd) -> Result<Credentials, Errno> {
    let (uid, gid) = nix::unistd::getpeereid(peer)?;
    #[cfg(target_vendor = "apple")]
    let pid = nix::sys::socket::getsockopt(peer, nix::sys::socket::sockopt::LocalPeerPid).ok();
    #[cfg(not(target_vendor = "apple"))]
    let pid: Option<i32> = None;
    Ok(Credentials {
        pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid != 0),
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        // LOCAL_PEERCRED has 16 places and nix hides how many of them are filled: what is not reads as group 0.
        groups: Vec::new(),
    })
}

/// SCHED_BATCH instead of SCHED_OTHER, or back. Any other policy is somebody's choice, and so is SCHED_BATCH before this.
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "sched_getscheduler(2) and sched_setscheduler(2), which nix lacks"
)]
fn wait_turn(waits: bool) -> bool {
    let (from, to) = if waits {
        (libc::SCHED_OTHER, libc::SCHED_BATCH)
    } else {
        (libc::SCHED_BATCH, libc::SCHED_OTHER)
    };
    // SAFETY: sched_param is plain data for which all zeroes is a valid value, the only one that these policies take.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // The calls themselves, as musl's functions of these names only return ENOSYS.
    // SAFETY: 0 is the calling thread, and `parameters` outlives the call.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getscheduler, 0) == from.into()
            && libc::syscall(libc::SYS_sched_setscheduler, 0, to, &raw const parameters) == 0
    };
    if done {
        WAITS.set(waits);
    }
    done && waits
}

#[cfg(target_os = "linux")]
thread_local! {
    /// The thread waits its turn by this.
    static WAITS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the calling thread waits its turn by [`Sys::wait_turn`], and so does what it starts, until that no longer does
/// (sched(7), children inherit the policy).
#[cfg(target_os = "linux")]
#[must_use]
pub fn waits_turn() -> bool {
    WAITS.get()
}

/// Only Linux knows how.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn waits_turn() -> bool {
    false
}

/// Only Linux knows how.
#[cfg(not(target_os = "linux"))]
fn wait_turn(_waits: bool) -> bool {
    false
}

/// Watches a descriptor of ours in the current tokio runtime. Never an accepted connection: closing a descriptor does
/// not take it out of an epoll set while another process holds a copy (epoll(7)).
pub fn watch(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, Errno> {
    register(fd, interest)
}

/// The same for a listener, whose socket can be copied as long as it is open.
pub fn watch_listener(fd: Arc<OwnedFd>) -> Result<AsyncFd<Arc<OwnedFd>>, Errno> {
    register(fd, Interest::READABLE)
}

/// A timer of ours.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct TimerFile(TimerFd);

#[cfg(target_os = "linux")]
impl TimerFile {
    /// The timer itself.
    #[must_use]
    pub fn timer(&self) -> &TimerFd {
        &self.0
    }
}

#[cfg(target_os = "linux")]
#[allow(clippy::disallowed_types, reason = "what AsyncFd asks for")]
impl AsRawFd for TimerFile {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A new timer on the monotonic clock, not set, and watched.
#[cfg(target_os = "linux")]
pub fn watch_timer() -> Result<AsyncFd<TimerFile>, SystemError> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(SystemError::of("timerfd_create"))?;
    register(TimerFile(timer), Interest::READABLE).map_err(SystemError::of("epoll_ctl"))
}

#[allow(unsafe_code, reason = "AsyncFd cannot know that its owner keeps the descriptor open")]
fn register<F: AsRawFd>(fd: F, interest: Interest) -> Result<AsyncFd<F>, Errno> {
    // SAFETY: called with an OwnedFd alone, shared or in a timer, which is open, is the same descriptor for as long as it
    // lives, and lives in the AsyncFd.
    let watched = unsafe { AsyncFd::register_with_interest(fd, interest) };
    watched.map_err(|error| errno_of(&error.into_parts().1))
}

/// Waits until a socket of ours takes more. It is watched only meanwhile: each message that the other side reads makes
/// room, and would wake this side to be told so.
#[allow(unsafe_code, reason = "see `watch`")]
pub async fn room(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a borrowed descriptor is open for as long as the borrow, which the AsyncFd cannot outlive.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) };
    let watched = watched.map_err(|error| errno_of(&error.into_parts().1))?;
    watched.writable().await.map(drop).map_err(|error| errno_of(&error))
}

/// `dup2(2)`: makes a copy of `kept` the standard error of this process, in place of what that was.
pub fn become_stderr(kept: &OwnedFd) -> Result<(), Errno> {
    nix::unistd::dup2_stderr(kept)
}

/// The errno of an I/O error; EIO for one that no system call made.
#[must_use]
pub fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(not(target_os = "linux"))]
fn set_cloexec_nonblock(fd: &OwnedFd) -> Result<(), Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

#[allow(unsafe_code, reason = "sockaddr_storage is a union in all but name")]
fn socket_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller and no stricter aligned.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                u32::from_be(v6.sin6_flowinfo),
                v6.sin6_scope_id,
            )))
        }
        _ => None,
    }
}

fn socklen_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(libc::socklen_t::MAX)
}
