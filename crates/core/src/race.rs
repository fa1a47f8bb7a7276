//! The probe that races: whether a store replaces exactly the version that a write names.
//!
//! One candidate alone cannot tell: a store that ignores the version, or looks at it and then writes, passes every test
//! that asks one question after the other.

use std::time::Duration;

use futures_util::future::join;

use crate::backend::{Change, Expiry, Intent, LockBackend, Observed, Outcome, Version};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::record::{Holder, Incarnation, Nonce, Record};
use crate::runtime::BootClock;
use crate::runtime::random::random;

const RACE: &str = "prove that the store compares and swaps";

/// How long the scratch lock may outlive a probe that is killed.
const LEASE: Duration = Duration::from_secs(10);

/// What a race that the store withstood cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Race {
    /// How often two writes went for one version, and exactly one of them was written.
    pub writes: usize,
    /// How long each Take took that was written.
    pub takes: Vec<Duration>,
    /// How long each release took.
    pub releases: Vec<Duration>,
}

impl Race {
    /// The median of the releases, and that of the takes, for people.
    #[must_use]
    pub fn medians(&self) -> (Duration, Duration) {
        let median = |times: &[Duration]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        (median(&self.releases), median(&self.takes))
    }
}

/// Lets two candidates race for a scratch lock, over connections of their own, so many rounds. Whoever calls removes
/// the lock afterwards, also after an error.
///
/// # Errors
/// `Invalid`: the store does not compare and swap; the text says what it did instead. Others: a request failed, and
/// nothing is known.
pub async fn race(candidates: [&dyn LockBackend; 2], rounds: u64) -> Result<Race, Error> {
    let mut done = Race::default();
    let clock = BootClock::new();
    let seen = candidates[0].read().await?;
    let start = if seen.expiry == Expiry::ByServer || !seen.version.is_absent() {
        seen
    } else {
        let [one, other] = [change(Intent::Adopt, 0, 0), change(Intent::Adopt, 0, 1)];
        let (_, adopted) = contend(candidates, &seen.version, [&one, &other]).await?;
        done.writes += 1;
        adopted
    };
    let floor = start.token_floor.max(start.record().map(|record| record.token)).unwrap_or(0);
    let mut before = start.version;
    for round in 1..=rounds {
        let token = floor.saturating_add(round);
        let both = [change(Intent::Take, token, 0), change(Intent::Take, token, 1)];
        let began = clock.now();
        let (winner, taken) = contend(candidates, &before, [&both[0], &both[1]]).await?;
        done.takes.push(clock.now().since(began));
        done.writes += 1;
        let loser = candidates[1 - winner];
        stands(loser, &both[winner]).await?;
        // The version that both named is gone: nobody may write over it any more.
        if let Outcome::Written(_) = loser.write(&before, &both[1 - winner]).await? {
            return Err(broken("a write over a version that was replaced long ago was accepted"));
        }
        stands(loser, &both[winner]).await?;
        let record = Record { holder: None, nonce: nonce(), ..both[winner].record.clone() };
        let release = Change { intent: Intent::Release, record };
        let began = clock.now();
        let released = candidates[winner].write(&taken.version, &release).await?;
        done.releases.push(clock.now().since(began));
        before = match released {
            Outcome::Written(observed) => observed.version,
            Outcome::Conflict => return Err(broken("the holder could not release what it took")),
        };
    }
    Ok(done)
}

