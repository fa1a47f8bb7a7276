//! The lock that `--lock` names.

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::Arc;

use leasehold::file::FileLock;
use leasehold::{Error, ErrorKind, LockBackend, LockUrl};

/// A lock, and what the guard may hold for it.
#[derive(Debug)]
pub struct Lock {
    backend: Arc<dyn LockBackend>,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for a guard, of Linux only"))]
    file: Option<Arc<FileLock>>,
}

impl Lock {
    /// Opens the lock.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong; others as the backend has them.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let parsed = LockUrl::parse(url)?;
        if parsed.scheme() == "file" {
            let file = Arc::new(leasehold::file::open(&parsed)?);
            return Ok(Self { backend: file.clone(), file: Some(file) });
        }
        if parsed.scheme() == "mem" {
            let why = "mem: is a lock inside one process, for tests of programs; here every process would lead. Use file:/path";
            return Err(Error::new(ErrorKind::Invalid, "use the lock URL", why));
        }
        Ok(Self { backend: leasehold::connect(url).await?, file: None })
    }

    /// The lock for an elector.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn LockBackend> {
        self.backend.clone()
    }

    /// What keeps this incarnation alive in the eyes of others on this host while it is open; `None` for a lock
    /// that knows no such thing.
    ///
    /// # Errors
    /// It cannot be had: CMD must not run, since others could lead the moment this process is killed.
    #[cfg(target_os = "linux")]
    pub fn liveness(&self, incarnation: leasehold::Incarnation) -> Result<Option<OwnedFd>, Error> {
        let Some(file) = &self.file else { return Ok(None) };
        let missing =
            || Error::new(ErrorKind::Unavailable, "guard the term", "there is no liveness file");
        file.liveness(incarnation)?.ok_or_else(missing).map(Some)
    }
}
