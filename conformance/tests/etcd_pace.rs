//! How fast a lock is handed over, and what it costs the store.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::time::{Duration, Instant};

use common::{cluster, elector, eventually, lock, spread};
use leasehold::etcd::etcd_client::{Client, DeleteOptions};
use leasehold::{Intent, Leader, LockBackend};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::etcd::Etcd;

const ROUNDS: usize = 30;

/// Watch, grant, transaction. The bound of 10 ms is for an idle machine; the test allows a busy one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_hands_over_in_milliseconds() {
    let etcd = cluster(3).await;
    let electors = [elector(lock(&etcd, "jobs"), "a", 15), elector(lock(&etcd, "jobs"), "b", 15)];
    let mut held = electors[0].campaign().await.unwrap();
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let next = electors[(round + 1) % 2].clone();
        let seen = next.clone();
        let waiting = tokio::spawn(async move {
            let held = next.campaign().await.unwrap();
            (held, Instant::now())
        });
        eventually("the next one watches", || async {
            matches!(seen.status().leader, Leader::Held(_))
        })
        .await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let began = Instant::now();
        assert!(held.resign().await.unwrap());
        let (next, led) = waiting.await.unwrap();
        times.push(led - began);
        held = next;
    }
    let puts = raw_puts(&etcd).await;
    let (put, worst_put) = spread(puts);
    let (median, worst) = spread(times);
    println!(
        "release to leading: {median:?} (median of {ROUNDS}), {worst:?} (longest); a raw put {put:?}, {worst_put:?}"
    );
    assert!(median < Duration::from_millis(100), "{median:?}");
}

async fn raw_puts(etcd: &Etcd) -> Vec<Duration> {
    let client = client(etcd).await;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        client.kv_client().put("raw", "put", None).await.unwrap();
        times.push(began.elapsed());
    }
    times
}

async fn client(etcd: &Etcd) -> Client {
    let endpoints = etcd.endpoints();
    Client::connect(&endpoints[..1], None).await.unwrap()
}

/// What the servers counted, of all members.
async fn total(etcd: &Etcd, name: &str, words: &[&str]) -> f64 {
    let mut total = 0.0;
    for member in 0..etcd.members() {
        total += etcd.metric(member, name, words).await.unwrap();
    }
    total
}

/// Requests that were received, by their gRPC method.
async fn received(etcd: &Etcd, method: &str) -> f64 {
    let method = format!("grpc_method=\"{method}\"");
    total(etcd, "grpc_server_started_total", &[&method]).await
}

/// Nothing is written by a renewal, and a follower asks once per lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_costs_no_proposal_and_a_follower_one_read_per_lease() {
    let etcd = cluster(3).await;
    let leader = elector(lock(&etcd, "jobs"), "a", 3);
    let held = leader.campaign().await.unwrap();
    let followers: Vec<_> =
        (0..5).map(|n| elector(lock(&etcd, "jobs"), &format!("f{n}"), 3)).collect();
    for follower in &followers {
        let waiting = follower.clone();
        tokio::spawn(async move { waiting.campaign().await });
        eventually("it watches", || async { matches!(follower.status().leader, Leader::Held(_)) })
            .await;
    }
    let proposals = total(&etcd, "etcd_server_proposals_committed_total", &[]).await;
    let (ranges, keep_alives) =
        (received(&etcd, "Range").await, received(&etcd, "LeaseKeepAlive").await);
    let reads = |electors: &[leasehold::Elector]| -> u64 {
        electors.iter().map(|elector| elector.status().counters.reads).sum()
    };
    let before = reads(&followers);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let proposals = total(&etcd, "etcd_server_proposals_committed_total", &[]).await - proposals;
    let ranges = received(&etcd, "Range").await - ranges;
    let keep_alives = received(&etcd, "LeaseKeepAlive").await - keep_alives;
    let read = reads(&followers) - before;
    println!(
        "12 s at a lease of 3 s: {keep_alives} keep-alives, {proposals} proposals; 5 followers: {read} reads, {ranges} received"
    );
    assert!(held.check().is_ok());
    assert!(keep_alives >= 20.0, "the leader renewed every 0.4 s");
    assert!(proposals < 0.5, "{proposals}");
    // Four leases; a slow answer may be asked for twice.
    assert!((15..=25).contains(&read), "{read}");
    assert!(ranges <= 30.0, "{ranges}");
}

/// An administrator deletes the key of a leader: it must know by its watch, and without one by its next renewal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_key_ends_the_term_at_once() {
    let etcd = cluster(3).await;
    let client = client(&etcd).await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let leader = elector(lock(&etcd, "jobs"), "a", 15);
        let held = leader.campaign().await.unwrap();
        let lost = held.term().lost();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let prefix = DeleteOptions::new().with_prefix();
        let asked = Instant::now();
        let mut deleting = client.kv_client();
        let deleted = tokio::spawn(async move {
            deleting.delete("jobs/", Some(prefix)).await.unwrap();
        });
        let bound = leader.timing().retry_period() + leader.timing().request_timeout();
        tokio::time::timeout(bound, lost).await.expect("it still believes");
        times.push(asked.elapsed());
        deleted.await.unwrap();
    }
    let (median, worst) = spread(times);
    println!(
        "key deleted: the term ended {median:?} after the request was sent (median of 5), {worst:?} (longest)"
    );
}

/// What each request costs, for people.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_a_matter_of_milliseconds() {
    let etcd = cluster(3).await;
    let ours = lock(&etcd, "jobs");
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let seen = ours.read().await.unwrap();
        times[0].push(began.elapsed());
        let began = Instant::now();
        let change = common::change(Intent::Take, "a", 15);
        let taken = common::written(ours.write(&seen.version, &change).await);
        times[1].push(began.elapsed());
        let began = Instant::now();
        common::written(common::renew(&ours, &taken.version, 15).await);
        times[2].push(began.elapsed());
        let began = Instant::now();
        let change = common::change(Intent::Release, "a", 15);
        common::written(ours.write(&taken.version, &change).await);
        times[3].push(began.elapsed());
    }
    for (what, times) in ["read", "take", "renew", "release"].into_iter().zip(times) {
        let (median, worst) = spread(times);
        println!("{what}: {median:?} (median of {ROUNDS}), {worst:?} (longest)");
        assert!(median < Duration::from_millis(100), "{what}: {median:?}");
    }
}
