//! The bounds of a case: they follow from the timing of the candidates and the abilities of the
//! store.

use std::time::Duration;

use leasehold::backend::{Capabilities, Push};
use leasehold::timing::Timing;

use super::waiting::LOOK;
use super::{LEASE, World};

/// The most that a slow host adds to any bound, where time is real.
const SLACK: Duration = Duration::from_millis(600);

/// The most that two round trips and a few tasks take where nothing has to be waited for.
pub const AT_ONCE: Duration = Duration::from_millis(200);

/// The most that a store adds that ends leases itself: etcd looks every 500 ms, and grants whole
/// seconds.
const STORE_LOOKS: Duration = Duration::from_millis(700);

impl World {
    /// The abilities of the store.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the store's own clock frees a lock.
    #[must_use]
    pub fn by_server(&self) -> bool {
        self.capabilities.ends_leases()
    }

    /// Whether changes are pushed. Where they are not, a follower learns of them by its next read.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.capabilities.push != Push::None
    }

    /// The longest time from a crash until another leads, beside what the host may add.
    #[must_use]
    pub fn failover(&self) -> Duration {
        self.failover_of(&self.timing())
    }

    /// The same, for candidates of this timing.
    #[must_use]
    pub fn failover_of(&self, timing: &Timing) -> Duration {
        let looks = if self.by_server() { STORE_LOOKS } else { Duration::ZERO };
        timing.leaderless(self.capabilities.traits()).crash + looks
    }

    /// The longest time from a release until another leads who waits for it.
    #[must_use]
    pub fn hand_over(&self) -> Duration {
        AT_ONCE + self.sees()
    }

    /// The longest time until a follower reads what changed: none where changes are pushed.
    #[must_use]
    pub fn sees(&self) -> Duration {
        self.timing().leaderless(self.capabilities.traits()).clean_stop
    }

    /// The longest time until somebody leads on a lock that nobody ever held, or that was deleted:
    /// on a store that may have forgotten a holder, a lease is waited out first.
    #[must_use]
    pub fn fresh(&self) -> Duration {
        LEASE + self.distrust(&self.timing())
    }

    /// The part of [`fresh`](Self::fresh) that only a store which may forget adds, for this timing.
    #[must_use]
    pub fn distrust(&self, timing: &Timing) -> Duration {
        match self.capabilities.forgets {
            true => Timing::wait(timing.lease_duration()) + timing.max_jitter(),
            false => Duration::ZERO,
        }
    }

    /// The longest time in which an observer or follower that hears nothing reads again, and knows.
    #[must_use]
    pub fn notices(&self, timing: &Timing) -> Duration {
        let every = match (self.pushes(), self.by_server()) {
            (true, true) => timing.lease_duration(),
            (true, false) => timing.lease_duration() / 3,
            (false, _) => timing.retry_period(),
        };
        every + timing.request_timeout()
    }

    /// The longest time until an observer reads again where nothing is pushed. It has the store's
    /// own timing.
    #[must_use]
    pub fn observers_read(&self) -> Duration {
        let timing = self.capabilities.default_timing.build();
        self.notices(&timing.expect("the timing of a store is valid"))
    }

    /// The longest time until an observer is told of a leader.
    #[must_use]
    pub fn told(&self) -> Duration {
        if self.pushes() { LEASE / 3 } else { self.observers_read() }
    }

    /// The most that a slow host adds to a bound.
    #[must_use]
    pub fn slack(&self) -> Duration {
        if self.target.virtual_time() { 2 * LOOK } else { SLACK }
    }
}
