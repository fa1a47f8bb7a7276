//! What `/proc` does not show is not dead: hidden processes, and the `/proc` of another namespace.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::rounds::{Blow, EVERY_BLOW, HASTY, strike};
use fleet::world::{World, new_user};
use fleet::{Fleet, PATIENCE, guard_of, serially, signal, spread};
use rustix::process::Signal;

fn hidden(shape: &str) -> Fleet {
    let flags = [HASTY, &["--lease-duration", "2s"]].concat();
    Fleet::acting(World::Hidden(new_user()), &flags, &[shape])
}

fn is_dead_when_released(shape: &str) {
    let _one = serially();
    let mut fleet = hidden(shape);
    let index = fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    fleet.leave(first.token);
    assert_eq!(fleet.wait_exit(index, PATIENCE), Some(0), "{}", fleet.logs());
    assert!(!fleet.something_lives(), "it was released: {}", fleet.logs());
}

/// An agent that leaves its starter and cannot be looked at, as `ssh-agent` does.
#[test]
fn a_hidden_agent_is_dead_when_the_lock_is_released() {
    is_dead_when_released("agent");
}

#[test]
fn a_hidden_agent_is_dead_when_a_stopped_supervisor_has_ended() {
    let _one = serially();
    let mut fleet = hidden("agent");
    let index = fleet.start("a");
    fleet.wait_start(0, PATIENCE);
    signal(fleet.pid(index), Signal::TERM);
    let code = fleet.wait_exit(index, PATIENCE);
    assert!(!fleet.something_lives(), "it ended with {code:?}: {}", fleet.logs());
    assert_ne!(code, Some(79), "{}", fleet.logs());
}

#[test]
fn a_hidden_agent_is_dead_before_the_next_leader_works() {
    let _one = serially();
    for blow in [Blow::Leave, Blow::Stop, Blow::Kill, Blow::KillGuard] {
        let (median, worst) = spread(strike(&mut hidden("agent"), &[blow], 12));
        println!("a hidden agent, {blow:?} 12 times: {median:?} (median), {worst:?} (worst)");
    }
}

/// The other ways in which `/proc` shows less.
#[test]
fn a_hidden_agent_is_dead_whatever_proc_hides() {
    let _one = serially();
    for options in ["hidepid=1", "hidepid=4", "subset=pid", "hidepid=4,subset=pid"] {
        let mut fleet = Fleet::acting(World::Mounted(new_user(), options), HASTY, &["agent"]);
        let (median, worst) = spread(strike(&mut fleet, &EVERY_BLOW, EVERY_BLOW.len()));
        println!("{options}: next work after {median:?} (median), {worst:?} (worst)");
    }
}

/// A program that may be run and not be read: the kernel hides what runs of it.
#[test]
fn an_unreadable_program_is_dead_when_the_lock_is_released() {
    is_dead_when_released("unreadable");
}

/// A pid namespace that shows the `/proc` around it: pids there are not those that this process
/// knows. It is refused before the lock is contended for, or it is right.
#[test]
fn the_proc_of_another_namespace_is_refused_or_right() {
    let _one = serially();
    for session in SESSIONS {
        for blow in [Blow::Leave, Blow::Stop, Blow::KillGuard] {
            nested(session, blow);
        }
    }
}

/// Its process group and session are outside of its namespace, or inside.
const SESSIONS: [&[&str]; 2] = [&[], &["setsid"]];

fn nested(session: &[&str], blow: Blow) {
    let mut fleet = Fleet::acting(World::Nested, HASTY, &["daemon"]).behind(session);
    fleet.start_in(&World::Here, "first");
    let first = fleet.wait_start(0, PATIENCE);
    let Some(index) = fleet.start_or_refused("nested", 78) else {
        assert_eq!(fleet.starts("child").len(), 1, "who is refused starts nothing");
        return;
    };
    std::thread::sleep(Duration::from_millis(300));
    fleet.leave(first.token);
    let nested = fleet.wait_start(first.token, PATIENCE);
    assert_eq!(nested.identity, "nested");
    fleet.start_in(&World::Here, "third");
    std::thread::sleep(Duration::from_millis(300));
    match blow {
        Blow::Leave => fleet.leave(nested.token),
        Blow::Stop => signal(fleet.pid(index), Signal::TERM),
        _ => signal(guard_of(fleet.pid(index)).unwrap(), Signal::KILL),
    }
    fleet.wait_start(nested.token, PATIENCE);
    fleet.assert_safe();
}

/// The same as the first process of its namespace, which takes everything with it when it ends: in
/// the meantime it must not say that it has released.
#[test]
fn the_first_process_of_a_namespace_with_another_proc_is_refused_or_right() {
    let _one = serially();
    for session in SESSIONS {
        let mut fleet = Fleet::acting(World::NestedFirst, HASTY, &["daemon"]).behind(session);
        let Some(index) = fleet.start_or_refused("nested", 78) else {
            assert!(fleet.starts("child").is_empty(), "who is refused starts nothing");
            assert!(!fleet.was_contended_for(), "it was refused after the take");
            continue;
        };
        let first = fleet.wait_start(0, PATIENCE);
        fleet.start_in(&World::Here, "successor");
        std::thread::sleep(Duration::from_millis(300));
        fleet.leave(first.token);
        let _ = fleet.wait_exit(index, PATIENCE);
        fleet.wait_start(first.token, PATIENCE);
        fleet.assert_safe();
    }
}

/// In a namespace with a `/proc` of its own it works, wherever its process group and session are.
#[test]
fn in_a_namespace_with_its_own_proc_it_works() {
    let _one = serially();
    for session in SESSIONS {
        let mut fleet = Fleet::acting(World::Namespace, HASTY, &["daemon"]).behind(session);
        let (median, worst) = spread(strike(&mut fleet, &EVERY_BLOW, EVERY_BLOW.len()));
        println!("in a namespace, {session:?}: {median:?} (median), {worst:?} (worst)");
    }
}

#[test]
fn without_proc_it_is_refused_before_the_lock_is_contended_for() {
    let _one = serially();
    let mut fleet = Fleet::acting(World::WithoutProc, HASTY, &["daemon"]);
    assert!(fleet.start_or_refused("blind", 78).is_none(), "it runs: {}", fleet.logs());
    assert!(fleet.starts("child").is_empty() && !fleet.was_contended_for(), "{}", fleet.logs());
    let log = fleet.log_of("blind");
    assert!(log.contains("/proc"), "{log}");
}
