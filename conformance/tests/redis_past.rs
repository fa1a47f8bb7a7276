//! The price of a store that forgets. A move of the slot or an old copy of the data costs a leader
//! with two followers nothing, and a fresh name costs a lease. The last two tests show what does
//! not hold.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/redis.rs"]
mod common;
#[path = "common/redis_party.rs"]
mod party;

use std::time::{Duration, Instant};

use common::{Canary, LOCK, LONG, SHORT, Scene, millis, run, stays, until};
use futures_util::future::join_all;
use leasehold_conformance::fixture::Snapshots;
use leasehold_conformance::judge::Property;
use leasehold_conformance::link::Outage;
use leasehold_conformance::stores::redis::Form;
use leasehold_conformance::stores::redis::fixture::{Connection, key};
use party::{Host, Party};
use tokio::time::sleep;

/// Longer than a slow machine takes for what takes a moment.
const SLACK: Duration = Duration::from_secs(2);

/// By so much a candidate may take later, so that not all take at once.
const JITTER: Duration = millis(300);

/// A primary of a cluster.
struct Primary {
    id: String,
    address: String,
    connection: Connection,
}

impl Primary {
    /// All of them, by the word of this member.
    async fn all(scene: &Scene, member: usize) -> Vec<Self> {
        let nodes = scene.redis.insist(member, &["CLUSTER", "NODES"]).await.unwrap();
        let mut all = Vec::new();
        for line in nodes.text().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields[2].contains("master") {
                let address = fields[1].split(['@', ',']).next().unwrap().to_owned();
                let connection = Connection::to(&address).await.unwrap();
                all.push(Self { id: fields[0].to_owned(), address, connection });
            }
        }
        all
    }

    async fn insist(&mut self, words: &[&str]) -> String {
        let done = self.connection.insist(words).await;
        done.unwrap_or_else(|failure| panic!("{words:?}: {failure}")).text().to_owned()
    }

    /// How many requests came here that another primary sent on.
    async fn asked(&mut self) -> u64 {
        let stats = self.insist(&["INFO", "commandstats"]).await;
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_asking:calls="));
        calls.map_or(0, |it| it.split(',').next().unwrap().parse().unwrap())
    }
}

/// The slot of the lock goes to another primary and back, and stays for more than a lease where a
/// client is sent on for each request.
#[test]
fn the_slot_moves() {
    run(async {
        let _host = Host::watched();
        let scene = Scene::of(Form::Cluster).await;
        let mut primaries = Primary::all(&scene, 0).await;
        let own = scene.redis.insist(0, &["CLUSTER", "MYID"]).await.unwrap();
        primaries.sort_by_key(|one| one.id != own.text());
        // Two primaries with a replica each.
        scene.redis.insist(2, &["CLUSTER", "REPLICATE", &primaries[1].id]).await.unwrap();
        while !primaries[1].insist(&["INFO", "replication"]).await.contains("state=online") {
            sleep(millis(20)).await;
        }
        let url = scene.url().replace("replicas=2", "replicas=1");
        let lease = 2 * SHORT;
        let party = Party::at(&url, &scene, lease).await;
        let lock = key(LOCK);
        let slot = primaries[0].connection.insist(&["CLUSTER", "KEYSLOT", &lock]).await.unwrap();
        let slot = slot.number().unwrap().to_string();
        for (from, to) in [(0, 1), (1, 0)] {
            scene.disturb("the slot moves");
            let ids = [from, to].map(|one: usize| primaries[one].id.clone());
            let (host, port) = primaries[to].address.rsplit_once(':').unwrap();
            let (host, port) = (host.to_owned(), port.to_owned());
            let set = ["CLUSTER", "SETSLOT", &slot];
            primaries[to].insist(&[&set[..], &["IMPORTING", &ids[0]]].concat()).await;
            primaries[from].insist(&[&set[..], &["MIGRATING", &ids[1]]].concat()).await;
            party.during(party.renews(2)).await;
            let before = primaries[to].asked().await;
            let moved = ["MIGRATE", &host, &port, "", "0", "5000", "KEYS", &lock];
            assert_eq!(primaries[from].insist(&moved).await, "OK");
            let sent_on = primaries[from].connection.ask(&["GET", &lock]).await.unwrap();
            assert!(sent_on.text().starts_with("ASK"), "{sent_on:?}");
            party.during(party.renews(2)).await;
            party.during(sleep(lease + SLACK)).await;
            let asked = primaries[to].asked().await - before;
            println!("{asked} requests were sent on");
            assert!(asked > 5, "they went elsewhere");
            // The new owner first: else the slot would belong to nobody for a moment.
            for primary in [to, 0, 1, 2, 3] {
                primaries[primary].insist(&[&set[..], &["NODE", &ids[1]]].concat()).await;
            }
            party.during(party.renews(2)).await;
            party.during(sleep(lease)).await;
            party.during(party.is_content()).await;
            println!("the candidates heard {:#?}", party.said());
        }
        scene.judged("a slot moves");
    });
}

