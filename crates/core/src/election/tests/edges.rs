//! What one comparison more or less would change: found by mutating the election blindly.

use super::*;
use crate::record::MAX_TOKEN;

fn held(token: Token, nonce: u128) -> Record {
    record(Some(holder(7)), token, nonce)
}

fn foreign(token: Token, nonce: u128) -> Record {
    let holder = Holder { incarnation: None, ..holder(7) };
    record(Some(holder), token, nonce)
}

/// The write that is due now.
fn write(play: &mut Play) -> (Version, Change) {
    match play.poll() {
        Some(Action::Write { expected, change }) => (expected, change),
        other => panic!("{other:?}"),
    }
}

/// A candidate whose first Take over an absent key is due.
fn by_server() -> Play {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.turn();
    play
}

#[test]
fn who_does_not_stand_takes_nothing() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    let actions = play.run_for(4 * L);
    assert!(!actions.is_empty() && actions.iter().all(|action| *action == Action::Read));
}

#[test]
fn a_copied_candidate_does_nothing_before_it_is_reborn() {
    let mut play = Play::leading();
    let mut copys = play.stored().clone();
    copys.nonce = Nonce(5);
    play.store(copys);
    play.wait(P);
    play.turn();
    play.turn();
    assert!(play.election.copied());
    assert_eq!(play.run_for(2 * L), []);
}

#[test]
fn a_write_of_an_earlier_incarnation_begins_no_term() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    play.input(Input::Reborn(Incarnation(5)));
    let answer = play.apply(&take);
    play.input(answer);
    assert_eq!(play.leadership(), None);
}

#[test]
fn row_4_a_new_term_is_no_renewal_of_the_old_one_sent_again() {
    let mut play = Play::leading();
    play.wait(P);
    play.lose_request();
    play.turn();
    play.wait(D);
    play.input(Input::Drained);
    let (_, change) = write(&mut play);
    assert_eq!((change.intent, change.record.token), (Intent::Take, 2));
}

#[test]
fn an_adoption_whose_event_comes_before_its_answer_is_taken_without_a_read() {
    let mut play = Play::new();
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.turn();
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Adopt));
    play.input(Input::Hint(play.observed()));
    play.wait(P);
    assert_eq!(write(&mut play).1.intent, Intent::Take);
}

#[test]
fn a_release_carries_the_token_of_its_term() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.run();
    assert_eq!((play.stored().token, &play.stored().holder), (1, &None));
}

#[test]
fn what_was_released_and_comes_back_is_not_ours() {
    let mut play = Play::leading();
    let released = play.stored().clone();
    play.input(Input::Drained);
    play.run();
    play.store(released);
    play.run_for(P);
    assert!(play.election.copied());
}

#[test]
fn a_release_that_another_leader_overtook_is_answered_at_once() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.lose_request();
    play.store(held(2, 5));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.take_released(), Some(false));
}

#[test]
fn the_last_token_is_minted() {
    let mut play = Play::new();
    play.store(record(None, MAX_TOKEN - 1, 1));
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, MAX_TOKEN);
}

#[test]
fn a_term_keeps_the_time_it_began_and_a_new_one_has_its_own() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.input(Input::Stand);
    play.turn();
    let (expected, mut change) = write(&mut play);
    change.record.acquired = Wall(77);
    let answer = play.apply(&Action::Write { expected, change });
    play.input(answer);
    play.wait(P);
    play.turn();
    assert_eq!(play.stored().acquired, Wall(77), "renewed");
    play.wait(D);
    play.input(Input::Drained);
    play.run();
    assert_eq!((play.stored().token, play.stored().acquired), (6, UNSTAMPED));
    // Of another holder nothing is kept, be its token the same.
    let mut other = record(None, 6, 6);
    other.acquired = Wall(88);
    play.store(other);
    play.wait(P);
    play.run();
    assert_ne!(play.stored().acquired, Wall(88));
}

#[test]
fn rule_13_a_record_with_a_lower_token_is_no_release() {
    let mut play = follower(false, held(5, 5));
    play.store(record(None, 3, 6));
    assert!(!intents(&play.run_for(L - P)).contains(&Some(Intent::Take)));
}

#[test]
fn rule_13_an_adopted_record_is_no_release_of_a_holder_without_token() {
    let mut play = follower(false, foreign(0, 5));
    play.store(record(None, 0, 6));
    assert!(!intents(&play.run_for(L - P)).contains(&Some(Intent::Take)));
}

#[test]
fn an_adoption_of_a_forgotten_release_names_an_unknown_holder() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.expiry = Expiry::Suspended;
    play.input(Input::Stand);
    play.turn();
    let (_, change) = write(&mut play);
    assert_eq!((change.intent, change.record.token), (Intent::Adopt, 4));
    assert!(change.record.holder.unwrap().is_unknown());
}

