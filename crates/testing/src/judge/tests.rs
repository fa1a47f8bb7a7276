//! Each property, broken once: a checker that finds nothing proves nothing.

use std::sync::Arc;
use std::time::Duration;

use leasehold_core::{Incarnation, Intent, Time};

use super::*;
use crate::history::{Stamp, What};

/// A history: moments in milliseconds.
fn history(lines: &[(u64, &str, What)]) -> Vec<Event> {
    lines
        .iter()
        .map(|(at, node, what)| Event { at: ms(*at), node: Arc::from(*node), what: what.clone() })
        .collect()
}

fn ms(milliseconds: u64) -> Time {
    Time(milliseconds * 1_000_000)
}

fn up(token: u64, until: u64) -> What {
    What::Up { token, until: ms(until) }
}

fn take(token: u64) -> What {
    let (op, intent) = (0, Intent::Take);
    let holder = Some(Incarnation(u128::from(token)));
    What::Applied { op, intent, holder, token, replaced: None }
}

fn over(intent: Intent, token: u64, before: u64) -> What {
    let stamp = Stamp { holder: Some(Incarnation(u128::from(before))), token: before };
    let holder = Some(Incarnation(u128::from(token)));
    What::Applied { op: 0, intent, holder, token, replaced: Some(stamp) }
}

fn down(token: u64, why: &str) -> What {
    What::Down { token, why: why.to_owned() }
}

fn fault() -> What {
    What::Fault { id: 0, what: String::new(), on: true }
}

fn told(leader: &str, token: u64) -> What {
    What::Told { leader: Some((leader.to_owned(), Some(token))) }
}

fn effect(token: u64) -> What {
    What::Effect { token, fenced: true, accepted: true }
}

fn found(lines: &[(u64, &str, What)]) -> Vec<Property> {
    let rules = Rules {
        marginal: Duration::from_millis(1),
        request_limit: Duration::from_millis(500),
        exempt: Vec::new(),
    };
    judge(&history(lines), &rules).into_iter().map(|violation| violation.property).collect()
}

#[test]
fn a_hand_over_without_fault_keeps_everything() {
    let clean = [
        (0, "a", What::Sent { op: 1, intent: None }),
        (1, "a", What::Answered { op: 1, answer: crate::history::Answer::Done }),
        (2, "a", take(1)),
        (3, "a", up(1, 2000)),
        (3, "a", What::WorkStarted { token: 1 }),
        (400, "a", What::Extended { token: 1, until: ms(2400) }),
        (400, "o", told("a", 1)),
        (500, "a", What::WorkStopped { token: 1, dead_by: ms(3000) }),
        (500, "a", What::Resigned { token: 1 }),
        (501, "a", down(1, "Resigned")),
        (501, "a", over(Intent::Release, 1, 1)),
        (502, "b", take(2)),
        (503, "b", up(2, 2500)),
        (504, "o", told("b", 2)),
        (600, "r", effect(1)),
        (601, "r", effect(2)),
    ];
    assert_eq!(found(&clean), []);
}

#[test]
fn belief_ends_at_its_deadline_and_not_at_the_news_of_it() {
    let late_news = [
        (0, "a", fault()),
        (0, "a", up(1, 2000)),
        (2500, "b", up(2, 4500)),
        (2600, "a", down(1, "Expired")),
    ];
    assert_eq!(found(&late_news), []);
    let overlap = [(0, "a", up(1, 2000)), (1500, "b", up(2, 3500)), (1600, "b", effect(2))];
    assert_eq!(found(&overlap), [Property::BeliefExclusion]);
    let flag = [
        (0, "a", up(1, 2000)),
        (2500, "b", up(2, 4500)),
        (2600, "a", What::Checked { token: 1, leads: true }),
    ];
    assert_eq!(found(&flag), [Property::BeliefExclusion], "check() still said yes");
    let killed = [
        (0, "a", up(1, 9000)),
        (100, "a", What::Died),
        (150, "b", up(2, 2150)),
        (900, "b", effect(2)),
    ];
    assert_eq!(found(&killed), [], "the dead believe nothing");
}

