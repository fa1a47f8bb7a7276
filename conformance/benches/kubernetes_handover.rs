//! How fast a lock behind a real API server changes hands, ours and client-go's side by side, on
//! one API server.
//!
//! `cargo bench -p leasehold-conformance --bench kubernetes_handover [-- ROUNDS]`, after
//! `cargo xtask servers`. It ends with an error where ours is slower than what docs/KUBERNETES.md
//! promises.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use leasehold::Elector;
use leasehold::stores::k8s::Form;
use leasehold::timing::{BootClock, Clock, Time};
use leasehold_conformance::distribution::Distribution;
use leasehold_conformance::fixture::{Fixture, Peer};
use leasehold_conformance::history::{Event, History, What};
use leasehold_conformance::process::{Process, candidate_if_asked};
use leasehold_conformance::stores::kubernetes::{Admin, ClientGo, Kubernetes, Options};
use serde_json::json;

mod turns;

use turns::in_turns;

/// How often each kind is measured, at least.
const ROUNDS: usize = 40;

/// How many locks change hands beside each other where a round takes seconds.
const AT_A_TIME: usize = 10;

/// Longer than anything takes, on a slow machine with other work.
const PATIENCE: Duration = Duration::from_secs(90);

/// client-go's followers look at the lock after a pause of up to that, at a retry period of 2 s.
const LONGEST_PAUSE: Duration = Duration::from_millis(4_400);

const LEASE: Duration = ClientGo::DEFAULTS.lease_duration;