#[test]
fn an_old_event_is_looked_up() {
    let mut play = follower(true, held(5, 5));
    let old = Observed { contents: Contents::Record(held(4, 4)), ..play.observed() };
    play.input(Input::Hint(old));
    let View::Held(told) = play.election.view(play.now) else { panic!() };
    assert_eq!(told.token, 5);
    assert_eq!(play.turn(), Some(Action::Read));
}

#[test]
fn an_absence_that_is_pushed_is_believed_only_where_the_store_ends_leases() {
    for (expiry, then) in [(Expiry::ByObserver, None), (Expiry::ByServer, Some(Intent::Take))] {
        let mut play = Play::new();
        if expiry == Expiry::ByServer {
            play.serve_leases();
        }
        play.store(held(5, 5));
        play.input(Input::Push(true));
        play.input(Input::Stand);
        play.run();
        (play.version, play.contents) = (2, Contents::Absent);
        play.input(Input::Hint(play.observed()));
        assert_eq!(play.poll().as_ref().and_then(intent), then);
    }
}

#[test]
fn an_event_of_the_version_we_know_changes_nothing() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.turn();
    play.input(Input::Push(true));
    play.input(Input::Hint(play.observed()));
    play.input(Input::Stand);
    assert_eq!(write(&mut play).1.intent, Intent::Take, "without another read");
}

#[test]
fn an_event_that_moves_on_settles_a_lost_race() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.turn();
    write(&mut play);
    play.store(held(5, 5));
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    play.input(Input::Hint(play.observed()));
    assert_eq!(play.run_for(L / 3 - 2 * RTT), []);
    // An event of what was known before does not.
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.turn();
    let known = play.observed();
    write(&mut play);
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    play.input(Input::Hint(known));
    play.wait(P);
    assert_eq!(play.turn(), Some(Action::Read));
}

#[test]
fn a_read_that_agrees_with_the_watch_that_overtook_it_counts() {
    let mut play = follower(true, held(5, 5));
    play.wait(L / 3);
    assert_eq!(play.poll(), Some(Action::Read));
    play.store(held(5, 6));
    play.input(Input::Hint(play.observed()));
    play.input(Input::Read(Ok(play.observed())));
    assert_eq!(play.poll(), None);
}

#[test]
fn a_later_term_in_an_answer_that_the_watch_overtook_is_waited_out() {
    let mut play = follower(true, held(5, 5));
    play.wait(L / 3);
    assert_eq!(play.poll(), Some(Action::Read));
    // A late event of the release before that term.
    let released = Contents::Record(record(None, 5, 6));
    let late = Observed { version: Version::number(50), contents: released, ..play.observed() };
    play.input(Input::Hint(late));
    play.store(held(6, 7));
    play.input(Input::Read(Ok(play.observed())));
    play.contents = Contents::Absent;
    play.version += 1;
    let over = play.now + L;
    while play.now < over {
        play.turn();
        assert_eq!(play.leadership(), None);
        play.wait(P / 4);
    }
    play.run_for(L);
    assert_eq!(play.leadership().unwrap().token, 7);
}

#[test]
fn a_holder_that_was_pushed_to_a_leader_makes_its_view_unknown() {
    let mut play = Play::leading();
    assert!(matches!(play.election.view(play.now), View::Held(_)));
    let pushed = Observed { contents: Contents::Record(held(2, 5)), ..play.observed() };
    play.input(Input::Hint(Observed { version: Version::number(99), ..pushed }));
    assert_eq!(play.election.view(play.now), View::Unknown);
}

#[test]
fn nobody_is_told_until_the_store_has_been_silent_for_too_long() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.turn();
    assert_eq!(play.election.view(play.now), View::Nobody);
    let end = play.now + L + 2 * T;
    assert_eq!(play.election.view(end - Duration::from_nanos(1)), View::Nobody);
    assert_eq!(play.election.view(end), View::Unknown);
}

#[test]
fn nobody_is_told_of_what_vanished_at_the_instant_its_lease_is_over() {
    let mut play = follower(false, held(5, 5));
    play.wait(L / 3);
    play.contents = Contents::Absent;
    play.version += 1;
    play.turn();
    let over = play.now + Timing::wait(L);
    assert_eq!(play.election.view(over - Duration::from_nanos(1)), View::Unknown);
    assert_eq!(play.election.view(over), View::Nobody);
}

#[test]
fn a_request_that_is_wrong_ends_the_candidacy() {
    let mut play = Play::new();
    play.input(Input::Stand);
    play.poll().unwrap();
    play.input(Input::Read(Err(ErrorKind::Invalid)));
    assert_eq!(play.election.failure(), Some(&Halt::Invalid));
    assert_eq!(play.run_for(2 * L), []);
}

