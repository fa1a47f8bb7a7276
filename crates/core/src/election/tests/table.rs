//! What is read after a conflict or an unknown outcome, row by row.

use super::*;

#[test]
fn row_1_leading_and_the_last_acknowledged_nonce_renews() {
    let mut play = Play::leading();
    play.wait(P);
    let until = play.leadership().unwrap().until;
    assert_eq!(intent(&play.lose_request()), Some(Intent::Renew));
    assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
    assert!(play.leadership().unwrap().until > until);
}

#[test]
fn row_1_leading_and_an_unresolved_renewals_nonce_renews() {
    let mut play = Play::leading();
    play.wait(P);
    play.lose_answer();
    let until = play.leadership().unwrap().until;
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.leadership().unwrap().until, until, "a read extends nothing");
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert!(play.leadership().unwrap().until > until);
}

#[test]
fn row_1_every_unresolved_renewal_is_kept_until_the_version_moves() {
    let mut play = Play::leading();
    play.wait(P);
    let first = play.lose_request();
    play.turn();
    assert_eq!(intent(&play.lose_request()), Some(Intent::Renew));
    // The first of the two lands late.
    play.apply(&first);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Renew)]);
    assert!(play.leadership().is_some());
    assert_eq!(play.election.take_ended(), None);
}

#[test]
fn row_1_a_renewal_after_a_lost_one_is_kept_too() {
    let mut play = Play::leading();
    play.wait(P);
    play.lose_request();
    play.turn();
    play.lose_answer();
    play.turn();
    assert!(play.leadership().is_some() && !play.election.copied());
}

#[test]
fn row_2_an_unresolved_take_leads_only_when_a_renewal_is_acknowledged() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Take));
    assert_eq!(play.turn(), Some(Action::Read));
    assert!(play.leadership().is_none(), "never from a read alone");
    let sent = play.now;
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Renew));
    assert_eq!(play.leadership().unwrap().until, sent + D);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn row_2_a_take_acknowledged_after_its_deadline_is_renewed_first() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    let answer = play.apply(&take);
    play.now = play.now + D;
    play.input(answer);
    assert!(play.leadership().is_none());
    assert_eq!(intents(&play.run()), [Some(Intent::Renew)]);
    assert!(play.leadership().is_some());
}

#[test]
fn row_2_the_same_bytes_are_sent_again_and_count_from_the_first_time() {
    let mut play = Play::new();
    play.store(record(None, 1, 1));
    play.input(Input::Stand);
    play.turn();
    let sent = play.now;
    let first = play.lose_request();
    assert_eq!(play.turn(), Some(Action::Read));
    let again = play.turn().unwrap();
    assert_eq!(again, first);
    assert_eq!(play.leadership().unwrap().until, sent + D);
}

#[test]
fn row_3_our_release_is_recognised() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    assert!(play.leadership().is_none());
    assert_eq!(intent(&play.lose_answer()), Some(Intent::Release));
    assert_eq!(play.turn(), Some(Action::Read));
    assert_eq!(play.election.take_released(), Some(true));
    assert_eq!(play.poll(), None, "nothing to write");
}

#[test]
fn row_4_ended_and_stopped_takes_anew_with_a_new_token_at_once() {
    let mut play = Play::leading();
    play.wait(P);
    let zombie = play.lose_answer();
    assert_eq!(intent(&zombie), Some(Intent::Renew));
    play.wait(D);
    assert_eq!(play.election.take_ended(), Some((1, Loss::Expired)));
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [None, Some(Intent::Take)]);
    assert_eq!(play.leadership().unwrap().token, 2);
}

#[test]
fn row_4_ended_stopped_and_withdrawn_releases_that_version() {
    let mut play = Play::leading();
    play.wait(D);
    play.input(Input::Withdraw);
    play.input(Input::Drained);
    assert_eq!(intents(&play.run()), [Some(Intent::Release)]);
    assert_eq!(play.stored().holder, None);
}

#[test]
fn row_5_ended_with_the_work_running_is_left_alone_until_its_lease_is_over() {
    let mut play = Play::leading();
    let sent = play.leadership().unwrap().until - D;
    play.input(Input::Withdraw);
    play.input(Input::Stand);
    let actions = play.run_for(L - RTT);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.run_for(2 * P);
    assert_eq!(play.leadership().unwrap().token, 2);
    assert!(play.now >= sent + L);
}

#[test]
fn row_6_our_incarnation_with_an_unknown_nonce_is_a_copy() {
    let mut play = Play::leading();
    let mut copy = play.stored().clone();
    copy.nonce = Nonce(77);
    play.store(copy);
    play.run_for(P + 2 * RTT);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    assert!(play.election.copied());
    assert_eq!(play.poll(), None);
    play.input(Input::Reborn(Incarnation(2048)));
    // The former self is a stranger: its lease is waited out.
    play.run_for(L);
    assert!(play.leadership().is_none());
    play.run_for(P);
    assert_eq!(play.leadership().unwrap().token, 2);
    assert_eq!(play.stored().holder.as_ref().unwrap().incarnation, Some(Incarnation(2048)));
}

#[test]
fn row_7_a_stranger_ends_the_term() {
    let mut play = Play::leading();
    play.store(record(Some(holder(7)), 9, 9));
    play.run_for(P + RTT);
    assert!(play.leadership().is_none());
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
    let Phase::Following = play.election.phase else { panic!() };
}

#[test]
fn row_7_by_server_a_stray_take_is_revoked_before_another() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.turn();
    let stray = play.lose_request();
    play.store(record(Some(holder(7)), 9, 9));
    play.turn();
    let Some(Action::Write { expected, change }) = play.poll() else { panic!() };
    let Action::Write { expected: before, change: take } = stray else { panic!() };
    assert_eq!((expected, change.intent), (before, Intent::Revoke));
    assert_eq!(change.record, take.record);
    play.input(Input::Wrote(Ok(Outcome::Written(play.observed()))));
    assert_eq!(play.turn(), Some(Action::Read));
}