fn main() -> ExitCode {
    if let Some(ended) = candidate_if_asked() {
        return ended;
    }
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let rounds = words.next().map_or(ROUNDS, |word| word.parse().expect("a number of rounds"));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    if runtime.block_on(measure(rounds)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(rounds: usize) -> bool {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let (puts, events) = round_trips(&cluster, rounds).await;
    println!("a raw PUT, sent to acknowledged: {puts}");
    println!("the same, sent to seen by a watch: {events}");
    let ours = released(&cluster, rounds).await;
    println!("hand-over of ours, release sent to the successor's check(): {ours}");
    let theirs = in_parallel(rounds, |lock| released_by_client_go(&cluster, lock)).await;
    println!(
        "hand-over of client-go at 15/10/2 with ReleaseOnCancel, release sent to OnStartedLeading: \
         {theirs}"
    );
    let crashed = in_parallel(rounds, |lock| crashed(&cluster, lock)).await;
    println!("crash of ours at a lease of 15 s, SIGKILL to the successor's term: {crashed}");
    let died = in_parallel(rounds, |lock| client_go_crashed(&cluster, lock)).await;
    println!("crash of client-go at 15/10/2, SIGKILL to OnStartedLeading: {died}");
    let times = theirs.at(50).as_secs_f64() / ours.at(50).as_secs_f64();
    println!("a hand-over of ours is {times:.0} times as fast, by the medians");
    let mut holds = true;
    for (what, is_so) in [
        ("median of a hand-over at most 15 ms", ours.at(50) <= Duration::from_millis(15)),
        ("at least 100 times as fast as client-go's", times >= 100.0),
        ("p99 after a crash at most 15.5 s", crashed.at(99) <= LEASE + Duration::from_millis(500)),
    ] {
        println!("{}: {what}", if is_so { "holds" } else { "DOES NOT HOLD" });
        holds &= is_so;
    }
    holds
}

/// One request, and one event of a watch on another connection.
async fn round_trips(cluster: &Kubernetes, rounds: usize) -> (Distribution, Distribution) {
    let admin: Admin = cluster.admin().await.unwrap();
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/raw";
    let mut raw = json!({"metadata": {"name": "raw"}, "spec": {"leaseTransitions": 0}});
    raw = admin.do_it("PUT", path, Some(&raw)).await.unwrap();
    let lock = leasehold::connect(&cluster.url(&cluster.endpoints(), "raw")).await.unwrap();
    let mut watch = lock.watch(&lock.read().await.unwrap());
    let (mut puts, mut events) = (Vec::new(), Vec::new());
    // The first ones find the connections cold.
    for round in 0..rounds + 3 {
        raw["spec"]["leaseTransitions"] = (round + 1).into();
        let began = Instant::now();
        let put = async {
            raw = admin.do_it("PUT", path, Some(&raw)).await.unwrap();
            began.elapsed()
        };
        let seen = async {
            watch.next().await.expect("the watch goes on").unwrap();
            began.elapsed()
        };
        let (put, seen) = tokio::join!(put, seen);
        if round >= 3 {
            puts.push(put);
            events.push(seen);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    (Distribution::of(puts), Distribution::of(events))
}

/// Two of ours, in turns, each waiting on a watch.
async fn released(cluster: &Kubernetes, rounds: usize) -> Distribution {
    let url = cluster.url(&cluster.endpoints(), "jobs");
    let mut electors = Vec::new();
    for identity in ["a", "b"] {
        let lock = leasehold::connect(&url).await.unwrap();
        electors.push(Elector::builder(lock).identity(identity).build().unwrap());
    }
    let settle = Duration::from_millis(100);
    in_turns([&electors[0], &electors[1]], rounds, settle).await
}

/// Some locks at a time, until there are enough.
async fn in_parallel<F: Future<Output = Duration>>(
    rounds: usize,
    one: impl Fn(String) -> F,
) -> Distribution {
    let mut times = Vec::new();
    while times.len() < rounds {
        let locks = (0..AT_A_TIME).map(|_| one(format!("lock-{:016x}", random())));
        times.extend(join_all(locks).await);
    }
    Distribution::of(times)
}

/// A moment that has nothing to do with when anybody looks.
async fn some_time(longest: Duration) {
    let share = u32::try_from(random() % 1_000).unwrap();
    tokio::time::sleep(longest * share / 1_000).await;
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

/// A leader and one that waits; returns when the leader is known to the latter.
async fn pair(cluster: &Kubernetes, lock: &str) -> (Peer, Peer) {
    let start = |identity: &str| {
        let address = &cluster.endpoints()[0];
        let who = (lock, identity);
        cluster.client_go(Form::Lease, address, who, &ClientGo::DEFAULTS).unwrap()
    };
    let mut leader = start("a");
    hears(&mut leader, "leads").await;
    let mut next = start("b");
    hears(&mut next, "sees").await;
    (leader, next)
}

/// When it says that word.
async fn hears(peer: &mut Peer, word: &str) -> Time {
    loop {
        let line = tokio::time::timeout(PATIENCE, peer.line()).await;
        let line = line.unwrap_or_else(|_| panic!("it never says {word}")).expect("it runs");
        let mut words = line.split(' ');
        if words.next() == Some(word) {
            return Time(words.next().unwrap().parse().unwrap());
        }
    }
}

async fn released_by_client_go(cluster: &Kubernetes, lock: String) -> Duration {
    let (mut leader, mut next) = pair(cluster, &lock).await;
    some_time(LONGEST_PAUSE).await;
    leader.ask_to_end();
    // The moment at which the write was sent.
    let sent = hears(&mut leader, "released").await;
    hears(&mut next, "leads").await.since(sent)
}

async fn client_go_crashed(cluster: &Kubernetes, lock: String) -> Duration {
    let (mut leader, mut next) = pair(cluster, &lock).await;
    some_time(LONGEST_PAUSE).await;
    let killed = BootClock::new().now();
    leader.kill();
    hears(&mut next, "leads").await.since(killed)
}

/// Processes of ours; the leader is killed at any moment between two renewals.
async fn crashed(cluster: &Kubernetes, lock: String) -> Duration {
    let url = cluster.url(&cluster.endpoints(), &lock);
    let history = History::new(std::sync::Arc::new(BootClock::new()));
    let up = |node: &'static str| {
        let is = move |event: &Event| &*event.node == node && matches!(event.what, What::Up { .. });
        let history = history.clone();
        async move {
            let began = Instant::now();
            loop {
                if let Some(event) = history.last(is) {
                    return event.at;
                }
                assert!(began.elapsed() < PATIENCE, "{node} never leads");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let mut leader = Process::start("a", "a", &url, LEASE, &history).unwrap();
    up("a").await;
    let next = Process::start("b", "b", &url, LEASE, &history).unwrap();
    // It reads, and opens its watch.
    tokio::time::sleep(Duration::from_secs(3)).await;
    some_time(LONGEST_PAUSE).await;
    let killed = BootClock::new().now();
    leader.kill();
    let led = up("b").await;
    drop(next);
    led.since(killed)
}
