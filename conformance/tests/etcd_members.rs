//! Members of the cluster fail; leaders ride through what a majority survives, and end where it does not.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::time::{Duration, Instant};

use common::{PATIENCE, cluster, elector, eventually, lock, spread};
use leasehold::{Elector, Held, Leader};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::etcd::{Etcd, Options};

/// A leader that never loses its term for as long as this is watched, and a follower that sees no other.
struct Pair {
    held: Held,
    _leader: Elector,
    follower: Elector,
}

impl Pair {
    async fn on(etcd: &Etcd, seconds: u64) -> Self {
        let leader = elector(lock(etcd, "jobs"), "a", seconds);
        let held = leader.campaign().await.unwrap();
        let follower = elector(lock(etcd, "jobs"), "b", seconds);
        let waiting = follower.clone();
        tokio::spawn(async move { waiting.campaign().await });
        eventually("the follower sees the leader", || async { leads(&follower, "a") }).await;
        Self { held, _leader: leader, follower }
    }

    /// How little belief was left, at the least, while `seconds` passed.
    async fn rides_for(&self, seconds: u64) -> Duration {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut least = Duration::MAX;
        while Instant::now() < end {
            assert!(self.held.check().is_ok(), "the leader lost its term");
            assert!(leads(&self.follower, "a"), "{:?}", self.follower.status().leader);
            least = least.min(self.held.term().remaining());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.follower.status().counters.writes, 0, "the follower tried to take");
        least
    }
}

fn leads(observer: &Elector, identity: &str) -> bool {
    matches!(observer.status().leader, Leader::Held(leading) if leading.identity == identity)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_rides_through_a_frozen_member() {
    let mut etcd = cluster(3).await;
    let pair = Pair::on(&etcd, 15).await;
    for round in 0..2 {
        let member = etcd.leader().await.unwrap();
        etcd.freeze(member).unwrap().required().unwrap();
        let least = pair.rides_for(12).await;
        println!(
            "round {round}: member {member}, which led etcd, frozen: {least:?} of belief left at the least"
        );
        etcd.thaw(member).unwrap().required().unwrap();
        pair.rides_for(3).await;
    }
    for member in 0..3 {
        etcd.freeze(member).unwrap().required().unwrap();
        pair.rides_for(5).await;
        etcd.thaw(member).unwrap().required().unwrap();
        pair.rides_for(2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_rides_through_a_member_that_is_cut_off() {
    let mut etcd = Etcd::start(Options { can_cut: true, ..Options::default() }).await.unwrap();
    let pair = Pair::on(&etcd, 15).await;
    for round in 0..2 {
        let member = etcd.leader().await.unwrap();
        etcd.cut_off(member).unwrap().required().unwrap();
        let least = pair.rides_for(12).await;
        println!(
            "round {round}: member {member}, which led etcd, cut off: {least:?} of belief left at the least"
        );
        etcd.rejoin(member).unwrap().required().unwrap();
        pair.rides_for(3).await;
    }
    for member in 0..3 {
        etcd.cut_off(member).unwrap().required().unwrap();
        pair.rides_for(5).await;
        etcd.rejoin(member).unwrap().required().unwrap();
        pair.rides_for(2).await;
    }
}

/// Without a majority nobody leads, and nothing is told from one member's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_the_leader_ends_by_its_deadline_and_later_somebody_leads() {
    let mut etcd = cluster(3).await;
    let leader = elector(lock(&etcd, "jobs"), "a", 5);
    let held = leader.campaign().await.unwrap();
    let first = held.check().unwrap();
    let follower = elector(lock(&etcd, "jobs"), "b", 5);
    for member in [0, 1] {
        etcd.kill(member).unwrap().required().unwrap();
    }
    let lost_majority = Instant::now();
    let waiting = follower.clone();
    let next = tokio::spawn(async move { waiting.campaign().await });
    eventually("the leader ended", || async { held.check().is_err() }).await;
    let deadline = leader.timing().renew_deadline();
    let ended = lost_majority.elapsed();
    assert!(ended < deadline + Duration::from_secs(1), "{ended:?}, and D is {deadline:?}");
    // For two more leases nobody leads, and nobody is said to.
    let silent = Instant::now();
    while silent.elapsed() < Duration::from_secs(10) {
        assert!(!next.is_finished(), "somebody leads without a majority");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(follower.status().leader, Leader::Unknown);
    etcd.restart(0).await.ok();
    let returned = Instant::now();
    let next = tokio::time::timeout(PATIENCE, next).await.expect("nobody leads").unwrap().unwrap();
    println!(
        "ended {ended:?} after the majority was gone (D {deadline:?}); led {:?} after it returned",
        returned.elapsed()
    );
    assert!(next.check().unwrap() > first);
}

/// The crash of a leader costs the granted lease, half a second until etcd looks, and the taking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_leader_is_followed_within_its_lease_and_a_second() {
    let etcd = cluster(3).await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let held = {
            // Its runtime goes with it, as a crash takes a process: no release, no renewal.
            let url = etcd.url(&etcd.endpoints(), "jobs");
            tokio::task::spawn_blocking(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let leader = runtime.block_on(async {
                    let leader = elector(common::open(&url), "a", 2);
                    let held = leader.campaign().await.unwrap();
                    (held, leader)
                });
                runtime.shutdown_background();
                leader
            })
            .await
            .unwrap()
        };
        let crashed = Instant::now();
        let follower = elector(lock(&etcd, "jobs"), "b", 2);
        let next = tokio::time::timeout(Duration::from_secs(8), follower.campaign()).await;
        let next = next.unwrap_or_else(|_| panic!("{:?}", follower.status())).unwrap();
        times.push(crashed.elapsed());
        assert!(held.0.check().is_err(), "two believe");
        next.resign().await.unwrap();
    }
    let (median, worst) = spread(times);
    println!(
        "leader crashed, lease 2 s: successor after {median:?} (median), {worst:?} (longest of 5)"
    );
    assert!(worst < Duration::from_secs(3), "{worst:?}");
}
