//! The rules that make it safe.

use super::*;

#[test]
fn nobody_takes_from_absent_but_adopts_first() {
    let mut play = Play::new();
    play.input(Input::Stand);
    let actions = play.run();
    assert_eq!(intents(&actions), [None, Some(Intent::Adopt), Some(Intent::Take)]);
    let Action::Write { change, .. } = &actions[1] else { panic!() };
    assert_eq!((&change.record.holder, change.record.token), (&None, 0));
    assert_eq!(play.leadership().unwrap().token, 1);
}

#[test]
fn by_server_takes_absent_at_once_and_never_a_present_key() {
    let mut play = Play::new();
    play.serve_leases();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    let actions = play.run_for(10 * L);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(P + RTT);
    assert!(intents(&actions).contains(&Some(Intent::Take)));
    assert!(play.leadership().is_some());
}

#[test]
fn belief_counts_from_the_send() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let sent = play.now;
    let take = play.poll().unwrap();
    let answer = play.apply(&take);
    play.now = play.now + Duration::from_secs(1);
    play.input(answer);
    assert_eq!(play.leadership().unwrap().until, sent + D);
}

#[test]
fn leader_iff_before_the_deadline_and_take_iff_not_before_the_wait() {
    let play = Play::leading();
    let until = play.leadership().unwrap().until;
    assert!(play.election.leadership(until - Duration::from_nanos(1)).is_some());
    assert!(play.election.leadership(until).is_none());

    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.turn();
    let moment = play.now + Timing::wait(L);
    play.election.read_at = Time::NEVER;
    play.now = moment - Duration::from_nanos(1);
    assert_eq!(play.poll(), None);
    play.now = moment;
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
}

#[test]
fn the_records_lease_duration_is_honoured_not_our_own() {
    let mut play = Play::new();
    let mut long = record(Some(holder(7)), 5, 5);
    long.lease_duration = 10 * L;
    play.store(long);
    play.input(Input::Stand);
    assert!(!intents(&play.run_for(9 * L)).contains(&Some(Intent::Take)));
    assert!(intents(&play.run_for(2 * L)).contains(&Some(Intent::Take)));
}

#[test]
fn the_nonce_is_the_sign_of_life_not_the_version() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    // Somebody edits a label every two seconds.
    for _ in 0..7 {
        play.run_for(P);
        play.version += 1;
    }
    play.run_for(P);
    assert!(play.leadership().is_some());

    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    for nonce in 6..30 {
        play.run_for(P);
        play.store(record(Some(holder(7)), 5, nonce));
    }
    assert!(play.leadership().is_none());
}

#[test]
fn a_passed_holder_is_taken_from_at_once() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.expiry = Expiry::Passed;
    play.input(Input::Stand);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Take)]);
    assert_eq!(play.leadership().unwrap().token, 6);
}

#[test]
fn tokens_are_above_record_floor_and_all_seen() {
    for (token, floor, minted) in [(5, None, 6), (5, Some(100), 101), (500, Some(100), 501)] {
        let mut play = Play::new();
        play.store(record(None, token, 1));
        play.floor = floor;
        play.input(Input::Stand);
        play.run();
        assert_eq!(play.leadership().unwrap().token, minted);
    }
    let mut play = follower(false, record(Some(holder(7)), 900, 5));
    // The record is deleted and adopted by somebody who saw nothing.
    play.store(record(None, 0, 6));
    play.run_for(2 * L);
    assert_eq!(play.leadership().unwrap().token, 901);
}

#[test]
fn a_token_above_2_63_is_never_minted() {
    let play = follower(false, record(None, crate::record::MAX_TOKEN, 1));
    assert!(matches!(play.election.failure(), Some(Halt::Corrupt(_))));
    assert_eq!(play.stored().nonce, Nonce(1));
}

