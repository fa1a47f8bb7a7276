//! A leader and two followers, whose leader must go on through whatever is done to the servers.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its share")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leasehold::backend::{
    Change, Contents, Incarnation, Intent, LockBackend, Nonce, Outcome, Record,
};
use leasehold::timing::Wall;
use leasehold::{Error, ErrorKind};
use leasehold_conformance::candidate::{Candidate, Lead};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::common::{Scene, millis};

/// A thread that sleeps and looks at the time. A bound that was missed says nothing on a host that
/// wakes it late.
pub struct Host {
    /// The worst oversleep, in microseconds.
    worst: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Host {
    pub fn watched() -> Self {
        let host = Self { worst: Arc::default(), over: Arc::default() };
        let (worst, over) = (host.worst.clone(), host.over.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(millis(10));
                let late = began.elapsed().saturating_sub(millis(10)).as_micros();
                worst.fetch_max(late.try_into().unwrap(), Ordering::Relaxed);
            }
        });
        host
    }

    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.worst.load(Ordering::Relaxed))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        println!("worst oversleep of the host {:?}", self.worst());
    }
}

/// Makes the lock one that somebody released, so that the first leader need not wait a lease out.
pub async fn released(url: &str) {
    let outcome = over_absent(&*leasehold::connect(url).await.unwrap()).await;
    assert!(matches!(outcome, Ok(Outcome::Written(_))), "{outcome:?}");
}

/// Writes such a record where nothing is.
pub async fn over_absent(store: &dyn LockBackend) -> Result<Outcome, Error> {
    let seen = store.read().await?;
    assert_eq!(seen.contents, Contents::Absent);
    let record = Record {
        holder: None,
        token: 1,
        lease_duration: Duration::from_secs(1),
        nonce: Nonce(1),
        acquired: Wall(1),
        renewed: Wall(1),
        extra: serde_json::Map::new(),
    };
    store.write(&seen.version, &Change { intent: Intent::Release, record }).await
}

/// A leader and two followers.
pub struct Party {
    pub lead: Lead,
    candidates: Vec<Candidate>,
    waiting: Vec<JoinHandle<Result<Lead, Error>>>,
    /// The first of each. A candidate that sees a copy of itself goes on under another one.
    incarnations: Vec<Incarnation>,
    /// The failures of their store, each once.
    said: RefCell<Vec<(ErrorKind, String)>>,
}

impl Party {
    /// At the address that clients know.
    pub async fn of(scene: &Scene, lease: Duration) -> Self {
        Self::at(&scene.url(), scene, lease).await
    }

    pub async fn at(url: &str, scene: &Scene, lease: Duration) -> Self {
        released(url).await;
        let mut candidates = Vec::new();
        for name in ["a", "b", "c"] {
            candidates.push(scene.candidate_at(url, name, lease).await);
        }
        let lead = candidates[0].campaign().await.unwrap();
        let waiting = candidates[1..].iter().map(Candidate::stand).collect();
        let incarnation = |one: &Candidate| one.elector().status().incarnation;
        let incarnations = candidates.iter().map(incarnation).collect();
        Self { lead, candidates, waiting, incarnations, said: RefCell::default() }
    }

    /// Fails unless the leader leads under its first token, nobody else does, and nobody believes
    /// that there is a copy of it.
    pub fn is_as_it_was(&self) {
        let leads = self.lead.check();
        assert!(leads, "the leader lost its term; the store said {:?}", self.said());
        assert_eq!(self.candidates[0].leads(), Some(self.lead.token()));
        self.are_as_they_were();
    }

    /// Fails if a follower took the lock, or a candidate believes that there is a copy of it.
    fn are_as_they_were(&self) {
        assert!(!self.waiting.iter().any(JoinHandle::is_finished), "a follower took the lock");
        for (one, incarnation) in self.candidates.iter().zip(&self.incarnations) {
            let status = one.elector().status();
            assert_eq!(status.incarnation, *incarnation, "{} saw a copy of itself", one.name());
            if let Some(error) = status.store_error {
                let said = (error.kind(), error.to_string());
                let mut all = self.said.borrow_mut();
                if !all.contains(&said) {
                    all.push(said);
                }
            }
        }
    }

    /// Looks all the time while this happens.
    pub async fn during<T>(&self, happens: impl Future<Output = T>) -> T {
        let mut happens = pin!(happens);
        loop {
            self.is_as_it_was();
            tokio::select! {
                biased;
                done = &mut happens => return done,
                () = sleep(millis(10)) => {}
            }
        }
    }

    /// Until the leader has renewed so many times.
    pub async fn renews(&self, times: u32) {
        let term = self.lead.term();
        let mut until = term.deadlines().until;
        for _ in 0..times {
            until = term.extended(until).await.expect("the term goes on").until;
        }
    }

    /// Returns whether the leader renews. If it does not, its term must have ended because too few
    /// replicas acknowledged: the fail-over took longer than it seemed.
    pub async fn renews_or_lacks_replicas(&self) -> bool {
        self.said.borrow_mut().clear();
        let term = self.lead.term();
        let mut extended = pin!(term.extended(term.deadlines().until));
        let is_extended = loop {
            self.are_as_they_were();
            tokio::select! {
                biased;
                extended = &mut extended => break extended.is_some(),
                () = sleep(millis(10)) => {}
            }
        };
        let said = self.said.borrow();
        let lacked = said.iter().any(|(_, text)| text.contains("replicas acknowledged"));
        assert!(is_extended || lacked, "the leader lost its term; the store said {said:?}");
        is_extended
    }

    /// The failures of their store since this was asked last.
    pub fn said(&self) -> Vec<(ErrorKind, String)> {
        self.said.take()
    }

    /// Until no candidate's last request failed.
    pub async fn is_content(&self) {
        let complains = |one: &Candidate| one.elector().status().store_error.is_some();
        while self.candidates.iter().any(complains) {
            sleep(millis(10)).await;
        }
    }
}
