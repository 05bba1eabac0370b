//! Sends and receives descriptors with bytes: SCM_RIGHTS (unix(7), cmsg(3)).
//!
//! Sending borrows descriptors, receiving owns them. Each received descriptor becomes a [`ForeignFd`] at once, so that no code
//! path leaks it, and none closes it on a thread whose close(2) must not sleep.

#![allow(
    unsafe_code,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a control buffer holds descriptors as bare numbers"
)]

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};

use super::closer::ForeignFd;

/// The result of one recvmsg(2).
#[derive(Debug, Default)]
pub struct Received {
    /// The number of bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// The descriptors, in the order in which they were sent.
    pub descriptors: Vec<ForeignFd>,
    /// `MSG_CTRUNC`: some descriptors were dropped, because this process is at its limit of open files.
    pub truncated: bool,
}

/// The maximum number of descriptors in one message: Linux's SCM_MAX_FD. The limit of macOS is higher.
pub const MAX_DESCRIPTORS: usize = 253;

/// Sends `bytes`, with `descriptors` attached to the first byte, without blocking and without SIGPIPE.
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

/// Receives bytes and descriptors. Blocks unless the socket has O_NONBLOCK.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, RECEIVE_FLAGS)
}

/// Receives bytes and descriptors without blocking, even without O_NONBLOCK: other processes may share that flag.
pub fn try_receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<Received, Errno> {
    receive_with(socket, bytes, RECEIVE_FLAGS.union(MsgFlags::MSG_DONTWAIT))
}

fn receive_with(socket: BorrowedFd<'_>, bytes: &mut [u8], flags: MsgFlags) -> Result<Received, Errno> {
    // Zeroed before each call: after MSG_CTRUNC nix does not return how much of the buffer the kernel has filled, but the
    // descriptors that arrived must be found and closed.
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
// macOS has no MSG_NOSIGNAL; `prepare` sets SO_NOSIGPIPE on the socket instead.
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

// Without this flag the next child process would inherit the descriptors.
#[cfg(target_os = "linux")]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const RECEIVE_FLAGS: MsgFlags = MsgFlags::empty();

/// The capacity of the control buffer in descriptors: the kernel's maximum, so that truncation can only mean the limit of open
/// files. On macOS a cluster of 2048 bytes is the maximum (sockargs in uipc_syscalls.c).
#[cfg(target_os = "linux")]
const CAPACITY: usize = MAX_DESCRIPTORS;
#[cfg(not(target_os = "linux"))]
const CAPACITY: usize = 512;
/// Bytes for other control messages, which an inherited socket may have enabled: SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD
/// (unix(7)).
const OTHER_MESSAGES: usize = 512;
// SAFETY: CMSG_SPACE only computes.
#[allow(clippy::cast_possible_truncation, reason = "at most 512 descriptors of 4 bytes")]
const CONTROL_SIZE: usize =
    unsafe { libc::CMSG_SPACE((CAPACITY * size_of::<RawFd>()) as u32) } as usize + OTHER_MESSAGES;

/// SCM_PIDFD, which the libc crate lacks: a descriptor of the sender's process, if SO_PASSPIDFD is set.
#[cfg(target_os = "linux")]
const SCM_PIDFD: libc::c_int = 4;

/// Control data starts with a `cmsghdr` and must have its alignment.
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_SIZE]);

impl ControlBuffer {
    fn into_descriptors(mut self) -> Vec<ForeignFd> {
        let mut descriptors = Vec::new();
        // SAFETY: msghdr is plain data for which all zeroes is a valid value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_SIZE as _;
        // SAFETY: `message` describes all of `self.0`, which is aligned for a cmsghdr, contains what the kernel has written and
        // then zeroes, and outlives every pointer created here. A header of length 0 ends the loop.
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
                        // The kernel has just installed this descriptor, and nothing else owns it.
                        let number = data.add(index * size_of::<RawFd>()).cast::<RawFd>().read_unaligned();
                        descriptors.push(OwnedFd::from_raw_fd(number).into());
                    }
                }
                #[cfg(target_os = "linux")]
                if control.cmsg_level == libc::SOL_SOCKET && control.cmsg_type == SCM_PIDFD {
                    let number = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
                    // Unused here. Negative if the kernel could not create it.
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
        // Cannot fail for an open descriptor.
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

/// Returns whether the peer has read everything that was sent on a Unix stream socket. Unread data is charged to the
/// sender's socket, and SIOCOUTQ returns that charge (`unix_outq_len` in net/unix/af_unix.c).
#[cfg(target_os = "linux")]
#[must_use]
pub fn is_all_read(socket: BorrowedFd<'_>) -> bool {
    let mut unread: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int to `unread`.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
    result == 0 && unread == 0
}

/// Returns true: macOS does not report unread data.
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
    fn received_descriptors_are_close_on_exec() {
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
        // The received descriptors refer to the same sockets.
        assert_eq!(send(received.descriptors[0].as_fd(), b"x", &[]), Ok(1));
        assert_eq!(receive(two.as_fd(), &mut bytes).unwrap().bytes, 1);
    }

    #[test]
    fn more_descriptors_than_the_kernel_accepts_are_an_error() {
        let (left, _right) = pair();
        let many = [left.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(left.as_fd(), b"a", &many), Err(Errno::EINVAL));
    }

    #[test]
    fn try_receive_does_not_block_on_a_blocking_socket() {
        let (_left, right) = pair();
        assert_eq!(try_receive(right.as_fd(), &mut [0]).unwrap_err(), Errno::EAGAIN);
    }

    // An inherited socket may have any option set.
    #[cfg(target_os = "linux")]
    #[test]
    fn other_control_messages_neither_displace_descriptors_nor_leak_a_pidfd() {
        use nix::sys::socket::{setsockopt, sockopt};
        let (left, right) = pair();
        setsockopt(&right, sockopt::PassCred, &true).unwrap();
        let on: libc::c_int = 1;
        // SAFETY: the value outlives the call. Linux before 6.5 has no SO_PASSPIDFD, and the call fails.
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
        // No other test receives a pidfd.
        let pidfds = std::fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
            let target = std::fs::read_link(entry.as_ref().unwrap().path());
            target.is_ok_and(|target| target.to_string_lossy().contains("pidfd"))
        });
        assert_eq!(pidfds.count(), 0);
    }

    #[test]
    fn sending_to_a_closed_peer_fails_without_a_signal() {
        let (left, right) = pair();
        drop(right);
        assert_eq!(send(left.as_fd(), b"a", &[]), Err(Errno::EPIPE));
    }
}
