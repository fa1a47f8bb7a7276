//! A lock that its URL opened, and the part of a store that the table of schemes calls.

use std::fmt;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::{Arc, Once};

use async_trait::async_trait;
use leasehold_backend::Diagnose;
use leasehold_core::{Capabilities, Error, LockBackend, Observed};
#[cfg(target_os = "linux")]
use leasehold_core::{ErrorKind, Incarnation};

/// The caveat of one lock is enough for all locks of a process.
static WARNED: Once = Once::new();

/// A lock that its URL opened: see [`LockUrl::open`](crate::url::LockUrl::open).
#[derive(Clone)]
pub struct Opened {
    lock: Arc<dyn Diagnose>,
    #[cfg(target_os = "linux")]
    liveness: Option<Arc<dyn Liveness>>,
    caveat: Option<String>,
    in_process: bool,
}

/// A lock whose store sees that a holder's process died.
#[cfg(target_os = "linux")]
pub(crate) trait Liveness: Send + Sync {
    /// See [`Opened::liveness`].
    fn liveness(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Error>;
}

/// A lock that was found: see [`list`](crate::doctor::list).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The lock, for people: its URL without secrets.
    pub name: String,
    /// The result of one read. A lock that cannot be read does not keep the others from being
    /// listed.
    pub observed: Result<Observed, Error>,
}

/// The URL of a lock in one particular store, parsed. A store has one such type, which the table of
/// schemes names.
#[async_trait]
pub(crate) trait StoreUrl: Send + Sync {
    /// Opens the lock, and contacts nobody.
    async fn open(self: Box<Self>) -> Result<Opened, Error>;

    /// The name and the abilities of the lock, for a host that may have no access to the store.
    async fn imagined(self: Box<Self>) -> Result<(String, Capabilities), Error> {
        let lock = self.open().await?.lock;
        Ok((lock.name().to_owned(), lock.capabilities()))
    }

    /// The locks in the place that the URL names.
    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error>;

    /// Removes a scratch lock that this process named, whatever is stored there.
    async fn remove_scratch(self: Box<Self>) -> Result<(), Error> {
        // The store keeps nothing of a lock that nobody holds.
        Ok(())
    }
}

impl Opened {
    pub(crate) fn new(lock: impl Diagnose) -> Self {
        Self {
            lock: Arc::new(lock),
            #[cfg(target_os = "linux")]
            liveness: None,
            caveat: None,
            in_process: false,
        }
    }

    /// A lock whose store sees deaths. The caveat is about who shares the lock.
    #[cfg(all(feature = "file", target_os = "linux"))]
    pub(crate) fn that_sees_deaths(
        lock: Arc<impl Diagnose + Liveness>,
        caveat: Option<String>,
    ) -> Self {
        Self { liveness: Some(lock.clone()), lock, caveat, in_process: false }
    }

    /// A lock that exists in this process only.
    pub(crate) fn in_this_process(lock: impl Diagnose) -> Self {
        Self { in_process: true, ..Self::new(lock) }
    }

    /// The lock, for an elector or an observer.
    #[must_use]
    pub fn lock(&self) -> Arc<dyn LockBackend> {
        self.lock.clone()
    }

    /// The lock, to be examined.
    #[must_use]
    pub fn diagnose(&self) -> &dyn Diagnose {
        self.lock.as_ref()
    }

    /// Whether the lock exists in this process only, so that it elects among nobody else.
    #[must_use]
    pub fn is_in_process(&self) -> bool {
        self.in_process
    }

    /// The descriptor that keeps this incarnation alive in the eyes of others on this host for as
    /// long as any copy of it is open. `None` if the store does not see deaths. A guard of child
    /// processes holds a copy, so that the lock is not free while they run.
    ///
    /// # Errors
    /// There is no such descriptor although the store sees deaths: children must not run, since
    /// others could lead the moment this process is killed.
    #[cfg(target_os = "linux")]
    pub fn liveness(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Error> {
        let Some(lock) = &self.liveness else { return Ok(None) };
        let missing =
            || Error::new(ErrorKind::Unavailable, "guard the term", "there is no liveness file");
        lock.liveness(incarnation)?.ok_or_else(missing).map(Some)
    }

    /// Logs once in a process that others may see another lock at the same place.
    pub(crate) fn warn(&self) {
        if let Some(caveat) = &self.caveat {
            WARNED.call_once(|| {
                tracing::warn!(event = "lock-not-shared", lock = self.lock.name(), "{caveat}");
            });
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("lock", &self.lock).finish_non_exhaustive()
    }
}
