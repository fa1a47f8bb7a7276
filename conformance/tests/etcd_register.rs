//! The backend keeps the register's contract on a real server.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::time::{Duration, Instant};

use common::{change, cluster, identity, lock, next, renew, take, token, written};
use leasehold::ErrorKind;
use leasehold::backend::{Contents, Intent, LockBackend, Outcome, Version};
use leasehold::stores::etcd::EtcdLock;
use leasehold_conformance::fixture::Fixture;

#[tokio::test]
async fn one_of_many_takes_and_tokens_grow() {
    let etcd = cluster(1).await;
    let locks: Vec<EtcdLock> = (0..16).map(|_| lock(&etcd, "jobs/nightly")).collect();
    let mut last = 0;
    for round in 0..20 {
        let seen = locks[0].read().await.unwrap();
        let takes = locks.iter().map(|lock| {
            let change = change(Intent::Take, &format!("c{round}"), 5);
            let version = seen.version.clone();
            async move { lock.write(&version, &change).await.unwrap() }
        });
        let outcomes = futures_util::future::join_all(takes).await;
        let won: Vec<_> = outcomes
            .into_iter()
            .filter_map(|outcome| match outcome {
                Outcome::Written(observed) => Some(observed),
                Outcome::Conflict => None,
            })
            .collect();
        assert_eq!(won.len(), 1);
        assert!(token(&won[0]) > last, "{} after {last}", token(&won[0]));
        last = token(&won[0]);
        let stored = locks[1].read().await.unwrap();
        assert_eq!((&stored.version, &stored.contents), (&won[0].version, &won[0].contents));
        let release = change(Intent::Release, "c", 5);
        assert_eq!(
            written(locks[2].write(&stored.version, &release).await).contents,
            Contents::Absent
        );
    }
    // Losers left no lease behind.
    assert_eq!(etcd.etcdctl(&["lease", "list"]).await.unwrap().lines().count(), 1);
}

/// The same layout as `concurrency.Election`, so that its tools show ours.
#[tokio::test]
async fn etcdctl_shows_who_leads() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let taken = take(&ours, "node-a", 30).await;
    let listed = etcd.etcdctl(&["elect", "jobs", "--listen"]);
    let listed = tokio::time::timeout(Duration::from_secs(2), listed).await;
    assert!(listed.is_err(), "it listens until it is ended");
    let keys = etcd.etcdctl(&["get", "--prefix", "jobs/", "-w", "json"]).await.unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let key = &keys["kvs"][0];
    assert_eq!(key["create_revision"].as_u64(), Some(token(&taken)));
    assert!(key["lease"].as_i64().is_some_and(|lease| lease > 0));
}

#[tokio::test]
async fn a_key_without_a_lease_is_named_with_its_cure() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    etcd.etcdctl(&["put", "jobs/stray", "somebody"]).await.unwrap();
    let seen = ours.read().await.unwrap();
    let Contents::Unreadable(why) = seen.contents else { panic!("{seen:?}") };
    assert!(why.contains("etcdctl del 'jobs/stray'"), "{why}");
    assert_eq!(
        ours.write(&Version::absent(), &change(Intent::Take, "a", 5)).await.unwrap(),
        Outcome::Conflict
    );
    etcd.etcdctl(&["del", "jobs/stray"]).await.unwrap();
    take(&ours, "a", 5).await;
}

/// An election whose name begins with another's lies inside it.
#[tokio::test]
async fn a_nested_election_is_named() {
    let etcd = cluster(1).await;
    take(&lock(&etcd, "jobs/nightly"), "a", 5).await;
    let seen = lock(&etcd, "jobs").read().await.unwrap();
    let Contents::Unreadable(why) = seen.contents else { panic!("{seen:?}") };
    assert!(why.contains("rename"), "{why}");
}

/// A watch tells every state, in order, from the one it was given.
#[tokio::test]
async fn a_watch_tells_what_came_after() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let before = ours.read().await.unwrap();
    let first = take(&ours, "a", 5).await;
    written(ours.write(&first.version, &change(Intent::Release, "a", 5)).await);
    let mut watch = ours.watch(&before);
    assert_eq!(identity(&next(&mut watch).await), Some("a"));
    assert_eq!(next(&mut watch).await.contents, Contents::Absent);
    let second = take(&ours, "b", 5).await;
    let seen = next(&mut watch).await;
    assert_eq!((identity(&seen), token(&seen)), (Some("b"), token(&second)));
    // Pushed versions are good enough to renew with.
    written(renew(&ours, &seen.version, 5).await);
}

