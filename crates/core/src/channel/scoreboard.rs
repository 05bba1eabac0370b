//! The scoreboard: a page of memory that the parent shares with one worker. The worker writes counters to the page instead of
//! sending frames, which saves system calls. `PROTOCOL.md` specifies the layout.
//!
//! A connection in flight has a slot in the page. The worker takes the connection with a compare-and-swap, and the parent
//! recalls it with a compare-and-swap. Only one of them succeeds. So no connection is served twice, and the parent can
//! always recall a connection from a worker that is blocked, stopped or dead.

#![allow(unsafe_code, reason = "shared memory is reached through a raw mapping")]

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::ftruncate;

use crate::ids::ConnectionId;
use crate::stats::histogram::{BUCKETS, BucketCounts, Buckets, LEASE_BOUNDS, WAIT_BOUNDS, bucket_of};
use crate::stats::{LiveCounters, Load};

/// The number of connections that may be in flight to one worker.
pub const SLOTS: usize = 64;

/// The slot number of a connection without a slot, which is acknowledged and refused by frames.
pub const NO_SLOT: u8 = u8::MAX;

/// The size of the mapping in bytes. Platforms with larger pages map one page.
const SIZE: usize = 4096;

/// The shared memory. All fields are atomic: the other process may write any value at any time.
#[repr(C)]
struct Page {
    /// Not 0: the parent waits for changes, and the worker must send a frame after the next one (NUDGE if no other).
    wanted: AtomicU32,
    _line: [u8; 60],
    /// Ended leases since the channel opened.
    ended: AtomicU64,
    /// Credit granted on lane 0 since the channel opened.
    granted: AtomicU64,
    /// Taken connections since the channel opened.
    taken: AtomicU64,
    /// Turns of the worker's event loop, if the worker counts them.
    beats: AtomicU64,
    _line2: [u8; 32],
    /// The connections in flight: each word is an id, shifted by [`STATE_BITS`], and a [`Claim`].
    claims: [AtomicU64; SLOTS],
    /// 1 if the worker measures the values below, else 0.
    load_layout: AtomicU64,
    /// How long the event loop has been busy, in nanoseconds.
    busy: AtomicU64,
    /// The sum of the durations of the ended leases, in microseconds.
    lease_micros: AtomicU64,
    /// The ended leases by duration, in the buckets of [`LEASE_BOUNDS`].
    leases: [AtomicU64; BUCKETS],
    /// The turns of the event loop by the time for which they ran callbacks, with the bounds [`WAIT_BOUNDS`].
    turns: Buckets,
    /// The id of the thread of the event loop; 0 if it is not known.
    thread: AtomicU64,
}

const _: () = assert!(size_of::<Page>() <= SIZE);

const STATE_BITS: u32 = 3;

/// The layout of the values that a worker measures.
const LOAD_LAYOUT: u64 = 1;

/// The state of a connection in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Neither side has claimed the connection yet.
    Offered,
    /// The worker has taken the connection.
    Taken,
    /// The parent has recalled the connection.
    Recalled,
    /// The worker has no room for the connection, and the parent must requeue it.
    Unwanted,
    /// The worker received no descriptor, and the parent must requeue the connection.
    NoDescriptor,
}

/// One side's view of a shared page.
#[derive(Debug)]
pub struct Scoreboard {
    page: NonNull<Page>,
}

