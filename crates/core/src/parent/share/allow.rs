//! Which users and groups may join at a shared path.

use nix::unistd::geteuid;

use crate::sys::Credentials;

/// The users and groups that may join, in addition to the user of this process.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    /// The allowed user ids.
    pub uids: Vec<u32>,
    /// The group ids whose members are allowed.
    pub gids: Vec<u32>,
}

impl Allow {
    /// Returns whether a peer may join.
    pub(super) fn admits(&self, peer: &Credentials) -> bool {
        // In a user namespace the overflow uid stands for all unmapped users, so it cannot be allowed.
        let is_user_allowed = |uid| uid == geteuid().as_raw() || self.uids.contains(&uid);
        peer.known_uid().is_some_and(is_user_allowed) || peer.known_gids().any(|gid| self.gids.contains(&gid))
    }
}
