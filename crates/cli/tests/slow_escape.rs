//! The shapes in which processes escape who wants to end them: whatever CMD starts is dead before
//! the next CMD runs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::rounds::{EVERY_BLOW, HASTY, side_by_side, strike};
use fleet::world::{Company, World, new_user};
use fleet::{Dice, Fleet, PATIENCE, guard_of, serially, spread, try_signal, wall};
use rustix::process::Signal;

/// As `actor.pl` knows them.
const SHAPES: [&str; 25] = [
    "plain",
    "daemon",
    "deaf",
    "closed",
    "subreaper",
    "leaderless",
    "sibling",
    "silent",
    "namespace",
    "traced",
    "names",
    "many",
    "hidden",
    "agent",
    "stopped",
    "hopping",
    "groups",
    "terminal",
    "exec",
    "jobs",
    "bait",
    "storm",
    "threaded",
    "migrant",
    "unreadable",
];

/// Of each blow against each shape.
const ROUNDS: usize = 3;

#[test]
fn no_shape_of_work_outlives_its_term() {
    let _one = serially();
    let rounds = ROUNDS * EVERY_BLOW.len();
    let gaps = side_by_side(
        &SHAPES,
        4,
        |shape| (*shape).to_owned(),
        |shape| strike(&mut Fleet::acting(World::Here, HASTY, &[shape]), &EVERY_BLOW, rounds),
    );
    let count = gaps.len();
    let (median, worst) = spread(gaps);
    println!(
        "{count} blows against {} shapes: next work after {median:?} (median), {worst:?} (worst)",
        SHAPES.len()
    );
}

/// What hides from its own user under `hidepid=2`, and what does not, in every shape again.
#[test]
fn no_shape_of_work_outlives_its_term_as_a_user_who_sees_only_its_own() {
    let _one = serially();
    // A user namespace of one's own, and a tracer, are for others to allow.
    let shapes: Vec<&str> =
        SHAPES.into_iter().filter(|shape| !["namespace", "traced"].contains(shape)).collect();
    let gaps = side_by_side(
        &shapes,
        4,
        |shape| (*shape).to_owned(),
        |shape| {
            let mut fleet = Fleet::acting(World::Hidden(new_user()), HASTY, &[shape]);
            strike(&mut fleet, &EVERY_BLOW, EVERY_BLOW.len())
        },
    );
    let count = gaps.len();
    let (median, worst) = spread(gaps);
    println!(
        "{count} blows under hidepid=2: next work after {median:?} (median), {worst:?} (worst)"
    );
}

#[test]
fn two_thousand_processes_are_dead_before_the_next_work() {
    let _one = serially();
    let mut fleet = Fleet::acting(World::Here, HASTY, &["many", "2000"]);
    let (median, worst) = spread(strike(&mut fleet, &EVERY_BLOW, EVERY_BLOW.len()));
    println!("2,000 processes: next work after {median:?} (median), {worst:?} (worst)");
}

/// SIGKILL of supervisor or guard at any moment of their first tenth of a second: before CMD, while
/// it starts, while it makes its first processes.
#[test]
fn killed_while_they_start() {
    let _one = serially();
    let mut dice = Dice::new();
    let mut fleet = Fleet::acting(World::Here, HASTY, &["deaf"]);
    let mut guards = 0;
    let mut gaps = Vec::new();
    for round in 0..40 {
        let index = fleet.start(&format!("s{round}"));
        std::thread::sleep(Duration::from_micros(dice.below(100_000)));
        let supervisor = fleet.pid(index);
        // Where there is no guard yet, it is the supervisor again.
        let guard = guard_of(supervisor).filter(|_| round % 2 == 0);
        guards += usize::from(guard.is_some());
        let before = fleet.starts("child").last().map_or(0, |start| start.token);
        try_signal(guard.unwrap_or(supervisor), Signal::KILL);
        let killed = wall();
        // Either leads, again or for the first time.
        fleet.start(&format!("n{round}"));
        fleet.wait_start(before, PATIENCE);
        gaps.push(wall().saturating_sub(killed));
        fleet.assert_safe();
        while fleet.count() > 0 {
            fleet.kill(0);
        }
        fleet.wait_nothing_lives(PATIENCE);
    }
    let (median, worst) = spread(gaps);
    println!("40 killed at the start ({guards} guards): {median:?} (median), {worst:?} (worst)");
}

/// The guard is killed while the supervisor is frozen beyond the lease. Once it thaws it is late,
/// says so, and still ends everything before it goes: nobody else is left who would.
#[test]
fn a_supervisor_that_thaws_too_late_still_kills_everything() {
    let _one = serially();
    let shapes = [["deaf"].as_slice(), &["subreaper"], &["hopping"], &["many", "800"], &["names"]];
    side_by_side(&shapes, shapes.len(), |shape| shape.join(" "), |shape| vec![thaws_late(shape)]);
}

/// How long it takes from the thaw to its end.
fn thaws_late(shape: &[&str]) -> Duration {
    let flags = [HASTY, &["--lease-duration", "2s"]].concat();
    let mut fleet = Fleet::acting(World::Here, &flags, shape);
    fleet.start("a");
    fleet.wait_start(0, PATIENCE);
    let supervisor = fleet.pid(0);
    let guard = guard_of(supervisor).unwrap();
    try_signal(supervisor, Signal::STOP);
    try_signal(guard, Signal::KILL);
    std::thread::sleep(Duration::from_secs(5));
    assert!(fleet.something_lives(), "nobody was left to kill {shape:?}");
    try_signal(supervisor, Signal::CONT);
    let thawed = wall();
    assert_eq!(fleet.wait_exit(0, PATIENCE), Some(79), "{shape:?}: {}", fleet.logs());
    let took = wall().saturating_sub(thawed);
    fleet.wait_nothing_lives(Duration::from_secs(5));
    took
}

/// The main kill, fifty times in each of the places where it was found to fail.
#[test]
fn fifty_kills_with_many_other_processes() {
    let _one = serially();
    let _crowd = Company::crowd(2_500);
    fifty("2,500 other processes", Fleet::acting(World::Here, HASTY, &["deaf"]));
}

#[test]
fn fifty_kills_with_every_core_busy() {
    let _one = serially();
    let _busy = Company::busy();
    fifty("every core busy", Fleet::acting(World::Here, HASTY, &["deaf"]));
}

#[test]
fn fifty_kills_as_a_user_who_sees_only_its_own() {
    let _one = serially();
    fifty("hidepid=2", Fleet::acting(World::Hidden(new_user()), HASTY, &["hidden"]));
}

#[test]
fn fifty_kills_in_a_pid_namespace() {
    let _one = serially();
    let fleet = Fleet::acting(World::Namespace, HASTY, &["deaf"]).behind(&["setsid"]);
    fifty("a pid namespace", fleet);
}

fn fifty(what: &str, mut fleet: Fleet) {
    use fleet::rounds::Blow::{Kill, KillGuard};
    let (median, worst) = spread(strike(&mut fleet, &[Kill, Kill, Kill, KillGuard], 66));
    println!("66 kills (16 of the guard), {what}: {median:?} (median), {worst:?} (worst)");
}
