//! How fast a lock is handed over, and what it costs the store.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{cluster, elector, eventually, lock, spread};
use futures_util::StreamExt;
use leasehold::backend::{
    BoxStream, Capabilities, Change, Contents, Intent, LockBackend, Observed, Outcome, Version,
};
use leasehold::status::Leader;
use leasehold::stores::etcd::EtcdLock;
use leasehold::stores::etcd::etcd_client::{Client, DeleteOptions};
use leasehold::{Elector, Error};
use leasehold_conformance::distribution::Distribution;
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::etcd::Etcd;

const ROUNDS: usize = 30;

/// How many raw puts a hand-over may take where those are slow: it has three writes, and as much
/// again for the events and answers in between, which a busy machine delivers late.
const PUTS: u32 = 6;

/// What a hand-over is made of.
const STEPS: [&str; 6] = [
    "release begins",
    "release stored",
    "next one is told",
    "its Take begins",
    "its Take is acknowledged",
    "it leads",
];

/// When each step of one hand-over came to be.
type Trace = Arc<Mutex<[Option<Instant>; STEPS.len()]>>;

/// A lock that notes when its requests begin and end.
#[derive(Debug)]
struct Traced {
    lock: EtcdLock,
    trace: Trace,
}

fn note(trace: &Trace, step: usize) {
    trace.lock().unwrap()[step].get_or_insert_with(Instant::now);
}

#[async_trait::async_trait]
impl LockBackend for Traced {
    fn name(&self) -> &str {
        self.lock.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.lock.capabilities()
    }

    async fn read(&self) -> Result<Observed, Error> {
        self.lock.read().await
    }

    async fn write(&self, expected: &Version, change: &Change) -> Result<Outcome, Error> {
        let steps = match change.intent {
            Intent::Release => [0, 1],
            Intent::Take => [3, 4],
            Intent::Adopt | Intent::Renew | Intent::Revoke => {
                return self.lock.write(expected, change).await;
            }
        };
        note(&self.trace, steps[0]);
        let outcome = self.lock.write(expected, change).await;
        note(&self.trace, steps[1]);
        outcome
    }

    fn watch(&self, after: &Observed) -> BoxStream<'static, Result<Observed, Error>> {
        let trace = self.trace.clone();
        Box::pin(self.lock.watch(after).inspect(move |seen| {
            if seen.as_ref().is_ok_and(|seen| seen.contents == Contents::Absent) {
                note(&trace, 2);
            }
        }))
    }
}

/// Three writes of the store, one after the other: the key goes, a lease is granted, a key is put.
/// On an idle machine that is 10 ms; on a busy one a raw put tells how slow everything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_hands_over_in_milliseconds() {
    let etcd = cluster(3).await;
    let trace = Trace::default();
    let traced = |identity: &str| {
        let lock = Traced { lock: lock(&etcd, "jobs"), trace: trace.clone() };
        Elector::builder(Arc::new(lock)).identity(identity).build().unwrap()
    };
    let electors = [traced("a"), traced("b")];
    let mut held = electors[0].campaign().await.unwrap();
    let (mut times, mut puts) = (Vec::new(), Vec::new());
    let client = client(&etcd).await;
    let mut steps: [Vec<Duration>; STEPS.len()] = Default::default();
    for round in 0..ROUNDS {
        let next = electors[(round + 1) % 2].clone();
        let seen = next.clone();
        let led = trace.clone();
        let waiting = tokio::spawn(async move {
            let held = next.campaign().await.unwrap();
            note(&led, 5);
            (held, Instant::now())
        });
        eventually("the next one watches", || async {
            matches!(seen.status().leader, Leader::Held(_))
        })
        .await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        *trace.lock().unwrap() = Default::default();
        let began = Instant::now();
        assert!(held.resign().await.unwrap());
        let (next, led) = waiting.await.unwrap();
        times.push(led - began);
        for (times, at) in steps.iter_mut().zip(*trace.lock().unwrap()) {
            times.extend(at.map(|at| at - began));
        }
        held = next;
        let began = Instant::now();
        client.kv_client().put("raw", "put", None).await.unwrap();
        puts.push(began.elapsed());
    }
    for (what, times) in STEPS.into_iter().zip(steps) {
        let (median, worst) = spread(times);
        println!("{what}: after {median:.1?} (median), {worst:.1?} (longest)");
    }
    println!("a raw put: {}", Distribution::of(puts.clone()));
    println!("release to leading: {}", Distribution::of(times.clone()));
    let ((median, _), (put, _)) = (spread(times), spread(puts));
    let bound = Duration::from_millis(10).max(put * PUTS);
    assert!(median <= bound, "{median:?}, a raw put {put:?}, so at most {bound:?}");
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

/// The proposals that the cluster has committed. A member learns of a commit with the next
/// heartbeat, so that a sum over members would count what was committed before.
async fn committed(etcd: &Etcd) -> f64 {
    let mut most: f64 = 0.0;
    for member in 0..etcd.members() {
        let known = etcd.metric(member, "etcd_server_proposals_committed_total", &[]).await;
        most = most.max(known.unwrap());
    }
    most
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
    let proposals = committed(&etcd).await;
    let (ranges, keep_alives) =
        (received(&etcd, "Range").await, received(&etcd, "LeaseKeepAlive").await);
    let reads = |electors: &[leasehold::Elector]| -> u64 {
        electors.iter().map(|elector| elector.status().counters.reads).sum()
    };
    let before = reads(&followers);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let proposals = committed(&etcd).await - proposals;
    let ranges = received(&etcd, "Range").await - ranges;
    let keep_alives = received(&etcd, "LeaseKeepAlive").await - keep_alives;
    let read = reads(&followers) - before;
    println!(
        "12 s at a lease of 3 s: {keep_alives} keep-alives, {proposals} proposals; 5 followers: \
         {read} reads, {ranges} received"
    );
    assert!(held.check().is_ok());
    assert!(keep_alives >= 20.0, "the leader renewed every 0.4 s");
    assert!(proposals < 0.5, "{proposals}");
    // Four leases; a slow answer may be asked for twice.
    assert!((15..=25).contains(&read), "{read}");
    assert!(ranges <= 30.0, "{ranges}");
}

/// An administrator deletes the key of a leader: it must know by its watch, long before its next
/// renewal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_key_ends_the_term_at_once() {
    let etcd = cluster(3).await;
    let client = client(&etcd).await;
    let mut times = Vec::new();
    for _ in 0..5 {
        // It renews every 8 s, and the key goes right after a renewal.
        let leader = elector(lock(&etcd, "jobs"), "a", 60);
        let held = leader.campaign().await.unwrap();
        let lost = held.term().lost();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let prefix = DeleteOptions::new().with_prefix();
        let asked = Instant::now();
        let mut deleting = client.kv_client();
        let deleted = tokio::spawn(async move {
            deleting.delete("jobs/", Some(prefix)).await.unwrap();
        });
        let bound = leader.timing().retry_period() / 4;
        tokio::time::timeout(bound, lost).await.expect("its watch did not tell it");
        times.push(asked.elapsed());
        deleted.await.unwrap();
    }
    let (median, worst) = spread(times);
    println!(
        "key deleted: the term ended {median:?} after the request was sent (median of 5), \
         {worst:?} (longest)"
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
