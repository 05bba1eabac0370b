//! The scoreboard: a page that the parent and one worker share, in which the worker says what frames would say, without
//! a system call. `PROTOCOL.md` has its layout.
//!
//! A connection under way has a slot. The worker takes it with a compare-and-swap, the parent takes it back with
//! another, and whoever comes second has lost: so no connection is ever served twice, and none is held hostage by a
//! worker that is stuck, stopped or dead.

#![allow(
    unsafe_code,
    reason = "memory that another process writes is reached through a mapping"
)]

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

use crate::ids::ConnectionId;
use crate::stats::LiveCounters;

/// Connections that may be under way to one worker.
pub const SLOTS: usize = 64;

/// In a connection's head: it has no slot, it is acked and refused by frames.
pub const NO_SLOT: u8 = u8::MAX;

/// Bytes of the mapping: one page, on every platform that has larger ones too.
const SIZE: usize = 4096;

/// What the two processes share. Only atomics: the other side may write at any time, and may lie.
#[repr(C)]
struct Page {
    /// Not 0: the parent waits for news, so send it a frame ([`super::frame::ToParent::Nudge`] if there is no other).
    wanted: AtomicU32,
    _line: [u8; 60],
    /// Leases that are over, since the channel opened.
    ended: AtomicU64,
    /// Credit granted on the lane of any port, since the channel opened.
    granted: AtomicU64,
    /// Connections taken, since the channel opened.
    taken: AtomicU64,
    /// Turns of the worker's event loop, if it counts them.
    beats: AtomicU64,
    _line2: [u8; 32],
    /// What is under way: a connection's id, shifted by [`STATE_BITS`], and a [`Claim`].
    claims: [AtomicU64; SLOTS],
}

const _: () = assert!(size_of::<Page>() <= SIZE);

const STATE_BITS: u32 = 3;

/// Who has a connection that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nobody yet.
    Offered,
    /// The worker.
    Taken,
    /// The parent has taken it back.
    Recalled,
    /// The worker has no room for it: the parent is to take it back.
    Unwanted,
    /// The worker got no descriptor for it: the parent is to take it back.
    NoDescriptor,
}

/// One side's view of a shared page.
#[derive(Debug)]
pub struct Scoreboard {
    page: NonNull<Page>,
}

// SAFETY: all access goes through atomics, and the mapping lives until drop.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// A new page, and the descriptor by which the worker maps it.
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let memory = memory()?;
        Ok((Self::map(&memory)?, memory))
    }

    /// The page that a parent has made.
    pub fn open(memory: &OwnedFd) -> Result<Self, Errno> {
        // A mapping beyond the end of its file is a SIGBUS waiting to happen.
        let size = nix::sys::stat::fstat(memory)?.st_size;
        if usize::try_from(size).is_ok_and(|size| size >= SIZE) {
            Self::map(memory)
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn map(memory: &OwnedFd) -> Result<Self, Errno> {
        const LENGTH: NonZeroUsize = NonZeroUsize::new(SIZE).expect("not 0");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe { mmap(None, LENGTH, access, MapFlags::MAP_SHARED, memory.as_fd(), 0)? };
        Ok(Self { page: page.cast() })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped with at least this size and a page's alignment until drop, and made of atomics and padding, for
        // which every bit pattern is valid, whoever writes it.
        unsafe { self.page.as_ref() }
    }

    /// Parent: a connection is about to be sent. The slot is free, or was recalled.
    pub fn offer(&self, slot: u8, id: ConnectionId) {
        self.claim_word(slot).store(word(id, Claim::Offered), Ordering::Release);
    }

    /// Moves a connection from offered to another state, for the one side that comes first.
    #[must_use]
    pub fn claim(&self, slot: u8, id: ConnectionId, claim: Claim) -> bool {
        let (offered, claimed) = (word(id, Claim::Offered), word(id, claim));
        let claims = self.claim_word(slot);
        claims
            .compare_exchange(offered, claimed, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Parent: where a connection stands; `None` if the worker has written nonsense.
    #[must_use]
    pub fn standing(&self, slot: u8, id: ConnectionId) -> Option<Claim> {
        let found = self.claim_word(slot).load(Ordering::Acquire);
        [
            Claim::Offered,
            Claim::Taken,
            Claim::Recalled,
            Claim::Unwanted,
            Claim::NoDescriptor,
        ]
        .into_iter()
        .find(|&claim| word(id, claim) == found)
    }

    /// Worker: so many leases have begun, ended, and so much credit is granted.
    pub fn add(&self, taken: u64, ended: u64, granted: u64) {
        for (counter, amount) in [
            (&self.page().taken, taken),
            (&self.page().granted, granted),
            (&self.page().ended, ended),
        ] {
            if amount > 0 {
                counter.fetch_add(amount, Ordering::Release);
            }
        }
    }

    /// Worker: whether the parent waits for news.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        // With the fence in `want`: of a worker that writes and then looks, and a parent that asks and then looks, one
        // sees the other.
        fence(Ordering::SeqCst);
        self.page().wanted.load(Ordering::Relaxed) != 0
    }

    /// Worker: whether the parent waits for news, which whoever asks has to send now: it says so once.
    #[must_use]
    pub fn take_wanted(&self) -> bool {
        self.is_wanted() && self.page().wanted.swap(0, Ordering::Relaxed) != 0
    }

    /// Parent: asks for a frame with the next news, or no longer does. Look again after asking.
    pub fn want(&self, wanted: bool) {
        self.page().wanted.store(u32::from(wanted), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Worker: its event loop has turned.
    pub fn beat(&self) {
        self.page().beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Parent: how often the worker's event loop has turned.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.page().beats.load(Ordering::Relaxed)
    }

    /// Parent: leases that are over. Read it before the claims: a lease that has ended has been claimed before.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.page().ended.load(Ordering::Acquire)
    }

    /// Parent: credit granted so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.page().granted.load(Ordering::Acquire)
    }

    /// Parent: connections taken so far, as the worker says.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.page().taken.load(Ordering::Acquire)
    }

    fn claim_word(&self, slot: u8) -> &AtomicU64 {
        &self.page().claims[usize::from(slot) % SLOTS]
    }
}

impl Drop for Scoreboard {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.page.cast(), SIZE) };
    }
}