#[test]
fn rule_13_a_leader_asserts_a_deleted_record_again() {
    let mut play = Play::leading();
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(P + 4 * RTT);
    assert!(intents(&actions).contains(&None));
    assert_eq!(play.leadership().unwrap().token, 1);
    assert_eq!(play.stored().token, 1);
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn rule_13_a_leader_asserts_over_lower_tokens_but_not_over_greater_or_foreign_ones() {
    let mut lower = Play::leading();
    lower.election.highest = 5;
    if let Phase::Leading(term) = &mut lower.election.phase {
        term.token = 5;
    }
    for (stored, survives) in [
        (record(None, 0, 9), true),
        (record(None, 5, 9), true),
        (record(None, 6, 9), false),
        (record(Some(holder(7)), 4, 9), true),
        (record(Some(Holder::unknown()), 0, 9), true),
        (record(Some(holder(7)), 5, 9), false),
        (record(Some(holder(7)), 6, 9), false),
        (record(Some(Holder { incarnation: None, ..holder(7) }), 0, 9), false),
    ] {
        let mut play = Play { election: lower.election.clone(), ..Play::new() };
        play.now = lower.now;
        play.version = 50;
        play.store(stored.clone());
        play.run_for(P + 4 * RTT);
        assert_eq!(play.election.take_ended().is_none(), survives, "{stored:?}");
    }
}

#[test]
fn rule_13_who_saw_a_holder_neither_takes_nor_adopts_what_vanished() {
    let mut play = follower(false, record(Some(holder(7)), 5, 5));
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    let actions = play.run_for(3 * P);
    assert!(intents(&actions).contains(&Some(Intent::Adopt)));
    assert_eq!(play.leadership().unwrap().token, 6);
}

/// The holder may have renewed between the sign of life that we saw and the deletion.
#[test]
fn rule_13_the_lease_of_what_vanished_counts_from_when_it_was_missed() {
    let adopted = Contents::Record(record(None, 0, 6));
    for vanished in [Contents::Absent, adopted.clone()] {
        let mut play = follower(false, record(Some(holder(7)), 5, 5));
        // Cut off for nearly a lease, in which the holder renews; then the record is deleted.
        play.now = play.now + L - P;
        play.contents = vanished;
        play.version += 1;
        let actions = play.run_for(L - RTT);
        assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
        play.run_for(L / 50);
        assert_eq!(play.leadership().unwrap().token, 6);
    }
}

#[test]
fn rule_13_an_adoption_does_not_prolong_the_wait_and_another_version_does() {
    for (last, waits) in [(Contents::Absent, false), (Contents::Record(record(None, 0, 8)), true)] {
        let mut play = follower(false, record(Some(holder(7)), 5, 5));
        play.contents = last;
        play.version += 1;
        play.run_for(L / 2);
        // Somebody else adopted what was absent, or there may have been another holder meanwhile.
        play.store(record(None, 0, 6));
        play.run_for(L / 2 + 2 * P);
        assert_eq!(play.leadership().is_none(), waits);
        play.run_for(L / 2);
        assert_eq!(play.leadership().unwrap().token, 6);
    }
}

/// Labels that somebody else edits keep nobody waiting for ever.
#[test]
fn rule_13_an_edit_of_what_was_left_does_not_prolong_the_wait() {
    let mut play = follower(false, record(Some(holder(7)), 5, 5));
    play.store(record(None, 0, 6));
    let missed = play.now;
    while play.leadership().is_none() {
        assert!(play.now.since(missed) < L + 2 * P, "edits keep it waiting");
        play.run_for(P);
        if play.leadership().is_none() {
            play.version += 1;
        }
    }
    assert!(play.now.since(missed) >= L);
}

#[test]
fn rule_13_a_foreign_release_frees_the_lock_at_once() {
    let foreign = Holder { incarnation: None, ..holder(7) };
    for (released, free) in [(6, true), (7, true), (5, false), (0, false)] {
        let mut play = follower(false, record(Some(foreign.clone()), 6, 5));
        play.store(record(None, released, 9));
        let actions = play.run_for(P + 2 * RTT);
        assert_eq!(intents(&actions).contains(&Some(Intent::Take)), free, "{released}");
    }
}

#[test]
fn rule_13_nobody_is_said_to_lead_only_once_what_vanished_was_waited_out() {
    for left in [Contents::Absent, Contents::Record(record(None, 0, 6))] {
        let mut play = Play::new();
        play.store(record(Some(holder(7)), 5, 5));
        play.run_for(P);
        assert!(matches!(play.election.view(play.now), View::Held(_)));
        play.contents = left;
        play.version += 1;
        play.run_for(2 * P);
        assert_eq!(play.election.view(play.now), View::Unknown);
        play.run_for(L);
        assert_eq!(play.election.view(play.now), View::Nobody);
        play.run_for(2 * L);
        assert_eq!(play.election.view(play.now), View::Nobody);
    }
}

#[test]
fn rule_13_an_adopted_record_is_no_release() {
    let mut play = follower(false, record(Some(holder(7)), 5, 5));
    play.store(record(None, 0, 6));
    assert!(!intents(&play.run_for(L - P)).contains(&Some(Intent::Take)));
    // A release carries the holder's token.
    play.store(record(Some(holder(7)), 5, 7));
    play.run_for(P);
    play.store(record(None, 5, 8));
    assert!(intents(&play.run_for(P)).contains(&Some(Intent::Take)));
}

#[test]
fn by_server_absence_ends_the_term() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.run();
    play.contents = Contents::Absent;
    play.version += 1;
    play.run_for(P + RTT);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
}

#[test]
fn a_suspended_state_is_adopted_and_then_waited_out_from_zero() {
    let mut play = Play::new();
    play.store(record(Some(holder(7)), 5, 5));
    play.input(Input::Stand);
    play.run_for(L - P);
    play.expiry = Expiry::Suspended;
    play.version += 1;
    assert!(intents(&play.run_for(P)).contains(&Some(Intent::Adopt)));
    assert_eq!(play.stored().nonce, Nonce(5), "the nonce stays");
    assert!(!intents(&play.run_for(L - P - P)).contains(&Some(Intent::Take)));
    assert!(intents(&play.run_for(3 * P)).contains(&Some(Intent::Take)));
}

#[test]
fn an_adoption_of_a_forgotten_lock_names_an_unknown_holder() {
    let mut play = Play::new();
    play.expiry = Expiry::Suspended;
    play.input(Input::Stand);
    play.turn();
    let Some(Action::Write { change, .. }) = play.poll() else { panic!() };
    assert_eq!(change.intent, Intent::Adopt);
    assert!(change.record.holder.as_ref().unwrap().is_unknown());
    assert_eq!(change.record.lease_duration, L);
}

#[test]
fn a_leader_renews_over_a_suspended_record_of_its_own() {
    let mut play = Play::leading();
    play.expiry = Expiry::Suspended;
    play.version += 1;
    play.wait(P);
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert!(play.leadership().is_some());
}

#[test]
fn on_a_store_that_forgets_an_own_record_proves_nothing_once_the_term_is_over() {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.run();
    play.wait(D);
    play.input(Input::Drained);
    // While we were away somebody led and was forgotten; our record was adopted again.
    play.version += 2;
    let actions = play.run_for(L - P);
    // The Take over the version it knew is refused; after that it waits like everybody else.
    assert_eq!(intent(&actions[0]), Some(Intent::Take));
    assert!(actions[1..].iter().all(|action| *action == Action::Read), "{actions:?}");
    assert!(!play.election.copied());
    play.run_for(3 * P);
    assert_eq!(play.leadership().unwrap().token, 3);
}
