//! The elector over the memory backend, in virtual time.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use common::{D, FaultyLock, L, P, SECOND, elector, in_virtual_time, led, spawn_local};
use leasehold_core::testing::VirtualClock;
use leasehold_core::{
    Clock, Elector, ErrorKind, Finished, Intent, Leader, LockBackend, Loss, MemoryLock, Observer,
    Role, StopReason, TimingSettings, Wall,
};

#[test]
fn one_leads_and_a_release_hands_over_through_the_watch() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let held = led(&a, &clock).await;
        let waiting = spawn_local({
            let b = b.clone();
            async move { b.campaign().await.unwrap() }
        });
        clock.advance(10 * L).await;
        assert!(!waiting.is_finished(), "a leads on for ten leases");
        assert_eq!(held.check(), Ok(held.token()));
        let (token, term) = (held.token(), held.term());
        assert_eq!(held.resign().await.ok(), Some(true));
        assert_eq!(term.check(), Err(Loss::Resigned));
        clock.advance(Duration::from_millis(1)).await;
        let next = waiting.await.unwrap();
        assert!(next.token() > token);
        assert_eq!(next.check(), Ok(next.token()));
    });
}

#[test]
fn a_follower_with_push_makes_no_requests_while_the_leader_shows_life() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let _held = led(&a, &clock).await;
        let _waiting = spawn_local(async move { b.clone().campaign().await.map(drop) });
        // Between two renewals: the first read after the watch has opened is not due as one is
        // pushed.
        clock.advance(SECOND / 2).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        // A watch that was just opened is trusted after one more reading.
        clock.advance(2 * P).await;
        let before = observer.status().counters;
        clock.advance(20 * L).await;
        assert_eq!(observer.status().counters.reads, before.reads);
        assert_eq!(a.status().counters.writes, 2 + 305 / 2, "one write per retry period");
    });
}

#[test]
fn a_crashed_leader_is_replaced_after_its_lease_and_not_before() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock.clean(), "b", &clock));
        let held = led(&a, &clock).await;
        clock.advance(SECOND).await;
        let waiting = spawn_local({
            let b = b.clone();
            async move { b.campaign().await.unwrap() }
        });
        clock.advance(SECOND).await;
        lock.refuse(true);
        let died = clock.now();
        let term = held.term();
        std::mem::forget(held);
        clock.advance(L - P - SECOND).await;
        assert!(!waiting.is_finished());
        assert_eq!(term.check(), Err(Loss::Expired));
        clock.advance(L - (clock.now().since(died)) + Duration::from_millis(300)).await;
        assert!(waiting.is_finished());
    });
}

#[test]
fn work_is_dropped_before_the_release_is_sent() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let order = RefCell::new(Vec::new());
        let observed = lock.clone();
        struct Gone<'a>(&'a RefCell<Vec<&'static str>>, MemoryLock);
        impl Drop for Gone<'_> {
            fn drop(&mut self) {
                let held = futures_util::FutureExt::now_or_never(self.1.read()).unwrap().unwrap();
                let held = held.record().unwrap().holder.is_some();
                self.0.borrow_mut().push(if held { "dropped while held" } else { "too late" });
            }
        }
        let mut rounds = 0;
        let run = a.run(async |term| {
            rounds += 1;
            let _gone = Gone(&order, observed.clone());
            if rounds == 2 {
                a.shutdown();
                assert_eq!(term.stopped().await, StopReason::Requested);
                assert_eq!(term.check(), Ok(term.token()), "still leading while it drains");
            }
        });
        let advance = clock.advance(10 * SECOND);
        let (ran, ()) = tokio::join!(run, advance);
        ran.unwrap();
        assert_eq!(*order.borrow(), ["dropped while held", "dropped while held"]);
        assert_eq!(lock.read().await.unwrap().record().unwrap().holder, None);
    });
}

#[test]
fn a_panic_in_the_work_reaches_the_caller_and_releases_nothing() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let run = spawn_local(async move { a.run(async |_| panic!("on purpose")).await });
        clock.advance(SECOND).await;
        assert!(run.await.unwrap_err().is_panic());
        assert!(lock.read().await.unwrap().record().unwrap().holder.is_some());
        let b = elector(&lock, "b", &clock);
        let waiting = spawn_local(async move { b.campaign().await.unwrap() });
        clock.advance(L - SECOND).await;
        assert!(!waiting.is_finished());
        clock.advance(2 * SECOND).await;
        assert!(waiting.is_finished());
    });
}

