//! The lock in memory, in virtual time: the reference of what every case means.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use leasehold::backend::{LockBackend, Push};
use leasehold::testing::MemoryLock;
use leasehold::timing::Clock;
use leasehold::{Builder, Error};

use super::Store;
use super::parts::{Administrator, GoesBack};
use super::target::Target;

pub(super) const STORES: &[Store] = &[
    Store {
        backend: "memory",
        names: &["memory"],
        by_default: true,
        expected: include_str!("expected.toml"),
        leaves_out: None,
        start: || Ok(Arc::new(MemoryTarget::new())),
    },
    Store {
        backend: "memory-server",
        names: &["memory-server"],
        by_default: true,
        expected: include_str!("expected-server.toml"),
        leaves_out: None,
        start: || Ok(Arc::new(MemoryTarget::with_server_expiry())),
    },
    Store {
        backend: "memory-poll",
        names: &["memory-poll"],
        by_default: true,
        expected: include_str!("expected-poll.toml"),
        leaves_out: None,
        start: || Ok(Arc::new(MemoryTarget::polled())),
    },
    Store {
        backend: "memory-forgets",
        names: &["memory-forgets"],
        by_default: true,
        expected: include_str!("expected-forgets.toml"),
        leaves_out: None,
        start: || Ok(Arc::new(MemoryTarget::forgetful())),
    },
];

/// Puts something between a candidate and the store; for deliberate defects.
pub type Wrap = Box<dyn Fn(Arc<dyn LockBackend>) -> Arc<dyn LockBackend> + Send + Sync>;

/// The mode of the locks.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Pushed,
    ServerExpiry,
    Polled,
    Forgetful,
}

/// Locks in memory.
pub struct MemoryTarget {
    mode: Mode,
    wrap: Option<Wrap>,
    tune: Option<Box<dyn Fn(Builder) -> Builder + Send + Sync>>,
    locks: Mutex<HashMap<String, MemoryLock>>,
}

impl MemoryTarget {
    /// Locks whose candidates count the lease themselves.
    #[must_use]
    pub fn new() -> Self {
        Self { mode: Mode::Pushed, wrap: None, tune: None, locks: Mutex::default() }
    }

    /// Locks that the store's own clock frees.
    #[must_use]
    pub fn with_server_expiry() -> Self {
        Self { mode: Mode::ServerExpiry, ..Self::new() }
    }

    /// Locks whose changes nobody pushes, as those of an object store: they are seen by reading.
    #[must_use]
    pub fn polled() -> Self {
        Self { mode: Mode::Polled, ..Self::new() }
    }

    /// Locks that may go back to an older state, as those of a store that replicates
    /// asynchronously. A push only hints at a change, and a fresh name is waited out for a lease.
    #[must_use]
    pub fn forgetful() -> Self {
        Self { mode: Mode::Forgetful, ..Self::new() }
    }

    /// The same, with something between every candidate and the store.
    #[must_use]
    pub fn wrapped(self, wrap: Wrap) -> Self {
        Self { wrap: Some(wrap), ..self }
    }

    /// The same, with candidates that are built differently.
    #[must_use]
    pub fn tuned(self, tune: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        Self { tune: Some(Box::new(tune)), ..self }
    }

    fn lock(&self, name: &str, clock: &Arc<dyn Clock>) -> MemoryLock {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let lock = MemoryLock::builder(name);
            match self.mode {
                Mode::Pushed => lock.build(),
                Mode::ServerExpiry => lock.server_expiry(Shared(clock.clone())).build(),
                Mode::Polled => lock.push(Push::None).build(),
                Mode::Forgetful => lock.push(Push::Hint).forgets().build(),
            }
        };
        locks.entry(name.to_owned()).or_insert_with(make).clone()
    }
}

impl Default for MemoryTarget {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Target for MemoryTarget {
    fn backend(&self) -> &str {
        match self.mode {
            Mode::Pushed => "memory",
            Mode::ServerExpiry => "memory-server",
            Mode::Polled => "memory-poll",
            Mode::Forgetful => "memory-forgets",
        }
    }

    fn virtual_time(&self) -> bool {
        true
    }

    async fn open(
        &self,
        lock: &str,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn LockBackend>, Error> {
        let lock: Arc<dyn LockBackend> = Arc::new(self.lock(lock, clock));
        Ok(match &self.wrap {
            Some(wrap) => wrap(lock),
            None => lock,
        })
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn goes_back(&self) -> Option<&dyn GoesBack> {
        matches!(self.mode, Mode::Forgetful).then_some(self as &dyn GoesBack)
    }

    fn tune(&self, builder: Builder) -> Builder {
        match &self.tune {
            Some(tune) => tune(builder),
            None => builder,
        }
    }
}

#[async_trait]
impl Administrator for MemoryTarget {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(lock).ok_or("nobody has opened it")?.delete();
        Ok(())
    }
}

impl GoesBack for MemoryTarget {
    fn go_back(&self, lock: &str, changes: usize) -> Result<(), String> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.get(lock).ok_or("nobody has opened it")?.go_back(changes);
        Ok(())
    }
}

impl fmt::Debug for MemoryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.backend())
    }
}

/// A clock behind a pointer.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Arc<dyn Clock>);

impl Clock for Shared {
    fn now(&self) -> leasehold::timing::Time {
        self.0.now()
    }

    fn wall(&self) -> leasehold::timing::Wall {
        self.0.wall()
    }

    fn sleep_until(
        &self,
        at: leasehold::timing::Time,
    ) -> leasehold::timing::BoxFuture<'static, ()> {
        self.0.sleep_until(at)
    }
}
