//! SCM_RIGHTS: descriptors that travel beside bytes, see unix(7) and cmsg(3).
//!
//! Sending borrows, receiving owns: what the kernel has installed in this process is a [`ForeignFd`] before anything else
//! looks at it, so no path leaks one, and none closes one where a close must not sleep.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "descriptors go into a control buffer and come out of it as bare numbers"
)]

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};

use super::closer::ForeignFd;

/// What one `recvmsg` gave.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// Descriptors, in the order in which they were sent.
    pub descriptors: Vec<ForeignFd>,
    /// `MSG_CTRUNC`: descriptors were sent that did not arrive, as this process is at its limit of open files.
    pub truncated: bool,
}

/// The most descriptors that travel at once: Linux's SCM_MAX_FD. What macOS takes is more.
pub const MAX_DESCRIPTORS: usize = 253;

/// Sends `bytes`, with `descriptors` attached to the first of them, without blocking and without SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(Errno::EINVAL);
    }
    let mut numbers: [RawFd; MAX_DESCRIPTORS] = [-1; MAX_DESCRIPTORS];
    for (number, descriptor) in numbers.iter_mut().zip(descriptors) {
        *number = descriptor.as_raw_fd();
    }
    let rights = [ControlMessage::ScmRights(&numbers[..descriptors.len()])];
    let control = if descriptors.is_empty() {
        &rights[..0]
    } else {
        &rights[..]
    };
    retry(|| sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, SEND_FLAGS, None))
}

/// Receives bytes and descriptors; whether it blocks is up to the socket.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, RECEIVE_FLAGS)
}

/// Receives bytes and descriptors without blocking, even where `O_NONBLOCK` is not set: others may share the flag.
pub fn try_receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, RECEIVE_FLAGS.union(MsgFlags::MSG_DONTWAIT))
}

fn receive_with(socket: BorrowedFd<'_>, bytes: &mut [u8], flags: MsgFlags) -> Result<Received, Errno> {
    // Zeroed before each call, as nix hides how much of it the kernel has filled when it reports MSG_CTRUNC: the
    // descriptors that did arrive have to be found, and closed, all the same.
    let mut control = ControlBuffer([0; CONTROL_SIZE]);
    let (bytes, flags) = retry(|| {
        let mut parts = [IoSliceMut::new(bytes)];
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control.0), flags)?;
        Ok((message.bytes, message.flags))
    })?;
    let descriptors = control.into_descriptors();
    #[cfg(not(target_os = "linux"))]
    set_cloexec(&descriptors);
    Ok(Received {
        bytes,
        descriptors,
        truncated: flags.contains(MsgFlags::MSG_CTRUNC),
    })
}

#[cfg(target_os = "linux")]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);
// macOS has no MSG_NOSIGNAL; the socket carries SO_NOSIGPIPE instead, see `channel::pair`.
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

// Without this flag every descriptor leaks into the next child process that the user starts.
#[cfg(target_os = "linux")]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::empty();

/// With room for as many as the kernel passes at once, truncation can only mean the limit of open files. On macOS that
/// is what fits a cluster of 2048 bytes (sockargs in uipc_syscalls.c).
#[cfg(target_os = "linux")]
const ROOM: usize = MAX_DESCRIPTORS;
#[cfg(not(target_os = "linux"))]
const ROOM: usize = 512;
/// For what else an inherited socket may have been set to tell: SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD (unix(7)).
const MORE: usize = 512;
// SAFETY: CMSG_SPACE only computes.
#[allow(clippy::cast_possible_truncation, reason = "at most 512 descriptors of 4 bytes")]
const CONTROL_SIZE: usize = unsafe { libc::CMSG_SPACE((ROOM * size_of::<RawFd>()) as u32) } as usize + MORE;

/// SCM_PIDFD, which the libc crate lacks: one descriptor of the sender's process, where SO_PASSPIDFD is set.
#[cfg(target_os = "linux")]
const SCM_PIDFD: libc::c_int = 4;

/// Control data begins with a `cmsghdr` and has to be aligned like one.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_SIZE]);