/// What a watch missed and the store forgot is read.
#[tokio::test]
async fn a_watch_survives_compaction() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let before = ours.read().await.unwrap();
    let first = take(&ours, "a", 5).await;
    written(ours.write(&first.version, &change(Intent::Release, "a", 5)).await);
    let second = take(&ours, "b", 30).await;
    etcd.etcdctl(&["compact", &token(&second).to_string()]).await.unwrap();
    let mut watch = ours.watch(&before);
    assert_eq!(token(&next(&mut watch).await), token(&second));
    written(ours.write(&second.version, &change(Intent::Release, "b", 5)).await);
    assert_eq!(next(&mut watch).await.contents, Contents::Absent);
}

/// What the server grants for what is asked: the shortest lease is 2 s with its default timing.
#[tokio::test]
async fn leases_are_at_least_as_long_as_asked() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    for (asked, least) in [(1, 2), (2, 2), (3, 3), (15, 15)] {
        let taken = take(&ours, "a", asked).await;
        let leases = etcd.etcdctl(&["lease", "list"]).await.unwrap();
        let lease = leases.lines().last().unwrap().to_owned();
        let left = etcd.etcdctl(&["lease", "timetolive", &lease]).await.unwrap();
        assert!(left.contains(&format!("granted with TTL({least}s)")), "{asked}: {left}");
        written(ours.write(&taken.version, &change(Intent::Release, "a", asked)).await);
    }
}

/// A lease granted before the Take would be older than the clock of the elector.
#[tokio::test]
async fn the_lease_of_a_term_is_granted_by_its_take() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let seen = ours.read().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let sent = Instant::now();
    let taken = written(ours.write(&seen.version, &change(Intent::Take, "a", 4)).await);
    let mut watch = ours.watch(&taken);
    assert_eq!(next(&mut watch).await.contents, Contents::Absent);
    let lived = sent.elapsed();
    assert!(lived >= Duration::from_secs(4), "{lived:?}");
    println!("a lease of 4 s that nobody renewed: gone {lived:?} after its Take was sent");
}

/// The store acknowledges a keep-alive of a lease whose key is gone.
#[tokio::test]
async fn a_renewal_fails_once_the_key_was_deleted_and_taken_by_another() {
    let etcd = cluster(1).await;
    let (a, c) = (lock(&etcd, "jobs"), lock(&etcd, "jobs"));
    let ours = take(&a, "a", 30).await;
    written(renew(&a, &ours.version, 30).await);
    let lease = etcd.etcdctl(&["lease", "list"]).await.unwrap().lines().last().unwrap().to_owned();
    etcd.etcdctl(&["del", "--prefix", "jobs/"]).await.unwrap();
    assert_eq!(renew(&a, &ours.version, 30).await.unwrap(), Outcome::Conflict, "it is gone");
    let theirs = take(&c, "c", 30).await;
    let kept = etcd.etcdctl(&["lease", "keep-alive", "--once", &lease]).await.unwrap();
    assert!(kept.contains("keepalived"), "{kept}");
    assert_eq!(renew(&a, &ours.version, 30).await.unwrap(), Outcome::Conflict, "it is another's");
    written(renew(&c, &theirs.version, 30).await);
}

/// A write without the lease detaches the key from it.
#[tokio::test]
async fn a_renewal_fails_once_the_key_lost_its_lease_or_was_overwritten() {
    let etcd = cluster(1).await;
    for with_lease in [false, true] {
        let ours = lock(&etcd, "jobs");
        let taken = take(&ours, "a", 30).await;
        let lease = etcd.etcdctl(&["lease", "list"]).await.unwrap();
        let lease = format!("--lease={}", lease.lines().last().unwrap());
        let key = etcd.etcdctl(&["get", "--prefix", "jobs/", "--keys-only"]).await.unwrap();
        let lease: &[&str] = if with_lease { &[&lease] } else { &[] };
        let put = [&["put", key.as_str(), "mine"], lease].concat();
        etcd.etcdctl(&put).await.unwrap();
        assert_eq!(renew(&ours, &taken.version, 30).await.unwrap(), Outcome::Conflict);
        etcd.etcdctl(&["del", "--prefix", "jobs/"]).await.unwrap();
    }
}

