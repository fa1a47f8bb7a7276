//! The probe that races: whether a store replaces exactly the version that a write names.
//!
//! One candidate alone cannot tell: a store that ignores the version, or looks at it and then
//! writes, passes every test that asks one question after the other.

use std::time::Duration;

use futures_util::future::join_all;
use leasehold_core::{
    BootClock, Change, Clock, Error, ErrorKind, Expiry, Holder, Incarnation, Intent, LockBackend,
    Nonce, Observed, Outcome, Record, Version,
};

use crate::random::random_nonce;

const RACE: &str = "prove that the store compares and swaps";

/// How long the scratch lock may outlive a probe that is killed.
const LEASE: Duration = Duration::from_secs(10);

/// How often in a row nobody may win: a store may refuse all that come at once, or fail over.
const TRIES: u32 = 5;

/// The pause after the first round that nobody won. Each further one is longer by as much.
const PAUSE: Duration = Duration::from_millis(50);

/// The cost of a race that the store withstood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Race {
    /// The number of candidates.
    pub candidates: usize,
    /// How often all wrote over one version, and exactly one of them was written.
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

/// Lets candidates race for a scratch lock, each over connections of its own, for so many rounds.
/// The caller removes the lock afterwards, also after an error. Only reads and writes: needs no
/// push.
///
/// A state that the store may have gone back to ([`Expiry::Suspended`]) is adopted before anybody
/// takes. A write whose outcome is unknown, and a round that nobody won, are settled by reading.
///
/// # Errors
/// `Invalid`: the store does not compare and swap, and the text says what it did instead; or there
/// are fewer than two candidates. Others: a request failed, and nothing is known.
pub async fn race(candidates: &[&dyn LockBackend], rounds: u64) -> Result<Race, Error> {
    if candidates.len() < 2 {
        return Err(Error::new(ErrorKind::Invalid, RACE, "a race needs two candidates"));
    }
    let probe = Probe { candidates, clock: BootClock::new() };
    let mut done = Race { candidates: candidates.len(), ..Race::default() };
    let mut before = probe.open(candidates[0].read().await?, &mut done).await?;
    for round in 0..rounds {
        before = probe.round(before, round, &mut done).await?;
    }
    Ok(done)
}

struct Probe<'a> {
    candidates: &'a [&'a dyn LockBackend],
    clock: BootClock,
}

/// The winner of a round, and what is stored now.
struct Won {
    at: usize,
    change: Change,
    observed: Observed,
}

/// What is there after a round that nobody won, and the reason as far as it is known.
struct Nobody {
    seen: Observed,
    why: Error,
}

