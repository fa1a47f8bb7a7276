//! What a lock in Redis costs its servers, by what they counted. How long it takes is measured by
//! `cargo bench -p leasehold-conformance --bench redis_pace`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leasehold::backend::{
    Change, Holder, Incarnation, Intent, LockBackend, Nonce, Observed, Outcome, Record,
};
use leasehold::status::Leader;
use leasehold::stores::redis::RedisLock;
use leasehold::timing::Wall;
use leasehold::{Elector, TimingSettings};
use leasehold_conformance::fixture::Fixture as _;
use leasehold_conformance::stores::redis::{Form, Options, Redis};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(6);

async fn started(form: Form) -> (Redis, usize) {
    let redis = Redis::start(Options { form, ..Options::default() }).await.unwrap();
    let primary = redis.leader().await.unwrap();
    (redis, primary)
}

fn change(intent: Intent, nonce: u128) -> Change {
    let incarnation = Some(Incarnation(7));
    let holder = Holder { identity: "node-a".to_owned(), incarnation, advertise: None };
    let record = Record {
        holder: Some(holder).filter(|_| !matches!(intent, Intent::Release | Intent::Adopt)),
        token: 1,
        lease_duration: LEASE,
        nonce: Nonce(nonce),
        acquired: Wall(1),
        renewed: Wall(1),
        extra: Default::default(),
    };
    Change { intent, record }
}

async fn write(lock: &RedisLock, over: &Observed, intent: Intent, nonce: u128) -> Observed {
    match lock.write(&over.version, &change(intent, nonce)).await.unwrap() {
        Outcome::Written(observed) => observed,
        Outcome::Conflict => panic!("a write lost against nobody"),
    }
}

/// A lock that somebody has.
async fn taken(redis: &Redis, name: &str) -> (RedisLock, Observed) {
    let lock = redis.shared().build().unwrap().lock(name).unwrap();
    let seen = lock.read().await.unwrap();
    let free = write(&lock, &seen, Intent::Adopt, 1).await;
    let taken = write(&lock, &free, Intent::Take, 2).await;
    (lock, taken)
}

/// How often a server ran each of these commands, also in scripts.
async fn calls<const N: usize>(redis: &Redis, member: usize, commands: [&str; N]) -> [u64; N] {
    let stats = redis.insist(member, &["INFO", "commandstats"]).await.unwrap();
    commands.map(|command| {
        let line = stats.field(&format!("cmdstat_{command}")).unwrap_or("calls=0,");
        line.trim_start_matches("calls=").split(',').next().unwrap().parse().unwrap()
    })
}