// SAFETY: all access is atomic, and the mapping lives until drop.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    /// Creates a page. The worker maps the returned descriptor.
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let memory = memory()?;
        Ok((Self::map(&memory)?, memory))
    }

    /// Maps the page that a parent has created. Fails with EINVAL if the file is too small.
    pub fn open(memory: &OwnedFd) -> Result<Self, Errno> {
        // Access beyond the end of the file would raise SIGBUS.
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
        // SAFETY: the kernel chooses an unused address for the mapping.
        let page = unsafe { mmap(None, LENGTH, access, MapFlags::MAP_SHARED, memory.as_fd(), 0)? };
        Ok(Self { page: page.cast() })
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping has at least this size and a page's alignment, and lives until drop. Every bit pattern is valid
        // for atomic integers and padding.
        unsafe { self.page.as_ref() }
    }

    /// Parent: offers a connection before it is sent. The slot must be free or recalled.
    pub fn offer(&self, slot: u8, id: ConnectionId) {
        self.claim_word(slot).store(word(id, Claim::Offered), Ordering::Release);
    }

    /// Moves a connection from offered to another state. Returns false if the other side was first.
    #[must_use]
    pub fn claim(&self, slot: u8, id: ConnectionId, claim: Claim) -> bool {
        let (offered, claimed) = (word(id, Claim::Offered), word(id, claim));
        let claims = self.claim_word(slot);
        claims
            .compare_exchange(offered, claimed, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Parent: returns the state of a connection; `None` if the worker has written an invalid value.
    #[must_use]
    pub fn claim_of(&self, slot: u8, id: ConnectionId) -> Option<Claim> {
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

    /// Worker: adds to the counters of taken connections, ended leases and granted credit.
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

    /// Worker: returns whether the parent waits for changes.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        // Pairs with the fence in `want`: if the worker writes and then reads the flag while the parent sets the flag and
        // then reads the counters, at least one of them sees the other's write.
        fence(Ordering::SeqCst);
        self.page().wanted.load(Ordering::Relaxed) != 0
    }

    /// Worker: returns whether the parent waits for changes, and clears the flag. On true the caller must send a frame.
    #[must_use]
    pub fn take_wanted(&self) -> bool {
        self.is_wanted() && self.page().wanted.swap(0, Ordering::Relaxed) != 0
    }

    /// Parent: asks for a frame after the next change, or withdraws the request. Read the counters again after this.
    pub fn want(&self, wanted: bool) {
        self.page().wanted.store(u32::from(wanted), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Worker: counts a turn of the event loop.
    pub fn beat(&self) {
        self.page().beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Worker: stores how long the event loop has been busy in all turns, and counts the turn that has just ended.
    pub fn turn_ended(&self, busy_nanos: u64, turn_micros: u64) {
        let page = self.page();
        page.turns.record(&WAIT_BOUNDS, turn_micros);
        page.busy.store(busy_nanos, Ordering::Relaxed);
        page.load_layout.store(LOAD_LAYOUT, Ordering::Release);
    }

    /// Worker: counts the duration of an ended lease.
    pub fn add_lease(&self, micros: u64) {
        let page = self.page();
        page.leases[bucket_of(&LEASE_BOUNDS, micros)].fetch_add(1, Ordering::Relaxed);
        page.lease_micros.fetch_add(micros, Ordering::Relaxed);
        page.load_layout.store(LOAD_LAYOUT, Ordering::Release);
    }

    /// Worker: stores the id of the thread of the event loop.
    pub fn set_thread(&self, id: u32) {
        self.page().thread.store(id.into(), Ordering::Relaxed);
    }

    /// Parent: returns the id of the thread of the event loop; `None` if the worker has not stored it.
    #[must_use]
    pub fn thread(&self) -> Option<u32> {
        u32::try_from(self.page().thread.load(Ordering::Relaxed))
            .ok()
            .filter(|&id| id > 0)
    }

    /// Parent: returns what the worker measures about itself; `None` if it measures nothing.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        let page = self.page();
        if page.load_layout.load(Ordering::Acquire) != LOAD_LAYOUT {
            return None;
        }
        Some(Load {
            busy: Duration::from_nanos(page.busy.load(Ordering::Relaxed)),
            leases: BucketCounts {
                counts: page.leases.each_ref().map(|cell| cell.load(Ordering::Relaxed)),
                sum_micros: page.lease_micros.load(Ordering::Relaxed),
            },
            turns: page.turns.counts(),
        })
    }

    /// Parent: returns the turns of the worker's event loop.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.page().beats.load(Ordering::Relaxed)
    }

    /// Parent: returns the number of ended leases. Read this before the claims: every ended lease was claimed before.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.page().ended.load(Ordering::Acquire)
    }

    /// Parent: returns the credit granted so far.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.page().granted.load(Ordering::Acquire)
    }

    /// Parent: returns the number of taken connections, as counted by the worker.
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
        // SAFETY: `map` made the mapping with this size, and no borrow of it is left.
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

/// Creates unnamed memory of a fixed size. If a worker could shrink the memory, access here would raise SIGBUS.
#[cfg(target_os = "linux")]
fn memory() -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    // MFD_NOEXEC_SEAL in <linux/memfd.h>, which nix and libc lack.
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

/// Creates unnamed memory of a fixed size: macOS lets the size of a shared memory object be set only once (ftruncate(2)).
#[cfg(not(target_os = "linux"))]
fn memory() -> Result<OwnedFd, Errno> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    use nix::sys::mman::{shm_open, shm_unlink};
    use nix::sys::stat::Mode;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The name exists between the next two calls only. The limit is 31 characters.
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

    fn load(&self) -> Option<Load> {
        Self::load(self)
    }

    fn thread(&self) -> Option<u32> {
        Self::thread(self)
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
    fn the_first_claim_succeeds() {
        let (parent, worker) = both_sides();
        parent.offer(3, 70);
        assert!(worker.claim(3, 70, Claim::Taken));
        assert!(!parent.claim(3, 70, Claim::Recalled));
        parent.offer(3, 71);
        assert!(parent.claim(3, 71, Claim::Recalled));
        assert!(!worker.claim(3, 71, Claim::Taken));
    }

    #[test]
    fn a_slot_cannot_be_claimed_for_its_previous_connection() {
        let (parent, worker) = both_sides();
        parent.offer(0, 1);
        assert!(parent.claim(0, 1, Claim::Recalled));
        parent.offer(0, 2);
        assert!(!worker.claim(0, 1, Claim::Taken));
        assert_eq!(parent.claim_of(0, 2), Some(Claim::Offered));
    }

    #[test]
    fn an_invalid_word_has_no_state() {
        let (parent, worker) = both_sides();
        parent.offer(0, 1);
        worker.offer(0, 9);
        assert_eq!(parent.claim_of(0, 1), None);
    }

    #[test]
    fn the_parent_reads_what_the_worker_measures() {
        let (parent, worker) = both_sides();
        assert_eq!(parent.load(), None);
        worker.turn_ended(1_900_000, 1900);
        worker.turn_ended(2_000_000, 100);
        worker.add_lease(900);
        worker.add_lease(400_000_000);
        let load = parent.load().unwrap();
        assert_eq!(load.busy, Duration::from_millis(2));
        assert_eq!((load.leases.counts[0], load.leases.counts[BUCKETS - 1]), (1, 1));
        assert_eq!(load.leases.sum_micros, 400_000_900);
        assert_eq!((load.turns.counts[0], load.turns.counts[4]), (1, 1));
        assert_eq!(load.turns.sum_micros, 2000);
    }

    #[test]
    fn a_nudge_is_requested_once() {
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
