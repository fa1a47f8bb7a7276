//! A store under test: how a case gets candidates for its locks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::timing::Clock;
use leasehold::{Builder, Error};

use super::parts::{
    Administrator, Backups, Bytes, Coordinator, GoesBack, Guard, Networks, WatchHistory,
};
#[cfg(feature = "servers")]
use super::parts::{Disks, Servers};

/// A store under test. One value serves a whole run; every case uses lock names of its own.
///
/// A name and a way to open a lock are enough: a case that needs more asks for it, and is not
/// applicable where the target has no such thing. Whose clock ends a lease, whether changes are
/// pushed and whether the store may forget, the cases learn from the
/// [`capabilities`](LockBackend::capabilities) of the lock.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync {
    /// The store's name: by it the suite finds what is expected.
    fn backend(&self) -> &str;

    /// The lock of that name, as one more candidate opens it. `clock` is the case's.
    ///
    /// # Errors
    /// The store refuses such a name, or cannot be opened.
    async fn open(&self, lock: &str, clock: &Arc<dyn Clock>)
    -> Result<Arc<dyn LockBackend>, Error>;

    /// Many locks at once, as one application opens them: over connections that they share, where a
    /// store has any.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    async fn open_many(
        &self,
        locks: &[String],
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn LockBackend>>, Error> {
        let mut opened = Vec::new();
        for lock in locks {
            opened.push(self.open(lock, clock).await?);
        }
        Ok(opened)
    }

    /// The lock's URL, for candidates in processes of their own. `None`: only this process reaches
    /// it.
    fn url(&self, lock: &str) -> Option<String> {
        let _ = lock;
        None
    }

    /// The command `leasehold`, for cases about the processes that it starts.
    fn command(&self) -> Option<PathBuf> {
        crate::process::command_under_test()
    }

    /// Whether time is simulated: the store and its candidates do nothing outside the case's own
    /// thread.
    fn virtual_time(&self) -> bool {
        false
    }

    /// The last say on a candidate before it is built; for deliberate defects.
    fn tune(&self, builder: Builder) -> Builder {
        builder
    }

    /// An administrator, who may delete a lock.
    fn admin(&self) -> Option<&dyn Administrator> {
        None
    }

    /// The bytes that are stored for a lock.
    fn bytes(&self) -> Option<&dyn Bytes> {
        None
    }

    /// Backups of what is stored.
    fn backups(&self) -> Option<&dyn Backups> {
        None
    }

    /// A store that may go back to an older state.
    fn goes_back(&self) -> Option<&dyn GoesBack> {
        None
    }

    /// How far a watch can resume.
    fn watch_history(&self) -> WatchHistory<'_> {
        WatchHistory::Short
    }

    /// A coordinator of the store's own.
    fn coordinator(&self) -> Option<&dyn Coordinator> {
        None
    }

    /// Data in the store that a write can guard by the lock.
    fn guard(&self) -> Option<&dyn Guard> {
        None
    }

    /// Networks between candidates and the store, which can fail.
    fn networks(&self) -> Option<&dyn Networks> {
        None
    }

    /// Disks of their own for locks that are files.
    #[cfg(feature = "servers")]
    fn disks(&self) -> Option<&dyn Disks> {
        None
    }

    /// Servers that the suite starts: to be killed, and to be given users.
    #[cfg(feature = "servers")]
    fn servers(&self) -> Option<&dyn Servers> {
        None
    }
}