impl Probe<'_> {
    /// All take at once, nobody may write over what the winner replaced, and the winner releases.
    async fn round(
        &self,
        before: Observed,
        round: u64,
        done: &mut Race,
    ) -> Result<Observed, Error> {
        let (replaced, won) = self.take(before, done).await?;
        let turn = usize::try_from(round).unwrap_or(0) % (self.candidates.len() - 1);
        let loser = self.candidates[(won.at + 1 + turn) % self.candidates.len()];
        stands(loser, &won.change).await?;
        // The version that all named is gone.
        let late = change(Intent::Take, won.change.record.token, self.candidates.len())?;
        if let Ok(Outcome::Written(_)) = write(loser, &replaced, &late).await? {
            return Err(broken("a write over a version that was replaced long ago was accepted"));
        }
        stands(loser, &won.change).await?;
        self.release(won, done).await
    }

    /// The version that a Take replaced, and who took.
    async fn take(&self, mut before: Observed, done: &mut Race) -> Result<(Version, Won), Error> {
        let mut tries = 0;
        loop {
            let known = before.token_floor.max(before.record().map(|record| record.token));
            let token = known.unwrap_or(0).saturating_add(1);
            let began = self.clock.now();
            match self.contend(&before, Intent::Take, token).await? {
                Ok(won) => {
                    done.takes.push(self.clock.now().since(began));
                    done.writes += 1;
                    return Ok((before.version, won));
                }
                Err(nobody) => {
                    let seen = self.again(nobody, &mut tries).await?;
                    before = self.open(seen, done).await?;
                }
            }
        }
    }

    async fn release(&self, won: Won, done: &mut Race) -> Result<Observed, Error> {
        let holder = self.candidates[won.at];
        let record = Record { holder: None, nonce: nonce()?, ..won.change.record };
        let release = Change { intent: Intent::Release, record };
        let began = self.clock.now();
        let released = write(holder, &won.observed.version, &release).await;
        done.releases.push(self.clock.now().since(began));
        let why = match released? {
            Ok(Outcome::Written(observed)) => return Ok(observed),
            Ok(Outcome::Conflict) => broken("the holder could not release what it took"),
            Err(unknown) => unknown,
        };
        let seen = holder.read().await?;
        let is_free = seen.record().is_none_or(|record| record.holder.is_none());
        if is_free { Ok(seen) } else { Err(why) }
    }

    /// The lock in a state over which anybody may take.
    async fn open(&self, mut seen: Observed, done: &mut Race) -> Result<Observed, Error> {
        let mut tries = 0;
        while !is_open(&seen) {
            let token = seen.record().map_or(0, |record| record.token);
            match self.contend(&seen, Intent::Adopt, token).await? {
                Ok(adopted) => {
                    done.writes += 1;
                    seen = adopted.observed;
                }
                Err(nobody) => seen = self.again(nobody, &mut tries).await?,
            }
        }
        Ok(seen)
    }

    /// All write over one version at once. If nobody is told that it won, a read shows who did.
    async fn contend(
        &self,
        before: &Observed,
        intent: Intent,
        token: u64,
    ) -> Result<Result<Won, Nobody>, Error> {
        let changes = (0..self.candidates.len()).map(|at| change(intent, token, at));
        let mut changes = changes.collect::<Result<Vec<_>, Error>>()?;
        let writes = self.candidates.iter().zip(&changes);
        let writes = writes.map(|(candidate, change)| write(*candidate, &before.version, change));
        let (mut written, mut unknown) = (Vec::new(), Vec::new());
        for (at, answer) in join_all(writes).await.into_iter().enumerate() {
            match answer? {
                Ok(Outcome::Written(observed)) => written.push((at, observed)),
                Ok(Outcome::Conflict) => {}
                Err(error) => unknown.push((at, error)),
            }
        }
        if written.len() > 1 {
            return Err(broken(self.of_several(written.len())));
        }
        let won = match written.pop() {
            Some(won) => Ok(won),
            None => {
                let seen = self.candidates[0].read().await?;
                match changes.iter().position(|change| is_of(&seen, change)) {
                    Some(at) => Ok((at, seen)),
                    None => Err(seen),
                }
            }
        };
        // What may still come true holds the lock for a lease.
        let astray = unknown.iter().map(|(at, _)| *at);
        let astray = astray.filter(|at| won.as_ref().map_or(true, |(winner, _)| winner != at));
        for at in astray.filter(|_| before.expiry == Expiry::ByServer) {
            let revoke = Change { intent: Intent::Revoke, ..changes[at].clone() };
            let _ = self.candidates[at].write(&before.version, &revoke).await;
        }
        Ok(match won {
            Ok((at, observed)) => Ok(Won { at, change: changes.swap_remove(at), observed }),
            Err(seen) => {
                let why = unknown.pop().map_or_else(|| broken(self.of_nobody()), |(_, why)| why);
                Err(Nobody { seen, why })
            }
        })
    }

    /// After a pause that is longer each time, what was seen; or the reason, if that was the last
    /// try.
    async fn again(&self, nobody: Nobody, tries: &mut u32) -> Result<Observed, Error> {
        *tries += 1;
        if *tries >= TRIES {
            return Err(nobody.why);
        }
        self.clock.sleep_until(self.clock.now() + PAUSE * *tries).await;
        Ok(nobody.seen)
    }

    fn of_several(&self, acknowledged: usize) -> String {
        match self.candidates.len() {
            2 => {
                "two writes over one version were both acknowledged: two would lead at once".into()
            }
            all => format!(
                "{acknowledged} of {all} writes over one version were acknowledged: as many would \
                 lead at once"
            ),
        }
    }

    fn of_nobody(&self) -> String {
        let who = match self.candidates.len() {
            2 => "of two writes over the present version neither".to_owned(),
            all => format!("of {all} writes over the present version none"),
        };
        format!("{who} was accepted: nobody could lead")
    }
}

