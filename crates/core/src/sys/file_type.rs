//! Determines the type of an open file without waiting for the file system of the file.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};

/// Returns the type of an open file. On Linux the call never waits for the file system: fstat(2) asks the file system for the
/// attributes, and a hostile sender of the descriptor can serve that file system (FUSE). macOS has no such call.
pub(crate) fn file_type(fd: BorrowedFd<'_>) -> Result<SFlag, Errno> {
    #[cfg(target_os = "linux")]
    match cached_file_type(fd) {
        // Linux before 4.11, and seccomp filters that are older than statx(2).
        Err(Errno::ENOSYS | Errno::EPERM) => {}
        known => return known,
    }
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

/// Returns the type that the kernel knows since the file was opened (statx(2), `AT_STATX_DONT_SYNC`).
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "statx(2), which nix lacks")]
fn cached_file_type(fd: BorrowedFd<'_>) -> Result<SFlag, Errno> {
    use std::os::fd::AsRawFd;

    use nix::libc;

    // SAFETY: statx is plain data for which all zeroes is a valid value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // By syscall(2), because musl before 1.2.5 has no function of this name.
    // SAFETY: the path is a C string, and `found` outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_statx,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC,
            libc::STATX_TYPE,
            &raw mut found,
        )
    };
    Errno::result(result)?;
    Ok(SFlag::from_bits_truncate(found.stx_mode.into()) & SFlag::S_IFMT)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use nix::libc;

    use super::*;
    use crate::descriptors::kind::{Domain, Kind};

    /// Makes the calls of this thread that another process can delay fail with EIO: fstat(2), statx(2) unless the call asks for
    /// cached attributes, and the calls that take the lock of a TCP socket.
    #[allow(unsafe_code, reason = "prctl(2) and seccomp(2), which nix lacks")]
    fn refuse_calls_that_wait() {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const IS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        const HAS_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
        const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
        const NUMBER: usize = std::mem::offset_of!(libc::seccomp_data, nr);
        const FLAGS: usize = std::mem::offset_of!(libc::seccomp_data, args) + 2 * size_of::<u64>();
        const LOW_HALF: usize = if cfg!(target_endian = "big") { 4 } else { 0 };
        let instruction = |code: u32, if_true, if_false, operand: i64| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt: if_true,
            jf: if_false,
            k: u32::try_from(operand).unwrap(),
        };
        let offset = |offset: usize| i64::try_from(offset).unwrap();
        let error = i64::from(libc::SECCOMP_RET_ERRNO) | i64::from(libc::EIO);
        let mut program = [
            instruction(LOAD, 0, 0, offset(NUMBER)),
            instruction(IS_EQUAL, 7, 0, libc::SYS_fstat),
            instruction(IS_EQUAL, 6, 0, libc::SYS_newfstatat),
            instruction(IS_EQUAL, 5, 0, libc::SYS_getsockname),
            instruction(IS_EQUAL, 4, 0, libc::SYS_getpeername),
            instruction(IS_EQUAL, 0, 2, libc::SYS_statx),
            instruction(LOAD, 0, 0, offset(FLAGS + LOW_HALF)),
            instruction(HAS_BITS, 0, 1, libc::AT_STATX_DONT_SYNC.into()),
            instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW.into()),
            instruction(RETURN, 0, 0, error),
        ];
        let filter = libc::sock_fprog {
            len: u16::try_from(program.len()).unwrap(),
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the filter and its program outlive the call, which concerns only this thread.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
        };
        assert!(done, "{}", Errno::last());
    }

    #[test]
    fn the_kind_of_a_descriptor_is_found_without_a_call_that_its_sender_can_make_wait() {
        let (pipe, _writer) = std::io::pipe().unwrap();
        let opened = |path: &str| File::open(path).unwrap();
        let (file, directory, device) = (opened("/proc/self/exe"), opened("/"), opened("/dev/null"));
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // The filter stays until the thread ends.
        std::thread::spawn(move || {
            refuse_calls_that_wait();
            assert_eq!(fstat(&file).unwrap_err(), Errno::EIO);
            let kind = |fd: &dyn AsFd| Kind::of(fd.as_fd());
            assert_eq!(kind(&file), Ok(Kind::File));
            assert_eq!(kind(&directory), Ok(Kind::Directory));
            assert_eq!(kind(&device), Ok(Kind::Device));
            assert_eq!(kind(&pipe), Ok(Kind::Pipe));
            assert_eq!(kind(&unix), Ok(Kind::Stream(Domain::Unix)));
            assert_eq!(kind(&listener), Ok(Kind::Listener(Domain::Network)));
        })
        .join()
        .unwrap();
    }
}
