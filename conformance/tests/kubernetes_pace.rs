//! What a lock behind a real API server costs, and how fast it changes hands.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

use std::time::{Duration, Instant};

use leasehold::k8s::Form;
use leasehold::{Elector, Leader, Token};
use leasehold_conformance::distribution::Distribution;
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::kubernetes::{Admin, Kubernetes, Options};
use serde_json::json;

/// How often the lock changes hands.
const ROUNDS: usize = 40;

/// Longer than anything takes, on a slow machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

async fn elector(cluster: &Kubernetes, name: &str, identity: &str) -> Elector {
    let lock = leasehold::connect(&cluster.url(&cluster.endpoints(), name)).await.unwrap();
    Elector::builder(lock).identity(identity).build().unwrap()
}

/// Waits until this one is told of that term: who resigned stays back until it saw another holder.
async fn told(elector: &Elector, token: Token) {
    let began = Instant::now();
    let of = |leader: &Leader| matches!(leader, Leader::Held(who) if who.token == Some(token));
    while !of(&elector.status().leader) {
        assert!(began.elapsed() < PATIENCE, "it is not told who leads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two writes, one after the other: the release, and the take. On a busy machine a raw write tells how slow everything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_hands_over_in_milliseconds() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let electors = [elector(&cluster, "jobs", "a").await, elector(&cluster, "jobs", "b").await];
    let mut held = electors[0].campaign().await.unwrap();
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/raw";
    let mut raw = json!({"metadata": {"name": "raw"}, "spec": {"leaseTransitions": 0}});
    let (mut times, mut puts) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let next = electors[(round + 1) % 2].clone();
        let seen = next.clone();
        let waiting = tokio::spawn(async move {
            let held = next.campaign().await.unwrap();
            (held, Instant::now())
        });
        let before = held.token();
        told(&seen, before).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let began = Instant::now();
        assert!(held.resign().await.unwrap());
        let (next, led) = waiting.await.unwrap();
        times.push(led - began);
        assert!(next.check().unwrap() > before);
        held = next;
        raw["spec"]["leaseTransitions"] = round.into();
        let began = Instant::now();
        raw = admin.do_it("PUT", path, Some(&raw)).await.unwrap();
        puts.push(began.elapsed());
    }
    let (puts, times) = (Distribution::of(puts), Distribution::of(times));
    println!("a raw PUT: {puts}");
    println!("release to leading: {times}");
    let (put, median) = (puts.at(50), times.at(50));
    assert!(median <= Duration::from_millis(100).max(put * 20), "{median:?}, a raw PUT {put:?}");
}

/// Requests for Endpoints so far, by verb: nobody else makes any here.
async fn requests(admin: &Admin, verb: &str) -> u64 {
    let metrics = admin.do_it("GET", "/metrics", None).await.unwrap();
    let counted = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"endpoints\"")
            && line.contains(&format!("verb=\"{verb}\""))
    };
    let text = metrics.as_str().unwrap();
    let numbers = text.lines().filter(counted).map(|line| line.rsplit(' ').next().unwrap());
    numbers.map(|number| number.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_writes_once_a_period_and_followers_ask_nothing() {
    const COUNTED: Duration = Duration::from_secs(16);
    let options = Options { form: Form::Endpoints, ..Options::default() };
    let cluster = Kubernetes::start(options).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let leader = elector(&cluster, "jobs", "a").await;
    let held = leader.campaign().await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..3 {
        let follower = elector(&cluster, "jobs", &format!("f{number}")).await;
        let seen = follower.clone();
        waiting.push(tokio::spawn(async move { follower.campaign().await.is_ok() }));
        told(&seen, held.token()).await;
    }
    // Their watches are open by then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = [requests(&admin, "GET").await, requests(&admin, "PUT").await];
    tokio::time::sleep(COUNTED).await;
    let after = [requests(&admin, "GET").await, requests(&admin, "PUT").await];
    let [reads, writes] = [after[0] - before[0], after[1] - before[1]];
    println!("in {COUNTED:?} with three followers: {writes} PUT, {reads} GET");
    assert!(before[1] > 0, "the API server counts nothing");
    let most = COUNTED.as_secs() / 2 + 1;
    assert!((2..=most).contains(&writes), "{writes} writes at a retry period of 2 s");
    assert_eq!(reads, 0, "followers ask");
    assert!(held.check().is_ok());
    assert!(waiting.iter().all(|one| !one.is_finished()), "a follower leads too");
}
