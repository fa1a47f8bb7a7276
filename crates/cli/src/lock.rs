//! The lock that `--lock` names.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use leasehold_core::{Error, ErrorKind, Incarnation, LockBackend, MemoryLock};

/// A lock, and what the guard may hold for it.
#[derive(Debug)]
pub struct Lock {
    backend: Arc<dyn LockBackend>,
}

impl Lock {
    /// Connects.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong; others as the backend has them.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        if url == "mem:" {
            return Ok(Self { backend: Arc::new(MemoryLock::new("mem")) });
        }
        Err(Error::new(ErrorKind::Invalid, "understand the URL of the lock", "not yet"))
    }

    /// The lock for an elector.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn LockBackend> {
        self.backend.clone()
    }

    /// What keeps this incarnation alive in the eyes of others on this host while it is open.
    #[must_use]
    pub fn liveness(&self, incarnation: Incarnation) -> Option<OwnedFd> {
        let _ = incarnation;
        None
    }
}
