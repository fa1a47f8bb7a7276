//! Supervisors and guards that are stopped (SIGSTOP), alone and together.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::world::{Company, World, new_user};
use fleet::{
    Canary, Dice, Fleet, PATIENCE, Start, guard_of, is_alive, serially, signal, spread, wall,
};
use rustix::process::Signal;

const LEASE: Duration = Duration::from_secs(2);
const TIMING: &[&str] = &["--lease-duration", "2s"];

/// How often CMD ends beside busy processes.
const ENDS: usize = 4;

/// How many compute for each core. Not so many that a guard may get nothing at all for
/// `leasehold_guard::SILENT`, after which it is replaced whatever the cause.
const BUSY: usize = 30;

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
        "SIGSTOP of the supervisor, 20 times at L {LEASE:?}: next work after {median:?} (median), \
         {worst:?} (worst); host late by {:?}",
        canary.worst()
    );
    let bound = LEASE + WAIT + Duration::from_millis(500) + 4 * canary.worst();
    assert!(worst <= bound, "{worst:?} > {bound:?}");
}

/// A frozen guard changes nothing while renewals succeed; once they fail, the supervisor does its
/// work.
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

/// The documented hole: with supervisor and guard both frozen nobody is left to kill the work. It
/// is said.
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

/// A candidate whose CMD leaves others behind that are deaf to SIGTERM, with its guard.
fn leader(shape: &str) -> (Fleet, Start, i32) {
    let mut fleet = Fleet::acting(World::Here, TIMING, &[shape]);
    let index = fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    let guard = guard_of(fleet.pid(index)).unwrap();
    (fleet, first, guard)
}

/// The run ends by itself with this code, everything is dead, and another candidate leads at once.
/// Returns how long the run took to end.
fn ends_well(mut fleet: Fleet, first: &Start, code: i32) -> Duration {
    let since = wall();
    assert_eq!(fleet.wait_exit(0, PATIENCE), Some(code), "{}", fleet.logs());
    let took = wall().saturating_sub(since);
    fleet.wait_nothing_lives(Duration::ZERO);
    let log = fleet.log_of("a");
    assert!(log.contains("released"), "{log}");
    fleet.start("b");
    let next = fleet.wait_start(first.token, LEASE / 2);
    assert_eq!(next.identity, "b");
    fleet.assert_safe();
    took
}

/// SIGSTOP of the guard, then the end of CMD, by itself or by a signal.
#[test]
fn a_guard_stopped_when_cmd_ends_is_replaced_and_the_lock_released() {
    let _one = serially();
    let mut times = Vec::new();
    for killed in [false, true, false, true] {
        let (fleet, first, guard) = leader("deaf");
        signal(guard, Signal::STOP);
        // Renewals succeed while CMD runs.
        std::thread::sleep(2 * LEASE);
        assert!(is_alive(first.pid) && is_alive(guard));
        assert!(!fleet.log_of("a").contains("guard"), "{}", fleet.logs());
        if killed {
            signal(first.pid, Signal::KILL);
        } else {
            fleet.leave(first.token);
        }
        times.push(ends_well(fleet, &first, if killed { 137 } else { 0 }));
        assert!(!is_alive(guard));
    }
    let (median, worst) = spread(times);
    println!("CMD ends beside a stopped guard: over after {median:?} (median), {worst:?} (worst)");
}

/// SIGSTOP of the guard once it has said that CMD ended, and before what CMD left behind is dead.
#[test]
fn a_guard_stopped_after_cmd_ended_is_replaced_and_the_lock_released() {
    let _one = serially();
    let (fleet, first, guard) = leader("deaf");
    fleet.leave(first.token);
    while !fleet.log_of("a").contains("behind") {
        assert!(is_alive(guard), "the stop grace is too short for this test");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(guard, Signal::STOP);
    let took = ends_well(fleet, &first, 0);
    println!("a guard stopped after CMD ended: over after {took:?}");
}

/// The freezer of control groups shows in no state of the process.
#[test]
fn a_guard_in_a_frozen_control_group_is_replaced_when_cmd_ends() {
    let _one = serially();
    let group = Frozen::new();
    let (fleet, first, guard) = leader("plain");
    group.take(guard);
    std::thread::sleep(2 * LEASE);
    assert!(is_alive(first.pid));
    fleet.leave(first.token);
    let took = ends_well(fleet, &first, 0);
    println!("CMD ends beside a guard in a frozen group: over after {took:?}");
}

/// A control group whose processes do not run.
struct Frozen(PathBuf);

impl Frozen {
    fn new() -> Self {
        let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = places.into_iter().find(|root| root.join("cgroup.controllers").exists());
        let root = root.expect("this test needs cgroup v2");
        let group = root.join(format!("test-frozen-{}", std::process::id()));
        fs::create_dir(&group).expect("this test makes a control group: run it as root");
        fs::write(group.join("cgroup.freeze"), "1").unwrap();
        Self(group)
    }

    fn take(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        let events = || fs::read_to_string(self.0.join("cgroup.events")).unwrap();
        while !events().contains("frozen 1") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A guard that is merely slow, and one that is stopped for a moment, keep their office. As a user
/// who gets no better priority for them.
#[test]
fn a_slow_guard_is_not_taken_for_a_frozen_one() {
    let _one = serially();
    let canary = Canary::start();
    let busy = BUSY * std::thread::available_parallelism().unwrap().get();
    let _company = Company::computing(busy);
    let flags = ["--lease-duration", "30s", "--stop-grace", "2s", "--restart"];
    let mut fleet = Fleet::acting(World::User(new_user()), &flags, &["daemon"]);
    fleet.start("a");
    let mut first = fleet.wait_start(0, 2 * PATIENCE);
    let mut gaps = Vec::new();
    for round in 0..ENDS {
        let guard = guard_of(fleet.pid(0)).unwrap();
        let stopped = round % 3 == 0;
        if stopped {
            signal(guard, Signal::STOP);
        }
        let since = wall();
        fleet.leave(first.token);
        if stopped {
            std::thread::sleep(Duration::from_secs(1));
            signal(guard, Signal::CONT);
        }
        let next = fleet.wait_start(first.token, 4 * PATIENCE);
        gaps.push(next.at.saturating_sub(since));
        first = next;
    }
    let log = fleet.log_of("a");
    assert!(!log.contains("the guard is"), "{log}");
    assert_eq!(log.matches("CMD ended with 0").count(), ENDS, "{log}");
    fleet.assert_safe();
    let (median, worst) = spread(gaps);
    println!(
        "{ENDS} ends of CMD beside {busy} busy processes, each third with the guard stopped for \
         1 s: next work after {median:?} (median), {worst:?} (worst); host late by {:?}",
        canary.worst()
    );
}
