//! A socket file that this process made and removes at its end.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket file that this process made. It is removed at the end if it is still that file: a successor may have put
/// its own in the same place.
#[derive(Debug)]
pub(crate) struct OwnPath {
    path: PathBuf,
    identity: (u64, u64),
    /// Somebody else listens on it, too, and may go on to.
    pub(crate) is_handed_on: Arc<AtomicBool>,
}

impl OwnPath {
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let identity = Self::identity(path)?;
        Some(Self {
            path: path.to_path_buf(),
            identity,
            is_handed_on: Arc::default(),
        })
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        std::fs::symlink_metadata(path)
            .ok()
            .map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        if !self.is_handed_on.load(Ordering::Relaxed) && Self::identity(&self.path) == Some(self.identity) {
            // Somebody else may have removed it meanwhile, which is as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
