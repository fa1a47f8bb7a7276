//! Whose an answer is: clusters that are replaced, endpoints of another cluster, and proxies that
//! do not say it.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    PATIENCE, Running, change, cluster, elector, eventually, identity, lock, next, open, renew,
    take, written,
};
use futures_util::StreamExt;
use leasehold::ErrorKind;
use leasehold::backend::{Contents, Intent, LockBackend};
use leasehold_conformance::fixture::{Cluster, Fixture};
use leasehold_conformance::stores::etcd::Etcd;
use tokio::time::timeout;

/// Read, write and watch say so, whether one member was asked or three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_replaced_is_another_store() {
    for members in [1, 3] {
        let mut etcd = cluster(members).await;
        let ours = lock(&etcd, "jobs");
        let taken = take(&ours, "a", 60).await;
        etcd.supplant().await.unwrap();
        eventually("a read says so", || async {
            let read = ours.read().await;
            assert!(read.is_err(), "another store's answer was taken: {read:?}");
            read.is_err_and(|error| error.kind() == ErrorKind::Replaced)
        })
        .await;
        for _ in 0..3 {
            let error = ours.read().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Replaced, "{error}");
            let error = renew(&ours, &taken.version, 60).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Replaced, "{error}");
            let releasing = ours.write(&taken.version, &change(Intent::Release, "a", 60)).await;
            assert_eq!(releasing.unwrap_err().kind(), ErrorKind::Replaced, "not released there");
            let seen = ours.watch(&taken).next().await.unwrap().unwrap_err();
            assert_eq!(seen.kind(), ErrorKind::Replaced, "{seen}");
        }
        let error = ours.read().await.unwrap_err().to_string();
        println!("{members}: {error}");
        assert!(error.contains("replaced") && error.contains(&etcd.endpoints()[0]), "{error}");
        // Who did not know the old one is at home here.
        take(&lock(&etcd, "jobs"), "b", 5).await;
    }
}

/// The leader stops with the first answer, and not at its deadline; who knew the old cluster stays
/// out of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_of_a_replaced_cluster_stops_at_once() {
    let mut etcd = cluster(1).await;
    let leader = elector(lock(&etcd, "jobs"), "a", 30);
    let held = leader.campaign().await.unwrap();
    let follower = elector(lock(&etcd, "jobs"), "b", 30);
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await.map(drop) });
    let sees = || matches!(follower.status().leader, leasehold::status::Leader::Held(_));
    eventually("it waits", || async { sees() }).await;
    let until = held.term().remaining();
    let began = Instant::now();
    etcd.supplant().await.unwrap();
    let down = began.elapsed();
    let bound = leader.timing().retry_period() + 2 * leader.timing().request_timeout();
    timeout(bound, held.term().lost()).await.expect("it believes on beside its successor");
    println!(
        "down for {down:?}, and lost {:?} after that; it had {until:?}",
        began.elapsed() - down
    );
    let refused = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Replaced, "{refused}");
    let newcomer = elector(lock(&etcd, "jobs"), "c", 3);
    let second = newcomer.campaign().await.unwrap();
    assert!(second.check().is_ok() && held.check().is_err());
}

/// An address of another cluster in the list is left out: it is asked for nothing, and ends
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_foreign_endpoint_of_three_ends_nothing() {
    let (mut etcd, other) = (cluster(3).await, cluster(1).await);
    let [_, second, third] = etcd.endpoints().try_into().unwrap();
    for round in 0..3 {
        let mut named = vec![second.clone(), third.clone()];
        named.insert(round, other.endpoints()[0].clone());
        let name = format!("jobs{round}");
        let candidate = elector(open(&etcd.url(&named, &name)), "a", 15);
        let held = candidate.campaign().await.unwrap();
        let seen = lock(&etcd, &name).read().await.unwrap();
        assert_eq!(identity(&seen), Some("a"), "it leads in the cluster of the other two");
        tokio::time::sleep(Duration::from_secs(2)).await;
        // One of the two that are right is gone: the third member of theirs, which nobody named,
        // keeps the majority.
        if round == 2 {
            etcd.kill(1).unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert!(held.check().is_ok(), "round {round}: {:?}", candidate.status());
    }
    let theirs = other.etcdctl(&["get", "jobs", "--prefix", "--keys-only"]).await.unwrap();
    assert_eq!(theirs, "", "nothing was asked of the other one");
    assert_eq!(other.etcdctl(&["lease", "list"]).await.unwrap(), "found 0 leases");
}

/// Members of two clusters under one URL would be two locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_two_clusters_are_refused() {
    let (one, mut two) = (cluster(1).await, cluster(1).await);
    let both = [one.endpoints(), two.endpoints()].concat();
    let error = open(&one.url(&both, "jobs")).read().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("different clusters"), "{error}");
    for endpoint in &both {
        assert!(error.to_string().contains(endpoint.as_str()), "{error}");
    }
    // Who comes while one is away learns of it when it is back.
    two.kill(0).unwrap();
    let ours = open(&one.url(&both, "jobs"));
    ours.read().await.unwrap();
    two.restart(0).await.unwrap();
    eventually("the other one is heard", || async {
        ours.read().await.is_err_and(|error| error.kind() == ErrorKind::Replaced)
    })
    .await;
}

/// A grpc-proxy gives the cluster of some answers as 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_grpc_proxy_everything_works() {
    let etcd = cluster(1).await;
    let (_proxy, address) = proxy(&etcd).await;
    let direct = lock(&etcd, "jobs");
    let through = open(&etcd.url(std::slice::from_ref(&address), "jobs"));
    let seen = through.read().await.unwrap();
    assert_eq!(seen.contents, Contents::Absent);
    let mut watch = through.watch(&seen);
    let taken = take(&direct, "a", 30).await;
    let told = next(&mut watch).await;
    assert_eq!((identity(&told), &told.version), (Some("a"), &taken.version));
    written(direct.write(&taken.version, &change(Intent::Release, "a", 30)).await);
    assert_eq!(next(&mut watch).await.contents, Contents::Absent);
    let candidate =
        |name| elector(open(&etcd.url(std::slice::from_ref(&address), "jobs")), name, 15);
    let (leader, follower) = (candidate("b"), candidate("c"));
    let held = leader.campaign().await.unwrap();
    let waiting = follower.clone();
    let waiting = tokio::spawn(async move { waiting.campaign().await });
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(held.check().is_ok(), "{:?}", leader.status());
    let began = Instant::now();
    assert!(held.resign().await.unwrap());
    drop(timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap());
    println!("handed over through a proxy in {:?}", began.elapsed());
}

async fn proxy(etcd: &Etcd) -> (Running, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(Etcd::program("etcd").unwrap());
    command.args(["grpc-proxy", "start", "--endpoints", &etcd.endpoints().join(",")]);
    command.args(["--listen-addr", &address, "--advertise-client-url", &address]);
    command.arg("--data-dir").arg(etcd.directory().join("proxy"));
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(silent.spawn().unwrap());
    eventually("the proxy listens", || async {
        tokio::net::TcpStream::connect(&address).await.is_ok()
    })
    .await;
    (running, address)
}