fn word(id: ConnectionId, claim: Claim) -> u64 {
    let state = match claim {
        Claim::Offered => 0,
        Claim::Taken => 1,
        Claim::Recalled => 2,
        Claim::Unwanted => 3,
        Claim::NoDescriptor => 4,
    };
    id << STATE_BITS | state
}

/// Memory without a name, that its worker can neither shrink nor grow: a truncated mapping would be a SIGBUS here.
#[cfg(target_os = "linux")]
fn memory() -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    // MFD_NOEXEC_SEAL of <linux/memfd.h>, which nix and libc lack.
    let not_executable = MFdFlags::from_bits_retain(0x0008);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Without MFD_NOEXEC_SEAL the call fails with EACCES under vm.memfd_noexec=2; kernels before 6.3 answer EINVAL to it.
    let memory = match memfd_create(c"socketserver", flags | not_executable) {
        Err(Errno::EINVAL) => memfd_create(c"socketserver", flags)?,
        created => created?,
    };
    ftruncate(&memory, SIZE_OFF)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(memory)
}

/// macOS lets the size of a shared memory object be set only once (shm_open(2), ftruncate(2)), which is as good as a
/// seal.
#[cfg(not(target_os = "linux"))]
fn memory() -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    use nix::sys::mman::{shm_open, shm_unlink};
    use nix::sys::stat::Mode;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The name lives for the two calls only; at most 31 characters.
    let name = format!(
        "/sockserv.{:x}.{:x}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
    let memory = shm_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    shm_unlink(name.as_str())?;
    fcntl(&memory, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    ftruncate(&memory, SIZE_OFF)?;
    Ok(memory)
}

#[allow(clippy::cast_possible_wrap, reason = "4096")]
const SIZE_OFF: nix::libc::off_t = SIZE as nix::libc::off_t;

impl LiveCounters for Scoreboard {
    fn taken(&self) -> u64 {
        Self::taken(self)
    }

    fn ended(&self) -> u64 {
        Self::ended(self)
    }

    fn beats(&self) -> u64 {
        Self::beats(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_sides() -> (Scoreboard, Scoreboard) {
        let (parent, memory) = Scoreboard::create().unwrap();
        (parent, Scoreboard::open(&memory).unwrap())
    }

    #[test]
    fn whoever_claims_first_has_the_connection() {
        let (parent, worker) = both_sides();
        parent.offer(3, 70);
        assert!(worker.claim(3, 70, Claim::Taken));
        assert!(!parent.claim(3, 70, Claim::Recalled));
        parent.offer(3, 71);
        assert!(parent.claim(3, 71, Claim::Recalled));
        assert!(!worker.claim(3, 71, Claim::Taken));
    }

    #[test]
    fn a_slot_that_serves_another_connection_is_lost_to_the_former() {
        let (parent, worker) = both_sides();
        parent.offer(0, 1);
        assert!(parent.claim(0, 1, Claim::Recalled));
        parent.offer(0, 2);
        assert!(!worker.claim(0, 1, Claim::Taken));
        assert_eq!(parent.standing(0, 2), Some(Claim::Offered));
    }

    #[test]
    fn nonsense_has_no_standing() {
        let (parent, worker) = both_sides();
        parent.offer(0, 1);
        worker.offer(0, 9);
        assert_eq!(parent.standing(0, 1), None);
    }

    #[test]
    fn a_worker_is_told_once_that_it_is_wanted() {
        let (parent, worker) = both_sides();
        assert!(!worker.is_wanted() && !worker.take_wanted());
        parent.want(true);
        assert!(worker.is_wanted() && worker.take_wanted());
        assert!(!worker.is_wanted() && !worker.take_wanted());
    }

    #[test]
    fn a_worker_cannot_shrink_the_page() {
        let (parent, memory) = Scoreboard::create().unwrap();
        assert!(ftruncate(&memory, 0).is_err());
        assert_eq!(parent.ended(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_page_can_never_be_made_executable() {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::PermissionsExt;
        let (_parent, memory) = Scoreboard::create().unwrap();
        // Kernels before 6.3 know neither the flag nor this file.
        if std::path::Path::new("/proc/sys/vm/memfd_noexec").exists() {
            let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0);
            assert!(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).is_err());
        }
    }

    #[test]
    fn a_file_that_is_too_small_is_not_mapped() {
        let (small, _other) = crate::channel::pair().unwrap();
        assert!(Scoreboard::open(&small).is_err());
    }
}
