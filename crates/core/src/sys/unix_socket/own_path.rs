//! A socket file that this process has created, and that it removes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket file that this process has created. Dropping it removes the file, unless a successor has replaced it.
#[derive(Debug)]
pub(crate) struct OwnPath {
    path: PathBuf,
    identity: (u64, u64),
    /// Another process has a copy of the socket and may continue to listen, so the file is not removed.
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
            // Fails if another process has removed the file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
