//! Hand-over, a stop while waiting, and what an idle follower costs: measured, and held to bounds
//! with slack.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::{Canary, Fleet, serially, signal, spread, wall};
use rustix::process::Signal;

/// SIGTERM to the leader: its work stops, the lock is released, the next one learns of it by the
/// watch.
#[test]
fn a_stopped_leader_hands_over_through_the_watch() {
    let _one = serially();
    let canary = Canary::start();
    let mut fleet = Fleet::new(&[]);
    fleet.start("a");
    fleet.start("b");
    let mut leader = fleet.wait_start(0, Duration::from_secs(20));
    let mut gaps = Vec::new();
    for round in 0..30 {
        // Both are up: the other one waits.
        std::thread::sleep(Duration::from_millis(200));
        let index = fleet.index_of(&leader.identity);
        let stopped = wall();
        signal(fleet.pid(index), Signal::TERM);
        let next = fleet.wait_start(leader.token, Duration::from_secs(20));
        assert_ne!(next.identity, leader.identity);
        gaps.push(next.at.saturating_sub(stopped));
        assert_eq!(fleet.wait_exit(index, Duration::from_secs(20)), Some(128 + 15));
        fleet.kill(index);
        fleet.start(&format!("r{round}"));
        leader = next;
    }
    fleet.assert_safe();
    let (median, worst) = spread(gaps);
    println!(
        "SIGTERM to the leader, 30 times: next work after {median:?} (median), {worst:?} (worst), \
         the stop of the old work included; host late by {:?}",
        canary.worst()
    );
    let bound = Duration::from_millis(100) + 4 * canary.worst();
    assert!(median <= bound, "{median:?} > {bound:?}");
}

#[test]
fn a_stop_while_waiting_ends_it_at_once() {
    let _one = serially();
    let canary = Canary::start();
    let mut fleet = Fleet::new(&[]);
    fleet.start("leader");
    fleet.wait_start(0, Duration::from_secs(20));
    let mut times = Vec::new();
    for round in 0..20 {
        let index = fleet.start(&format!("w{round}"));
        std::thread::sleep(Duration::from_millis(150));
        let asked = wall();
        signal(fleet.pid(index), Signal::TERM);
        assert_eq!(fleet.wait_exit(index, Duration::from_secs(20)), Some(128 + 15));
        times.push(wall().saturating_sub(asked));
    }
    assert_eq!(fleet.starts("child").len(), 1, "who waits starts nothing");
    let (median, worst) = spread(times);
    println!("SIGTERM while waiting, 20 times: gone after {median:?} (median), {worst:?} (worst)");
    let bound = Duration::from_millis(100) + 4 * canary.worst();
    assert!(worst <= bound, "{worst:?} > {bound:?}");
}

/// A follower wakes for the files of the leader's renewals (a record and a baton come and go every
/// retry period, and its blocking thread reads them), and for nothing else.
#[test]
fn an_idle_follower_is_small_and_sleeps() {
    let _one = serially();
    let mut fleet = Fleet::new(&[]);
    fleet.start("leader");
    fleet.wait_start(0, Duration::from_secs(20));
    let follower = fleet.start("follower");
    std::thread::sleep(Duration::from_secs(2));
    let (pid, span) = (fleet.pid(follower), Duration::from_secs(20));
    let before = switches(pid);
    std::thread::sleep(span);
    let woken = switches(pid) - before;
    // The pages of the binary itself are shared, and this build has debug code and every backend
    // that any test needs.
    let (resident, own) = (field(pid, "", "VmRSS:"), field(pid, "", "RssAnon:"));
    println!(
        "an idle follower: {resident} KiB resident, {own} KiB of them its own, woken {woken} times \
         in {span:?}, while the leader renewed {} times",
        span.as_secs() / 2
    );
    assert!((1..6 * 1024).contains(&own), "{own} KiB");
    assert!(woken < 40 * span.as_secs(), "{woken} wake-ups in {span:?}");
}

/// Context switches of all threads.
fn switches(pid: i32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = threads.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|thread| {
            let thread = format!("task/{thread}/");
            field(pid, &thread, "voluntary_ctxt_switches:")
                + field(pid, &thread, "nonvoluntary_ctxt_switches:")
        })
        .sum()
}

fn field(pid: i32, thread: &str, name: &str) -> u64 {
    // A thread that has ended since was no cost worth counting.
    let status = std::fs::read_to_string(format!("/proc/{pid}/{thread}status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()).map_or(0, |value| value.parse().unwrap())
}