/// Whether candidates that count leases themselves need no adoption first, nor the store one.
fn is_open(seen: &Observed) -> bool {
    match seen.expiry {
        Expiry::ByServer => true,
        Expiry::Suspended => false,
        Expiry::ByObserver | Expiry::Passed => !seen.version.is_absent(),
    }
}

fn is_of(seen: &Observed, change: &Change) -> bool {
    seen.record().is_some_and(|record| record.nonce == change.record.nonce)
}

/// An outcome, or an error after which a read shows what became of the write. Any other ends the
/// race, and so does an acknowledgement that shows something else than what was written.
async fn write(
    candidate: &dyn LockBackend,
    expected: &Version,
    change: &Change,
) -> Result<Result<Outcome, Error>, Error> {
    match candidate.write(expected, change).await {
        Ok(Outcome::Written(stored)) => {
            candidate.capabilities().check_written(expected, change, &stored)?;
            Ok(Ok(Outcome::Written(stored)))
        }
        Err(error) => match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Throttled { .. } => Ok(Err(error)),
            _ => Err(error),
        },
        conflict => Ok(conflict),
    }
}

/// What was acknowledged must be what another one reads.
async fn stands(reader: &dyn LockBackend, change: &Change) -> Result<(), Error> {
    let observed = reader.read().await?;
    if is_of(&observed, change) {
        return Ok(());
    }
    if observed.expiry == Expiry::Suspended {
        let why = "the store may have gone back to an older state meanwhile, as in a fail-over";
        return Err(Error::new(ErrorKind::Unavailable, RACE, why).with_cure("run this once more"));
    }
    Err(broken("a write was acknowledged, and a read after it shows something else"))
}

fn change(intent: Intent, token: u64, candidate: usize) -> Result<Change, Error> {
    let holder = Holder {
        identity: format!("probe {candidate}"),
        incarnation: Some(Incarnation(nonce()?.0)),
        advertise: None,
    };
    let now = BootClock::new().wall();
    let record = Record {
        holder: (intent == Intent::Take).then_some(holder),
        token,
        lease_duration: LEASE,
        nonce: nonce()?,
        acquired: now,
        renewed: now,
        extra: serde_json::Map::new(),
    };
    Ok(Change { intent, record })
}

fn nonce() -> Result<Nonce, Error> {
    random_nonce().map_err(|failure| failure.during(RACE))
}

