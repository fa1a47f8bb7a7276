//! Directories that go with a value.

use std::fs;
use std::path::PathBuf;

/// A directory that goes with this value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over only if it could not be removed, where anyone may clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}
