//! What an operator may do to a cluster, and requests that come late.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{change, cluster, elector, eventually, lock, take, token, written};
use leasehold::backend::{
    Capabilities, Change, Contents, Intent, LockBackend, Observed, Outcome, Version,
};
use leasehold::stores::etcd::EtcdLock;
use leasehold::{Elector, Error, ErrorKind};
use leasehold_conformance::fixture::Fixture;

/// A watch that never tells anything.
#[derive(Debug)]
struct Deaf(EtcdLock);

#[async_trait]
impl LockBackend for Deaf {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.0.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        self.0.write(expected, change).await
    }
}

/// An administrator deletes the key and another takes the lock: without a watch the old leader
/// believes on until its next renewal, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_watch_a_deleted_key_is_noticed_by_the_next_renewal() {
    let etcd = cluster(3).await;
    let leader = Elector::builder(Arc::new(Deaf(lock(&etcd, "jobs")))).build().unwrap();
    let held = leader.campaign().await.unwrap();
    let bound = leader.timing().retry_period() + leader.timing().request_timeout();
    etcd.etcdctl(&["del", "--prefix", "jobs/"]).await.unwrap();
    let theirs = take(&lock(&etcd, "jobs"), "b", 15).await;
    let taken = Instant::now();
    assert!(token(&theirs) > held.term().token());
    let lost = held.term().lost();
    tokio::time::timeout(bound, lost).await.expect("it still believes");
    println!(
        "deleted and taken, no watch: two believed for {:?} (bound {bound:?})",
        taken.elapsed()
    );
}

/// A Take that was given up while the server hung must not be applied when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_that_was_given_up_is_not_applied_later() {
    let mut etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    for _ in 0..5 {
        let seen = ours.read().await.unwrap();
        etcd.freeze(0).unwrap();
        let given_up = change(Intent::Take, "a", 5);
        let writing = ours.write(&seen.version, &given_up);
        assert!(tokio::time::timeout(Duration::from_millis(300), writing).await.is_err());
        etcd.thaw(0).unwrap();
        // Whatever is still in the server's queue comes before this read is answered.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(ours.read().await.unwrap().contents, Contents::Absent);
    }
}

/// The same with an election above it: it takes the lock once, and tokens tell of no other term.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_takes_a_lock_whose_server_hung_at_the_take() {
    let mut etcd = cluster(1).await;
    let blocking = take(&lock(&etcd, "jobs"), "first", 30).await;
    let candidate = elector(lock(&etcd, "jobs"), "a", 3);
    let waiting = candidate.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    eventually("it waits", || async { candidate.status().counters.reads > 0 }).await;
    written(
        lock(&etcd, "jobs").write(&blocking.version, &change(Intent::Release, "first", 30)).await,
    );
    etcd.freeze(0).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    etcd.thaw(0).unwrap();
    let held = tokio::time::timeout(common::PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    let seen = lock(&etcd, "jobs").read().await.unwrap();
    assert_eq!(held.check().unwrap(), token(&seen));
}

/// A cluster that was restored from a snapshot of the past keeps its name, and would mint tokens
/// again that were used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_cluster_is_refused() {
    let mut etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    ours.read().await.unwrap();
    let snapshot = etcd.snapshot().await.unwrap();
    let candidate = elector(lock(&etcd, "jobs"), "a", 3);
    let held = candidate.campaign().await.unwrap();
    let used = held.check().unwrap();
    for _ in 0..10 {
        etcd.etcdctl(&["put", "k", "v"]).await.unwrap();
    }
    let before = ours.read().await.unwrap();
    let (again, lost) = (candidate.clone(), held.term().lost());
    let again = tokio::spawn(async move {
        lost.await;
        drop(held);
        again.campaign().await
    });
    etcd.restore(&snapshot, &[]).await.unwrap();
    let after = ours.read().await.unwrap();
    println!("floor {:?} before the restore, {:?} after it", before.token_floor, after.token_floor);
    assert!(after.token_floor < before.token_floor);
    let error = tokio::time::timeout(common::PATIENCE, again).await.unwrap().unwrap();
    let error = error.map(|_held| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rewound, "{error}");
    assert!(error.to_string().contains("token_floor="), "{error}");
    // A Take over what was read before the restore would be given a token that was used.
    let taking = ours.write(&before.version, &change(Intent::Take, "b", 5)).await;
    assert_eq!(taking.unwrap(), Outcome::Conflict);
    let taking =
        ours.write(&Version::absent().with_cargo(0_u8), &change(Intent::Take, "b", 5)).await;
    assert!(token(&written(taking)) <= used, "which is why");
    // Who comes afterwards is told the mark by the operator.
    let told = lock(&etcd, "jobs").token_floor(used + 100).unwrap();
    assert_eq!(told.read().await.unwrap_err().kind(), ErrorKind::Rewound);
}

/// An empty election seen before the restore is no licence to take it afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_take_over_an_absence_of_before_the_restore_is_refused() {
    let mut etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let snapshot = etcd.snapshot().await.unwrap();
    let first = take(&ours, "a", 5).await;
    let absent = written(ours.write(&first.version, &change(Intent::Release, "a", 5)).await);
    etcd.restore(&snapshot, &[]).await.unwrap();
    eventually("it answers", || async { ours.read().await.is_ok() }).await;
    let taking = ours.write(&absent.version, &change(Intent::Take, "b", 5)).await;
    assert_eq!(taking.unwrap(), Outcome::Conflict);
    assert_eq!(ours.read().await.unwrap().contents, Contents::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_restored_with_a_bumped_revision_goes_on() {
    let mut etcd = cluster(1).await;
    let taken = take(&lock(&etcd, "jobs"), "a", 5).await;
    let snapshot = etcd.snapshot().await.unwrap();
    etcd.restore(&snapshot, &["--bump-revision=1000", "--mark-compacted"]).await.unwrap();
    let told = lock(&etcd, "jobs").token_floor(token(&taken) + 500).unwrap();
    eventually("its lease ran out", || async {
        told.read().await.is_ok_and(|seen| seen.contents == Contents::Absent)
    })
    .await;
    let next = take(&told, "b", 5).await;
    assert!(token(&next) > token(&taken) + 500);
}
