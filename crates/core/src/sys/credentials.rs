//! The credentials of a Unix socket's peer.

#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::libc;

/// The process, user and groups of a peer when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The process id; `None` if the peer is in a pid namespace that this process cannot see.
    pub pid: Option<u32>,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The supplementary groups. Empty on macOS and on Linux before 4.13, which do not report them.
    pub groups: Vec<u32>,
}

impl Credentials {
    /// Returns the user id; `None` if it may stand for any user without an id in this user namespace.
    pub(crate) fn known_uid(&self) -> Option<u32> {
        (!UNMAPPED_USER.is(self.uid)).then_some(self.uid)
    }

    /// Returns the group and the supplementary groups, without an id that may stand for any unmapped group.
    pub(crate) fn known_gids(&self) -> impl Iterator<Item = u32> {
        let groups = std::iter::once(&self.gid).chain(&self.groups).copied();
        groups.filter(|&gid| !UNMAPPED_GROUP.is(gid))
    }
}

static UNMAPPED_USER: LazyLock<Unmapped> =
    LazyLock::new(|| Unmapped::read("/proc/sys/kernel/overflowuid", "/proc/self/uid_map"));
static UNMAPPED_GROUP: LazyLock<Unmapped> =
    LazyLock::new(|| Unmapped::read("/proc/sys/kernel/overflowgid", "/proc/self/gid_map"));

/// The overflow id, which stands for all users, or groups, without an id in this user namespace (`user_namespaces(7)`).
/// `None` if every user has an id: outside of user namespaces, and on macOS.
struct Unmapped(Option<u32>);

impl Unmapped {
    /// The default of `overflowuid`.
    const DEFAULT: u32 = 65_534;

    fn read(overflow: &str, map: &str) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        Self::of(read(overflow).as_deref(), read(map).as_deref())
    }

    fn of(overflow: Option<&str>, map: Option<&str>) -> Self {
        if !cfg!(target_os = "linux") || map.is_some_and(Self::is_whole) {
            return Self(None);
        }
        Self(Some(
            overflow
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or(Self::DEFAULT),
        ))
    }

    /// Returns whether the map covers all 2^32 - 1 ids.
    fn is_whole(map: &str) -> bool {
        let lengths = map
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        lengths.sum::<u64>() >= u64::from(u32::MAX)
    }

    fn is(&self, number: u32) -> bool {
        self.0 == Some(number)
    }
}

#[cfg(target_os = "linux")]
pub(super) fn credentials(peer: &OwnedFd) -> Result<Credentials, Errno> {
    use nix::sys::socket::{getsockopt, sockopt};
    let found = getsockopt(peer, sockopt::PeerCredentials)?;
    Ok(Credentials {
        // 0 means a process of another namespace (pid_namespaces(7)).
        pid: u32::try_from(found.pid()).ok().filter(|&pid| pid != 0),
        uid: found.uid(),
        gid: found.gid(),
        // Linux before 4.13 has no SO_PEERGROUPS.
        groups: peer_groups(peer).unwrap_or_default(),
    })
}

/// Returns the supplementary groups of a peer (SO_PEERGROUPS, which nix lacks). Most users belong to a group only by these.
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
            // The kernel has stored the required size. The groups of a peer do not change after it has connected.
            Err(Errno::ERANGE) if needed > groups.len() => groups.resize(needed, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn credentials(peer: &OwnedFd) -> Result<Credentials, Errno> {
    let (uid, gid) = nix::unistd::getpeereid(peer)?;
    #[cfg(target_vendor = "apple")]
    let pid = nix::sys::socket::getsockopt(peer, nix::sys::socket::sockopt::LocalPeerPid).ok();
    #[cfg(not(target_vendor = "apple"))]
    let pid: Option<i32> = None;
    Ok(Credentials {
        pid: pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid != 0),
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        // LOCAL_PEERCRED has 16 entries, and nix does not return how many are valid: the others would read as group 0.
        groups: Vec::new(),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_overflow_id_is_unknown_unless_every_user_has_an_id() {
        let whole = "         0          0 4294967295\n";
        for map in [Some(""), Some("0 100000 65536\n"), Some("1000 1000 1\n"), None] {
            assert!(Unmapped::of(Some("65534\n"), map).is(65_534), "{map:?}");
            assert!(Unmapped::of(Some("99\n"), map).is(99), "{map:?}");
            assert!(Unmapped::of(None, map).is(65_534), "{map:?}");
            assert!(!Unmapped::of(Some("65534\n"), map).is(0), "{map:?}");
        }
        assert!(!Unmapped::of(Some("65534\n"), Some(whole)).is(65_534));
    }
}
