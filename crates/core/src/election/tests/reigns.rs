//! A store that goes back to older states, and names the reigns between.

use super::*;

/// A candidate at a store that forgets, over a lock that was released.
fn forgetful() -> Play {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    play.reign = Some(1);
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play
}

/// The store goes back to `record`, and a follower adopts it.
fn goes_back_to(play: &mut Play, record: &Record) {
    play.reign = play.reign.map(|reign| reign + 1);
    play.expiry = Expiry::Suspended;
    play.store(record.clone());
}

#[test]
fn a_take_whose_answer_was_lost_is_claimed_in_the_same_reign() {
    let mut play = forgetful();
    play.turn();
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Take));
    let taken = play.stored().nonce;
    play.wait(P);
    let actions = play.run();
    assert_eq!(intents(&actions), [None, Some(Intent::Renew)]);
    assert_eq!(play.leadership().unwrap().token, 2);
    assert_ne!(play.stored().nonce, taken);
}

#[test]
fn a_take_whose_answer_was_lost_is_not_claimed_once_the_store_went_back() {
    let mut play = forgetful();
    play.turn();
    let Action::Write { change: take, .. } = play.lose_answer() else { panic!() };
    // Another led since, and that was forgotten.
    goes_back_to(&mut play, &take.record);
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    assert!(!play.election.copied());
    play.run_for(3 * P);
    assert_eq!(play.leadership().unwrap().token, 3);
}

/// A server without enough replicas stored the Take, another one without it led meanwhile, and the
/// first is the primary again, in a reign in which nothing of ours was ever acknowledged.
#[test]
fn a_take_that_was_given_up_is_no_copys_when_the_store_goes_back_to_it() {
    let mut play = forgetful();
    play.turn();
    let Action::Write { change: take, .. } = play.lose_answer() else { panic!() };
    play.reign = Some(2);
    play.store(record(Some(holder(7)), 2, 9));
    play.turn();
    play.reign = Some(1);
    play.store(take.record.clone());
    let actions = play.run_for(L - P);
    assert!(!play.election.copied());
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.run_for(3 * P);
    assert!(play.leadership().unwrap().token > take.record.token);
}

#[test]
fn a_renewal_whose_answer_was_lost_keeps_a_claim_in_the_same_reign() {
    let mut play = forgetful();
    play.turn();
    play.lose_answer();
    play.wait(P);
    play.turn();
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Renew));
    play.wait(P);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn a_leader_stays_one_when_the_store_goes_back_by_many_renewals() {
    let mut play = forgetful();
    play.run();
    let old = play.stored().clone();
    for _ in 0..10 {
        play.wait(P);
        play.run();
    }
    goes_back_to(&mut play, &old);
    play.wait(P);
    play.run();
    assert_eq!(play.leadership().unwrap().token, old.token);
    assert_ne!(play.stored().nonce, old.nonce, "it has asserted its record again");
    assert!(!play.election.copied());
}

#[test]
fn a_record_of_a_past_term_is_a_copys_only_in_the_reign_of_that_term() {
    for (goes_back, copied) in [(true, false), (false, true)] {
        let mut play = forgetful();
        play.run();
        let old = play.stored().clone();
        play.input(Input::Stop);
        play.input(Input::Drained);
        play.run();
        assert_eq!(play.stored().holder, None, "released");
        if goes_back {
            goes_back_to(&mut play, &old);
        } else {
            play.store(old.clone());
        }
        play.run_for(2 * P);
        assert_eq!(play.election.copied(), copied);
    }
}

/// Ends the term of a leader whose record was renewed `renewals` times, and lets the store go back
/// to the record it had at first while the release is owed. Before that `late` passes without the
/// store.
fn resigns_while_the_store_goes_back(renewals: u32, late: Duration, adopted: bool) -> Play {
    let mut play = forgetful();
    play.run();
    let old = play.stored().clone();
    for _ in 0..renewals {
        play.wait(P);
        play.run();
    }
    play.input(Input::Withdraw);
    play.wait(late);
    play.input(Input::Drained);
    goes_back_to(&mut play, &old);
    if !adopted {
        play.expiry = Expiry::Suspended;
    }
    play.run();
    play
}

/// Nobody else leads before its lease is over: the next candidate need not wait for that.
#[test]
fn a_release_survives_that_the_store_goes_back() {
    for (renewals, adopted) in [0, 1, 2, 10].map(|n| [(n, false), (n, true)]).concat() {
        let mut play = resigns_while_the_store_goes_back(renewals, Duration::ZERO, adopted);
        assert_eq!(play.stored().holder, None, "{renewals} renewals, adopted: {adopted}");
        assert_eq!(play.stored().token, 2);
        assert_eq!(play.election.take_released(), Some(true));
    }
}