#[test]
fn dropping_run_ends_the_term_for_every_clone() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let (send, receive) = tokio::sync::oneshot::channel();
        let run = spawn_local(async move {
            let mut send = Some(send);
            a.run(async |term| {
                send.take().unwrap().send(term).unwrap();
                std::future::pending::<()>().await;
            })
            .await
        });
        clock.advance(SECOND).await;
        let term = receive.await.unwrap();
        assert!(term.check().is_ok());
        run.abort();
        clock.advance(Duration::from_millis(1)).await;
        assert_eq!(term.check(), Err(Loss::Dropped));
        assert_eq!(term.stopped().await, StopReason::Lost(Loss::Dropped));
    });
}

#[test]
fn a_runtime_that_is_gone_ends_the_term() {
    let clock = VirtualClock::new();
    let lock = MemoryLock::new("m");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let held = runtime.block_on(local.run_until(async {
        let a = elector(&lock, "a", &clock);
        led(&a, &clock).await
    }));
    drop(local);
    drop(runtime);
    assert_eq!(held.check(), Err(Loss::DriverGone));
}

#[test]
fn a_suspended_machine_finds_its_belief_over_at_resume() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        clock.suspend(10 * L);
        assert_eq!(held.check(), Err(Loss::Expired), "before anything could run");
        assert_eq!(held.stopped().await, StopReason::Lost(Loss::Expired));
        let ended = held.term();
        held.resign().await.unwrap();
        assert_eq!(ended.check(), Err(Loss::Expired));
    });
}

#[test]
fn a_check_that_saw_the_deadline_never_says_ok_again() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        // The next renewal is applied, and its acknowledgement held back until after the deadline.
        lock.hold_answers(Some(Intent::Renew));
        clock.advance(P).await;
        clock.suspend(D);
        assert_eq!(held.check(), Err(Loss::Expired));
        lock.hold_answers(None);
        for _ in 0..30 {
            clock.advance(Duration::from_millis(100)).await;
            assert_eq!(held.check(), Err(Loss::Expired));
        }
    });
}

#[test]
fn wall_clock_jumps_change_nothing() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let held = led(&a, &clock).await;
        let waiting = spawn_local(async move { b.campaign().await.unwrap() });
        for wall in [0, 3_600_000, u64::MAX / 2, 1] {
            clock.step_wall(Wall(wall));
            clock.advance(L).await;
            assert_eq!(held.check(), Ok(held.token()));
            assert!(!waiting.is_finished());
        }
    });
}

#[test]
fn a_campaign_dropped_with_its_take_in_flight_gives_the_lock_back() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        lock.hold_answers(Some(Intent::Take));
        let campaign = spawn_local({
            let a = a.clone();
            async move { a.campaign().await.map(drop) }
        });
        clock.advance(SECOND).await;
        assert!(lock.holder().await.is_some(), "taken, and not told");
        campaign.abort();
        lock.hold_answers(None);
        clock.advance(P).await;
        assert_eq!(lock.holder().await, None, "given back");
        assert!(matches!(a.status().role, Role::Observer));
    });
}

#[test]
fn campaigns_on_one_elector_queue() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let first = led(&a, &clock).await;
        let second = spawn_local({
            let a = a.clone();
            async move { a.campaign().await.unwrap() }
        });
        clock.advance(L).await;
        assert!(!second.is_finished());
        let token = first.token();
        first.resign().await.unwrap();
        clock.advance(P - Duration::from_millis(10)).await;
        assert!(!second.is_finished(), "others come first for a while");
        clock.advance(SECOND).await;
        assert!(second.await.unwrap().token() > token);
    });
}

#[test]
fn no_new_term_begins_while_work_of_a_lost_one_may_still_run() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        let lost = led(&a, &clock).await;
        let second = spawn_local({
            let a = a.clone();
            async move { a.campaign().await.unwrap() }
        });
        lock.usurp().await;
        clock.advance(P + SECOND).await;
        assert_eq!(lost.check(), Err(Loss::Superseded));
        // The usurper releases, so that the lock is free; the work of the lost term still runs.
        lock.release_usurped().await;
        clock.advance(4 * L).await;
        assert!(!second.is_finished());
        drop(lost);
        clock.advance(P + SECOND).await;
        assert!(second.is_finished());
    });
}

