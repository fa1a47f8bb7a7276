//! What breaks `SET NX PX`, done to real servers: each test injects one fault, shows by a canary
//! that it breaks the lock that everybody knows, and that ours keeps.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/redis.rs"]
mod common;

use std::time::Duration;

use common::{Canary, LONG, SHORT, Scene, keeps, millis, run, stays, takes, until};
use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::stores::redis::{Form, Options};
use tokio::time::sleep;

/// A fresh name is waited out for a lease, and takes a moment.
const FRESH: Duration = Duration::from_secs(6);

/// The primary dies before any replica has the write.
#[test]
fn a_write_that_no_replica_has_is_lost() {
    run(async {
        let mut scene = Scene::of(Form::Replicated).await;
        scene.redis.cut_replica(1).await.unwrap();
        scene.redis.cut_replica(2).await.unwrap();
        let a = scene.candidate("a", SHORT).await;
        let _contending = a.run();
        let old = scene.redis.addresses()[0].clone();
        let mut canary = Canary::at(&old, "a", LONG).await;
        assert!(canary.take().await);
        // Without a replica nobody leads, for as long as that may be.
        stays("nobody leads", FRESH, || a.leads().is_none()).await;
        assert!(canary.leads());
        scene.disturb("the primary is killed, and a replica promoted");
        a.kill();
        scene.redis.kill(0).unwrap();
        scene.redis.hand_over_to(1).await.unwrap();
        let mut second = Canary::at(&scene.redis.endpoints()[0], "b", LONG).await;
        let took = takes(&mut second, millis(500)).await;
        assert!(canary.leads() && canary.token == second.token, "the canary is unharmed");
        println!("canary: taken {took:?} after the promotion, with token {} again", second.token);
        scene.redis.join_replica(2).await.unwrap();
        let b = scene.candidate("b", SHORT).await;
        let _contending = b.run();
        until("b leads", 2 * FRESH, || b.leads().is_some()).await;
        scene.judged("a lost write");
    });
}

/// A replica has the write, and the other one is promoted. On a busy host Sentinels may fail over
/// once more right after that, which is longer than a leader rides through.
#[test]
fn a_write_that_the_wrong_replica_has_is_lost() {
    run(async {
        for _ in 0..3 {
            if leads_on_at_the_wrong_replica().await {
                return;
            }
        }
        panic!("the leader lost its term three times");
    });
}

/// Returns whether the first leader still leads. Safety is judged each time.
async fn leads_on_at_the_wrong_replica() -> bool {
    let mut scene = Scene::of(Form::Sentinel).await;
    let [a, b] = [scene.candidate("a", LONG).await, scene.candidate("b", LONG).await];
    let lead = a.campaign().await.unwrap();
    let _waiting = b.stand();
    let primary = scene.redis.leader().await.unwrap();
    let old = scene.redis.addresses()[primary].clone();
    scene.redis.replicas().unwrap().hold_one_back().await.unwrap();
    let mut canary = Canary::at(&old, "a", LONG).await.waiting_for(1);
    assert!(canary.take().await);
    scene.disturb("the replica that has nothing of it is promoted");
    scene.redis.replicas().unwrap().promote_it().await.unwrap();
    let primary = scene.redis.leader().await.unwrap();
    let mut second = Canary::at(&scene.redis.addresses()[primary], "b", LONG).await;
    assert!(second.take().await && canary.leads(), "the canary is unharmed");
    let leads_on = keeps(LONG, || lead.check()).await;
    scene.judged("the wrong replica");
    let last = scene.redis.leader().await.unwrap();
    println!("a leads on: {leads_on}; {primary} was promoted, and {last} is the primary now");
    leads_on
}

