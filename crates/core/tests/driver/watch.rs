//! What a watch may do.

use super::*;

/// A follower of a leader that renews, on a lock whose watch says only what it is told.
async fn following(lock: &Scripted, clock: &VirtualClock) -> Observer {
    let a = elector(&lock.lock, "a", clock);
    std::mem::forget(led(&a, clock).await);
    let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
    clock.advance(SECOND).await;
    observer
}

#[test]
fn a_read_that_shows_what_the_watch_missed_opens_it_anew() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        let _observer = following(&lock, &clock).await;
        assert_eq!(lock.watches(), 1);
        // The leader has renewed meanwhile and the watch is silent.
        clock.advance(P).await;
        assert_eq!(lock.watches(), 2);
    });
}

#[test]
fn a_watch_that_ended_is_opened_again_and_heard() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        hold(&lock.lock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        assert_eq!(lock.watches(), 1);
        lock.tell(|script| script.watches.clear());
        clock.advance(P + SECOND).await;
        assert_eq!(lock.watches(), 1, "again");
        overwrite(&lock.lock, |_| None).await;
        let observed = lock.lock.read().await.unwrap();
        let before = observer.status().counters.reads;
        assert_ne!(observer.status().leader, Leader::Nobody);
        lock.tell(|script| script.watches[0].send(Ok(observed)).unwrap());
        clock.advance(MS).await;
        assert_eq!(observer.status().leader, Leader::Nobody);
        assert_eq!(observer.status().counters.reads, before, "no read was needed");
    });
}

/// A peer that sends without end occupies no core, and after a silence news is heard at once.
#[test]
fn a_watch_without_end_is_heard_at_a_pace_and_after_a_silence_at_once() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        hold(&lock.lock).await;
        let observer = Observer::with_clock(Arc::new(lock.clone()), clock.clone()).unwrap();
        clock.advance(SECOND).await;
        let observed = lock.lock.read().await.unwrap();
        lock.tell(|script| {
            for _ in 0..5_000 {
                script.watches[0].send(Ok(observed.clone())).unwrap();
            }
        });
        clock.advance(SECOND).await;
        let heard = lock.heard();
        assert!((1_000..2_000).contains(&heard), "{heard}");
        clock.advance(5 * SECOND).await;
        assert_eq!(lock.heard(), 5_000);
        overwrite(&lock.lock, |_| None).await;
        let observed = lock.lock.read().await.unwrap();
        lock.tell(|script| script.watches[0].send(Ok(observed)).unwrap());
        clock.advance(MS).await;
        assert_eq!(observer.status().leader, Leader::Nobody);
    });
}

#[test]
fn a_follower_whose_watch_fails_polls() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        lock.tell(|script| script.watches_end = true);
        let observer = following(&lock, &clock).await;
        let before = observer.status().counters.reads;
        clock.advance(30 * P).await;
        let reads = observer.status().counters.reads - before;
        assert!((28..=32).contains(&reads), "{reads} in 30 retry periods");
    });
}

#[test]
fn a_watch_that_tells_of_another_store_makes_a_leader_read_at_once_and_ends_nothing() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::Hint);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        clock.advance(MS).await;
        for (says, ends) in [(None, false), (Some(ErrorKind::Replaced), true)] {
            let reads = a.status().counters.reads;
            lock.tell(|script| {
                script.reads.extend(says.map(Fault::Fails));
                let watch = script.watches.pop().unwrap();
                let error = Error::new(ErrorKind::Replaced, "watch the lock", "another cluster");
                watch.send(Err(error)).unwrap();
            });
            clock.advance(MS).await;
            assert_eq!(a.status().counters.reads, reads + 1, "at once");
            assert_eq!(held.check().err(), ends.then_some(Loss::Replaced));
            clock.advance(P).await;
        }
    });
}
