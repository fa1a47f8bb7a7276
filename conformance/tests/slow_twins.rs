//! Stores and elections with a deliberate defect: the suite must find each, or it finds nothing.
//!
//! Every line names the case that kills the twin. The same case holds without the defect, so that
//! it is the defect that it found.

#![expect(clippy::print_stdout, reason = "what kills each twin is worth a line")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use leasehold::backend::{
    BoxStream, Capabilities, Change, Intent, LockBackend, Nonce, Observed, Outcome, Version,
};
use leasehold::{Error, ErrorKind};
use leasehold_conformance::runner::run_on;
use leasehold_conformance::stores::{MemoryTarget, Wrap};
use leasehold_conformance::verdict::Verdict;
use leasehold_core::Mutant;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// It compares, and then writes: two steps.
    NoCompareAndSwap,
    /// A renewal extends whatever is there.
    BlindRenew,
    /// A release frees whatever is there.
    BlindRelease,
    /// A renewal is acknowledged by the lease alone; whose key it is, nobody looks.
    KeepAliveWithoutConfirm,
    /// Every record comes back with the same nonce.
    LostNonce,
}

#[derive(Debug)]
struct Twin {
    store: Arc<dyn LockBackend>,
    defect: Defect,
}

impl Twin {
    fn shown(&self, mut observed: Observed) -> Observed {
        if let (Defect::LostNonce, leasehold::backend::Contents::Record(record)) =
            (self.defect, &mut observed.contents)
        {
            record.nonce = Nonce(1);
        }
        observed
    }

    /// Writes over whatever is there.
    async fn force(&self, change: &Change) -> Result<Outcome, Error> {
        loop {
            let now = self.store.read().await?.version;
            let outcome = self.store.write(&now, change).await?;
            if outcome != Outcome::Conflict {
                return Ok(outcome);
            }
        }
    }
}

#[async_trait]
impl LockBackend for Twin {
    fn name(&self) -> &str {
        "twin"
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.store.read().await.map(|observed| self.shown(observed))
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let outcome = match (self.defect, change.intent) {
            (Defect::NoCompareAndSwap, _) => {
                if self.store.read().await?.version != *expected {
                    return Ok(Outcome::Conflict);
                }
                tokio::task::yield_now().await;
                self.force(change).await
            }
            (Defect::BlindRenew, Intent::Renew) | (Defect::BlindRelease, Intent::Release) => {
                self.force(change).await
            }
            (Defect::KeepAliveWithoutConfirm, Intent::Renew) => {
                let mut observed = self.store.read().await?;
                let _ = self.store.write(expected, change).await?;
                observed.version = expected.clone();
                observed.contents = leasehold::backend::Contents::Record(change.record.clone());
                Ok(Outcome::Written(observed))
            }
            _ => self.store.write(expected, change).await,
        };
        outcome.map(|outcome| match outcome {
            Outcome::Written(observed) => Outcome::Written(self.shown(observed)),
            Outcome::Conflict => Outcome::Conflict,
        })
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let twin = Self { store: self.store.clone(), defect: self.defect };
        let events = self.store.watch(after);
        Box::pin(futures_util::StreamExt::map(events, move |event| {
            event.map(|observed| twin.shown(observed))
        }))
    }
}

fn wrap(defect: Defect) -> Wrap {
    Box::new(move |store| Arc::new(Twin { store, defect }))
}

fn finds(twin: &str, verdict: &Verdict, id: &str) {
    println!("{twin}: killed by {id}: {}", verdict.text());
}