#[test]
fn terms_that_come_back_and_tokens_that_repeat() {
    let resurrected = [
        (0, "a", fault()),
        (0, "a", up(1, 2000)),
        (2050, "a", What::Checked { token: 1, leads: false }),
        (2100, "a", What::Extended { token: 1, until: ms(4000) }),
    ];
    assert_eq!(found(&resurrected), [Property::NoResurrection]);
    let told_late =
        [(0, "a", up(1, 2000)), (2100, "a", What::Extended { token: 1, until: ms(4000) })];
    assert_eq!(found(&told_late), [], "where stamps are not exact");
    let exact = judge(&history(&told_late), &Rules::exact());
    assert_eq!(exact.len(), 1, "{exact:?}");
    let again = [(0, "a", up(1, 2000)), (5, "a", down(1, "Dropped")), (9, "a", up(1, 2009))];
    assert_eq!(found(&again), [Property::NoResurrection]);
    let after = [
        (0, "a", up(1, 2000)),
        (5, "a", What::Resigned { token: 1 }),
        (6, "a", What::Checked { token: 1, leads: true }),
    ];
    assert_eq!(found(&after), [Property::ReleaseEndsBelief]);
    assert_eq!(found(&[(0, "a", take(7)), (9, "b", take(7))]), [Property::TokensGrow]);
    let two = [(0, "a", up(1, 5)), (9, "b", up(1, 15))];
    assert_eq!(found(&two), [Property::TokensGrow]);
}

#[test]
fn only_the_owner_of_a_term_renews_and_releases_it() {
    for intent in [Intent::Renew, Intent::Release] {
        let foreign = [(0, "a", take(1)), (1, "b", take(2)), (2, "a", over(intent, 1, 2))];
        assert_eq!(found(&foreign), [Property::Identity]);
        assert_eq!(found(&[(0, "a", take(1)), (2, "a", over(intent, 1, 1))]), []);
    }
}

#[test]
fn resources_observers_and_works() {
    assert_eq!(found(&[(0, "r", effect(2)), (1, "r", effect(1))]), [Property::FencedEffects]);
    let back =
        [(0, "a", take(1)), (0, "a", take(2)), (1, "o", told("a", 2)), (2, "o", told("a", 1))];
    assert_eq!(found(&back), [Property::Observers]);
    assert_eq!(found(&[(1, "o", told("a", 2))]), [Property::Observers]);
    let long = [
        (0, "a", What::WorkStarted { token: 1 }),
        (3100, "a", What::WorkStopped { token: 1, dead_by: ms(3000) }),
    ];
    assert_eq!(found(&long), [Property::WorkWithinTerm]);
    let both = [
        (0, "a", What::WorkStarted { token: 1 }),
        (100, "b", What::WorkStarted { token: 2 }),
        (200, "a", What::WorkStopped { token: 1, dead_by: ms(3000) }),
        (300, "b", What::WorkStopped { token: 2, dead_by: ms(3000) }),
    ];
    assert_eq!(found(&both), [Property::WorkExclusion]);
    let endless = [
        (0, "a", What::WorkStarted { token: 1 }),
        (100, "b", What::WorkStarted { token: 2 }),
        (200, "r", effect(2)),
    ];
    assert_eq!(found(&endless), [Property::WorkExclusion], "work that nobody stopped");
    let killed = |at| {
        let (died, begun) = (What::Died, What::WorkStarted { token: 2 });
        found(&[
            (0, "a", What::WorkStarted { token: 1 }),
            (at, "a", died),
            (100, "b", begun),
            (900, "r", effect(2)),
        ])
    };
    assert_eq!(killed(50), [], "the dead do not work");
    let before = [
        (0, "a", What::WorkStarted { token: 1 }),
        (100, "b", What::WorkStarted { token: 2 }),
        (500, "a", What::Died),
    ];
    assert_eq!(found(&before), [Property::WorkExclusion], "until they die they do");
}

#[test]
fn losses_without_a_fault_and_requests_without_an_end() {
    let lost = [(0, "a", up(1, 2000)), (2000, "a", down(1, "Expired"))];
    assert_eq!(found(&lost), [Property::Stability]);
    let hangs = [(0, "a", What::Sent { op: 1, intent: None }), (600, "b", effect(1))];
    assert_eq!(found(&hangs), [Property::Termination]);
    let cut = [
        (0, "a", What::Sent { op: 1, intent: None }),
        (400, "a", What::GivenUp { op: 1 }),
        (900, "b", effect(1)),
    ];
    assert_eq!(found(&cut), []);
}