/// Both carried the same token in an earlier draft.
#[tokio::test]
async fn two_takes_from_the_same_empty_read_have_different_tokens() {
    let etcd = cluster(1).await;
    let (a, b) = (lock(&etcd, "jobs"), lock(&etcd, "jobs"));
    let empty = a.read().await.unwrap();
    let first = written(b.write(&empty.version, &change(Intent::Take, "b", 5)).await);
    written(b.write(&first.version, &change(Intent::Release, "b", 5)).await);
    let second = written(a.write(&empty.version, &change(Intent::Take, "a", 5)).await);
    assert!(token(&second) > token(&first));
}

/// The same Take again, as the election sends it after an answer was lost.
#[tokio::test]
async fn a_take_sent_twice_is_applied_once_and_can_be_undone() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let empty = ours.read().await.unwrap();
    let take = change(Intent::Take, "a", 30);
    let first = written(ours.write(&empty.version, &take).await);
    assert_eq!(ours.write(&empty.version, &take).await.unwrap(), Outcome::Conflict);
    let seen = ours.read().await.unwrap();
    assert_eq!(seen.version, first.version, "the second copy took nothing away");
    let mut undo = take.clone();
    undo.intent = Intent::Revoke;
    for _ in 0..2 {
        written(ours.write(&empty.version, &undo).await);
        assert_eq!(ours.read().await.unwrap().contents, Contents::Absent);
    }
    assert_eq!(ours.write(&first.version, &take).await.unwrap(), Outcome::Conflict);
}

/// A grant of the same Take that was applied before: its lease is used, whatever is left of it.
#[tokio::test]
async fn a_take_goes_on_with_the_lease_that_its_first_copy_granted() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    let empty = ours.read().await.unwrap();
    let take = change(Intent::Take, "a", 30);
    let lease = leasehold::stores::etcd::lease_id(take.record.nonce);
    let client = client(&etcd).await;
    let id = leasehold::stores::etcd::etcd_client::LeaseGrantOptions::new().with_id(lease);
    client.lease_client().grant(30, Some(id)).await.unwrap();
    written(ours.write(&empty.version, &take).await);
    let again = change(Intent::Take, "b", 30);
    let lease = leasehold::stores::etcd::lease_id(again.record.nonce);
    let id = leasehold::stores::etcd::etcd_client::LeaseGrantOptions::new().with_id(lease);
    client.lease_client().grant(5, Some(id)).await.unwrap();
    let other = lock(&etcd, "other");
    let empty = other.read().await.unwrap();
    let outcome = other.write(&empty.version, &again).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict, "shorter than asked");
}

async fn client(
    etcd: &leasehold_conformance::stores::etcd::Etcd,
) -> leasehold::stores::etcd::etcd_client::Client {
    leasehold::stores::etcd::etcd_client::Client::connect(etcd.endpoints(), None).await.unwrap()
}

/// A client that the caller brought.
#[tokio::test]
async fn a_cluster_can_be_made_of_the_callers_client() {
    let etcd = cluster(1).await;
    let theirs = leasehold::stores::etcd::Etcd::from_clients([client(&etcd).await]).unwrap();
    let taken = take(&theirs.lock("jobs").unwrap(), "a", 5).await;
    assert_eq!(lock(&etcd, "jobs").read().await.unwrap().version, taken.version);
}

#[tokio::test]
async fn nobody_contends_below_the_operators_floor() {
    let etcd = cluster(1).await;
    let floor = 20;
    let ours = lock(&etcd, "jobs").token_floor(floor).unwrap();
    let error = ours.read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rewound);
    assert!(error.to_string().contains("--bump-revision"), "{error}");
    for _ in 0..floor {
        etcd.etcdctl(&["put", "k", "v"]).await.unwrap();
    }
    assert!(token(&take(&ours, "a", 5).await) > floor);
}
