//! From a seed to a schedule.

use std::time::Duration;

use leasehold_core::Timing;

use crate::case::{CandidateConfig, Case, Fault, Kind};
use crate::draw::{Draws, Purpose};
use crate::store_kind::{Floor, PushKind, StoreKind};

/// How long a schedule lasts, in milliseconds.
pub(crate) const LENGTH_MS: u64 = 30_000;

/// The schedule of a seed.
#[must_use]
pub fn generate(seed: u64) -> Case {
    generate_at(seed, 100)
}

/// The schedule of a seed whose clock rates may differ by this many percent of the bound.
#[must_use]
pub fn generate_at(seed: u64, percent: u32) -> Case {
    let mut draws = Draws::new(seed, 0, Purpose::Config);
    let store = match draws.below(100) {
        0..40 => StoreKind::Observer,
        40..65 => StoreKind::Server,
        65..85 => StoreKind::Forgets,
        _ => StoreKind::Passed,
    };
    let push = match draws.below(10) {
        0..3 => PushKind::None,
        3..6 => PushKind::Hint,
        _ => PushKind::Resumable,
    };
    let floor = match store {
        StoreKind::Server => Floor::Revision,
        StoreKind::Forgets => Floor::Clock,
        StoreKind::Passed => Floor::Carried,
        StoreKind::Observer => {
            *draws.pick(&[Floor::Revision, Floor::Clock, Floor::Carried, Floor::None])
        }
    };
    let count = match draws.below(20) {
        0..8 => 2,
        8..15 => 3,
        15..18 => 4,
        _ => 5,
    };
    let shared = draws.between(1000, 4000);
    let same = store == StoreKind::Forgets || draws.chance(50);
    let mut candidates: Vec<_> = (0..count)
        .map(|node| candidate(seed, node, same.then_some(shared), draws.chance(10)))
        .collect();
    let server_rate = set_rates(&mut candidates, store, percent, &mut draws);
    let shortest = candidates.iter().map(|c| c.request_timeout_ms).min().unwrap_or(1000);
    let slow = draws.chance(25);
    let slowest = if store == StoreKind::Server { 220 } else { 320 };
    let mut case = Case {
        seed,
        store,
        push,
        floor,
        candidates,
        observer: draws.chance(30),
        server_rate,
        // Mostly fast; sometimes a good part of a request timeout is spent on the way. Never all of
        // it, even where a fast clock makes it shorter and a Take goes there twice.
        latency_us: draws.between(100, if slow { slowest } else { 100 } * shortest),
        chaos_ms: 0,
        end_ms: LENGTH_MS,
        faults: Vec::new(),
        mutant: None,
    };
    case.chaos_ms = LENGTH_MS - case.quiet_bound_ms() - 500;
    case.faults = faults(&case);
    case
}

fn candidate(seed: u64, node: usize, lease: Option<u64>, jittered: bool) -> CandidateConfig {
    let mut draws = Draws::new(seed, node + 1, Purpose::Config);
    let lease_duration = lease.unwrap_or_else(|| draws.between(1000, 4000));
    let clock_margin = 250 + draws.below(lease_duration / 10);
    let room = lease_duration - clock_margin;
    let renew_deadline = room * draws.between(45, 100) / 100;
    let stop_grace = match draws.below(2) {
        0 => room - renew_deadline,
        _ => (room - renew_deadline) * draws.below(101) / 100,
    };
    let retry_period = renew_deadline * draws.between(15, 60) / 100;
    let request_timeout =
        ((renew_deadline - retry_period) / 3 * draws.between(25, 100) / 100).max(30);
    CandidateConfig {
        lease_duration_ms: lease_duration,
        renew_deadline_ms: renew_deadline,
        retry_period_ms: retry_period,
        request_timeout_ms: request_timeout,
        stop_grace_ms: stop_grace,
        clock_margin_ms: clock_margin,
        hand_over_jitter_ms: if jittered { draws.below(300) } else { 0 },
        rate: 1_000_000,
        offset_ms: draws.between(1_000_000, 9_000_000),
        start_ms: if draws.chance(70) { draws.below(1000) } else { draws.below(6000) },
    }
}

