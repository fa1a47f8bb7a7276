//! What broke a sketch of this design, and what the store may do to us.

use super::*;

#[test]
fn resign_releases_at_once_at_every_phase_of_a_renewal() {
    // Between renewals.
    let mut play = Play::leading();
    play.wait(P / 2);
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.election.take_released(), Some(true));

    // A renewal is in flight and is then acknowledged, refused because it had been applied before,
    // or lost.
    for lost in [None, Some(true), Some(false)] {
        let mut play = Play::leading();
        play.wait(P);
        let renewal = play.poll().unwrap();
        play.input(Input::Drained);
        assert_eq!(play.poll(), None, "one operation at a time");
        let answer = match lost {
            Some(false) => Input::Wrote(Err(ErrorKind::Unavailable)),
            Some(true) => {
                play.apply(&renewal);
                Input::Wrote(Ok(Outcome::Conflict))
            }
            None => play.apply(&renewal),
        };
        play.input(answer);
        let started = play.now;
        let actions = play.run();
        assert_eq!(actions.last().and_then(intent), Some(Intent::Release), "{lost:?}");
        assert!(play.now.since(started) <= 2 * RTT);
        assert_eq!(play.election.take_released(), Some(true));
        assert_eq!(play.stored().holder, None);
    }
}

#[test]
fn a_release_is_given_up_after_two_request_timeouts() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.lose_request();
    play.lose_request();
    play.input(Input::Tick);
    assert_eq!(play.election.take_released(), Some(false));
}

#[test]
fn after_our_release_nothing_is_taken_for_the_cool_down() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    let released = play.now;
    while play.leadership().is_none() {
        play.run_for(Duration::from_millis(100));
    }
    assert!(play.now.since(released) >= P);
    assert_eq!(play.leadership().unwrap().token, 2);

    // Another holder ends the cool-down.
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    play.input(Input::Push(true));
    play.version += 1;
    play.contents = Contents::Record(record(Some(holder(7)), 2, 70));
    play.input(Input::Hint(play.observed()));
    play.version += 1;
    play.contents = Contents::Record(record(None, 2, 71));
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
}

#[test]
fn an_own_older_renewal_from_the_watch_ends_nothing_and_costs_nothing() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    let older = play.observed();
    play.run_for(P + RTT);
    assert_ne!(play.observed().version, older.version);
    play.input(Input::Hint(older));
    assert_eq!(play.poll(), None);
    // One's own renewal may be pushed before it is acknowledged.
    play.run_for(P - 3 * RTT);
    play.wait(3 * RTT);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.input(Input::Hint(play.observed()));
    play.input(answer);
    assert_eq!(play.poll(), None);
    assert!(play.leadership().is_some());
}

#[test]
fn a_replayed_watch_event_makes_a_leader_read_and_ends_nothing() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    let mut old = play.observed();
    old.version = Version::number(0);
    old.contents = Contents::Record(record(Some(holder(7)), 0, 3));
    play.input(Input::Hint(old));
    assert!(play.leadership().is_some());
    assert_eq!(play.turn(), Some(Action::Read));
    assert!(play.leadership().is_some());
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn a_late_acknowledgement_resurrects_nothing() {
    let mut play = Play::leading();
    play.wait(P);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.wait(D);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
    play.input(answer);
    assert!(play.leadership().is_none());
    play.input(Input::Drained);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 2, "leading again takes a new token");
}

#[test]
fn somebody_who_saw_the_deadline_ends_the_term_although_an_acknowledgement_is_on_its_way() {
    let mut play = Play::leading();
    play.wait(P);
    let renewal = play.poll().unwrap();
    let answer = play.apply(&renewal);
    play.input(Input::Expired);
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
}

#[test]
fn the_view_goes_stale_on_time_without_an_event() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.run();
    assert!(matches!(play.election.view(play.now), View::Held(_)));
    // The store is gone: nothing is read any more.
    let stale = play.now + Timing::wait(L);
    let mut wake = play.now;
    while wake < stale {
        wake = play.election.next_deadline(wake);
        assert!(wake <= stale);
        play.now = wake;
        if wake < stale && play.poll().is_some() {
            play.input(Input::Read(Err(ErrorKind::Unavailable)));
        }
    }
    assert_eq!(play.election.view(stale), View::Unknown);
}

#[test]
fn a_withdrawn_candidate_gives_a_take_in_flight_back() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    play.input(Input::Withdraw);
    let answer = play.apply(&take);
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.stored().holder, None);
}

#[test]
fn corrupt_contents_are_never_overwritten() {
    let mut play = Play::new();
    play.contents = Contents::Unreadable("garbage".into());
    play.version = 3;
    play.input(Input::Stand);
    play.run_for(10 * L);
    assert_eq!(play.election.failure(), Some(&Halt::Corrupt("garbage".into())));
    assert_eq!(play.version, 3);
}

