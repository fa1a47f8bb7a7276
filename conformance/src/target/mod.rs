//! What is tested: a store, and how a case gets candidates for its locks.

#[cfg(feature = "servers")]
mod etcd;
mod file;
mod memory;
mod url;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use leasehold::{Builder, Clock, Error, LockBackend};

#[cfg(feature = "servers")]
pub use etcd::EtcdTarget;
pub use file::FileTarget;
pub use memory::{MemoryTarget, Wrap};
pub use url::{UrlTarget, parse_url, with_suffix};

/// A store under test. One value serves a whole run; every case uses lock names of its own.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync {
    /// The backend's name in `expected/`.
    fn backend(&self) -> &str;

    /// Whether time is simulated: the store and its candidates do nothing outside the case's own thread.
    fn virtual_time(&self) -> bool {
        false
    }

    /// Whether the store's own clock frees a lock.
    fn by_server(&self) -> bool {
        false
    }

    /// Whether the store knows that a holder's process is gone, and then frees its lock at once.
    fn knows_deaths(&self) -> bool {
        false
    }

    /// The lock of that name, as one more candidate opens it. `clock` is the case's.
    ///
    /// # Errors
    /// The store refuses such a name, or cannot be opened.
    async fn open(&self, lock: &str, clock: &Arc<dyn Clock>)
    -> Result<Arc<dyn LockBackend>, Error>;

    /// The lock's URL, for candidates in processes of their own. `None`: only this process reaches it.
    fn url(&self, lock: &str) -> Option<String> {
        let _ = lock;
        None
    }

    /// Deletes the lock as an administrator does.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn delete(&self, lock: &str) -> Result<(), String> {
        let _ = lock;
        Err("nothing here deletes as an administrator does".to_owned())
    }

    /// Stores these bytes in the lock's place, as a program that knows nothing of us does.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        let _ = (lock, bytes);
        Err("nothing here stores foreign bytes".to_owned())
    }

    /// What the store's own tool shows of the lock.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn show(&self, lock: &str) -> Result<String, String> {
        let _ = lock;
        Err("the store has no tool of its own".to_owned())
    }

    /// Makes the store forget what a watch could resume from, where it does not by itself after some hundred changes.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn forget_history(&self, lock: &str) -> Result<(), String> {
        let _ = lock;
        Ok(())
    }

    /// Keeps what the store holds now for this lock; the closure puts it back.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn back_up(&self, lock: &str) -> Result<Restore, String> {
        let _ = lock;
        Err("the store keeps no backup".to_owned())
    }

    /// The last say on a candidate before it is built; for deliberate defects.
    fn tune(&self, builder: Builder) -> Builder {
        builder
    }
}

/// Puts a backup back.
pub type Restore = Box<dyn FnOnce() -> Result<(), String> + Send>;
