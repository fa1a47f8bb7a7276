//! Work that makes processes faster than anybody looks, or leaves no processor time for who kills
//! it: dead in time, or said to be alive.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::rounds::{Blow, HASTY, strike};
use fleet::world::{Company, World, new_user};
use fleet::{Fleet, PATIENCE, guard_of, serially, signal, spread, wall};
use rustix::process::Signal;

/// How long after a lease everything must have ended, or been told.
const SLACK: Duration = Duration::from_secs(12);

/// What lives so long beyond the lease is named.
const NAMEABLE: Duration = Duration::from_secs(1);

/// The guard is killed while some 1,700 orphans a second end up with the supervisor, among 2,500
/// other processes.
#[test]
fn a_storm_of_orphans_keeps_no_supervisor_from_its_duty() {
    let _one = serially();
    let _crowd = Company::crowd(2_500);
    let lease = Duration::from_secs(4);
    let flags = [HASTY, &["--once", "--lease-duration", "4s"]].concat();
    let mut fleet = Fleet::acting(World::Here, &flags, &["storm", "1700"]);
    fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    fleet.start("b");
    std::thread::sleep(Duration::from_millis(300));
    let index = fleet.index_of(&first.identity);
    signal(guard_of(fleet.pid(index)).unwrap(), Signal::KILL);
    let killed = wall();
    let code = fleet.wait_exit(index, lease + SLACK);
    println!("a storm of orphans: ended with {code:?} after {:?}", wall().saturating_sub(killed));
    if code == Some(79) {
        assert!(fleet.log_of(&first.identity).contains("perl"), "names nothing: {}", fleet.logs());
        return;
    }
    fleet.wait_start(first.token, PATIENCE);
    fleet.assert_safe();
}

#[test]
fn fifty_guards_killed_in_a_storm_of_orphans() {
    let _one = serially();
    let _crowd = Company::crowd(2_500);
    let mut fleet = Fleet::acting(World::Here, HASTY, &["storm", "1700"]);
    let (median, worst) = spread(strike(&mut fleet, &[Blow::KillGuard], 50));
    println!("50 guards killed in a storm: next work after {median:?} (median), {worst:?} (worst)");
}

/// The store goes away under a leader: returns what its supervisor ends with, and how long beyond
/// the end of the lease, at most, anything lived (nothing, where it says so).
fn lost(fleet: &mut Fleet, lease: Duration) -> (Option<i32>, Duration) {
    fleet.start("a");
    fleet.wait_start(0, PATIENCE);
    fleet.take_the_lock_away();
    let gone = wall();
    let mut dead = None;
    let end = gone + lease + SLACK;
    while dead.is_none() && wall() < end {
        std::thread::sleep(Duration::from_millis(5));
        dead = (!fleet.something_lives()).then(wall);
    }
    let beyond = dead.unwrap_or_else(wall).saturating_sub(gone + lease);
    let code = fleet.wait_exit(0, SLACK);
    let log = fleet.log_of("a");
    match code {
        // What lives on is named by pid and command; what died late, or had hardly begun to, has no
        // name any more.
        Some(79) => assert!(
            beyond < NAMEABLE
                || log.contains("perl")
                || dead.is_some() && log.contains("longer than the lease"),
            "names nothing: {log}"
        ),
        code => {
            assert_eq!(code, Some(76), "{}", fleet.logs());
            assert!(!fleet.something_lives(), "not reported: {}", fleet.logs());
        }
    }
    (code, beyond)
}

/// At default timing, where the tests may give the guard a better priority than CMD.
#[test]
fn two_hundred_busy_processes_are_dead_by_the_end_of_the_lease() {
    let _one = serially();
    let mut fleet = Fleet::acting(World::Here, &["--once"], &["spinning", "200"]);
    let (code, beyond) = lost(&mut fleet, Duration::from_secs(15));
    println!("200 busy processes: ended with {code:?}, {beyond:?} beyond the lease");
    assert_eq!(code, Some(76), "{}", fleet.logs());
}

#[test]
fn two_hundred_busy_processes_of_an_ordinary_user_are_dead_or_told() {
    let _one = serially();
    let flags = ["--once", "--lease-duration", "6s"];
    let mut fleet = Fleet::acting(World::User(new_user()), &flags, &["spinning", "200"]);
    let (code, beyond) = lost(&mut fleet, Duration::from_secs(6));
    println!("200 busy processes of a user: ended with {code:?}, {beyond:?} beyond the lease");
}

/// Held by the limit of its user, so that it cannot take the machine.
#[test]
fn a_held_fork_bomb_is_dead_or_told() {
    let _one = serially();
    let flags = ["--once", "--lease-duration", "6s"];
    let mut fleet = Fleet::acting(World::User(new_user()), &flags, &["bomb"])
        .behind(&["prlimit", "--nproc=150:150"]);
    let (code, beyond) = lost(&mut fleet, Duration::from_secs(6));
    println!("a held fork bomb: ended with {code:?}, {beyond:?} beyond the lease");
}

/// Lineages that fork, take a new session and end, as fast as they can.
#[test]
fn lineages_that_no_look_finds_are_dead_or_told() {
    let _one = serially();
    let flags = ["--once", "--lease-duration", "4s"];
    let mut fleet = Fleet::acting(World::Here, &flags, &["lineage"]);
    let (code, beyond) = lost(&mut fleet, Duration::from_secs(4));
    println!("fast lineages: ended with {code:?}, {beyond:?} beyond the lease");
}