#[test]
fn who_stands_on_a_lock_that_is_known_to_be_corrupt_is_told_at_once() {
    let mut play = Play::new();
    play.contents = Contents::Unreadable("garbage".into());
    play.version = 3;
    play.run();
    play.input(Input::Push(true));
    play.input(Input::Stand);
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.failure(), Some(&Halt::Corrupt("garbage".into())));
}

#[test]
fn a_rewound_store_ends_the_term_and_the_candidacy() {
    let mut play = Play::with(&Capabilities { floor_is_history: true, ..capabilities() });
    play.floor = Some(100);
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 101);
    play.floor = Some(50);
    play.version += 7;
    play.run_for(P + 2 * RTT);
    assert_eq!(play.election.failure(), Some(&Halt::Rewound { floor: Some(50), before: 100 }));
    assert!(play.leadership().is_none());
}

/// A store whose history is told by objects says nothing of it when the object is gone.
#[test]
fn an_absence_that_knows_nothing_of_the_past_is_no_rewind() {
    let mut play = Play::with(&Capabilities { floor_is_history: true, ..capabilities() });
    play.floor = Some(100);
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 101);
    (play.floor, play.contents, play.version) = (None, Contents::Absent, 0);
    play.run_for(P + 2 * RTT);
    assert_eq!(play.election.failure(), None);
    // Asserted again on a store that is older than what is known: the next read tells.
    assert_eq!(play.leadership().unwrap().token, 101);
    play.floor = Some(50);
    play.version += 7;
    play.run_for(P + 2 * RTT);
    assert_eq!(play.election.failure(), Some(&Halt::Rewound { floor: Some(50), before: 100 }));
}

/// The absence that told of the restore is no licence to take the lock in a later candidacy.
#[test]
fn who_stands_again_after_a_rewind_reads_first_and_is_refused_again() {
    let mut play = Play::with(&Capabilities { floor_is_history: true, ..capabilities() });
    play.serve_leases();
    play.floor = Some(100);
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 101);
    (play.floor, play.contents, play.version) = (Some(50), Contents::Absent, 0);
    play.run_for(P + 2 * RTT);
    let rewound = Halt::Rewound { floor: Some(50), before: 100 };
    assert_eq!(play.election.failure(), Some(&rewound));
    play.input(Input::Drained);
    play.input(Input::Push(true));
    play.input(Input::Stand);
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.failure(), Some(&rewound));
}

#[test]
fn who_stands_again_writes_nothing_before_a_read_was_answered() {
    let mut play = Play::with(&Capabilities { floor_is_history: true, ..capabilities() });
    play.serve_leases();
    play.floor = Some(100);
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.run();
    (play.floor, play.contents, play.version) = (Some(50), Contents::Absent, 0);
    play.run_for(4 * L);
    assert!(matches!(play.election.failure(), Some(Halt::Rewound { .. })));
    play.input(Input::Drained);
    play.input(Input::Stand);
    for _ in 0..5 {
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(ErrorKind::Unavailable)));
        // Even what looks newer than all that was known.
        play.input(Input::Hint(Observed { token_floor: Some(200), ..play.observed() }));
        play.wait(P);
    }
}

/// Its Take was stored and needs a renewal to count; meanwhile the record became unreadable.
#[test]
fn who_stands_again_after_a_failed_claim_does_not_renew_over_what_it_cannot_read() {
    let mut play = Play::leading();
    let token = play.stored().token;
    play.election.phase = Phase::Claiming { token };
    play.contents = Contents::Unreadable("garbage".into());
    play.version += 1;
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.failure(), Some(&Halt::Corrupt("garbage".into())));
    play.input(Input::Stand);
    assert_eq!(play.poll(), Some(Action::Read));
    play.input(Input::Read(Err(ErrorKind::Unavailable)));
    for _ in 0..5 {
        play.wait(P);
        assert_eq!(play.poll(), Some(Action::Read));
        play.input(Input::Read(Err(ErrorKind::Unavailable)));
    }
}

#[test]
fn an_absence_from_before_what_is_known_is_looked_up() {
    let mut play = Play::new();
    play.serve_leases();
    play.floor = Some(100);
    play.input(Input::Push(true));
    play.store(record(Some(holder(7)), 100, 5));
    play.input(Input::Stand);
    play.run();
    let gone = Observed { contents: Contents::Absent, ..play.observed() };
    play.input(Input::Hint(Observed { token_floor: Some(99), ..gone.clone() }));
    assert!(matches!(play.election.view(play.now), View::Held(_)));
    assert_eq!(play.poll(), Some(Action::Read));
}

