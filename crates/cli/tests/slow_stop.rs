//! Nobody is blocked by a process that is frozen anywhere, be it in the middle of a write.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::time::Duration;

use fleet::{Canary, Dice, Fleet, serially, signal, spread, wall};
use rustix::process::Signal;

const LEASE: Duration = Duration::from_secs(3);
const LOCKS: u32 = 10;
const ROUNDS: u32 = 15;

/// 150 random moments, while every leader renews every 50 ms: on ten locks at once, fifteen times
/// each. The guard has 1.9 s to kill the work of who is frozen, whatever else the host does: one
/// that is late ends with an error.
#[test]
fn a_leader_frozen_at_any_moment_blocks_nobody() {
    let _one = serially();
    let canary = Canary::start();
    let timing = [
        ["--lease-duration", "3s"],
        ["--renew-deadline", "1s"],
        ["--retry-period", "50ms"],
        ["--request-timeout", "300ms"],
        ["--stop-grace", "100ms"],
        ["--clock-margin", "250ms"],
    ];
    let timing = timing.concat();
    let gaps: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..LOCKS).map(|_| scope.spawn(|| freeze_leaders(&timing))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let count = gaps.len();
    let (median, worst) = spread(gaps);
    println!(
        "SIGSTOP at {count} random moments at L {LEASE:?}, renewing every 50 ms: next work after \
         {median:?} (median), {worst:?} (worst); host late by {:?}",
        canary.worst()
    );
    let bound = LEASE + Duration::from_secs(3) + 4 * canary.worst();
    assert!(worst <= bound, "{worst:?} > {bound:?}");
}

fn freeze_leaders(timing: &[&str]) -> Vec<Duration> {
    let mut dice = Dice::new();
    let mut fleet = Fleet::new(timing);
    fleet.start("a");
    fleet.start("b");
    let mut leader = fleet.wait_start(0, Duration::from_secs(30));
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_micros(100_000 + dice.below(100_000)));
        let (frozen, pid) = (wall(), fleet.pid(fleet.index_of(&leader.identity)));
        signal(pid, Signal::STOP);
        let next = fleet.wait_start(leader.token, Duration::from_secs(30));
        gaps.push(next.at.saturating_sub(frozen));
        signal(pid, Signal::CONT);
        leader = next;
    }
    fleet.assert_safe();
    gaps
}