impl ControlBuffer {
    fn into_descriptors(mut self) -> Vec<ForeignFd> {
        let mut descriptors = Vec::new();
        // SAFETY: msghdr is plain data for which all zeroes is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_SIZE as _;
        // SAFETY: `message` describes the whole of `self.0`, which is aligned for a cmsghdr, holds what the kernel has
        // written and zeroes after it, and outlives every pointer made here. A header of length 0 is where it ends.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&raw const message);
            while let Some(control) = header.as_ref() {
                let empty = libc::CMSG_LEN(0) as usize;
                #[allow(clippy::unnecessary_cast, reason = "u32 on macOS and musl")]
                let length = control.cmsg_len as usize;
                if length < empty {
                    break;
                }
                if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == libc::SCM_RIGHTS {
                    let data = libc::CMSG_DATA(header);
                    for index in 0..(length - empty) / size_of::<RawFd>() {
                        // The kernel has just installed this descriptor for us, and nothing else owns it.
                        let number = data.add(index * size_of::<RawFd>()).cast::<RawFd>().read_unaligned();
                        descriptors.push(OwnedFd::from_raw_fd(number).into());
                    }
                }
                #[cfg(target_os = "linux")]
                if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == SCM_PIDFD {
                    let number = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
                    // Nobody here asked for it; negative if the kernel could not make it.
                    if number >= 0 {
                        drop(OwnedFd::from_raw_fd(number));
                    }
                }
                header = libc::CMSG_NXTHDR(&raw const message, header);
            }
        }
        descriptors
    }
}

#[cfg(not(target_os = "linux"))]
fn set_cloexec(descriptors: &[ForeignFd]) {
    use std::os::fd::AsFd as _;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    for descriptor in descriptors {
        // Fails for no descriptor that is open.
        let _ = fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// Returns whether the peer has read everything that was sent on a Unix stream socket: what is unread is charged to the
/// sender's socket, which is what SIOCOUTQ counts (`unix_outq_len` in net/unix/af_unix.c).
#[cfg(target_os = "linux")]
#[must_use]
pub fn is_all_read(socket: BorrowedFd<'_>) -> bool {
    let mut unread: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int to where the pointer points.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
    result == 0 && unread == 0
}

/// Returns true: nobody can say.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn is_all_read(_socket: BorrowedFd<'_>) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        crate::sys::socket_pair().unwrap()
    }

    #[test]
    fn descriptors_arrive_with_their_bytes_and_close_on_exec() {
        let (left, right) = pair();
        let (one, two) = pair();
        assert_eq!(send(left.as_fd(), b"ab", &[one.as_fd(), two.as_fd()]), Ok(2));
        let mut bytes = [0; 16];
        let received = receive(right.as_fd(), &mut bytes).unwrap();
        assert_eq!(
            (received.bytes, received.descriptors.len(), received.truncated),
            (2, 2, false)
        );
        for descriptor in &received.descriptors {
            let flags = nix::fcntl::fcntl(descriptor.as_fd(), nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
        // The copies are of the same sockets: what goes in by one end comes out by the other.
        assert_eq!(send(received.descriptors[0].as_fd(), b"x", &[]), Ok(1));
        assert_eq!(receive(two.as_fd(), &mut bytes).unwrap().bytes, 1);
    }

    #[test]
    fn more_descriptors_than_the_kernel_takes_at_once_are_not_sent() {
        let (left, _right) = pair();
        let many = [left.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(left.as_fd(), b"a", &many), Err(Errno::EINVAL));
    }

    #[test]
    fn receiving_need_not_block_where_the_socket_would() {
        let (_left, right) = pair();
        assert_eq!(try_receive(right.as_fd(), &mut [0]).unwrap_err(), Errno::EAGAIN);
    }

    // An inherited socket may have any option set: what it tells besides is neither leaked nor in the way.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_else_a_socket_tells_takes_no_room_and_is_not_kept() {
        use nix::sys::socket::{setsockopt, sockopt};
        let (left, right) = pair();
        setsockopt(&right, sockopt::PassCred, &true).unwrap();
        let on: libc::c_int = 1;
        // SAFETY: the value outlives the call. SO_PASSPIDFD is there since Linux 6.5; before, this sets nothing.
        unsafe {
            libc::setsockopt(
                right.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSPIDFD,
                (&raw const on).cast(),
                4,
            );
        }
        let many = [left.as_fd(); MAX_DESCRIPTORS];
        assert_eq!(send(left.as_fd(), b"a", &many), Ok(1));
        let received = receive(right.as_fd(), &mut [0; 16]).unwrap();
        assert_eq!(
            (received.descriptors.len(), received.truncated),
            (MAX_DESCRIPTORS, false)
        );
        // Its own is the only pidfd that a thread of this test could have been given.
        let pidfds = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let target = std::fs::read_link(entry.as_ref().unwrap().path());
            target.is_ok_and(|target| target.to_string_lossy().contains("pidfd"))
        });
        assert_eq!(pidfds.count(), 0);
    }

    #[test]
    fn a_peer_that_has_gone_is_an_error_and_no_signal() {
        let (left, right) = pair();
        drop(right);
        assert_eq!(send(left.as_fd(), b"a", &[]), Err(Errno::EPIPE));
    }
}
