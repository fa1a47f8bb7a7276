//! Supervisors and guards that are stopped (SIGSTOP), alone and together.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::{Canary, Dice, Fleet, guard_of, is_alive, serially, signal, spread, wall};
use rustix::process::Signal;

const LEASE: Duration = Duration::from_secs(2);
const TIMING: &[&str] = &["--lease-duration", "2s"];

/// What a follower adds to the lease: a thousandth, jitter, and two round trips to a local file.
const WAIT: Duration = Duration::from_millis(2 + 40 + 100);

/// The guard kills the work of a frozen supervisor before the lease can pass.
#[test]
fn a_frozen_supervisors_work_is_dead_before_the_lease_passes() {
    let _one = serially();
    let canary = Canary::start();
    let mut dice = Dice::new();
    let mut fleet = Fleet::new(TIMING);
    for name in ["a", "b", "c"] {
        fleet.start(name);
    }
    let mut leader = fleet.wait_start(0, Duration::from_secs(20));
    let mut gaps = Vec::new();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100 + dice.below(300)));
        let (frozen, pid) = (wall(), fleet.pid(fleet.index_of(&leader.identity)));
        signal(pid, Signal::STOP);
        let next = fleet.wait_start(leader.token, Duration::from_secs(30));
        assert!(!is_alive(leader.pid));
        gaps.push(next.at.saturating_sub(frozen));
        signal(pid, Signal::CONT);
        leader = next;
    }
    fleet.assert_safe();
    let (median, worst) = spread(gaps);
    println!(
        "SIGSTOP of the supervisor, 20 times at L {LEASE:?}: next work after {median:?} (median), {worst:?} (worst); host late by {:?}",
        canary.worst()
    );
    let bound = LEASE + WAIT + Duration::from_millis(500) + 4 * canary.worst();
    assert!(worst <= bound, "{worst:?} > {bound:?}");
}

/// A frozen guard changes nothing while renewals succeed; once they fail, the supervisor does its work.
#[test]
fn a_frozen_guard_is_killed_with_all_work_once_renewals_fail() {
    let _one = serially();
    let mut fleet = Fleet::new(TIMING);
    let a = fleet.start("a");
    let first = fleet.wait_start(0, Duration::from_secs(20));
    let guard = guard_of(fleet.pid(a)).unwrap();
    signal(guard, Signal::STOP);
    std::thread::sleep(3 * LEASE);
    assert!(is_alive(first.pid), "renewals succeed, so nothing changes");
    assert_eq!(fleet.starts("child").len(), 1);

    // The store is gone: the directory of the lock is somewhere else.
    let (dir, away) = (fleet.lock_dir(), fleet.lock_dir().with_extension("away"));
    let canary = Canary::start();
    std::fs::rename(&dir, &away).unwrap();
    let gone = wall();
    let work = ["child", "plain", "setsid"].map(|role| fleet.starts(role)[0].pid);
    while work.iter().any(|pid| is_alive(*pid)) {
        let late = 4 * canary.worst();
        assert!(wall().saturating_sub(gone) < LEASE + late, "work outlived the lease");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!is_alive(guard), "the supervisor did its work");
    std::fs::rename(&away, &dir).unwrap();
    fleet.wait_start(first.token, Duration::from_secs(20));
    fleet.assert_safe();
}

/// The documented hole: with supervisor and guard both frozen nobody is left to kill the work. It is said.
#[test]
fn both_frozen_is_an_overrun_that_is_reported() {
    let _one = serially();
    let mut fleet = Fleet::new(TIMING);
    fleet.start("a");
    let first = fleet.wait_start(0, Duration::from_secs(20));
    fleet.start("b");
    let (supervisor, guard) = (fleet.pid(0), guard_of(fleet.pid(0)).unwrap());
    signal(supervisor, Signal::STOP);
    signal(guard, Signal::STOP);
    let next = fleet.wait_start(first.token, Duration::from_secs(30));
    assert_eq!(next.identity, "b");
    assert!(is_alive(first.pid), "the hole is not there any more: document that instead");
    signal(guard, Signal::CONT);
    signal(supervisor, Signal::CONT);
    assert_eq!(fleet.wait_exit(0, Duration::from_secs(20)), Some(79));
    assert!(!is_alive(first.pid));
    let log = fleet.log_of("a");
    let line = log
        .lines()
        .find(|line| line.contains("longer than the lease"))
        .unwrap_or_else(|| panic!("{log}"));
    println!("{line}");
}