fn broken(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, RACE, why.into()).with_cure("use another store")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use leasehold_core::{Capabilities, Contents, MemoryLock, Push};

    use super::*;

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
        /// It is acknowledged with the state from before.
        ShowsBefore,
        /// None: of two that come at once both are refused, now and then.
        RefusesAll,
        /// None: every second answer is lost.
        LosesAnswers,
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
                        0 => Outcome::Written(Observed {
                            version: Version::number(u64::MAX),
                            contents: Contents::Record(change.record.clone()),
                            ..self.lock.read().await?
                        }),
                        _ => Outcome::Conflict,
                    })
                }
                Defect::ShowsBefore => {
                    let before = self.lock.read().await?;
                    Ok(match self.lock.write(expected, change).await? {
                        Outcome::Written(_) => Outcome::Written(before),
                        Outcome::Conflict => Outcome::Conflict,
                    })
                }
                // Right in both races, and wrong for who comes late.
                Defect::Late if present != *expected => {
                    match self.count.fetch_add(1, Ordering::Relaxed) {
                        0 | 1 => Ok(Outcome::Conflict),
                        _ => self.lock.write(&present, change).await,
                    }
                }
                Defect::RefusesAll if change.intent == Intent::Take => {
                    match self.count.fetch_add(1, Ordering::Relaxed) % 8 {
                        0..4 => Ok(Outcome::Conflict),
                        _ => self.lock.write(expected, change).await,
                    }
                }
                Defect::LosesAnswers => {
                    let written = self.lock.write(expected, change).await;
                    match self.count.fetch_add(1, Ordering::Relaxed) % 2 {
                        0 => Err(Error::new(ErrorKind::Unavailable, "write", "lost")),
                        _ => written,
                    }
                }
                Defect::TwoSteps | Defect::Loses | Defect::Late | Defect::RefusesAll => {
                    self.lock.write(expected, change).await
                }
            }
        }
    }

    fn broken_by(defect: Defect) -> Broken {
        Broken { lock: MemoryLock::new("m"), defect, count: AtomicUsize::new(0) }
    }

    async fn raced(defect: Defect) -> String {
        let broken = broken_by(defect);
        let error = race(&[&broken, &broken], 3).await.unwrap_err();
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
            (Defect::ShowsBefore, "contradicts its own promises"),
        ] {
            let text = raced(defect).await;
            assert!(text.contains(says), "{defect:?}: {text}");
        }
    }

    #[tokio::test]
    async fn one_that_does_withstands_every_round() {
        let lock = MemoryLock::new("m");
        let done = race(&[&lock, &lock], 4).await.unwrap();
        assert_eq!((done.writes, done.takes.len(), done.releases.len()), (5, 4, 4));
        let served = MemoryLock::with_server_expiry("s", BootClock::new());
        assert_eq!(race(&[&served, &served], 4).await.unwrap().writes, 4);
        // What is there already is raced over as well.
        assert_eq!(race(&[&lock, &lock], 1).await.unwrap().writes, 1);
    }

    #[tokio::test]
    async fn what_the_store_may_have_forgotten_is_adopted_first() {
        let lock = MemoryLock::builder("m").push(Push::None).forgets().build();
        let two: [&dyn LockBackend; 2] = [&lock, &lock];
        assert_eq!(race(&two, 2).await.unwrap().writes, 3);
        // Within a reign nothing is to be adopted.
        assert_eq!(race(&two, 2).await.unwrap().writes, 2);
        for changes in [0, 1, 2] {
            lock.go_back(changes);
            assert_eq!(race(&two, 2).await.unwrap().writes, 3, "{changes}");
        }
    }

    #[tokio::test]
    async fn any_number_may_race() {
        let lock = MemoryLock::new("m");
        let eight: Vec<&dyn LockBackend> = (0..8).map(|_| &lock as &dyn LockBackend).collect();
        let done = race(&eight, 9).await.unwrap();
        assert_eq!((done.candidates, done.writes), (8, 10));
        let blind = broken_by(Defect::Blind);
        let error = race(&[&blind, &blind, &blind], 1).await.unwrap_err().to_string();
        assert!(error.contains("3 of 3 writes over one version were acknowledged"), "{error}");
        assert_eq!(race(&[&lock], 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[tokio::test]
    async fn what_a_read_settles_is_no_defect() {
        for defect in [Defect::RefusesAll, Defect::LosesAnswers] {
            let store = broken_by(defect);
            let done = race(&[&store, &store], 6).await;
            assert_eq!(done.unwrap_or_else(|why| panic!("{defect:?}: {why}")).writes, 7);
        }
    }
}
