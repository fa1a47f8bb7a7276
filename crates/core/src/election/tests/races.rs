//! Schedules that the simulator found: answers and pushes that overtake each other, and what is
//! left over.

use super::*;

/// A candidate with push that has read a record of somebody else's.
fn follower(capabilities: &Capabilities) -> Play {
    let mut play = Play::with(capabilities);
    play.store(record(Some(holder(7)), 5, 5));
    play.floor = Some(100);
    play.input(Input::Stand);
    play.input(Input::Push(true));
    play.run();
    play
}

#[test]
fn a_read_overtaken_by_the_watch_is_no_rewound_store() {
    let mut play = follower(&Capabilities { floor_is_history: true, ..capabilities() });
    play.wait(L / 3);
    assert_eq!(play.poll(), Some(Action::Read));
    let answer = play.observed();
    play.store(record(Some(holder(7)), 5, 6));
    play.floor = Some(101);
    play.input(Input::Hint(play.observed()));
    play.input(Input::Read(Ok(answer)));
    assert_eq!(play.election.failure(), None);
    // What was known when the read was sent still counts.
    assert_eq!(play.turn(), Some(Action::Read));
    play.floor = Some(50);
    play.wait(L / 3);
    play.turn();
    assert_eq!(play.election.failure(), Some(&Halt::Rewound { floor: Some(50), before: 101 }));
}

#[test]
fn a_read_overtaken_by_the_watch_rolls_nothing_back() {
    let mut play = follower(&capabilities());
    play.wait(L / 3);
    assert_eq!(play.poll(), Some(Action::Read));
    let answer = play.observed();
    play.store(record(Some(holder(8)), 6, 6));
    play.input(Input::Hint(play.observed()));
    play.input(Input::Read(Ok(answer)));
    let View::Held(told) = play.election.view(play.now) else { panic!() };
    assert_eq!(told.token, 6);
    assert_eq!(play.turn(), Some(Action::Read), "nobody can tell which of the two is newer");
    assert_eq!(play.poll(), None);
}

#[test]
fn by_server_an_own_key_of_an_ended_term_is_released_and_never_taken() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.run();
    play.wait(D);
    play.input(Input::Drained);
    assert_eq!(play.turn().as_ref().and_then(intent), Some(Intent::Release));
    // Nobody asked for that release: no cool-down, no report.
    assert_eq!(play.election.take_released(), None);
    play.contents = Contents::Absent;
    play.version += 1;
    play.input(Input::Hint(play.observed()));
    assert!(intents(&play.run_for(P)).contains(&Some(Intent::Take)));
}

#[test]
fn denied_ends_no_term_of_a_candidate_that_only_the_watch_informed() {
    let mut play = Play::new();
    play.input(Input::Stand);
    play.poll();
    play.input(Input::Read(Err(ErrorKind::Unavailable)));
    play.store(record(None, 1, 1));
    play.input(Input::Push(true));
    play.input(Input::Hint(play.observed()));
    play.run();
    assert!(play.leadership().is_some());
    let mut strange = play.observed();
    strange.version = Version::number(0);
    strange.contents = Contents::Absent;
    play.input(Input::Hint(strange));
    assert_eq!(play.poll(), Some(Action::Read));
    play.input(Input::Read(Err(ErrorKind::Denied)));
    assert_eq!(play.election.failure(), None);
    assert!(play.leadership().is_some());
}

#[test]
fn rule_13_a_holder_seen_only_by_a_push_is_waited_out() {
    let mut play = Play::leading();
    play.input(Input::Push(true));
    play.wait(L + P);
    // Told of another leader, which then vanishes before anything is read.
    play.store(record(Some(holder(7)), 2, 70));
    play.input(Input::Hint(play.observed()));
    play.input(Input::Drained);
    play.contents = Contents::Absent;
    play.version += 1;
    let actions = play.run_for(L - P);
    assert!(actions.iter().all(|action| *action == Action::Read), "{actions:?}");
    play.run_for(2 * P + L / 3);
    assert_eq!(play.leadership().unwrap().token, 3);
}

#[test]
fn by_server_a_take_that_came_true_twice_is_another_term() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.run();
    assert_eq!(play.leadership().unwrap().token, 1);
    // The key was deleted, and the same Take arrived again: the store minted another token.
    let mut again = play.stored().clone();
    again.token = 3;
    play.store(again);
    play.run_for(P + 2 * RTT);
    assert!(play.leadership().is_none_or(|leadership| leadership.token > 1));
    assert_eq!(play.election.take_ended(), Some((1, Loss::Superseded)));
}

#[test]
fn by_server_a_claim_whose_take_came_true_again_is_of_the_second_term() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.turn();
    let take = play.poll().unwrap();
    let late = play.apply(&take);
    play.wait(D);
    // Known too late to lead by; then its lease ended, another led with token 2, and the same Take
    // landed again.
    play.input(late);
    let mut again = play.stored().clone();
    again.token = 3;
    play.store(again);
    play.run();
    assert_eq!(play.leadership().map(|leadership| leadership.token), Some(3));
}
