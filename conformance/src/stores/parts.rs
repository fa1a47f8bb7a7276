//! The parts that a target may have beyond opening locks. A case that needs one which is not there
//! is not applicable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::timing::Clock;
use leasehold::{Error, Token};

#[cfg(feature = "servers")]
use crate::fixture::{Disk, Fixture, Wish};
use crate::link::Network;

/// An administrator.
#[async_trait]
pub trait Administrator: Send + Sync {
    /// Deletes the lock.
    ///
    /// # Errors
    /// Why it cannot be deleted.
    async fn delete(&self, lock: &str) -> Result<(), String>;
}

/// The bytes that are stored for a lock.
#[async_trait]
pub trait Bytes: Send + Sync {
    /// Stores these in the lock's place, as a program that knows nothing of us does.
    ///
    /// # Errors
    /// The store failed.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String>;

    /// The text that the store's own tool shows of the lock.
    ///
    /// # Errors
    /// The store failed, or nothing is there.
    async fn show(&self, lock: &str) -> Result<String, String>;
}

/// Backups of what is stored.
#[async_trait]
pub trait Backups: Send + Sync {
    /// Keeps what the store holds now for this lock; the closure puts it back.
    ///
    /// # Errors
    /// The store failed.
    async fn back_up(&self, lock: &str) -> Result<Restore, String>;
}

/// Puts a backup back.
pub type Restore = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// A store that may go back.
pub trait GoesBack: Send + Sync {
    /// Takes back the last changes of this lock, as a promotion does of a replica that missed them.
    ///
    /// # Errors
    /// The lock is not there.
    fn go_back(&self, lock: &str, changes: usize) -> Result<(), String>;
}

/// How far a watch can resume, and what makes the store forget the rest.
#[derive(Clone, Copy)]
pub enum WatchHistory<'a> {
    /// The store forgets by itself, after some hundred changes.
    Short,
    /// Only a restart of a server makes it forget.
    UntilRestart,
    /// An administrator makes it forget.
    Compacted(&'a dyn Compaction),
    /// Nothing here makes it forget, for this reason.
    Kept(&'static str),
}

impl fmt::Debug for WatchHistory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "Short",
            Self::UntilRestart => "UntilRestart",
            Self::Compacted(_) => "Compacted",
            Self::Kept(_) => "Kept",
        })
    }
}

/// Makes a store forget.
#[async_trait]
pub trait Compaction: Send + Sync {
    /// From now on no watch of this lock resumes from before.
    ///
    /// # Errors
    /// The store failed.
    async fn compact(&self, lock: &str) -> Result<(), String>;
}

/// A coordinator of the store's own.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// Hands the lock to it: from then on it chooses who holds the lock.
    ///
    /// # Errors
    /// The store failed, or its coordinator is switched off.
    async fn coordinate(&self, lock: &str) -> Result<(), String>;
}

/// Data in the store that a write can guard by the lock.
#[async_trait]
pub trait Guard: Send + Sync {
    /// For a term of this token that leads now: a way to write data next to the lock, which the
    /// store lets in only while the lock still is this very term's.
    ///
    /// # Errors
    /// The store failed, or no such term leads.
    async fn guarded(&self, lock: &str, token: Token) -> Result<Box<dyn Guarded>, String>;
}

/// Writes of one term to data next to its lock.
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

/// Networks between candidates and the store.
#[async_trait]
pub trait Networks: Send + Sync {
    /// The lock over a network of the candidate's own, which can fail.
    ///
    /// # Errors
    /// As [`Target::open`](super::Target::open), or there is no port.
    async fn open_apart(
        &self,
        lock: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn LockBackend>, Network), Error>;

    /// Whether a connection begins with an answer that comes before the first request, such as that
    /// to a login: cut there, the request never leaves.
    fn answers_first(&self) -> bool {
        true
    }

    /// The time for which the store would still keep what is held if nothing came any more: in
    /// whole seconds, rounded down.
    ///
    /// # Errors
    /// The store failed.
    async fn left(&self, lock: &str) -> Result<Duration, String>;
}

/// Disks of their own for locks that are files.
#[cfg(feature = "servers")]
pub trait Disks: Send + Sync {
    /// This lock again, as a URL, on a disk that can be filled and can lose power.
    ///
    /// # Errors
    /// There is no such disk.
    fn on_disk(&self, lock: &str) -> Result<(Disk, String), String>;
}

/// Servers that the suite starts.
#[cfg(feature = "servers")]
#[async_trait]
pub trait Servers: Send + Sync {
    /// Servers of the case's own, of the kind that this target has.
    ///
    /// # Errors
    /// They do not start.
    async fn start(&self, wish: Wish) -> Result<Box<dyn Fixture>, String>;
}
