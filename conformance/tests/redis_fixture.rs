//! The servers that other tests rely on do what they are told.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::time::{Duration, Instant};

use leasehold_conformance::fixture::{Cluster, Cuts, Fixture, Snapshots, Tls, WallClock};
use leasehold_conformance::stores::redis::{Form, Options, Program, Redis};

/// Whether the primary takes a write, and how many replicas have it within half a second.
async fn acknowledged(redis: &Redis) -> i64 {
    let primary = redis.leader().await.unwrap();
    let mut connection = redis.connect(primary).await.unwrap();
    connection.insist(&["SET", "k", "v"]).await.unwrap();
    connection.insist(&["WAIT", "2", "500"]).await.unwrap().number().unwrap()
}

async fn started(form: Form) -> Redis {
    Redis::start(Options { form, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn one_server_is_backed_up_and_restored() {
    let mut redis = started(Form::One).await;
    redis.insist(0, &["SET", "k", "old"]).await.unwrap();
    redis.back_up().await.unwrap();
    redis.insist(0, &["SET", "k", "new"]).await.unwrap();
    let before = redis.reign(0).await.unwrap();
    redis.put_back().await.unwrap();
    assert_eq!(redis.insist(0, &["GET", "k"]).await.unwrap().text(), "old");
    let after = redis.reign(0).await.unwrap();
    assert!(before[0] != after[0] && before[1] != after[1], "{before:?} {after:?}");
}

#[tokio::test]
async fn the_oldest_server_speaks_tls_and_its_clock_moves() {
    let (program, tls) = (Program::Redis, Tls::Mutual);
    let options = Options { program, tls, moves_clock: true, ..Options::default() };
    let mut redis = Redis::start(options).await.unwrap();
    for seconds in [3600, -3600, 0] {
        redis.move_clock(seconds).await.unwrap();
    }
    let options = Options { moves_clock: true, ..Options::default() };
    let mut valkey = Redis::start(options).await.unwrap();
    valkey.move_clock(86_400).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_cut_and_joins_again() {
    let redis = started(Form::Replicated).await;
    assert_eq!(acknowledged(&redis).await, 2);
    redis.cut_replica(1).await.unwrap();
    assert_eq!(acknowledged(&redis).await, 1);
    redis.join_replica(1).await.unwrap();
    redis.wait_for_replicas(0, 2).await.unwrap();
    assert_eq!(acknowledged(&redis).await, 2);
    let before = redis.reign(0).await.unwrap();
    redis.resync_fully(0, 1).await.unwrap();
    assert_ne!(redis.reign(0).await.unwrap()[2], before[2]);
}

#[tokio::test]
async fn an_operator_hands_over_without_loss() {
    let mut redis = started(Form::Replicated).await;
    redis.insist(0, &["SET", "k", "v"]).await.unwrap();
    redis.fail_over().await.unwrap();
    assert_eq!(redis.leader().await.unwrap(), 1);
    assert_eq!(redis.insist(1, &["GET", "k"]).await.unwrap().text(), "v");
    assert_eq!(acknowledged(&redis).await, 2);
}

#[tokio::test]
async fn sentinels_replace_a_primary_that_is_killed_frozen_and_moved() {
    let mut redis = started(Form::Sentinel).await;
    let first = redis.leader().await.unwrap();
    let began = Instant::now();
    redis.kill(first).unwrap();
    let second = redis.leader().await.unwrap();
    println!("killed: another primary after {:?}", began.elapsed());
    assert_ne!(first, second);
    assert!(began.elapsed() < Duration::from_secs(15));
    redis.restart(first).await.unwrap();
    redis.wait_for_replicas(second, 2).await.unwrap();
    let began = Instant::now();
    redis.freeze(second).unwrap();
    let third = redis.leader().await.unwrap();
    println!("frozen: another primary after {:?}", began.elapsed());
    assert_ne!(second, third);
    redis.thaw(second).unwrap();
    redis.follows(second, third).await.unwrap();
    redis.wait_for_replicas(third, 2).await.unwrap();
    let began = Instant::now();
    redis.fail_over().await.unwrap();
    println!("moved: another primary after {:?}", began.elapsed());
    // The old one may have to load everything again, which begins some seconds later.
    let fourth = redis.leader().await.unwrap();
    assert_ne!(third, fourth);
    redis.wait_for_replicas(fourth, 2).await.unwrap();
    println!("moved: two replicas after {:?}", began.elapsed());
    assert_eq!(acknowledged(&redis).await, 2);
}

#[tokio::test]
async fn a_cluster_promotes_a_replica() {
    let mut redis = started(Form::Cluster).await;
    assert_eq!(acknowledged(&redis).await, 2);
    let began = Instant::now();
    redis.kill(0).unwrap();
    let second = redis.leader().await.unwrap();
    println!("killed: another primary after {:?}", began.elapsed());
    assert_ne!(second, 0);
    redis.restart(0).await.unwrap();
    redis.wait_for_replicas(second, 2).await.unwrap();
    redis.fail_over().await.unwrap();
}

/// A primary that is alone serves on, and no replica has what it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_isolated_and_rejoins() {
    let options = Options { form: Form::Sentinel, can_cut: true, ..Options::default() };
    let redis = Redis::start(options).await.unwrap();
    let old = redis.leader().await.unwrap();
    redis.isolate(old).unwrap();
    let new = redis.eventually_led_by_another(old).await.unwrap();
    let mut alone = redis.connect(old).await.unwrap();
    alone.insist(&["SET", "k", "alone"]).await.unwrap();
    assert_eq!(alone.insist(&["WAIT", "1", "300"]).await.unwrap().number(), Some(0));
    redis.rejoin(old).unwrap();
    redis.follows(old, new).await.unwrap();
}
