//! Heartbeats of the work, and pausing, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{L, P, SECOND, elector, in_virtual_time, led, spawn_local};
use futures_util::FutureExt;
use leasehold_core::testing::VirtualClock;
use leasehold_core::{Elector, LockBackend, Loss, MemoryLock, Role, StopReason, Term};

const LIMIT: Duration = Duration::from_secs(20);

fn with_heartbeat(lock: &MemoryLock, clock: &VirtualClock) -> Elector {
    let builder = Elector::builder(Arc::new(lock.clone())).identity("a").clock(clock.clone());
    builder.heartbeat_within(LIMIT).build().unwrap()
}

async fn is_held(lock: &MemoryLock) -> bool {
    lock.read().await.unwrap().record().is_some_and(|record| record.holder.is_some())
}

#[test]
fn work_that_beats_keeps_its_term_and_work_that_hangs_loses_it() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let elector = with_heartbeat(&lock, &clock);
        let held = led(&elector, &clock).await;
        for _ in 0..10 {
            clock.advance(LIMIT / 2).await;
            assert!(held.check().is_ok());
            held.heartbeat();
        }
        clock.advance(LIMIT - SECOND).await;
        assert!(held.check().is_ok());
        clock.advance(SECOND).await;
        assert_eq!(held.check(), Err(Loss::Silent));
        assert_eq!(elector.status().counters.losses, 1);
        held.heartbeat();
        assert_eq!(held.check(), Err(Loss::Silent), "a term that is over stays over");
    });
}

#[test]
fn a_term_lost_by_silence_is_not_released_and_passes_on_when_its_lease_is_over() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let silent = with_heartbeat(&lock, &clock);
        let held = led(&silent, &clock).await;
        let other = elector(&lock, "b", &clock);
        let next = spawn_local(async move { other.campaign().await.unwrap() });
        clock.advance(LIMIT).await;
        assert_eq!(held.check(), Err(Loss::Silent));
        clock.advance(L - P - SECOND).await;
        assert!(is_held(&lock).await, "its work may still run");
        assert!(!next.is_finished());
        clock.advance(P + 2 * SECOND).await;
        assert!(next.now_or_never().expect("leads").unwrap().check().is_ok());
    });
}

#[test]
fn without_a_limit_no_heartbeat_is_asked_for() {
    in_virtual_time(async |clock| {
        let held = led(&elector(&MemoryLock::new("m"), "a", &clock), &clock).await;
        clock.advance(100 * L).await;
        assert!(held.check().is_ok());
    });
}

#[test]
fn no_heartbeat_at_all_is_refused() {
    in_virtual_time(async |_| {
        let builder = Elector::builder(Arc::new(MemoryLock::new("m")));
        let error = builder.heartbeat_within(Duration::ZERO).build().unwrap_err();
        assert!(error.to_string().contains("heartbeat"), "{error}");
    });
}

#[test]
fn who_is_paused_gives_the_lock_back_and_contends_again_when_it_is_resumed() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (one, other) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let run = |elector: &Elector| {
            let elector = elector.clone();
            spawn_local(async move {
                let work =
                    async |term: Term| assert_eq!(term.stopped().await, StopReason::Requested);
                elector.run(work).await
            })
        };
        let _running = run(&one);
        clock.advance(SECOND).await;
        assert!(matches!(one.status().role, Role::Leader(_)));
        one.pause();
        clock.advance(SECOND).await;
        assert!(!is_held(&lock).await, "released");
        clock.advance(10 * L).await;
        assert!(!is_held(&lock).await, "nobody contends");
        assert_eq!(one.status().role, Role::Observer);
        let _other = run(&other);
        clock.advance(SECOND).await;
        assert!(matches!(other.status().role, Role::Leader(_)));
        one.resume();
        clock.advance(SECOND).await;
        assert_eq!(one.status().role, Role::Candidate);
        other.shutdown();
        clock.advance(SECOND).await;
        assert!(matches!(one.status().role, Role::Leader(_)), "{:?}", one.status());
    });
}
