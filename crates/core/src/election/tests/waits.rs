//! Who waits how long, and what is remembered meanwhile.

use super::*;

fn follower(incarnation: u128, hand_over_jitter: Duration) -> Play {
    let mut play = Play::new();
    let candidate = CandidateConfig { hand_over_jitter, ..candidate(incarnation) };
    play.election = Election::new(candidate, &capabilities());
    play
}

/// When the next Take is sent, from now on.
fn taken_after(play: &mut Play) -> Duration {
    let from = play.now;
    for _ in 0..1000 {
        match play.poll() {
            Some(Action::Write { change, .. }) if change.intent == Intent::Take => {
                return play.now.since(from);
            }
            Some(action) => {
                let answer = play.apply(&action);
                play.input(answer);
            }
            None => {
                play.now = play.election.next_deadline(play.now);
                play.input(Input::Tick);
            }
        }
    }
    panic!("never");
}

#[test]
fn a_released_lock_is_taken_after_the_drawn_share_of_the_hand_over_jitter() {
    let most = Duration::from_secs(4);
    for (draw, wait) in [(0, Duration::ZERO), (512, most / 2), (1023, most * 1023 / 1024)] {
        let mut play = follower(draw << 64, most);
        play.store(record(None, 4, 4));
        play.input(Input::Stand);
        assert_eq!(taken_after(&mut play), wait);
    }
}

#[test]
fn a_crashed_holder_is_waited_for_with_a_jitter_from_the_incarnation() {
    let most = Duration::from_millis(200);
    assert_eq!(Timing::default().max_jitter(), most);
    for draw in [0, 1, 512, 1023] {
        let jitter = most * u32::try_from(draw).unwrap() / 1024;
        assert_eq!(Timing::default().jitter(Incarnation(draw)), jitter);
        let mut play = follower(draw, Duration::ZERO);
        play.store(record(Some(holder(7)), 4, 4));
        play.input(Input::Stand);
        assert_eq!(taken_after(&mut play), Timing::wait(L) + jitter);
    }
}

fn throttled(after: Duration) -> ErrorKind {
    ErrorKind::Throttled { retry_after: Some(after) }
}

#[test]
fn a_follower_waits_as_long_as_the_store_asks() {
    let mut play = Play::new();
    play.input(Input::Stand);
    play.poll().unwrap();
    play.input(Input::Read(Err(throttled(Duration::from_secs(20)))));
    assert_eq!(play.run_for(Duration::from_secs(19)), []);
    assert_eq!(play.run_for(Duration::from_secs(1))[0], Action::Read);
}

#[test]
fn a_leader_waits_as_long_as_the_store_asks_and_its_deadline_allows() {
    for (asked, waited) in [(3, 3), (60, 10 - 4)] {
        let (asked, waited) = (Duration::from_secs(asked), Duration::from_secs(waited));
        let mut play = Play::leading();
        let until = play.leadership().unwrap().until;
        // The first acknowledged write was sent a round trip ago.
        play.now = until - D + P;
        let renewal = play.poll().unwrap();
        assert_eq!(intent(&renewal), Some(Intent::Renew));
        play.input(Input::Wrote(Err(throttled(asked))));
        let due = if asked < D { play.now + asked } else { until - D + waited };
        assert_eq!(play.election.next_deadline(play.now), due);
        play.now = due - Duration::from_nanos(1);
        assert_eq!(play.poll(), None);
        play.now = due;
        assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
        assert!(play.leadership().unwrap().until > until);
    }
}

#[test]
fn an_adoption_stores_the_longest_lease_duration_seen() {
    let mut play = Play::new();
    let long = Record { lease_duration: 4 * L, ..record(Some(holder(7)), 4, 4) };
    play.store(long);
    play.run();
    play.store(record(Some(holder(8)), 5, 5));
    play.run_for(P);
    play.contents = Contents::Absent;
    play.version += 1;
    play.input(Input::Stand);
    let actions = play.run_for(2 * L);
    let adopted = actions.iter().find(|action| intent(action) == Some(Intent::Adopt));
    let Some(Action::Write { change, .. }) = adopted else { panic!("{actions:?}") };
    assert_eq!(change.record.lease_duration, 4 * L);
}

#[test]
fn the_cool_down_holds_also_over_a_record_whose_holder_has_passed() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    play.store(record(Some(holder(7)), 2, 70));
    play.expiry = Expiry::Passed;
    play.input(Input::Push(true));
    play.input(Input::Hint(play.observed()));
    assert!(matches!(play.election.view(play.now), View::Nobody));
    assert!(taken_after(&mut play) > P - 10 * RTT);
}

#[test]
fn the_same_sign_of_life_never_shortens_a_lease() {
    let mut play = follower(0, Duration::ZERO);
    play.store(record(Some(holder(7)), 4, 4));
    play.input(Input::Stand);
    play.turn();
    let from = play.now;
    play.store(Record { lease_duration: L / 15, ..record(Some(holder(7)), 4, 4) });
    taken_after(&mut play);
    assert_eq!(play.now.since(from), Timing::wait(L));
}

#[test]
fn the_highest_token_of_a_push_is_kept() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    play.contents = Contents::Record(record(Some(holder(7)), 9, 9));
    play.version += 1;
    play.input(Input::Hint(play.observed()));
    // Deleted before the read: the term of 9 was, all the same.
    play.contents = Contents::Absent;
    play.version += 1;
    play.turn();
    assert!(play.leadership().is_none(), "asserts nothing below it");
    play.input(Input::Drained);
    play.run_for(2 * L);
    assert_eq!(play.leadership().unwrap().token, 10);
}