/// How often a server found something to read on a connection.
async fn reads(redis: &Redis, member: usize) -> u64 {
    let stats = redis.insist(member, &["INFO", "stats"]).await.unwrap();
    stats.field("total_reads_processed").unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_renewal_is_one_pipeline() {
    const RENEWALS: u64 = 200;
    for form in [Form::One, Form::Replicated] {
        let (redis, primary) = started(form).await;
        let (lock, mut state) = taken(&redis, "renewed").await;
        let commands = ["evalsha", "eval", "wait", "multi", "get", "set", "info", "publish"];
        let before = calls(&redis, primary, commands).await;
        let (own, began) = (reads(&redis, primary).await, reads(&redis, primary).await);
        for nonce in 3..RENEWALS + 3 {
            state = write(&lock, &state, Intent::Renew, nonce.into()).await;
        }
        let read = reads(&redis, primary).await - began;
        let after = calls(&redis, primary, commands).await;
        let counted: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        println!("{form:?}: {RENEWALS} renewals: {commands:?} {counted:?}, {read} reads");
        let waits = if form == Form::One { 0 } else { RENEWALS };
        assert_eq!(counted[..6], [RENEWALS, 0, waits, 0, RENEWALS, RENEWALS]);
        assert_eq!(counted[7], RENEWALS);
        // Three in the script, and with replicas as many after WAIT; and those that count here.
        let infos = 3 * RENEWALS + 3 * waits;
        assert!((infos..=infos + 10).contains(&counted[6]), "{}", counted[6]);
        // A round trip is one read of the server; replicas acknowledge by others.
        if form == Form::One {
            let of_us = began - own;
            assert!(read <= RENEWALS + of_us, "{read} reads for {RENEWALS} renewals");
        }
    }
}

/// How late this machine wakes whoever sleeps.
struct Naps(Arc<AtomicU64>);

impl Naps {
    fn begin() -> Self {
        let worst = Arc::<AtomicU64>::default();
        let (kept, nap) = (Arc::downgrade(&worst), Duration::from_millis(10));
        std::thread::spawn(move || {
            while let Some(worst) = kept.upgrade() {
                let slept = Instant::now();
                std::thread::sleep(nap);
                let late = slept.elapsed().saturating_sub(nap);
                worst.fetch_max(late.as_micros().try_into().unwrap(), Ordering::Relaxed);
            }
        });
        Self(worst)
    }

    fn worst(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

fn elector(redis: &Redis, identity: &str) -> Elector {
    let lock = redis.shared().build().unwrap().lock("followed").unwrap();
    let timing = TimingSettings::lease_duration(LEASE);
    Elector::builder(Arc::new(lock)).identity(identity).timing(timing).build().unwrap()
}

/// Five that wait, and know who leads.
async fn followers(redis: &Redis) -> Vec<Elector> {
    let followers: Vec<Elector> = (0..5).map(|n| elector(redis, &format!("f{n}"))).collect();
    for follower in &followers {
        let waits = follower.clone();
        tokio::spawn(async move { waits.campaign().await });
        let began = Instant::now();
        while !matches!(follower.status().leader, Leader::Held(_)) {
            assert!(began.elapsed() < Duration::from_secs(30), "it never knows who leads");
            sleep(Duration::from_millis(5)).await;
        }
    }
    // What they ask when they begin is asked.
    sleep(Duration::from_millis(500)).await;
    followers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_send_nothing_while_renewals_arrive() {
    for form in [Form::One, Form::Replicated] {
        let (redis, primary) = started(form).await;
        // A fresh lock would be waited for.
        let lock = redis.shared().build().unwrap().lock("followed").unwrap();
        let seen = lock.read().await.unwrap();
        write(&lock, &seen, Intent::Adopt, 1).await;
        let held = elector(&redis, "leader").campaign().await.unwrap();
        let followers = followers(&redis).await;
        let commands = ["multi", "subscribe", "eval", "evalsha", "wait"];
        let (before, naps) = (calls(&redis, primary, commands).await, Naps::begin());
        sleep(2 * LEASE).await;
        let after = calls(&redis, primary, commands).await;
        let worst = naps.worst();
        let [reads, subscriptions, scripts, renewals, waits] =
            std::array::from_fn(|at| after[at] - before[at]);
        println!(
            "{form:?}: {:?}: {renewals} renewals, {waits} waits; 5 followers: {reads} reads, \
             {subscriptions} subscriptions, {scripts} questions (worst oversleep {worst:?})",
            2 * LEASE
        );
        held.check().unwrap();
        drop(followers);
        assert!(renewals >= 10, "it renewed every 0.8 s");
        assert_eq!(waits, if form == Form::One { 0 } else { renewals });
        assert_eq!((subscriptions, scripts), (0, 0));
        // A machine that stood still for so long lets a silence seem to be one.
        let late = worst > LEASE / 6;
        assert!(reads == 0 || late, "{reads} reads, worst oversleep {worst:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_silence_a_follower_reads_every_third_of_a_lease() {
    let (redis, primary) = started(Form::One).await;
    let (lock, mut state) = taken(&redis, "followed").await;
    let waiting = followers(&redis).await;
    let count = waiting.len() as u64;
    // The silence begins now.
    state = write(&lock, &state, Intent::Renew, 3).await;
    let [before] = calls(&redis, primary, ["multi"]).await;
    sleep(LEASE * 9 / 10).await;
    let [after] = calls(&redis, primary, ["multi"]).await;
    let reads = after - before;
    println!("nine tenths of a lease of silence: {count} followers, {reads} reads");
    assert_eq!(lock.read().await.unwrap().version, state.version, "nobody took it");
    assert!((count..=3 * count).contains(&reads), "{reads} reads by {count} followers");
}
