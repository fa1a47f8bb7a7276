//! What is tested: a store, and how a case gets candidates for its locks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leasehold::{Builder, Clock, Error, LockBackend, Token};

#[cfg(feature = "servers")]
use crate::fixture::{Disk, Fixture, Wish};
use crate::link::Network;

/// A store under test. One value serves a whole run; every case uses lock names of its own.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync {
    /// The store's name: by it the suite finds what is expected.
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

    /// Many locks at once, as one application opens them: over connections that they share, where a store has any.
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

    /// The same as [`open`](Self::open) over a network of the candidate's own, which can fail; without one if this target has none.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    async fn open_apart(
        &self,
        lock: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn LockBackend>, Option<Network>), Error> {
        Ok((self.open(lock, clock).await?, None))
    }

    /// For how long the store would still keep what is held, if nothing came any more: whole seconds, rounded down.
    ///
    /// # Errors
    /// Why it cannot say.
    async fn left(&self, lock: &str) -> Result<Duration, String> {
        let _ = lock;
        Err("the store counts no lease".to_owned())
    }

    /// The lock's URL, for candidates in processes of their own. `None`: only this process reaches it.
    fn url(&self, lock: &str) -> Option<String> {
        let _ = lock;
        None
    }

    /// The command `leasehold`, for cases about the processes that it starts.
    fn command(&self) -> Option<PathBuf> {
        crate::process::command_under_test()
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

    /// Whether only a restart of a server makes it forget what a watch could resume from.
    fn forgets_by_restart(&self) -> bool {
        false
    }

    /// Hands the lock to a coordinator of the store's own, which from then on chooses who holds it.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn coordinate(&self, lock: &str) -> Result<(), String> {
        let _ = lock;
        Err("the store has no coordinator".to_owned())
    }

    /// Keeps what the store holds now for this lock; the closure puts it back.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn back_up(&self, lock: &str) -> Result<Restore, String> {
        let _ = lock;
        Err("the store keeps no backup".to_owned())
    }

    /// For a term of this token that leads now: a way to write data beside the lock, which the store lets in only while
    /// the lock still is this very term's.
    ///
    /// # Errors
    /// Why this cannot be done here.
    async fn guarded(&self, lock: &str, token: Token) -> Result<Box<dyn Guarded>, String> {
        let _ = (lock, token);
        Err("the store holds nothing beside the lock that a write could guard".to_owned())
    }

    /// Whether [`servers`](Self::servers) gives any.
    fn has_servers(&self) -> bool {
        false
    }

    /// This lock again, on a disk that can be filled and can lose power, for a store whose locks are files.
    ///
    /// # Errors
    /// Why there is none.
    #[cfg(feature = "servers")]
    fn on_disk(&self, lock: &str) -> Result<(Disk, String), String> {
        let _ = lock;
        Err("it keeps nothing on a disk of its own".to_owned())
    }

    /// Servers of the case's own, of the kind that this target has: to be killed, and to be given users.
    ///
    /// # Errors
    /// Why there are none.
    #[cfg(feature = "servers")]
    async fn servers(&self, wish: Wish) -> Result<Box<dyn Fixture>, String> {
        let _ = wish;
        Err("it has no servers that the suite could start".to_owned())
    }

    /// The last say on a candidate before it is built; for deliberate defects.
    fn tune(&self, builder: Builder) -> Builder {
        builder
    }
}

/// Writes of one term to data beside its lock.
#[async_trait]
pub trait Guarded: Send + Sync {
    /// Writes this; whether the store let it in.
    ///
    /// # Errors
    /// The store failed.
    async fn write(&self, value: &str) -> Result<bool, String>;

    /// What is stored there now.
    ///
    /// # Errors
    /// The store failed.
    async fn read(&self) -> Result<String, String>;
}

/// Puts a backup back.
pub type Restore = Box<dyn FnOnce() -> Result<(), String> + Send>;