#[test]
fn a_consumed_owner_dropped_later_does_not_cut_the_release_short() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        lock.hold_answers(Some(Intent::Release));
        let resigned = spawn_local(held.resign());
        clock.advance(SECOND).await;
        lock.hold_answers(None);
        clock.advance(SECOND).await;
        assert!(resigned.await.unwrap().unwrap(), "confirmed");
        assert_eq!(lock.holder().await, None);
    });
}

#[test]
fn a_drain_that_takes_too_long_releases_nothing() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let finished = spawn_local({
            let a = a.clone();
            async move { a.run_once(async |_| std::future::pending::<()>().await).await }
        });
        clock.advance(SECOND).await;
        a.shutdown();
        clock.advance(29 * SECOND).await;
        assert!(!finished.is_finished(), "the term is kept while it drains");
        clock.advance(2 * SECOND).await;
        assert_eq!(finished.await.unwrap().unwrap(), Finished::Unfinished);
        assert!(lock.read().await.unwrap().record().unwrap().holder.is_some());
    });
}

#[test]
fn a_job_that_never_led_did_not_run() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let _held = a.campaign().await.unwrap();
        let finished = spawn_local({
            let b = b.clone();
            async move { b.run_once(async |_| panic!("it does not lead")).await }
        });
        clock.advance(SECOND).await;
        b.shutdown();
        clock.advance(SECOND).await;
        assert_eq!(finished.await.unwrap().unwrap(), Finished::<()>::NeverLed);
    });
}

#[test]
fn another_leader_ends_the_work_at_once_and_a_silent_store_with_its_grace() {
    in_virtual_time(async |clock| {
        for (expires, kept) in [(true, Duration::from_secs(4)), (false, Duration::ZERO)] {
            let lock = FaultyLock::new();
            let a = elector(&lock, "a", &clock);
            let finished = spawn_local({
                let (a, clock) = (a.clone(), clock.clone());
                async move {
                    let lost_at = RefCell::new(None);
                    let finished = a
                        .run_once(async |term| {
                            term.lost().await;
                            *lost_at.borrow_mut() = Some(clock.now());
                            std::future::pending::<()>().await
                        })
                        .await;
                    let lost_at = lost_at.into_inner();
                    (finished, lost_at.map_or(Duration::ZERO, |at| clock.now().since(at)))
                }
            });
            clock.advance(SECOND).await;
            if expires {
                lock.refuse(true)
            } else {
                lock.usurp().await
            }
            clock.advance(L).await;
            let (finished, after) = finished.await.unwrap();
            let loss = if expires { Loss::Expired } else { Loss::Superseded };
            assert_eq!(finished.unwrap(), Finished::Lost(loss, None));
            assert_eq!(after, kept);
        }
    });
}

#[test]
fn an_observer_sees_the_leader_and_forgets_it_on_time() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock.clean(), "a", &clock);
        let held = led(&a, &clock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        let Leader::Held(leading) = observer.status().leader else { panic!() };
        assert_eq!((leading.identity.as_str(), leading.token), ("a", Some(held.token())));
        assert!(!leading.is_me);
        lock.refuse(true);
        clock.advance(L - SECOND).await;
        assert!(matches!(observer.status().leader, Leader::Held(_)));
        clock.advance(2 * SECOND).await;
        assert_eq!(observer.status().leader, Leader::Unknown);
        assert_eq!(observer.status().store_error.unwrap().kind(), ErrorKind::Unavailable);
    });
}

#[test]
fn a_lost_term_that_is_still_ours_is_taken_anew_at_once() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        let tokens = std::rc::Rc::new(RefCell::new(Vec::new()));
        let _run = spawn_local({
            let (a, tokens) = (a.clone(), tokens.clone());
            async move {
                a.run(async |term| {
                    tokens.borrow_mut().push(term.token());
                    term.stopped().await;
                })
                .await
            }
        });
        clock.advance(SECOND).await;
        lock.refuse(true);
        clock.advance(D + SECOND).await;
        assert!(!matches!(a.status().role, Role::Leader(_)));
        lock.refuse(false);
        clock.advance(P + SECOND).await;
        let tokens = tokens.borrow();
        assert_eq!(tokens.len(), 2, "{tokens:?}");
        assert!(tokens[1] > tokens[0]);
    });
}

