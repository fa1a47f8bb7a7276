//! What is sent, what becomes of it, and what is said of the store.

use super::*;

#[test]
fn a_request_that_hangs_is_given_up_after_the_request_timeout() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        lock.tell(|script| script.reads.extend([Fault::Hangs; 2]));
        let a = elector(&lock, "a", &clock);
        let campaign = campaign(&a);
        clock.advance(T - MS).await;
        assert_eq!(a.status().store_error.map(|error| error.kind()), None);
        clock.advance(2 * MS).await;
        assert_eq!(a.status().store_error.unwrap().kind(), ErrorKind::Unavailable);
        clock.advance(T + P).await;
        let held = campaign.now_or_never().expect("leads").unwrap().unwrap();
        // A renewal that hangs costs a timeout and not the term.
        lock.tell(|script| script.writes.push(Fault::Hangs));
        clock.advance(D + SECOND).await;
        assert_eq!(held.check(), Ok(held.token()));
    });
}

#[test]
fn a_take_that_is_sent_again_keeps_its_bytes() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let first = elector(&lock, "first", &clock);
        led(&first, &clock).await.resign().await.unwrap();
        lock.tell(|script| {
            script.sent.clear();
            script.writes.push(Fault::Hangs);
        });
        let b = elector(&lock, "b", &clock);
        let waiting = campaign(&b);
        let sent = clock.wall();
        clock.advance(T + 2 * P).await;
        assert!(waiting.is_finished());
        let [lost, again] = &lock.sent(Intent::Take)[..] else { panic!("two") };
        assert_eq!(lost.record.renewed, sent);
        assert_eq!(lost, again);
        assert!(clock.wall() > sent);
    });
}

#[test]
fn wall_times_are_stamped_as_a_request_is_sent() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let began = Wall(1_800_000_000_000);
        clock.step_wall(began);
        let a = elector(&lock, "a", &clock);
        let _held = led(&a, &clock).await;
        let take = &lock.sent(Intent::Take)[0].record;
        assert_eq!((take.acquired, take.renewed), (began, began));
        clock.advance(2 * P).await;
        let renewals = lock.sent(Intent::Renew);
        let p = u64::try_from(P.as_millis()).unwrap();
        for (renewal, number) in renewals.iter().zip(1..) {
            assert_eq!(renewal.record.acquired, began);
            assert_eq!(renewal.record.renewed, Wall(began.0 + number * p));
        }
        assert_eq!(renewals.len(), 2);
    });
}

#[test]
fn a_store_that_answers_again_is_said_to() {
    in_virtual_time(async |clock| {
        let lock = Scripted::new(Push::None);
        let a = elector(&lock, "a", &clock);
        let held = led(&a, &clock).await;
        lock.tell(|script| script.writes.push(Fault::Fails(ErrorKind::Unavailable)));
        clock.advance(SECOND).await;
        assert_eq!(a.status().store_error.unwrap().kind(), ErrorKind::Unavailable);
        clock.advance(2 * P).await;
        assert!(a.status().store_error.is_none());
        assert_eq!(held.check(), Ok(held.token()));
    });
}
