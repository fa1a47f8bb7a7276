//! Who may be dropped without leaving anything of its own behind.

use super::*;

fn is_idle(play: &Play) -> bool {
    play.election.is_idle()
}

/// A candidate whose Take over a released record is on its way.
fn taking() -> Play {
    let mut play = Play::new();
    play.store(record(None, 4, 4));
    play.input(Input::Stand);
    play.turn();
    assert_eq!(play.poll().as_ref().and_then(intent), Some(Intent::Take));
    play
}

#[test]
fn who_does_not_stand_is_idle_also_while_it_reads() {
    let mut play = Play::new();
    assert!(is_idle(&play) && !play.election.standing());
    play.poll().unwrap();
    assert!(is_idle(&play));
    play.input(Input::Stand);
    assert!(!is_idle(&play) && play.election.standing());
    play.input(Input::Withdraw);
    assert!(is_idle(&play) && !play.election.standing());
}

#[test]
fn a_take_on_its_way_or_unresolved_is_something() {
    let mut play = taking();
    play.input(Input::Withdraw);
    assert!(!is_idle(&play), "on its way");
    play.input(Input::Wrote(Err(ErrorKind::Unavailable)));
    assert!(!is_idle(&play), "unresolved");
    play.store(record(Some(holder(7)), 5, 5));
    play.turn();
    assert!(is_idle(&play), "it never lands");
}

#[test]
fn a_take_that_was_refused_is_nothing() {
    let mut play = taking();
    play.input(Input::Withdraw);
    play.input(Input::Wrote(Ok(Outcome::Conflict)));
    assert!(is_idle(&play));
}

#[test]
fn a_renewal_that_is_unresolved_is_nothing_once_the_term_is_over() {
    let mut play = Play::leading();
    play.wait(P);
    play.lose_request();
    play.input(Input::Withdraw);
    assert!(is_idle(&play), "a late renewal only lets the lease run out later");
}

#[test]
fn a_release_is_something_until_it_is_confirmed() {
    let mut play = Play::leading();
    play.input(Input::Drained);
    play.input(Input::Withdraw);
    assert!(play.election.releasing() && !is_idle(&play));
    play.run();
    assert!(!play.election.releasing() && is_idle(&play));
}

#[test]
fn a_take_that_came_true_late_is_something() {
    let mut play = taking();
    play.input(Input::Wrote(Err(ErrorKind::Unavailable)));
    let unread = Contents::Unreadable("?".to_owned());
    assert_eq!(play.poll(), Some(Action::Read));
    play.input(Input::Read(Ok(Observed { contents: unread, ..play.observed() })));
    assert!(!play.election.standing() && !is_idle(&play));
}

#[test]
fn by_server_a_take_that_is_to_be_revoked_is_something() {
    let mut play = Play::new();
    play.serve_leases();
    play.input(Input::Stand);
    play.turn();
    play.lose_request();
    play.store(record(Some(holder(7)), 9, 9));
    play.turn();
    play.input(Input::Withdraw);
    assert!(!is_idle(&play));
}
