//! Members of the cluster fail; leaders ride through what a majority survives, and end where it
//! does not.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{PATIENCE, cluster, elector, eventually, lock, spread};
use leasehold::backend::LockBackend;
use leasehold::status::Leader;
use leasehold::{Elector, ErrorKind, Held, Loss, Term};
use leasehold_conformance::fixture::{Cuts, Fixture};
use leasehold_conformance::stores::etcd::{Etcd, Options};

/// A leader that never loses its term for as long as this is watched, and a follower that sees no
/// other.
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
        etcd.freeze(member).unwrap();
        let least = pair.rides_for(12).await;
        println!(
            "round {round}: member {member}, which led etcd, frozen: {least:?} of belief left at \
             the least"
        );
        etcd.thaw(member).unwrap();
        pair.rides_for(3).await;
    }
    for member in 0..3 {
        etcd.freeze(member).unwrap();
        pair.rides_for(5).await;
        etcd.thaw(member).unwrap();
        pair.rides_for(2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_rides_through_a_member_that_is_cut_off() {
    let etcd = Etcd::start(Options { can_cut: true, ..Options::default() }).await.unwrap();
    let pair = Pair::on(&etcd, 15).await;
    for round in 0..2 {
        let member = etcd.leader().await.unwrap();
        etcd.cut_off(member).unwrap();
        let least = pair.rides_for(12).await;
        println!(
            "round {round}: member {member}, which led etcd, cut off: {least:?} of belief left at \
             the least"
        );
        etcd.rejoin(member).unwrap();
        pair.rides_for(3).await;
    }
    for member in 0..3 {
        etcd.cut_off(member).unwrap();
        pair.rides_for(5).await;
        etcd.rejoin(member).unwrap();
        pair.rides_for(2).await;
    }
}

/// What a member that hangs does not answer, another one is asked within the same request: by the
/// pace of an election alone, a leader would ride through with fewer renewals to spare.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_frozen_member_is_answered_by_another_in_time() {
    const LEASE: u64 = 15;
    let mut etcd = cluster(3).await;
    let leading = etcd.leader().await.unwrap();
    let followers: Vec<usize> = (0..3).filter(|member| *member != leading).collect();
    let endpoints: Vec<String> = followers.iter().map(|at| etcd.endpoints()[*at].clone()).collect();
    let ours = common::open(&etcd.url(&endpoints, "jobs"));
    let taken = common::take(&ours, "a", LEASE).await;
    let timeout = elector(lock(&etcd, "other"), "x", LEASE).timing().request_timeout();
    // Requests go on to the member that answered last: from the second round on that is the one
    // that freezes.
    for round in 0..6 {
        let frozen = followers[round % 2];
        etcd.freeze(frozen).unwrap();
        let (renewal, read) = (Instant::now(), ours.read());
        let renewing = async {
            let renewed = common::renew(&ours, &taken.version, LEASE).await;
            common::written(renewed);
            renewal.elapsed()
        };
        let reading = async {
            read.await.unwrap();
            renewal.elapsed()
        };
        let both = async { tokio::join!(renewing, reading) };
        let both = tokio::time::timeout(timeout, both).await;
        etcd.thaw(frozen).unwrap();
        let (renewed, read) = both.expect("nobody else was asked within the request timeout");
        println!("member {frozen} frozen: renewed after {renewed:?}, read after {read:?}");
    }
}

/// A member that hears of no other could still tell what it remembers. It must not be asked for
/// that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_told_from_one_members_memory() {
    let mut etcd = cluster(3).await;
    let taken = common::take(&lock(&etcd, "jobs"), "a", 15).await;
    let alone = etcd.leader().await.unwrap();
    let ours = common::open(&etcd.url(&etcd.endpoints()[alone..=alone], "jobs"));
    assert_eq!(ours.read().await.unwrap().version, taken.version);
    let others: Vec<usize> = (0..3).filter(|member| *member != alone).collect();
    for member in &others {
        etcd.freeze(*member).unwrap();
    }
    // A stopped process may still finish what a core has in hand; for a second the member takes
    // itself for the leader.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = ours.read().await;
    let renewed = common::renew(&ours, &taken.version, 15).await;
    for member in others {
        etcd.thaw(member).unwrap();
    }
    let error = told.expect_err("a read that no majority confirmed");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    renewed.expect_err("a renewal that no majority confirmed");
}