#[test]
fn every_broken_store_fails() {
    let observer: fn() -> MemoryTarget = MemoryTarget::new;
    let server: fn() -> MemoryTarget = MemoryTarget::with_server_expiry;
    let mut survivors = Vec::new();
    for (defect, target, id) in [
        (Defect::NoCompareAndSwap, observer, "Q1"),
        (Defect::NoCompareAndSwap, server, "Q1"),
        (Defect::BlindRenew, observer, "NP5"),
        (Defect::BlindRelease, server, "HO5"),
        (Defect::KeepAliveWithoutConfirm, server, "FE4"),
        (Defect::LostNonce, observer, "BA3"),
    ] {
        assert_eq!(run_on(target(), id, 1), Verdict::Pass, "{id} holds without the defect");
        let verdict = run_on(target().wrapped(wrap(defect)), id, 1);
        match verdict {
            Verdict::Fail(_) => finds(&format!("{defect:?}"), &verdict, id),
            other => survivors.push(format!("{defect:?} survives {id}: {other:?}")),
        }
    }
    assert!(survivors.is_empty(), "{survivors:#?}");
}

/// A store that refuses every renewal after so many.
#[derive(Debug)]
struct Tired {
    store: Arc<dyn LockBackend>,
    renewals: AtomicUsize,
}

/// More than the first leader of CK4 makes, and fewer than the second.
const TIRES_AFTER: usize = 30;

#[async_trait]
impl LockBackend for Tired {
    fn name(&self) -> &str {
        "tired"
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.store.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let renews = change.intent == Intent::Renew;
        if renews && self.renewals.fetch_add(1, Ordering::Relaxed) >= TIRES_AFTER {
            return Err(Error::new(ErrorKind::Unavailable, "renew the lock", "too tired"));
        }
        self.store.write(expected, change).await
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        self.store.watch(after)
    }
}

/// A term that ends for want of renewals, as on a host that is too busy, is not laid at the door of
/// whoever was suspended.
#[test]
fn a_tired_store_is_not_taken_for_a_disturber() {
    let wrap: Wrap = Box::new(|store| Arc::new(Tired { store, renewals: AtomicUsize::new(0) }));
    let verdict = run_on(MemoryTarget::new().wrapped(wrap), "CK4", 1);
    let Verdict::Fail(why) = &verdict else { panic!("{verdict:?}") };
    assert!(why.contains("ended by itself"), "{why}");
}

/// The defects of the election, and the case that kills each.
const MUTANTS: &[(Mutant, &str)] = &[
    (Mutant::ConstantNonce, "BA3"),
    (Mutant::TrustsWallTime, "CK3"),
    (Mutant::LeadsOnRead, "LA2"),
    (Mutant::NoDeadline, "NP1"),
    (Mutant::TimerOnEveryRead, "EX1"),
    (Mutant::TimerOnVersion, "RN6"),
    (Mutant::TokenReset, "FE1"),
    (Mutant::TimeoutIsSuccess, "NP1"),
    (Mutant::ClientGoTiming, "RN1"),
    (Mutant::BeliefIsAFlag, "PA6"),
    (Mutant::NoMargin, "CK1"),
    (Mutant::OwnDuration, "EX4"),
    (Mutant::AcceptsLate, "PA2"),
    (Mutant::Resurrects, "RN3"),
    (Mutant::DeadlineFromAnswer, "RN1"),
    (Mutant::PushEnds, "WA4"),
    (Mutant::HoldsOnUnavailable, "RN1"),
    (Mutant::RefusalEnds, "RN8"),
    (Mutant::ReplacedIsOutage, "SV9"),
];

#[test]
fn every_mutant_of_the_election_fails() {
    let mut survivors = Vec::new();
    for &(mutant, id) in MUTANTS {
        assert_eq!(run_on(MemoryTarget::new(), id, 1), Verdict::Pass, "{id} holds without it");
        let verdict = run_on(MemoryTarget::new().tuned(move |one| one.mutant(mutant)), id, 1);
        match verdict {
            Verdict::Fail(_) => finds(&format!("{mutant:?}"), &verdict, id),
            other => survivors.push(format!("{mutant:?} survives {id}: {other:?}")),
        }
    }
    assert!(survivors.is_empty(), "{survivors:#?}");
}
