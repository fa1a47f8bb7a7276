//! How terms end: the work's grace, the owner that nobody claimed, and timers that need no driver.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::{D, FaultyLock, L, P, SECOND, elector, in_virtual_time, led, spawn_local};
use futures_util::FutureExt;
use leasehold_core::testing::VirtualClock;
use leasehold_core::{
    Clock, Elector, Finished, Leader, LockBackend, Loss, MemoryLock, Role, StopReason, Time,
};

const MS: Duration = Duration::from_millis(1);

/// How long the work of a term is kept after another leader was seen.
async fn kept_after_a_loss(grace: Duration, clock: &VirtualClock) -> Duration {
    let lock = FaultyLock::new();
    let a = Elector::builder(Arc::new(lock.clone())).clock(clock.clone()).loss_grace(grace);
    let a = a.build().unwrap();
    let inner = clock.clone();
    let finished = spawn_local(async move {
        let lost_at = Cell::new(Time::NEVER);
        let work = async |term: leasehold_core::Term| {
            assert_eq!(term.stopped().await, StopReason::Lost(Loss::Superseded));
            lost_at.set(inner.now());
            std::future::pending::<()>().await
        };
        assert_eq!(a.run_once(work).await.unwrap(), Finished::Lost(Loss::Superseded, None));
        inner.now().since(lost_at.get())
    });
    clock.advance(SECOND).await;
    lock.usurp().await;
    clock.advance(L).await;
    finished.now_or_never().expect("it ends").unwrap()
}

#[test]
fn another_leader_leaves_the_work_its_loss_grace_and_never_more_than_the_stop_grace() {
    in_virtual_time(async |clock| {
        assert_eq!(kept_after_a_loss(Duration::ZERO, &clock).await, Duration::ZERO);
        assert_eq!(kept_after_a_loss(3 * SECOND, &clock).await, 3 * SECOND);
        // The last renewal was sent a retry period before the loss was seen.
        let most = D + Duration::from_secs(4) - P;
        assert_eq!(kept_after_a_loss(L, &clock).await, most);
    });
}

#[test]
fn work_that_returns_after_the_loss_is_lost_and_not_done() {
    in_virtual_time(async |clock| {
        let a = elector(&MemoryLock::new("m"), "a", &clock);
        let inner = clock.clone();
        let finished = spawn_local(async move {
            // The machine sleeps past the deadline right before the work returns.
            a.run_once(async |_| {
                inner.suspend(D);
                7
            })
            .await
        });
        clock.advance(SECOND).await;
        let finished = finished.now_or_never().expect("it ends").unwrap();
        assert_eq!(finished.unwrap(), Finished::Lost(Loss::Expired, Some(7)));
    });
}

#[test]
fn a_drain_in_run_that_takes_too_long_releases_nothing() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let terms = Rc::new(Cell::new(0));
        let _run = spawn_local({
            let (a, terms) = (a.clone(), terms.clone());
            async move {
                a.run(async |_| {
                    terms.set(terms.get() + 1);
                    std::future::pending::<()>().await
                })
                .await
            }
        });
        clock.advance(SECOND).await;
        a.step_down();
        clock.advance(Duration::from_secs(30) + MS).await;
        assert!(!matches!(a.status().role, Role::Leader(_) | Role::Draining(_)), "given up");
        // Tasks of the work may run on: the lease runs out before anybody leads, this candidate
        // too.
        clock.advance(L - P - SECOND).await;
        let observed = lock.read().await.unwrap();
        assert!(observed.record().unwrap().holder.is_some());
        assert_eq!((observed.record().unwrap().token, terms.get()), (1, 1));
        clock.advance(P + SECOND).await;
        assert_eq!(terms.get(), 2);
    });
}

#[test]
fn a_waiting_campaign_that_is_dropped_stops_contending_at_once() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let _held = led(&a, &clock).await;
        let waiting = spawn_local({
            let b = b.clone();
            async move { b.campaign().await.map(drop) }
        });
        clock.advance(SECOND).await;
        assert_eq!(b.status().role, Role::Candidate);
        waiting.abort();
        // No time passes: nothing but the campaign's own end tells the driver.
        clock.advance(Duration::ZERO).await;
        assert_eq!(b.status().role, Role::Observer);
        assert!(matches!(b.status().leader, Leader::Held(_)));
    });
}

#[test]
fn campaigns_that_wait_together_lead_one_after_the_other() {
    in_virtual_time(async |clock| {
        let a = elector(&MemoryLock::new("m"), "a", &clock);
        let campaigns = [a.clone(), a.clone()]
            .map(|a| spawn_local(async move { a.campaign().await.map(|held| held.resign()) }));
        clock.advance(SECOND).await;
        let mut released = Vec::new();
        for campaign in campaigns {
            let resigned = campaign.now_or_never().expect("it leads").unwrap();
            released.push(resigned.expect("nothing failed").await.ok());
            clock.advance(P + SECOND).await;
        }
        assert_eq!(released, [Some(true), Some(true)]);
    });
}

#[test]
fn a_term_that_was_delivered_and_never_claimed_is_given_back() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let mut campaign = Box::pin(a.campaign());
        assert!(futures_util::poll!(&mut campaign).is_pending());
        clock.advance(SECOND).await;
        assert_eq!(a.status().role, Role::Leader(1), "delivered");
        drop(campaign);
        clock.advance(SECOND).await;
        assert_eq!(lock.read().await.unwrap().record().unwrap().holder, None, "no work began");
        // A term that was claimed and dropped is not: work may run on.
        drop(led(&elector(&lock, "b", &clock), &clock).await);
        clock.advance(SECOND).await;
        assert!(lock.read().await.unwrap().record().unwrap().holder.is_some());
    });
}

#[test]
fn a_stalled_driver_delays_no_deadline() {
    let clock = VirtualClock::new();
    let lock = MemoryLock::new("m");
    let stalled = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let held = stalled.block_on(local.run_until(async {
        let a = elector(&lock, "a", &clock);
        led(&a, &clock).await
    }));
    // Nobody runs the driver from here on.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let here = tokio::task::LocalSet::new();
    runtime.block_on(here.run_until(async {
        let (lost, stopped) = (spawn_local(held.lost()), spawn_local(held.stopped()));
        clock.advance(D - SECOND - MS).await;
        assert!(!lost.is_finished() && !stopped.is_finished());
        clock.advance(2 * MS).await;
        assert_eq!(lost.now_or_never().expect("in time").unwrap(), Loss::Expired);
        let stopped = stopped.now_or_never().expect("in time").unwrap();
        assert_eq!(stopped, StopReason::Lost(Loss::Expired));
    }));
}

#[test]
fn belief_ends_as_the_owner_goes_and_not_when_the_driver_hears_of_it() {
    in_virtual_time(async |clock| {
        let a = elector(&MemoryLock::new("m"), "a", &clock);
        let held = led(&a, &clock).await;
        let term = held.term();
        let mut resigned = Box::pin(held.resign());
        assert!(futures_util::poll!(&mut resigned).is_pending());
        assert_eq!(term.check(), Err(Loss::Resigned));
        assert_eq!(resigned.await.ok(), Some(true));

        let held = led(&elector(&MemoryLock::new("m"), "b", &clock), &clock).await;
        let term = held.term();
        drop(held);
        assert_eq!(term.check(), Err(Loss::Dropped));
    });
}