#[test]
fn on_a_store_with_a_clock_of_its_own_the_store_frees_the_lock() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::with_server_expiry("m", clock.clone());
        let (a, b) = (elector(&lock, "a", &clock), elector(&lock, "b", &clock));
        let held = led(&a, &clock).await;
        clock.advance(10 * L).await;
        assert_eq!(held.check(), Ok(held.token()));
        let token = held.token();
        let waiting = spawn_local(async move { b.campaign().await.unwrap() });
        clock.advance(SECOND).await;
        drop(held);
        clock.advance(L - 3 * SECOND).await;
        assert!(!waiting.is_finished());
        clock.advance(4 * SECOND).await;
        assert!(waiting.await.unwrap().token() > token);
        lock.delete();
    });
}

#[test]
fn bad_settings_are_errors_before_any_request() {
    in_virtual_time(async |clock| {
        let lock: Arc<dyn LockBackend> = Arc::new(MemoryLock::new("m"));
        let kind = |built: Result<Elector, leasehold_core::Error>| built.unwrap_err().kind();
        for name in ["", "a\nb", &"x".repeat(254)] {
            let built = Elector::builder(lock.clone()).identity(name).clock(clock.clone()).build();
            assert_eq!(kind(built), ErrorKind::Invalid);
        }
        let settings = TimingSettings { renew_deadline: Some(L), ..Default::default() };
        let built = Elector::builder(lock.clone()).timing(settings).clock(clock.clone()).build();
        assert!(built.unwrap_err().to_string().contains("nearest valid set"));
    });
    let lock: Arc<dyn LockBackend> = Arc::new(MemoryLock::new("m"));
    let error = Elector::builder(lock).build().unwrap_err();
    assert!(error.to_string().contains("outside a tokio runtime"), "{error}");
}

#[test]
fn a_driver_that_dies_is_an_error_and_not_a_clean_end() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        lock.panic();
        let run = spawn_local({
            let a = a.clone();
            async move { a.run(async |_| {}).await }
        });
        clock.advance(SECOND).await;
        assert_eq!(run.await.unwrap().unwrap_err().kind(), ErrorKind::Stopped);
        assert_eq!((a.status().role, a.status().leader), (Role::Observer, Leader::Unknown));
    });
}

#[test]
fn a_status_is_true_when_it_is_asked_for() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        clock.suspend(10 * L);
        // Nothing has run since.
        assert_eq!((a.status().role, a.status().leader), (Role::Candidate, Leader::Unknown));
        drop(held);
        a.shutdown();
        clock.advance(L).await;
        assert_eq!((a.status().role, a.status().leader), (Role::Observer, Leader::Unknown));
    });
}

#[test]
fn a_resignation_at_the_deadline_releases_what_is_still_ours() {
    in_virtual_time(async |clock| {
        for _ in 0..20 {
            let lock = FaultyLock::new();
            let a = elector(&lock, "a", &clock);
            let held = led(&a, &clock).await;
            clock.suspend(D + SECOND);
            let resigned = spawn_local(held.resign());
            clock.advance(SECOND).await;
            assert_eq!(lock.holder().await, None);
            assert!(resigned.await.unwrap().is_ok());
        }
    });
}

#[test]
fn an_observer_says_why_it_cannot_tell() {
    in_virtual_time(async |clock| {
        let lock = common::Unreadable;
        let observer = Observer::with_clock(Arc::new(lock), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        assert_eq!(observer.status().leader, Leader::Unknown);
        assert_eq!(observer.status().store_error.unwrap().kind(), ErrorKind::Corrupt);
    });
}

#[test]
fn a_term_that_is_over_for_another_reason_leaves_no_grace() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let term = held.term();
        assert!(term.remaining_grace() > D);
        held.resign().await.unwrap();
        assert_eq!(term.remaining_grace(), Duration::ZERO);
    });
}

#[test]
fn a_shutdown_with_a_long_drain_still_releases_a_term_that_was_lost_meanwhile() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        let a = elector(&lock, "a", &clock);
        let run = spawn_local({
            let (a, clock) = (a.clone(), clock.clone());
            async move {
                let sleep = async |duration| clock.sleep_until(clock.now() + duration).await;
                a.run(async |_| sleep(13 * SECOND).await).await
            }
        });
        clock.advance(SECOND).await;
        a.shutdown();
        lock.refuse(true);
        // The term expires while the work drains; the store comes back before the work has stopped.
        clock.advance(11 * SECOND).await;
        lock.refuse(false);
        clock.advance(4 * SECOND).await;
        run.await.unwrap().unwrap();
        assert_eq!(lock.holder().await, None);
    });
}