/// The server dies, and comes back with what it had ten renewals ago.
#[test]
fn an_old_copy_of_the_data_comes_back() {
    run(async {
        let _host = Host::watched();
        let lease = 2 * SHORT;
        let mut scene = Scene::of(Form::One).await;
        let party = Party::of(&scene, lease).await;
        let address = scene.redis.addresses()[0].clone();
        for round in 0..2 {
            let mut canary = Canary::at(&address, "a", millis(2500)).await;
            assert!(canary.take().await);
            party.during(scene.redis.back_up()).await.unwrap();
            for _ in 0..10 {
                party.during(party.renews(1)).await;
                assert!(canary.renew().await);
            }
            scene.disturb("an old copy of the data comes back");
            party.during(scene.redis.put_back()).await.unwrap();
            let mut second = Canary::at(&address, "b", LONG).await;
            assert!(second.take().await && canary.leads(), "the canary is unharmed");
            assert_eq!(second.token, canary.token + 1, "its counter is not of the past");
            party.during(party.renews(1)).await;
            party.during(sleep(2 * lease)).await;
            party.during(party.is_content()).await;
            println!("round {round}: the candidates heard {:#?}", party.said());
            scene.redis.insist(0, &["DEL", "canary"]).await.unwrap();
        }
        scene.judged("an old copy");
    });
}

/// It takes a lease, and is announced; a release hands over at once.
#[test]
fn a_fresh_name_takes_a_lease() {
    run(async {
        let forms = [Form::One, Form::Replicated, Form::Sentinel, Form::Cluster];
        join_all(forms.map(fresh)).await;
    });
}

async fn fresh(form: Form) {
    let host = Host::watched();
    let scene = Scene::of(form).await;
    let [a, b] = [scene.candidate("a", SHORT).await, scene.candidate("b", SHORT).await];
    let began = Instant::now();
    let waiting = a.stand();
    let announced = || a.elector().status().forgotten_until.is_some();
    let announced = until("it is announced", SLACK, announced).await;
    let lead = waiting.await.unwrap().unwrap();
    let took = began.elapsed();
    println!("{form:?}: announced after {announced:?}, led after {took:?}");
    assert!(took >= SHORT, "it led before a lease was over");
    let late = 10 * host.worst();
    assert!(took <= SHORT + JITTER + late, "it took {took:?}, the host overslept {late:?} / 10");
    assert!(!announced_still(&a), "it leads, and waits");
    // One follower waits already, and another one comes later.
    let waiting = b.stand();
    sleep(millis(500)).await;
    let began = Instant::now();
    assert!(lead.resign().await.unwrap());
    let lead = waiting.await.unwrap().unwrap();
    let to_waiting = began.elapsed();
    assert!(lead.resign().await.unwrap());
    let began = Instant::now();
    let lead = a.campaign().await.unwrap();
    println!("{form:?}: handed over after {to_waiting:?}, to a newcomer {:?}", began.elapsed());
    let at_once = millis(500) + late;
    assert!(to_waiting < at_once && began.elapsed() < at_once);
    assert!(lead.check());
    scene.judged("a fresh name");
}

fn announced_still(one: &leasehold_conformance::candidate::Candidate) -> bool {
    one.elector().status().forgotten_until.is_some()
}

/// A lease of three seconds and one of fifteen on one lock, of which docs/REDIS.md warns. The
/// record says how long to wait; if the store forgot it, two lead.
#[test]
fn two_lease_durations_on_one_lock() {
    run(async {
        let host = Host::watched();
        let cases = [(SHORT, true), (SHORT, false), (LONG, false)];
        join_all(cases.map(|(lease, remembers)| two_leases(lease, remembers))).await;
        drop(host);
    });
}

async fn two_leases(lease: Duration, remembers: bool) {
    let scene = Scene::of(Form::One).await;
    party::released(&scene.url()).await;
    let a = scene.candidate("a", LONG).await;
    let lead = a.campaign().await.unwrap();
    // It does not hear that the store forgets, nor assert itself again.
    let _cut = a.link().strike(Outage::Cut);
    if !remembers {
        scene.redis.insist(0, &["FLUSHALL"]).await.unwrap();
    }
    let b = scene.candidate("b", lease).await;
    let second = b.campaign().await.unwrap();
    let began = Instant::now();
    let mut overlapped = Duration::ZERO;
    while lead.check() {
        overlapped = began.elapsed();
        sleep(millis(10)).await;
    }
    drop(second);
    let what = format!("b with {lease:?}, the store remembers: {remembers}");
    println!("{what}: two led for {overlapped:?}");
    let found = scene.violations(&what);
    let two = found.iter().any(|it| it.property == Property::BeliefExclusion);
    let harmful = lease < LONG && !remembers;
    assert_eq!((two, overlapped > SHORT), (harmful, harmful), "{what}: {found:#?}");
}

/// Resynchronizations closer together than a lease keep a lock leaderless that has no leader, of
/// which docs/REDIS.md warns, too.
#[test]
fn resynchronizations_keep_a_lock_leaderless() {
    run(async {
        let scene = Scene::of(Form::Replicated).await;
        let a = scene.candidate("a", SHORT).await;
        let _contending = a.run();
        let end = Instant::now() + 4 * SHORT;
        let mut replica = 1;
        while Instant::now() < end {
            let began = Instant::now();
            scene.redis.resync_fully(0, replica).await.unwrap();
            replica = 3 - replica;
            stays("nobody leads", SHORT / 3, || a.leads().is_none()).await;
            assert!(began.elapsed() < SHORT, "they are too far apart to show it");
        }
        let took = until("a leads", SHORT + SLACK, || a.leads().is_some()).await;
        println!("it led {took:?} after the last one");
        scene.judged("resynchronizations");
    });
}