/// Both write over one version at once. Who was written, and what is there now.
async fn contend(
    candidates: [&dyn LockBackend; 2],
    over: &Version,
    changes: [&Change; 2],
) -> Result<(usize, Observed), Error> {
    let [one, other] = candidates;
    match join(one.write(over, changes[0]), other.write(over, changes[1])).await {
        (Ok(Outcome::Written(_)), Ok(Outcome::Written(_))) => Err(broken(
            "two writes over one version were both acknowledged: two would lead at once",
        )),
        (Ok(Outcome::Written(observed)), Ok(Outcome::Conflict)) => Ok((0, observed)),
        (Ok(Outcome::Conflict), Ok(Outcome::Written(observed))) => Ok((1, observed)),
        (Ok(Outcome::Conflict), Ok(Outcome::Conflict)) => Err(broken(
            "of two writes over the present version neither was accepted: nobody could lead",
        )),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// What was acknowledged must be what the other one reads.
async fn stands(reader: &dyn LockBackend, change: &Change) -> Result<(), Error> {
    let observed = reader.read().await?;
    if observed.record().is_some_and(|record| record.nonce == change.record.nonce) {
        return Ok(());
    }
    Err(broken("a write was acknowledged, and a read after it shows something else"))
}

fn change(intent: Intent, token: u64, candidate: u128) -> Change {
    let holder = Holder {
        identity: format!("probe {candidate}"),
        incarnation: Some(Incarnation(random())),
        advertise: None,
    };
    let now = BootClock::new().wall();
    let record = Record {
        holder: (intent == Intent::Take).then_some(holder),
        token,
        lease_duration: LEASE,
        nonce: nonce(),
        acquired: now,
        renewed: now,
        extra: serde_json::Map::new(),
    };
    Change { intent, record }
}

fn nonce() -> Nonce {
    Nonce(random())
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, RACE, format!("{why}; use another store"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::backend::Capabilities;
    use crate::runtime::memory::MemoryLock;

    /// How a store may get it wrong.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Defect {
        /// The version is not looked at.
        Blind,
        /// It is looked at, and then written in a second step.
        TwoSteps,
        /// Nothing is ever written.
        Refuses,
        /// It is acknowledged and not stored.
        Loses,
        /// A version that is gone is written over, unless it was gone only just now.
        Late,
    }

    #[derive(Debug)]
    struct Broken {
        lock: MemoryLock,
        defect: Defect,
        count: AtomicUsize,
    }

    #[async_trait]
    impl LockBackend for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn capabilities(&self) -> Capabilities {
            self.lock.capabilities()
        }

        async fn read(&self) -> Result<Observed, Error> {
            self.lock.read().await
        }

        async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
            let present = self.lock.read().await?.version;
            match self.defect {
                Defect::Blind => self.lock.write(&present, change).await,
                Defect::TwoSteps if present == *expected => {
                    tokio::task::yield_now().await;
                    let present = self.lock.read().await?.version;
                    self.lock.write(&present, change).await
                }
                Defect::Refuses => Ok(Outcome::Conflict),
                Defect::Loses if present == *expected && change.intent == Intent::Take => {
                    Ok(match self.count.fetch_add(1, Ordering::Relaxed) {
                        0 => Outcome::Written(self.lock.read().await?),
                        _ => Outcome::Conflict,
                    })
                }
                // Right in both races, and wrong for who comes late.
                Defect::Late if present != *expected => {
                    match self.count.fetch_add(1, Ordering::Relaxed) {
                        0 | 1 => Ok(Outcome::Conflict),
                        _ => self.lock.write(&present, change).await,
                    }
                }
                Defect::TwoSteps | Defect::Loses | Defect::Late => {
                    self.lock.write(expected, change).await
                }
            }
        }
    }

    async fn raced(defect: Defect) -> String {
        let (lock, count) = (MemoryLock::new("m"), AtomicUsize::new(0));
        let broken = Broken { lock, defect, count };
        let error = race([&broken, &broken], 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{defect:?}: {error}");
        error.to_string()
    }

    #[tokio::test]
    async fn stores_that_do_not_compare_and_swap_are_found() {
        for (defect, says) in [
            (Defect::Blind, "both acknowledged"),
            (Defect::TwoSteps, "both acknowledged"),
            (Defect::Refuses, "neither was accepted"),
            (Defect::Loses, "shows something else"),
            (Defect::Late, "replaced long ago"),
        ] {
            let text = raced(defect).await;
            assert!(text.contains(says), "{defect:?}: {text}");
        }
    }

    #[tokio::test]
    async fn one_that_does_withstands_every_round() {
        let lock = MemoryLock::new("m");
        let done = race([&lock, &lock], 4).await.unwrap();
        assert_eq!((done.writes, done.takes.len(), done.releases.len()), (5, 4, 4));
        let served = MemoryLock::with_server_expiry("s", BootClock::new());
        assert_eq!(race([&served, &served], 4).await.unwrap().writes, 4);
        // What is there already is raced over as well.
        assert_eq!(race([&lock, &lock], 1).await.unwrap().writes, 1);
    }
}