/// How many members of each election believe at one moment, looked at every millisecond from a
/// thread of its own.
struct Belief {
    terms: Arc<Mutex<Vec<Vec<Term>>>>,
    over: Arc<AtomicBool>,
    looking: JoinHandle<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    /// How long two believed, at the longest.
    both: Duration,
    /// How long nobody did, at the longest.
    nobody: Duration,
}

impl Belief {
    fn of(elections: usize) -> Self {
        let terms: Arc<Mutex<Vec<Vec<Term>>>> = Arc::new(Mutex::new(vec![Vec::new(); elections]));
        let over: Arc<AtomicBool> = Arc::default();
        let (known, ended) = (terms.clone(), over.clone());
        let looking = std::thread::spawn(move || {
            let mut seen = Seen::default();
            let mut since = vec![(Instant::now(), Instant::now()); elections];
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                for (terms, (one, some)) in known.lock().unwrap().iter().zip(&mut since) {
                    let now = Instant::now();
                    let first: Vec<&Term> =
                        terms.iter().filter(|term| term.check().is_ok()).collect();
                    // Belief that ended does not come back: who believes at both looks did so all
                    // the while.
                    let believe = first.iter().filter(|term| term.check().is_ok()).count();
                    if believe <= 1 {
                        *one = now;
                    }
                    if !first.is_empty() {
                        *some = now;
                    }
                    seen.both = seen.both.max(one.elapsed() * u32::from(believe > 1));
                    seen.nobody = seen.nobody.max(now - *some);
                }
            }
            seen
        });
        Self { terms, over, looking }
    }

    fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.looking.join().unwrap()
    }
}

/// Contends for ever, and tells how its terms end.
async fn contend(
    elector: Elector,
    election: usize,
    terms: Arc<Mutex<Vec<Vec<Term>>>>,
    losses: Arc<Mutex<Vec<Loss>>>,
) {
    loop {
        let held = elector.campaign().await.unwrap();
        terms.lock().unwrap()[election].push(held.term().clone());
        let loss = held.term().lost().await;
        losses.lock().unwrap().push(loss);
    }
}

/// The member that leads etcd is frozen for longer than a lease and goes on: it counts leases by
/// its own clock, and may have some revoked that were renewed. That costs terms, and no two lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leads_etcd_and_is_frozen_for_longer_than_a_lease_makes_no_second_leader() {
    const ELECTIONS: usize = 4;
    const LEASE: u64 = 6;
    let lease = Duration::from_secs(LEASE);
    let mut etcd = cluster(3).await;
    let belief = Belief::of(ELECTIONS);
    let losses: Arc<Mutex<Vec<Loss>>> = Arc::default();
    for election in 0..ELECTIONS {
        for identity in ["a", "b"] {
            let lock = lock(&etcd, &format!("jobs-{election}"));
            let elector = elector(lock, identity, LEASE);
            tokio::spawn(contend(elector, election, belief.terms.clone(), losses.clone()));
        }
    }
    let led = || async { belief.terms.lock().unwrap().iter().all(|terms| !terms.is_empty()) };
    eventually("each has a leader", led).await;
    let member = etcd.leader().await.unwrap();
    etcd.freeze(member).unwrap();
    tokio::time::sleep(lease + Duration::from_secs(1)).await;
    let before = losses.lock().unwrap().len();
    etcd.thaw(member).unwrap();
    tokio::time::sleep(lease).await;
    let losses = losses.lock().unwrap().clone();
    let seen = belief.end();
    println!(
        "member {member}, which led etcd, frozen for {:?}: {ELECTIONS} leaders lost {before} terms \
         meanwhile, {:?} after it went on; nobody led for {:?} at the longest",
        lease + Duration::from_secs(1),
        &losses[before..],
        seen.nobody
    );
    assert_eq!(seen.both, Duration::ZERO, "two led");
    // The lease, half a second until etcd looks, its own election of two seconds, and what a busy
    // machine adds.
    let bound = lease + Duration::from_secs(10);
    assert!(seen.nobody < bound, "nobody led for {:?}", seen.nobody);
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
        etcd.kill(member).unwrap();
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
    let led = returned.elapsed();
    println!(
        "ended {ended:?} after the majority was gone (D {deadline:?}); led {led:?} after it \
         returned"
    );
    assert!(next.check().unwrap() > first);
    // The old lease begins anew with etcd's own new leader; whoever waits looks once in a lease
    // where no watch tells.
    assert!(led < Duration::from_secs(2 * 5), "{led:?} until somebody led");
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
