//! What handles ask, and what they are told.

use super::*;

#[test]
fn step_down_drains_releases_and_contends_again() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let stops = Rc::new(RefCell::new(Vec::new()));
        let _run = spawn_local({
            let (a, stops) = (a.clone(), stops.clone());
            async move {
                a.run(async |term| {
                    let reason = term.stopped().await;
                    stops.borrow_mut().push((term.check(), reason));
                })
                .await
            }
        });
        clock.advance(SECOND).await;
        a.step_down();
        clock.advance(MS).await;
        assert_eq!(*stops.borrow(), [(Ok(1), StopReason::Requested)]);
        assert_eq!(lock.sent(Intent::Release).len(), 1);
        clock.advance(P + SECOND).await;
        assert_eq!(a.status().role, Role::Leader(2));
    });
}

#[test]
fn the_last_handle_dropped_ends_the_driver() {
    in_virtual_time(async |clock| {
        let lock = Arc::new(MemoryLock::new("m"));
        let a = Elector::builder(lock.clone()).clock(clock.clone()).build().unwrap();
        let held = led(&a, &clock).await;
        drop(a);
        clock.advance(2 * L).await;
        assert_eq!(held.check(), Ok(held.token()), "the owner of a term is a handle");
        let resigned = spawn_local(held.resign());
        clock.advance(MS).await;
        assert_eq!(resigned.now_or_never().expect("resigned").unwrap().ok(), Some(true));
        clock.advance(MS).await;
        assert_eq!(Arc::strong_count(&lock), 1, "the driver has let go of the lock");
    });
}

#[test]
fn the_last_handle_dropped_with_its_take_in_flight_gives_the_lock_back() {
    in_virtual_time(async |clock| {
        let lock = FaultyLock::new();
        lock.hold_answers(Some(Intent::Take));
        let campaign = campaign(&elector(&lock, "a", &clock));
        clock.advance(SECOND).await;
        campaign.abort();
        clock.advance(MS).await;
        assert!(lock.holder().await.is_some(), "taken, and not told");
        lock.hold_answers(None);
        clock.advance(SECOND).await;
        assert_eq!(lock.holder().await, None);
    });
}

#[test]
fn shutdown_fails_the_campaigns_that_wait_at_once() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let waiting = campaign(&a);
        clock.advance(SECOND).await;
        a.shutdown();
        clock.advance(MS).await;
        let error = waiting.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        let stopped = held.stopped().now_or_never().expect("told");
        assert_eq!(stopped, StopReason::Requested);
        assert_eq!(held.check(), Ok(held.token()), "the work still drains");
        assert!(a.status().may_lead());
        let late = campaign(&a);
        clock.advance(MS).await;
        let error = late.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        drop(held);
        clock.advance(L).await;
        assert!(!a.status().may_lead(), "nothing is driven any more");
    });
}

#[test]
fn renewals_are_no_change() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        let (mut own, mut seen) = (Box::pin(a.changes()), Box::pin(observer.changes()));
        assert_eq!((drain(&mut own), drain(&mut seen)), (1, 1), "the present status");
        let Leader::Held(before) = observer.status().leader else { panic!() };
        for _ in 0..10 {
            clock.advance(P).await;
            assert_eq!((drain(&mut own), drain(&mut seen)), (0, 0));
        }
        let Leader::Held(now) = observer.status().leader else { panic!() };
        assert!(now.renewed > before.renewed, "and yet it is up to date");
        held.resign().await.unwrap();
        clock.advance(MS).await;
        assert!(drain(&mut own) > 0 && drain(&mut seen) > 0);
    });
}

#[test]
fn a_shutdown_waits_for_a_take_that_may_be_stored_and_not_for_ever() {
    in_virtual_time(async |clock| {
        let lock = Arc::new(Scripted::new(Push::None));
        let first = elector(&*lock, "first", &clock);
        led(&first, &clock).await.resign().await.unwrap();
        let b = Elector::builder(lock.clone()).clock(clock.clone()).build().unwrap();
        lock.tell(|script| script.writes.push(Fault::Hangs));
        let waiting = campaign(&b);
        clock.advance(MS).await;
        lock.tell(|script| script.reads.extend([Fault::Fails(ErrorKind::Unavailable); 99]));
        b.shutdown();
        clock.advance(3 * T - MS).await;
        assert!(waiting.is_finished());
        assert_eq!(Arc::strong_count(&lock), 2, "it looks whether the Take is stored");
        clock.advance(2 * MS).await;
        assert_eq!(Arc::strong_count(&lock), 1);
    });
}
