//! What others put under the prefix of an election.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::time::Duration;

use common::{PATIENCE, cluster, elector, identity, lock, take, token};
use leasehold::backend::{Contents, LockBackend};
use leasehold::stores::etcd::etcd_client::{Client, PutOptions};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::etcd::{Etcd, Options};
use tokio::time::{sleep, timeout};

/// Below what etcd takes in one request.
const LARGE: usize = 1_400_000;

async fn client(etcd: &Etcd) -> Client {
    Client::connect(etcd.endpoints(), None).await.unwrap()
}

/// Large values, long keys and many keys behind the leader's change nothing, and are no candidates'
/// once they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_keys_behind_the_leader_change_nothing() {
    let etcd = cluster(1).await;
    let leader = elector(lock(&etcd, "jobs"), "a", 3);
    let held = leader.campaign().await.unwrap();
    let follower = elector(lock(&etcd, "jobs"), "b", 3);
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    let mut theirs = client(&etcd).await;
    for number in 0..3 {
        theirs.put(format!("jobs/value{number}"), vec![b'x'; LARGE], None).await.unwrap();
        let key = [format!("jobs/key{number}/").as_bytes(), &vec![b'k'; LARGE]].concat();
        theirs.put(key, "x", None).await.unwrap();
    }
    for number in 0..300 {
        theirs.put(format!("jobs/many{number}"), vec![0x1b; 20_000], None).await.unwrap();
    }
    let newcomer = elector(lock(&etcd, "jobs"), "c", 3);
    let newcomers = newcomer.clone();
    let newcomers = tokio::spawn(async move { newcomers.campaign().await });
    sleep(Duration::from_secs(6)).await;
    assert!(held.check().is_ok(), "{:?}", leader.status());
    assert!(!waiting.is_finished() && !newcomers.is_finished(), "{:?}", follower.status());
    for candidate in [&leader, &follower, &newcomer] {
        let status = candidate.status();
        assert!(status.store_error.is_none(), "{status:?}");
    }
    let listed = leasehold::doctor::list(&etcd.url(&etcd.endpoints(), "")).await.unwrap();
    assert_eq!(listed.len(), 1, "the election is listed among all that");
    etcd.etcdctl(&["del", "--from-key", "jobs/k"]).await.unwrap();
    assert!(held.check().is_ok(), "{:?}", leader.status());
    assert!(held.resign().await.unwrap());
    let next = timeout(PATIENCE, async {
        tokio::select! { held = waiting => held, held = newcomers => held }
    });
    assert!(next.await.unwrap().unwrap().unwrap().check().is_ok());
}

/// A candidate of somebody else's whose value is larger than an answer may be is waited for; one
/// without a lease is named; and both are gone when they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_read_is_a_state() {
    let extra = vec!["--max-request-bytes=8000000".to_owned()];
    let etcd = Etcd::start(Options { members: 1, extra, ..Options::default() }).await.unwrap();
    let ours = lock(&etcd, "jobs");
    let theirs = client(&etcd).await;
    let lease = theirs.lease_client().grant(60, None).await.unwrap().id();
    let options = PutOptions::new().with_lease(lease);
    let (key, value) = (format!("jobs/{lease:x}"), vec![b'x'; 6_000_000]);
    theirs.kv_client().put(key, value.clone(), Some(options)).await.unwrap();
    let seen = ours.read().await.unwrap();
    assert_eq!(identity(&seen), Some(format!("lease {lease:x}").as_str()));
    let candidate = elector(lock(&etcd, "jobs"), "a", 3);
    let waiting = candidate.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "{:?}", candidate.status());
    theirs.lease_client().revoke(lease).await.unwrap();
    let held = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(held.check().unwrap() > token(&seen));
    assert!(held.resign().await.unwrap());
    theirs.kv_client().put("jobs/immortal", value, None).await.unwrap();
    let Contents::Unreadable(why) = ours.read().await.unwrap().contents else { panic!("a holder") };
    assert!(why.contains("etcdctl del 'jobs/immortal'"), "{why}");
    etcd.etcdctl(&["del", "jobs/immortal"]).await.unwrap();
    take(&ours, "b", 5).await;
}

/// The cure for a hostile key is one line, and what a shell makes of it is that very key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cure_for_a_hostile_key_can_be_pasted() {
    let etcd = cluster(1).await;
    let ours = lock(&etcd, "jobs");
    for key in
        [&b"jobs/\x1b[2J\n2026 INFO leading"[..], b"jobs/$(touch x)'`\\\xff", b"jobs/\xe2\x80\xae"]
    {
        client(&etcd).await.put(key, "x", None).await.unwrap();
        let Contents::Unreadable(why) = ours.read().await.unwrap().contents else { panic!() };
        assert!(why.chars().all(|shown| !shown.is_control() && shown != '\u{202e}'), "{why:?}");
        let (_, cure) = why.split_once("etcdctl ").unwrap();
        let program = Etcd::program("etcdctl").unwrap();
        let line = format!("{} --endpoints {} {cure}", program.display(), etcd.endpoints()[0]);
        let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
        assert_eq!(output.stdout, b"1\n", "{line}: {output:?}");
        assert_eq!(ours.read().await.unwrap().contents, Contents::Absent);
    }
}
