//! What a lock behind a real API server costs, and how fast it changes hands.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use common::{PATIENCE, Running, eventually, leasehold};
use leasehold::status::Leader;
use leasehold::stores::k8s::Form;
use leasehold::{Elector, Token};
use leasehold_conformance::distribution::Distribution;
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::kubernetes::{Admin, Kubernetes, Options};
use serde_json::json;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// How often the lock changes hands.
const ROUNDS: usize = 40;

async fn elector(cluster: &Kubernetes, name: &str, identity: &str) -> Elector {
    let lock = leasehold::connect(&cluster.url(&cluster.endpoints(), name)).await.unwrap();
    Elector::builder(lock).identity(identity).build().unwrap()
}

/// Waits until this one is told of that term: who resigned stays back until it saw another holder.
async fn told(elector: &Elector, token: Token) {
    let of = |leader: &Leader| matches!(leader, Leader::Held(who) if who.token == Some(token));
    eventually("it is told who leads", async || of(&elector.status().leader)).await;
}

/// Two writes, one after the other: the release, and the take. On a busy machine a raw write tells
/// how slow everything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_hands_over_in_milliseconds() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let electors = [elector(&cluster, "jobs", "a").await, elector(&cluster, "jobs", "b").await];
    let mut held = electors[0].campaign().await.unwrap();
    let path = format!("{LEASES}/raw");
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
        raw = admin.do_it("PUT", &path, Some(&raw)).await.unwrap();
        puts.push(began.elapsed());
    }
    let (puts, times) = (Distribution::of(puts), Distribution::of(times));
    println!("a raw PUT: {puts}");
    println!("release to leading: {times}");
    let (put, median) = (puts.at(50), times.at(50));
    assert!(median <= Duration::from_millis(100).max(put * 20), "{median:?}, a raw PUT {put:?}");
}

/// Requests for Endpoints so far, by verb: nobody else makes any here.
async fn requests(admin: &Admin, verb: &str) -> f64 {
    let verb = format!("verb=\"{verb}\"");
    let words = ["resource=\"endpoints\"", verb.as_str()];
    admin.metric("apiserver_request_total", &words).await.unwrap()
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
    assert!(before[1] > 0.0, "the API server counts nothing");
    let most = COUNTED.as_secs_f64() / 2.0 + 1.0;
    assert!((2.0..=most).contains(&writes), "{writes} writes at a retry period of 2 s");
    assert_eq!(reads, 0.0, "followers ask");
    assert!(held.check().is_ok());
    assert!(waiting.iter().all(|one| !one.is_finished()), "a follower leads too");
}

/// How often somebody else's claim is put over a leader's.
const USURPED: usize = 10;

/// When CMD had begun and when it had ended: it holds this pipe open as long as it lives.
fn life_of_work(pipe: &Path) -> Receiver<Instant> {
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let (pipe, (sender, life)) = (pipe.to_owned(), mpsc::channel());
    std::thread::spawn(move || {
        let mut pipe = File::open(pipe).unwrap();
        sender.send(Instant::now()).unwrap();
        pipe.read_to_end(&mut Vec::new()).unwrap();
        let _ = sender.send(Instant::now());
    });
    life
}

/// No candidate of ours writes over a claim that stands; a client that does is believed at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_of_another_leader_kills_the_work_within_milliseconds() {
    let cluster = Kubernetes::start(Options::default()).await.unwrap();
    let admin = cluster.admin().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (mut times, mut puts) = (Vec::new(), Vec::new());
    for round in 0..USURPED {
        let name = format!("usurped-{round}");
        let pipe = directory.path().join(&name);
        let life = life_of_work(&pipe);
        let url = cluster.url(&cluster.endpoints(), &name);
        let work = format!("exec sleep 1000 >{}", pipe.display());
        let words = ["run", "--lock", &url, "--once", "-q", "--", "sh", "-c", &work];
        let mut run = Running(leasehold(&words).spawn().unwrap());
        life.recv_timeout(PATIENCE).expect("CMD runs");
        let path = format!("{LEASES}/{name}");
        let mut lease = admin.do_it("GET", &path, None).await.unwrap();
        lease["spec"]["holderIdentity"] = "somebody-else".into();
        let began = Instant::now();
        admin.do_it("PUT", &path, Some(&lease)).await.unwrap();
        let stored = Instant::now();
        let dead = life.recv_timeout(PATIENCE).expect("CMD ends");
        times.push(dead.saturating_duration_since(stored));
        puts.push(stored - began);
        let code = run.0.wait().unwrap().code();
        assert_eq!(code, Some(76), "leadership is lost");
    }
    let (puts, times) = (Distribution::of(puts), Distribution::of(times));
    println!("a raw PUT: {puts}");
    println!("another's claim acknowledged to CMD's end: {times}");
    let (put, median) = (puts.at(50), times.at(50));
    assert!(median <= Duration::from_millis(50).max(put * 10), "{median:?}, a raw PUT {put:?}");
}