#[test]
fn who_lost_a_race_reads_at_once_unless_an_event_will_tell() {
    // A leader whose record moved, and a candidate whose adoption was overtaken, with push.
    let mut leader = Play::leading();
    leader.input(Input::Push(true));
    leader.wait(P);
    let mut adopter = Play::new();
    adopter.input(Input::Push(true));
    adopter.input(Input::Stand);
    adopter.turn();
    // Without push, nobody tells.
    let mut taker = Play::new();
    taker.store(record(None, 4, 4));
    taker.input(Input::Stand);
    taker.turn();
    for (mut play, tried) in
        [(leader, Intent::Renew), (adopter, Intent::Adopt), (taker, Intent::Take)]
    {
        assert_eq!(write(&mut play).1.intent, tried);
        play.input(Input::Wrote(Ok(Outcome::Conflict)));
        assert_eq!(play.poll(), Some(Action::Read), "after {tried:?}");
    }
}

#[test]
fn who_stands_with_push_and_knows_the_lock_asks_nothing() {
    let mut play = Play::new();
    play.store(held(5, 5));
    play.input(Input::Push(true));
    play.run();
    play.input(Input::Stand);
    assert_eq!(play.poll(), None);
}

#[test]
fn a_watch_that_ends_is_followed_by_polling() {
    let mut play = follower(true, held(5, 5));
    play.input(Input::Push(false));
    assert_eq!(play.run_for(P), [Action::Read]);
}

#[test]
fn by_server_a_follower_with_push_reads_once_a_lease() {
    let mut play = Play::new();
    play.serve_leases();
    play.store(held(5, 5));
    play.input(Input::Push(true));
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.run_for(4 * L + P).len(), 4);
}

#[test]
fn who_lost_its_term_to_another_does_not_stay_back() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    play.store(held(2, 5));
    play.input(Input::Hint(play.observed()));
    play.turn();
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    play.store(record(None, 2, 6));
    play.input(Input::Hint(play.observed()));
    assert_eq!(write(&mut play).1.intent, Intent::Take);
}

#[test]
fn a_released_record_is_nobodys() {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.turn();
    assert_eq!(play.election.view(play.now), View::Nobody);
}

#[test]
fn by_server_a_take_refused_once_and_then_lost_is_revoked() {
    let mut play = by_server();
    let (_, first) = write(&mut play);
    // Somebody came first, and has gone again.
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    play.turn();
    play.wait(P);
    let Action::Write { change: again, .. } = play.lose_request() else { panic!() };
    assert_eq!(again.record, first.record, "the same bytes");
    play.store(held(9, 9));
    play.turn();
    let (_, revocation) = write(&mut play);
    assert_eq!((revocation.intent, revocation.record), (Intent::Revoke, again.record));
}

#[test]
fn by_server_a_take_that_an_older_answer_hid_is_ours() {
    let mut play = by_server();
    let Action::Write { change: take, .. } = play.lose_request() else { panic!() };
    // Its answer is on its way from before: it shows who led until then.
    assert_eq!(play.poll(), Some(Action::Read));
    play.store(held(9, 9));
    let older = play.observed();
    play.store(Record { token: 10, ..take.record });
    play.input(Input::Hint(play.observed()));
    play.input(Input::Read(Ok(older)));
    play.turn();
    assert!(!play.election.copied());
    assert_eq!(write(&mut play).1.intent, Intent::Renew);
}

#[test]
fn by_server_who_is_reborn_does_not_revoke_what_a_copy_may_lead_by() {
    let mut play = by_server();
    let Action::Write { change: take, .. } = play.lose_request() else { panic!() };
    play.store(held(9, 9));
    play.turn();
    let (_, revocation) = write(&mut play);
    assert_eq!(revocation.intent, Intent::Revoke);
    // It is refused, and meanwhile a copy of this process sends the same Take.
    play.input(Input::Wrote(Err(ErrorKind::Denied)));
    play.store(Record { token: 10, ..take.record });
    play.turn();
    assert!(play.election.copied());
    play.input(Input::Reborn(Incarnation(5)));
    assert!(play.run_for(2 * L).iter().all(|action| *action == Action::Read));
}

#[test]
fn by_server_a_take_over_the_version_that_stands_is_sent_again() {
    let mut play = by_server();
    let Action::Write { change: first, .. } = play.lose_request() else { panic!() };
    play.turn();
    play.wait(P);
    assert_eq!(write(&mut play).1, first);
}

#[test]
fn by_server_a_take_that_was_refused_is_not_revoked() {
    let mut play = by_server();
    write(&mut play);
    play.store(held(9, 9));
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    assert!(play.run_for(2 * L).iter().all(|action| *action == Action::Read));
}