/// Another may have led since, and that was forgotten.
#[test]
fn after_its_lease_a_leader_releases_nothing_that_the_store_went_back_to() {
    for (renewals, adopted) in [0, 1, 2, 10].map(|n| [(n, false), (n, true)]).concat() {
        let mut play = resigns_while_the_store_goes_back(renewals, L, adopted);
        assert!(play.stored().holder.is_some(), "{renewals} renewals, adopted: {adopted}");
        assert_eq!(play.election.take_released(), Some(false));
    }
}

/// A release is never written over what this very term did not write.
#[test]
fn a_record_from_before_the_term_is_not_released() {
    for old in [record(Some(holder(5)), 1, 5), record(Some(Holder::unknown()), 0, 5)] {
        let mut play = forgetful();
        play.run();
        play.input(Input::Stop);
        play.input(Input::Drained);
        goes_back_to(&mut play, &old);
        play.expiry = Expiry::Suspended;
        play.run_for(P);
        assert_ne!(play.stored().holder, None, "{old:?}");
        assert_eq!(play.election.take_released(), Some(false));
    }
}

/// To a leader an unknown nonce of its own incarnation is a copy's in any reign: it would contend
/// with it.
#[test]
fn a_copy_of_a_leader_is_noticed_after_the_store_went_back() {
    let mut play = forgetful();
    play.run();
    let copys = Record { nonce: Nonce(77), ..play.stored().clone() };
    goes_back_to(&mut play, &copys);
    play.wait(P);
    play.run();
    assert!(play.leadership().is_none());
    assert!(play.election.copied());
}

#[test]
fn nobody_is_known_to_lead_where_the_store_may_have_forgotten() {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    (play.reign, play.expiry) = (Some(1), Expiry::Suspended);
    play.turn();
    assert_eq!(play.election.view(play.now), View::Unknown);
    let over = play.now + Timing::wait(L) + play.election.jitter;
    assert_eq!(play.election.forgotten_until(play.now), Some(over), "absent");
    // Another candidate has adopted it.
    play.expiry = Expiry::ByObserver;
    play.store(record(Some(Holder::unknown()), 0, 5));
    play.wait(P);
    play.turn();
    assert_eq!(play.election.view(play.now), View::Unknown);
    let over = play.now + Timing::wait(L) + play.election.jitter;
    assert_eq!(play.election.forgotten_until(play.now), Some(over), "adopted");
    let stale = play.election.view_until();
    assert_eq!(play.election.forgotten_until(stale), None, "nothing was heard for too long");
    // Somebody leads, and the store goes back to that.
    play.store(record(Some(holder(5)), 1, 6));
    play.wait(P);
    play.turn();
    assert!(matches!(play.election.view(play.now), View::Held(_)));
    assert_eq!(play.election.forgotten_until(play.now), None);
    play.expiry = Expiry::Suspended;
    play.wait(P);
    play.turn();
    assert_eq!(play.election.view(play.now), View::Unknown);
    assert_eq!(play.election.forgotten_until(play.now), None, "a holder is known");
}

#[test]
fn a_lock_that_was_free_before_the_store_went_back_is_not() {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    play.store(record(None, 1, 1));
    (play.reign, play.expiry) = (Some(1), Expiry::Suspended);
    play.turn();
    assert_eq!(play.election.view(play.now), View::Unknown);
    assert!(play.election.forgotten_until(play.now).is_some());
    play.expiry = Expiry::ByObserver;
    play.wait(P);
    play.turn();
    assert_eq!(play.election.view(play.now), View::Nobody);
    assert_eq!(play.election.forgotten_until(play.now), None);
}

#[test]
fn a_candidate_leads_by_the_moment_that_was_told() {
    let mut play = Play::with(&Capabilities { forgets: true, ..capabilities() });
    (play.reign, play.expiry) = (Some(1), Expiry::Suspended);
    play.input(Input::Stand);
    play.turn();
    let told = play.election.forgotten_until(play.now).unwrap();
    play.expiry = Expiry::ByObserver;
    play.run();
    let adopted = play.election.forgotten_until(play.now).unwrap();
    assert!(adopted <= told + 2 * RTT, "{adopted:?} {told:?}");
    play.run_for(adopted.since(play.now) + 2 * RTT);
    assert!(play.leadership().is_some());
}
