//! Ours and the candidates of etcd's own elections contend for one lock.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;
#[path = "common/peer.rs"]
mod peer;

use std::time::Duration;

use common::{PATIENCE, cluster, elector, eventually, identity, lock, open, token};
use leasehold::{BootClock, Clock, Elector, Held, LockBackend};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::etcd::Etcd;
use peer::Peer;
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Lease of both sides, in seconds.
const LEASE: u64 = 3;

/// A candidate of ours with a runtime of its own, which can go as a crash takes a process.
struct Ours {
    runtime: Runtime,
    campaign: JoinHandle<(Elector, Held)>,
}

impl Ours {
    fn contend(etcd: &Etcd, identity: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (url, identity) = (etcd.url(&etcd.endpoints(), "jobs"), identity.to_owned());
        let campaign = runtime.spawn(async move {
            let elector = elector(open(&url), &identity, LEASE);
            let held = elector.campaign().await.unwrap();
            (elector, held)
        });
        Self { runtime, campaign }
    }

    /// Waits until it leads.
    async fn leading(&mut self) -> (Elector, Held) {
        tokio::time::timeout(PATIENCE, &mut self.campaign).await.expect("it never leads").unwrap()
    }
}

/// Twenty terms in turn, ended in every way, and never two leaders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_and_gos_candidates_take_turns() {
    let etcd = cluster(3).await;
    let clock = BootClock::new();
    let mut last = 0;
    let mut ours = Ours::contend(&etcd, "ours");
    for round in 0..10 {
        let (_elector, held) = ours.leading().await;
        let token = held.check().unwrap();
        assert!(token > last, "{token} after {last}");
        let mut go = Peer::go(&etcd, "jobs", "go", LEASE);
        go.event("campaigning");
        // Ours end by a release and by a crash.
        let believed_until = if round % 2 == 0 {
            let before = clock.now();
            held.resign().await.unwrap();
            ours.runtime.shutdown_background();
            before
        } else {
            ours.runtime.shutdown_background();
            held.term().deadlines().until
        };
        let elected = go.event("elected");
        assert!(elected.at > believed_until.0, "both lead");
        let revision: u64 = elected.detail.parse().unwrap();
        assert!(revision > token, "one number space: {revision} after {token}");
        ours = Ours::contend(&etcd, "ours");
        let seen = lock(&etcd, "jobs").read().await.unwrap();
        assert_eq!((identity(&seen), common::token(&seen)), (Some("go"), revision));
        assert!(!ours.campaign.is_finished(), "both lead");
        // Go's end by a resignation, by a crash, and by a freeze.
        let ended = clock.now();
        match round % 3 {
            0 => go.signal(Signal::TERM),
            1 => go.kill(),
            _ => go.signal(Signal::STOP),
        }
        let (_, held) = ours.leading().await;
        let led = clock.now();
        if round % 3 > 0 {
            let shortest = Duration::from_millis(LEASE * 1000 * 2 / 3 - 100);
            assert!(led.since(ended) > shortest, "before its lease was over");
        }
        last = revision;
        held.resign().await.unwrap();
        ours.runtime.shutdown_background();
        drop(go);
        ours = Ours::contend(&etcd, "ours");
    }
    ours.runtime.shutdown_background();
}

/// Go's candidates queue, ours do not: a Go candidate that waits is next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_go_candidate_is_next() {
    let etcd = cluster(3).await;
    let first = elector(lock(&etcd, "jobs"), "a", LEASE);
    let held = first.campaign().await.unwrap();
    let second = elector(lock(&etcd, "jobs"), "b", LEASE);
    let waiting = second.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    let go = Peer::go(&etcd, "jobs", "go", LEASE);
    go.event("campaigning");
    let queued = || async {
        etcd.etcdctl(&["get", "--prefix", "jobs/", "--keys-only"]).await.unwrap().lines().count()
            > 1
    };
    eventually("it queues", queued).await;
    // A key that waits behind it is no reason to lose a term.
    tokio::time::sleep(Duration::from_secs(LEASE * 2)).await;
    assert!(held.check().is_ok());
    held.resign().await.unwrap();
    go.event("elected");
    assert!(!waiting.is_finished());
    go.signal(Signal::TERM);
    go.event("resigned");
    let held = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(held.check().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcdctl_elect_is_one_of_the_candidates() {
    let etcd = cluster(1).await;
    let theirs = Peer::etcdctl(&etcd, "jobs", "by hand");
    let key = theirs.line(PATIENCE).expect("it is elected");
    assert!(key.starts_with("jobs/"), "{key}");
    let seen = lock(&etcd, "jobs").read().await.unwrap();
    assert_eq!(identity(&seen), Some("by hand"));
    let ours = elector(lock(&etcd, "jobs"), "ours", LEASE);
    let waiting = ours.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    theirs.signal(Signal::INT);
    let held = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(held.check().unwrap() > token(&seen));
    let theirs = Peer::etcdctl(&etcd, "jobs", "by hand");
    assert_eq!(theirs.line(Duration::from_secs(2)), None, "ours lead");
    held.resign().await.unwrap();
    assert!(theirs.line(PATIENCE).is_some());
}
