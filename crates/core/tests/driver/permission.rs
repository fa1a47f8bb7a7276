//! Whether a candidate may take at all.

use super::*;

/// Another holds the lock; this candidate may read it and not take it.
fn forbidden() -> MemoryLock {
    let lock = MemoryLock::new("forbidden");
    futures_util::FutureExt::now_or_never(hold(&lock)).expect("memory answers at once");
    lock.permit(false);
    lock
}

#[test]
fn a_candidate_that_can_never_take_is_told_at_once_even_while_another_leads() {
    in_virtual_time(async |clock| {
        let lock = forbidden();
        let a = elector(&lock, "a", &clock);
        let run = spawn_local({
            let a = a.clone();
            async move { a.run(async |_| {}).await }
        });
        let waiting = campaign(&a);
        clock.advance(MS).await;
        let error = run.now_or_never().expect("run ends").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("a test has forbidden it"), "{error}");
        let error = waiting.now_or_never().expect("told").unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!a.status().may_lead());
        assert_eq!(a.status().role, Role::Observer);
        // Who campaigns anew is told anew, and by then it may be permitted.
        let again = campaign(&a);
        clock.advance(MS).await;
        assert!(again.now_or_never().expect("told").unwrap().is_err());
        lock.permit(true);
        let again = campaign(&a);
        clock.advance(L + SECOND).await;
        assert!(again.now_or_never().expect("leads").unwrap().is_ok());
        assert!(a.status().may_lead());
    });
}

#[test]
fn a_right_that_is_taken_away_later_is_a_state() {
    in_virtual_time(async |clock| {
        let lock = MemoryLock::new("m");
        let leader = elector(&lock, "leader", &clock);
        let _held = led(&leader, &clock).await;
        let other = Scripted { lock: lock.clone(), ..Scripted::new(Push::None) };
        let a = elector(&other, "a", &clock);
        let waiting = campaign(&a);
        clock.advance(SECOND).await;
        assert!(a.status().may_lead());
        let mut changes = Box::pin(a.changes());
        drain(&mut changes);
        other.tell(|script| script.denied = true);
        clock.advance(Duration::from_secs(59)).await;
        assert!(!a.status().may_lead(), "asked once a minute");
        assert_eq!(a.status().standby_error.unwrap().kind(), ErrorKind::Denied);
        assert_eq!(drain(&mut changes), 1, "it is news");
        assert!(!waiting.is_finished(), "it goes on");
        assert_eq!(other.script.lock().unwrap().asked, 2, "no busy traffic");
        other.tell(|script| script.denied = false);
        clock.advance(Duration::from_secs(61)).await;
        assert!(a.status().may_lead());
        drop(leader);
        waiting.abort();
    });
}

#[test]
fn whether_one_may_take_is_asked_again_after_a_denied_write_and_never_by_a_leader_or_an_observer() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(2 * 60 * SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, 0);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        let asked = lock.script.lock().unwrap().asked;
        assert!(asked <= 1, "{asked}");
        clock.advance(10 * 60 * SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, asked);
        held.resign().await.unwrap();
        // Nobody leads; every write is denied from now on, and so says the store.
        lock.tell(|script| {
            script.denied = true;
            script.writes.extend([Fault::Fails(ErrorKind::Denied); 20]);
        });
        let waiting = campaign(&a);
        clock.advance(20 * SECOND).await;
        assert!(!a.status().may_lead());
        assert!(!waiting.is_finished(), "it led before: it is a state");
        let asked = lock.script.lock().unwrap().asked;
        assert!((1..=7).contains(&asked), "{asked} times");
        lock.tell(|script| {
            script.denied = false;
            script.writes.clear();
        });
        clock.advance(5 * SECOND).await;
        assert!(waiting.is_finished() && a.status().may_lead(), "an accepted write shows it");
        drop(observer);
    });
}

/// What the store cannot say, or does not say in time, keeps nobody from leading.
#[test]
fn an_unknown_permission_delays_nobody() {
    in_virtual_time(async |clock| {
        for ask in [Fault::Hangs, Fault::Fails(ErrorKind::Unavailable)] {
            let lock = Scripted::new(Push::None);
            lock.tell(|script| script.asks.extend([ask; 9]));
            let a = elector(&lock, "a", &clock);
            let held = led(&a, &clock).await;
            assert!(a.status().may_lead());
            held.resign().await.unwrap();
        }
        // A standby asks again after a lease; a shutdown waits for no answer.
        let lock = Scripted::new(Push::None);
        hold(&lock.lock).await;
        lock.tell(|script| script.asks.extend([Fault::Hangs; 9]));
        let a = elector(&lock, "a", &clock);
        let waiting = campaign(&a);
        clock.advance(L - SECOND).await;
        assert_eq!(lock.script.lock().unwrap().asked, 1);
        assert_eq!(a.status().store_error.map(|error| error.kind()), None, "reads are answered");
        a.shutdown();
        clock.advance(MS).await;
        assert!(waiting.is_finished());
        assert_eq!(Arc::strong_count(&lock.script), 1, "the driver has ended");
    });
}
