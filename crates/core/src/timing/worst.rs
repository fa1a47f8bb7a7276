//! What follows from a timing for people: how long nobody may lead, and what it costs in requests.

use std::time::Duration;

use super::Timing;

/// How a store tells of changes, and whose clock ends a lease: what the worst cases depend on
/// beside the timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTraits {
    /// Changes are pushed.
    pub push: bool,
    /// The store's own clock ends leases.
    pub by_server: bool,
}

/// The longest times without a leader, beside two round trips and, where the store ends leases,
/// what it takes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaderless {
    /// After a release.
    pub clean_stop: Duration,
    /// After a crash.
    pub crash: Duration,
    /// After a crash, where the follower's watch was silently dead before. `None` without a watch.
    pub crash_with_dead_watch: Option<Duration>,
}

/// Requests in a span of time in which nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRate {
    /// Renewals by the leader.
    pub writes: u64,
    /// Reads by each follower.
    pub reads: u64,
}

impl Timing {
    /// The longest times without a leader.
    #[must_use]
    pub fn leaderless(&self, store: StoreTraits) -> Leaderless {
        let (bounds, lease) = (self.bounds(), self.lease_duration);
        match store {
            StoreTraits { push: true, by_server: false } => Leaderless {
                clean_stop: Duration::ZERO,
                crash: bounds.crash,
                crash_with_dead_watch: Some(bounds.crash_with_dead_watch),
            },
            // It sees the last sign of life up to a poll late, and a release as well.
            StoreTraits { push: false, by_server: false } => {
                let poll = self.poll_period(lease);
                Leaderless {
                    clean_stop: poll,
                    crash: bounds.crash + poll + self.request_timeout,
                    crash_with_dead_watch: None,
                }
            }
            StoreTraits { push, by_server: true } => {
                let read = self.reads_every(store) + self.request_timeout;
                Leaderless {
                    clean_stop: if push { Duration::ZERO } else { read },
                    crash: if push { lease } else { lease + read },
                    crash_with_dead_watch: push.then(|| lease + read),
                }
            }
        }
    }

    /// Requests in `span` while one leads and nothing goes wrong, rounded up.
    #[must_use]
    pub fn requests(&self, store: StoreTraits, span: Duration) -> RequestRate {
        let times = |every: Duration| {
            u64::try_from(span.as_nanos().div_ceil(every.as_nanos().max(1))).unwrap_or(u64::MAX)
        };
        let (every, writes) = (self.reads_every(store), times(self.retry_period));
        // Every sign of life that is pushed puts the read off.
        let between = (self.retry_period.as_nanos().saturating_sub(1)) / every.as_nanos().max(1);
        let between = u64::try_from(between).unwrap_or(u64::MAX);
        let reads = match store {
            StoreTraits { push: true, by_server: false } => writes.saturating_mul(between),
            _ => times(every),
        };
        RequestRate { writes, reads }
    }

    /// How long a follower hears nothing before it reads.
    pub(crate) fn reads_every(&self, store: StoreTraits) -> Duration {
        match store {
            StoreTraits { push: true, by_server: true } => self.lease_duration,
            StoreTraits { push: true, by_server: false } => self.silence(),
            StoreTraits { push: false, .. } => self.poll_period(self.lease_duration),
        }
    }

    /// How often a follower without push reads: often enough for the holder's lease, if that is
    /// short.
    pub(crate) fn poll_period(&self, holders_lease: Duration) -> Duration {
        let least = self.retry_period.min(Duration::from_millis(100));
        (holders_lease / 3).clamp(least, self.retry_period)
    }
}
