//! Locks that somebody held before.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use leasehold::backend::{Change, Intent, LockBackend, Record};
use leasehold::timing::Timing;

use super::World;
use crate::hand::record_of;
use crate::verdict::Problem;

/// Which locks of a case are ready.
#[derive(Debug, Default)]
pub(super) struct Ready {
    locks: RefCell<BTreeSet<String>>,
    /// None is made so.
    left_out: Cell<bool>,
}

impl World {
    /// From here on locks stay as they are: the case is about one that nobody ever held.
    pub fn keep_fresh(&self) {
        self.ready.left_out.set(true);
    }

    /// Lets the lock be taken at once, as after a release. Where a store may have forgotten who
    /// led, a lease passes before somebody leads on a lock that nobody ever held; the suite knows
    /// that nobody did, and few cases are about that. Virtual time costs nothing, so there all of
    /// them are.
    pub async fn make_ready(&self, lock: &str) {
        if !self.makes_ready() || !self.ready.locks.borrow_mut().insert(lock.to_owned()) {
            return;
        }
        // A store that cannot be reached or refuses this shows it to the case, too.
        if let Ok(store) = self.target.open(lock, &self.clock).await {
            let _ = released(&store).await;
        }
    }

    fn makes_ready(&self) -> bool {
        self.capabilities.forgets && !self.target.virtual_time() && !self.ready.left_out.get()
    }

    /// The longest that a candidate of this timing waits before it takes a lock of the case's for
    /// the first time.
    #[must_use]
    pub fn waits_first(&self, timing: &Timing) -> Duration {
        if self.makes_ready() { Duration::ZERO } else { self.distrust(timing) }
    }

    /// Makes many locks ready, all at once.
    ///
    /// # Errors
    /// One cannot be reached, or refuses.
    pub async fn ready_all(&self, stores: &[Arc<dyn LockBackend>]) -> Result<(), Problem> {
        if self.makes_ready() {
            try_join_all(stores.iter().map(released)).await?;
        }
        Ok(())
    }

    /// Makes the lock of this URL ready, on servers of the case's own.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    pub async fn ready_at(&self, url: &str) -> Result<(), Problem> {
        match self.capabilities.forgets {
            true => Ok(released(&leasehold::connect(url).await?).await?),
            false => Ok(()),
        }
    }
}

/// Stores that nobody holds it, if nothing is stored.
async fn released(store: &Arc<dyn LockBackend>) -> Result<(), leasehold::Error> {
    let seen = store.read().await?;
    if seen.version.is_absent() {
        let record = Record { holder: None, ..record_of("nobody", 1) };
        store.write(&seen.version, &Change { intent: Intent::Release, record }).await?;
    }
    Ok(())
}