/// Sets clock rates within the bound and returns the server's.
fn set_rates(
    candidates: &mut [CandidateConfig],
    store: StoreKind,
    percent: u32,
    draws: &mut Draws,
) -> u64 {
    if draws.chance(20) {
        return 1_000_000;
    }
    let ratio = candidates
        .iter()
        .filter_map(|config| config.timing().ok())
        .map(|timing: Timing| match store {
            StoreKind::Server => timing.bounds().store_clock_rate_ratio,
            _ => timing.bounds().clock_rate_ratio,
        })
        .fold(2.0, f64::min)
        * f64::from(percent)
        / 100.0;
    // In millionths, rounded down. Two clocks differ by a factor of 1 at least.
    let root = Duration::from_secs_f64(ratio.max(1.0).sqrt()).as_micros();
    let root = u64::try_from(root).unwrap_or(1_000_000);
    let (low, high) = (1_000_000_000_000 / root + 1, (root - 1).max(1_000_000));
    let opposed = draws.chance(50);
    let mut rate = || match draws.below(4) {
        0 => low,
        1 => high,
        2 if opposed => low,
        3 if opposed => high,
        _ => draws.between(low.min(high), high),
    };
    for config in candidates.iter_mut() {
        config.rate = rate();
    }
    rate()
}

/// The faults of a seed: a random subset of kinds, and up to eight of those; sometimes many more.
fn faults(case: &Case) -> Vec<Fault> {
    let mut draws = Draws::new(case.seed, 0, Purpose::Fault);
    let kinds: Vec<_> =
        Kind::ALL.iter().copied().filter(|kind| kind.suits(case) && draws.chance(35)).collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let lease = case.longest_lease_ms();
    let count = if draws.chance(10) { draws.below(30) } else { draws.below(9) };
    (0..count)
        .map(|_| {
            let kind = *draws.pick(&kinds);
            let node = match draws.below(10) {
                0..5 => None,
                _ => Some(draws.index(case.candidates.len())),
            };
            let for_ms = match draws.below(3) {
                0 => draws.between(5, lease / 4),
                1 => draws.between(lease / 4, lease),
                _ => draws.between(lease / 2, 3 * lease),
            };
            let at_ms = draws.below(case.chaos_ms.saturating_sub(for_ms / 2).max(1));
            Fault { kind, node, at_ms, for_ms, strength: draws.between(20, 100) }
        })
        .collect()
}

impl Kind {
    /// Whether this can happen at such a store.
    #[must_use]
    pub fn suits(self, case: &Case) -> bool {
        let pushes = case.push != PushKind::None;
        match self {
            Self::Foreign => matches!(case.store, StoreKind::Observer | StoreKind::Server),
            // One host has no copies of a process.
            Self::Clone => case.store != StoreKind::Passed,
            Self::AdminLabel => !matches!(case.store, StoreKind::Server),
            Self::AdminFree => case.store != StoreKind::Server,
            Self::Unreadable => case.store == StoreKind::Observer,
            Self::Replaced => matches!(case.store, StoreKind::Observer | StoreKind::Server),
            Self::Restored => matches!(case.store, StoreKind::Observer | StoreKind::Passed),
            Self::WatchSilent | Self::WatchLate | Self::WatchCut => pushes,
            Self::WatchLoss => case.push == PushKind::Hint,
            _ => true,
        }
    }
}

impl Case {
    /// The longest lease duration of a candidate.
    #[must_use]
    pub fn longest_lease_ms(&self) -> u64 {
        self.candidates.iter().map(|c| c.lease_duration_ms).max().unwrap_or(1000)
    }

    /// The longest request timeout of a candidate.
    #[must_use]
    pub(crate) fn longest_timeout_ms(&self) -> u64 {
        self.candidates.iter().map(|c| c.request_timeout_ms).max().unwrap_or(0)
    }

    /// The lease duration of the foreign client.
    #[must_use]
    pub fn foreign_lease_ms(&self) -> u64 {
        self.longest_lease_ms()
    }

    /// Within what time somebody must lead once the faults are over, in milliseconds.
    #[must_use]
    pub fn quiet_bound_ms(&self) -> u64 {
        let slowest = self.candidates.iter().map(|c| c.rate).min().unwrap_or(1_000_000);
        let lease = self.longest_lease_ms();
        let most =
            |f: fn(&CandidateConfig) -> u64| self.candidates.iter().map(f).max().unwrap_or(0);
        let (period, timeout) = (most(|c| c.retry_period_ms), most(|c| c.request_timeout_ms));
        // What a follower waits on its own clock: until it reads, then the lease, then a Take that
        // was lost to somebody who released.
        let looks = if self.store == StoreKind::Server { lease } else { lease / 3 };
        let local = looks + lease + lease / 1000 + 200 + period.max(1000) + 4 * timeout;
        local * 1_000_000 / slowest + lease / 4 + 100
    }
}
