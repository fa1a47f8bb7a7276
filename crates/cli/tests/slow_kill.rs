//! Supervisors killed outright.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::{Canary, Dice, Fleet, guard_of, is_alive, serially, signal, spread, wall};
use rustix::process::Signal;

/// Twenty supervisors contend; the leader is killed fifty times. Never two works at once, tokens
/// strictly grow, and since the kernel tells of the dead holder, the next work starts at once.
#[test]
fn twenty_supervisors_killed_fifty_times() {
    let _one = serially();
    let canary = Canary::start();
    let mut dice = Dice::new();
    let mut fleet = Fleet::new(&[]);
    for n in 0..20 {
        fleet.start(&format!("s{n}"));
    }
    let mut leader = fleet.wait_start(0, Duration::from_secs(30));
    let mut gaps = Vec::new();
    for round in 0..50 {
        std::thread::sleep(Duration::from_millis(dice.below(100)));
        // Every fifth time a follower dies too.
        if round % 5 == 4 {
            let victims = (0..20).filter(|n| *n != fleet.index_of(&leader.identity));
            let victim = victims.into_iter().nth(usize::try_from(dice.below(19)).unwrap()).unwrap();
            fleet.kill(victim);
            fleet.start(&format!("f{round}"));
        }
        let killed = wall();
        fleet.kill(fleet.index_of(&leader.identity));
        leader = fleet.wait_start(leader.token, Duration::from_secs(20));
        gaps.push(leader.at.saturating_sub(killed));
        fleet.start(&format!("r{round}"));
    }
    fleet.assert_safe();
    let (median, worst) = spread(gaps);
    println!(
        "SIGKILL of the supervisor, 50 times among 20: next work after {median:?} (median), \
         {worst:?} (worst); host late by {:?}",
        canary.worst()
    );
    let slack = Duration::from_millis(500) + 4 * canary.worst();
    assert!(worst <= slack, "{worst:?} > {slack:?}");
}

/// The guard is killed: its supervisor kills what it left behind, and somebody leads again.
#[test]
fn a_killed_guard_leaves_nothing_behind() {
    let _one = serially();
    let mut fleet = Fleet::new(&["--lease-duration", "3s"]);
    fleet.start("a");
    let mut last = fleet.wait_start(0, Duration::from_secs(20));
    for _ in 0..10 {
        let guard = guard_of(fleet.pid(0)).unwrap();
        let work: Vec<i32> = ["child", "plain", "setsid"]
            .iter()
            .map(|role| fleet.starts(role).last().unwrap().pid)
            .collect();
        signal(guard, Signal::KILL);
        last = fleet.wait_start(last.token, Duration::from_secs(20));
        assert!(work.iter().all(|pid| !is_alive(*pid)), "{work:?}");
    }
    fleet.assert_safe();
}