#[test]
fn denied_ends_the_candidacy_only_before_the_first_read() {
    let mut play = Play::new();
    play.input(Input::Stand);
    play.poll();
    play.input(Input::Read(Err(ErrorKind::Denied)));
    assert_eq!(play.election.failure(), Some(&Halt::Denied));

    let mut play = Play::leading();
    play.wait(P);
    play.poll();
    play.input(Input::Wrote(Err(ErrorKind::Denied)));
    play.poll();
    play.input(Input::Read(Err(ErrorKind::Denied)));
    assert_eq!(play.election.failure(), None);
    assert!(play.leadership().is_some());
}

#[test]
fn a_store_that_refuses_fast_is_not_hammered() {
    const MINUTE: Duration = Duration::from_secs(60);
    let down = |_: &Play| Err(ErrorKind::Unavailable);
    let requests = Play::leading().requests(MINUTE, down, Err(ErrorKind::Unavailable));
    assert!(requests <= 35, "{requests} requests in a minute");

    // Reads work, writes are refused.
    let requests =
        Play::leading().requests(MINUTE, |play| Ok(play.observed()), Err(ErrorKind::Denied));
    assert!(requests <= 70, "{requests} requests in a minute");
}

#[test]
fn silence_with_push_is_looked_into_every_third_of_a_lease() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.run();
    // A watch that opens postpones nothing, so that a failing one does no harm: one read is still
    // due.
    play.input(Input::Push(true));
    assert_eq!(play.run_for(P), [Action::Read]);
    let started = play.now;
    // The holder shows life by the watch: no requests.
    for nonce in 10..20 {
        assert_eq!(play.run_for(P), []);
        play.store(record(Some(holder(7)), 5, nonce));
        play.input(Input::Hint(play.observed()));
    }
    assert_eq!(play.now.since(started), 10 * P);
    let actions = play.run_for(L - P);
    assert_eq!(actions, [Action::Read, Action::Read]);
}

#[test]
fn a_loser_with_push_waits_for_the_event() {
    let mut play = Play::new();
    play.store(record(None, 4, 1));
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.turn();
    let _ = play.poll().unwrap();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    assert_eq!(play.poll(), None);
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.poll(), None);
    assert!(matches!(play.election.view(play.now), View::Held(_)));
}

#[test]
fn unknown_fields_are_carried_through_take_renewal_and_release() {
    let mut play = Play::new();
    let mut free = record(None, 1, 1);
    free.extra.insert("ask".into(), true.into());
    play.store(free);
    play.input(Input::Stand);
    play.run_for(2 * P);
    assert_eq!(play.stored().extra["ask"], true);
    play.input(Input::Drained);
    play.run();
    assert_eq!(play.stored().extra["ask"], true);
}

#[test]
fn a_watch_that_ends_again_and_again_stops_no_reading() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.run();
    let mut reads = 0;
    for _ in 0..30 {
        play.input(Input::Push(true));
        play.input(Input::Push(false));
        reads += play.run_for(P).len();
    }
    assert!(reads >= 29, "{reads}");
}

#[test]
fn a_store_that_refuses_the_version_it_shows_is_not_hammered() {
    let mut play = Play::leading();
    let requests = play.requests(D, |play| Ok(play.observed()), Ok(Outcome::Conflict));
    assert!(requests <= 30, "{requests} requests in {D:?}");
}

#[test]
fn a_follower_without_push_polls_for_a_holder_with_a_short_lease() {
    let mut play = Play::new();
    let mut short = record(Some(holder(7)), 5, 5);
    short.lease_duration = Duration::from_secs(1);
    play.store(short.clone());
    for nonce in 6..40 {
        play.run_for(Duration::from_millis(400));
        assert!(matches!(play.election.view(play.now), View::Held(_)));
        play.store(Record { nonce: Nonce(nonce), ..short.clone() });
    }
}

#[test]
fn who_withdraws_after_its_work_has_stopped_releases_what_is_still_its_own() {
    let mut play = Play::leading();
    play.wait(D);
    play.input(Input::Drained);
    play.input(Input::Withdraw);
    assert_eq!(intents(&play.run()).last(), Some(&Some(Intent::Release)));
    assert_eq!(play.stored().holder, None);
}

#[test]
fn a_release_that_was_recognised_only_late_is_followed_by_the_cool_down_too() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    let sent = play.now;
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Release));
    play.lose_request();
    play.input(Input::Tick);
    assert_eq!(play.election.take_released(), Some(false), "not confirmed in time");
    while play.leadership().is_none() {
        play.run_for(Duration::from_millis(100));
    }
    assert!(play.now.since(sent) >= 2 * T + P);
}