/// An operator moves the primary; who keeps a connection to the old one is answered on.
#[test]
fn a_planned_fail_over() {
    run(async {
        let mut scene = Scene::of(Form::Sentinel).await;
        let [a, b] = [scene.candidate("a", LONG).await, scene.candidate("b", LONG).await];
        let lead = a.campaign().await.unwrap();
        let waiting = b.stand();
        let primary = scene.redis.leader().await.unwrap();
        let mut canary = Canary::at(&scene.redis.addresses()[primary], "a", SHORT).await;
        assert!(canary.take().await);
        sleep(millis(500)).await;
        scene.disturb("a planned fail-over");
        scene.redis.cluster().unwrap().fail_over().await.unwrap();
        let primary = scene.redis.leader().await.unwrap();
        let mut second = Canary::at(&scene.redis.addresses()[primary], "b", SHORT).await;
        let mut overlapped = 0;
        for _ in 0..200 {
            if !second.renew().await {
                second.take().await;
            }
            canary.renew().await;
            overlapped += u32::from(canary.leads() && second.leads());
            sleep(millis(50)).await;
        }
        println!("canary: two led at {overlapped} of 200 looks");
        assert!(overlapped > 0, "the canary is unharmed");
        assert!(lead.check(), "a planned fail-over ends the term");
        let began = std::time::Instant::now();
        let released = lead.resign().await.unwrap();
        assert!(released, "the release is not confirmed:\n{}", scene.told());
        let second = waiting.await.unwrap().unwrap();
        println!("hand-over after a planned fail-over: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(2) && second.check());
        scene.judged("a planned fail-over");
    });
}

/// A frozen primary goes on once another one was promoted.
#[test]
fn a_primary_that_was_replaced_goes_on() {
    run(async {
        let mut scene = Scene::of(Form::Sentinel).await;
        let [a, b] = [scene.candidate("a", SHORT).await, scene.candidate("b", SHORT).await];
        let _contending = [a.run(), b.run()];
        until("somebody leads", FRESH, || scene.leader().is_some()).await;
        let old = scene.redis.leader().await.unwrap();
        let mut canary = Canary::at(&scene.redis.addresses()[old], "a", SHORT).await;
        scene.disturb("the primary is frozen");
        scene.redis.freeze_server(old).unwrap();
        let new = scene.redis.eventually_led_by_another(old).await.unwrap();
        let mut second = Canary::at(&scene.redis.addresses()[new], "b", SHORT).await;
        assert!(second.take().await);
        scene.redis.thaw_server(old).unwrap();
        assert!(canary.take().await && second.leads(), "the canary is unharmed");
        assert_eq!(canary.token, second.token, "the counter is replicated after all");
        until("somebody leads", 3 * FRESH, || scene.leader().is_some()).await;
        sleep(4 * SHORT).await;
        until("somebody leads", FRESH, || scene.leader().is_some()).await;
        scene.judged("a zombie");
    });
}

/// A replica is promoted by hand, and another one stays with the old primary for a while.
#[test]
fn a_replica_stays_behind() {
    run(async {
        let scene = Scene::of(Form::Replicated).await;
        let a = scene.pinned("a", 0, SHORT).await;
        let addresses = scene.redis.addresses();
        let mut canary = Canary::at(&addresses[0], "a", SHORT).await.waiting_for(1);
        let _contending = a.run();
        until("a leads", FRESH, || a.leads().is_some()).await;
        assert!(canary.take().await);
        scene.disturb("a replica is promoted");
        scene.redis.promote(1).await.unwrap();
        let b = scene.pinned("b", 1, SHORT).await;
        let _contending_too = b.run();
        let mut second = Canary::at(&addresses[1], "b", SHORT).await;
        let mut overlapped = 0;
        for _ in 0..100 {
            canary.renew().await;
            if !second.renew().await {
                second.take().await;
            }
            overlapped += u32::from(canary.leads() && second.leads());
            assert!(b.leads().is_none(), "it leads without a replica");
            sleep(millis(60)).await;
        }
        println!("canary with WAIT 1: two led at {overlapped} of 100 looks");
        assert!(overlapped > 0, "the canary is unharmed");
        scene.redis.follow(2, 1).await.unwrap();
        until("b leads", 3 * FRESH, || b.leads().is_some()).await;
        scene.judged("a replica behind");
    });
}

/// The server restarts without its data while somebody leads, and when the leader is dead.
#[test]
fn a_restart_without_data() {
    forgotten("an empty restart", false);
}

/// Somebody deletes everything.
#[test]
fn everything_is_flushed() {
    forgotten("FLUSHALL", true);
}

fn forgotten(what: &'static str, flushes: bool) {
    run(async {
        let mut scene = Scene::of(Form::One).await;
        let address = scene.redis.addresses()[0].clone();
        let mut all = Vec::new();
        for name in ["a", "b", "c"] {
            all.push(scene.candidate(name, SHORT).await);
        }
        let lead = all[0].campaign().await.unwrap();
        let first = lead.token();
        let followers = [all[1].stand(), all[2].stand()];
        for dies in [false, true] {
            let mut canary = Canary::at(&address, "a", LONG).await;
            assert!(canary.take().await);
            sleep(millis(500)).await;
            scene.disturb(what);
            if dies {
                all[0].kill();
            }
            if flushes {
                scene.redis.insist(0, &["FLUSHALL"]).await.unwrap();
            } else {
                scene.redis.restart_empty(0).await.unwrap();
            }
            let mut second = Canary::at(&address, "b", LONG).await;
            assert!(second.take().await && canary.leads(), "the canary is unharmed");
            assert_eq!(second.token, 1, "the canary's tokens grow");
            scene.redis.insist(0, &["DEL", "canary"]).await.unwrap();
            if !dies {
                let wait = || !followers.iter().any(|it| it.is_finished());
                stays("a leads on", 2 * SHORT, || lead.check() && wait()).await;
            }
        }
        let next = || all[1..].iter().find_map(|it| it.leads());
        until("a follower leads", 3 * FRESH, || next().is_some_and(|token| token > first)).await;
        scene.judged(what);
    });
}

/// Memory is short, and the server throws away what it likes.
#[test]
fn the_lock_is_evicted() {
    run(async {
        let extra = ["maxmemory 4mb", "maxmemory-policy allkeys-random"].map(str::to_owned);
        let scene = Scene::with(Options { extra: extra.into(), ..Options::default() }).await;
        let [a, b] = [scene.candidate("a", SHORT).await, scene.candidate("b", SHORT).await];
        let c = scene.candidate("c", SHORT).await;
        let lead = a.campaign().await.unwrap();
        let followers = [b.stand(), c.stand()];
        let address = scene.redis.addresses()[0].clone();
        let mut evicted = 0;
        let mut canary = Canary::at(&address, "a", LONG).await;
        assert!(canary.take().await);
        scene.disturb("the lock is evicted");
        let mut connection = scene.redis.connect(0).await.unwrap();
        let filler = "x".repeat(16 * 1024);
        for number in 0..3000 {
            let key = format!("filler{number}");
            connection.insist(&["SET", &key, &filler]).await.unwrap();
            if number % 10 == 0 {
                let there = connection.insist(&["EXISTS", "leasehold:jobs"]).await.unwrap();
                evicted += u32::from(there.number() == Some(0));
                sleep(millis(20)).await;
            }
            assert!(lead.check(), "an eviction ends the term");
        }
        assert!(evicted > 0, "it was never evicted");
        println!("evicted at {evicted} of 300 looks");
        let gone = connection.insist(&["EXISTS", "canary"]).await.unwrap().number() == Some(0);
        let mut second = Canary::at(&address, "b", LONG).await;
        assert!(gone && second.take().await && canary.leads(), "the canary is unharmed");
        assert!(!followers.iter().any(|it| it.is_finished()));
        scene.judged("eviction");
    });
}

/// A replica loads everything again, every other second, under a leader and two followers.
#[test]
fn full_resynchronizations_one_after_the_other() {
    run(async {
        let scene = Scene::of(Form::Replicated).await;
        let lease = 2 * SHORT;
        let mut candidates = Vec::new();
        for name in ["a", "b", "c"] {
            candidates.push(scene.candidate(name, lease).await);
        }
        let lead = candidates[0].campaign().await.unwrap();
        let _waiting = [candidates[1].stand(), candidates[2].stand()];
        for round in 0..6 {
            let before = scene.redis.reign(0).await.unwrap();
            scene.redis.resync_fully(0, 1 + round % 2).await.unwrap();
            assert_ne!(before, scene.redis.reign(0).await.unwrap());
            stays("a leads on", Duration::from_secs(4), || lead.check()).await;
        }
        // A release right after one, before any renewal.
        scene.redis.resync_fully(0, 1).await.unwrap();
        let began = std::time::Instant::now();
        assert!(lead.resign().await.unwrap(), "the release is not confirmed:\n{}", scene.told());
        until("another leads", FRESH, || scene.leader().is_some_and(|it| it != "a")).await;
        println!("hand-over after a full resynchronization: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(2), "nobody takes what was released");
        scene.judged("full resynchronizations");
    });
}

/// After a fail-over the replicas take ten seconds to follow.
#[test]
fn too_few_acknowledge_for_ten_seconds() {
    run(async {
        let mut scene = Scene::of(Form::Replicated).await;
        let [a, b] = [scene.candidate("a", SHORT).await, scene.candidate("b", SHORT).await];
        let _contending = [a.run(), b.run()];
        until("somebody leads", FRESH, || scene.leader().is_some()).await;
        scene.redis.cut_replica(2).await.unwrap();
        scene.disturb("the primary is killed, a replica promoted, and nobody follows it");
        scene.redis.kill(0).unwrap();
        scene.redis.insist(1, &["ACL", "SETUSER", "repl2", "off"]).await.unwrap();
        scene.redis.hand_over_to(1).await.unwrap();
        sleep(SHORT).await;
        stays("nobody leads", Duration::from_secs(7), || scene.leader().is_none()).await;
        scene.redis.join_replica(2).await.unwrap();
        let took = until("somebody leads", 3 * FRESH, || scene.leader().is_some()).await;
        println!("somebody led {took:?} after the replica followed");
        scene.judged("too few acknowledgements");
    });
}

/// The primary is demoted and promoted again, with the data of whoever was primary in between.
#[test]
fn there_and_back_by_hand() {
    run(async {
        let scene = Scene::of(Form::Replicated).await;
        let [a, b, c] = [
            scene.candidate("a", LONG).await,
            scene.candidate("b", LONG).await,
            scene.candidate("c", LONG).await,
        ];
        assert!(a.campaign().await.unwrap().resign().await.unwrap());
        let before = scene.redis.reign(0).await.unwrap();
        scene.redis.cut_replica(1).await.unwrap();
        // Only the primary and the other replica know of it.
        let lead = b.campaign().await.unwrap();
        let mut canary = Canary::at(&scene.redis.addresses()[0], "b", LONG).await.waiting_for(1);
        assert!(canary.take().await);
        scene.disturb("there and back");
        scene.redis.promote(1).await.unwrap();
        scene.redis.follow(0, 1).await.unwrap();
        scene.redis.follows(0, 1).await.unwrap();
        scene.redis.join_replica(1).await.unwrap();
        scene.redis.promote(0).await.unwrap();
        scene.redis.follow(1, 0).await.unwrap();
        let after = scene.redis.reign(0).await.unwrap();
        assert_eq!(before[0], after[0], "it is another process");
        let mut second = Canary::at(&scene.redis.addresses()[0], "c", LONG).await;
        assert!(second.take().await && canary.leads(), "the canary is unharmed");
        let newcomer = c.stand();
        stays("b leads on", LONG, || lead.check() && !newcomer.is_finished()).await;
        scene.judged("there and back");
    });
}

/// The same by Sentinels that go back to a primary before they demote it: its process and its
/// history are the same.
#[test]
fn there_and_back_without_a_demotion() {
    run(async {
        let mut scene = Scene::of(Form::Sentinel).await;
        let [a, b, c] = [
            scene.candidate("a", SHORT).await,
            scene.candidate("b", SHORT).await,
            scene.candidate("c", SHORT).await,
        ];
        let first = a.campaign().await.unwrap();
        let old = scene.redis.leader().await.unwrap();
        let third = (old + 2) % 3;
        // The third one is never promoted, which Sentinels hear within ten seconds.
        scene.redis.insist(third, &["CONFIG", "SET", "replica-priority", "0"]).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        assert!(first.resign().await.unwrap());
        let before = scene.redis.reign(old).await.unwrap();
        scene.disturb("the primary is frozen, and Sentinels come back to it");
        scene.redis.freeze_server(old).unwrap();
        let new = scene.redis.eventually_led_by_another(old).await.unwrap();
        assert_ne!(new, third);
        scene.redis.follows(third, new).await.unwrap();
        let lead = b.campaign().await.unwrap();
        let mut canary = Canary::at(&scene.redis.addresses()[new], "b", SHORT).await.waiting_for(1);
        assert!(canary.take().await);
        scene.redis.thaw_server(old).unwrap();
        let began = std::time::Instant::now();
        loop {
            let answer = scene.redis.ask_sentinel(new, &["SENTINEL", "FAILOVER", "main"]).await;
            if answer.is_ok_and(|it| it.text() == "OK") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(5), "no Sentinel begins");
            sleep(millis(20)).await;
        }
        let newcomer = c.stand();
        let back = scene.redis.eventually_led_by_another(new).await.unwrap();
        println!("back at {back} after {:?}, it was {old}", began.elapsed());
        if back == old {
            let after = scene.redis.reign(old).await.unwrap();
            println!("before {before:?}, after {after:?}");
            assert_eq!(before[0], after[0]);
            let mut second = Canary::at(&scene.redis.addresses()[old], "c", SHORT).await;
            println!("canary: {} while another led: {}", second.take().await, canary.leads());
        }
        until("somebody leads", 3 * FRESH, || scene.leader().is_some()).await;
        sleep(2 * SHORT).await;
        drop((lead, newcomer));
        scene.judged("there and back without a demotion");
    });
}
