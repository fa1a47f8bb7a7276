//! Rounds of one blow each against whoever leads, while others wait to lead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use super::{Dice, Fleet, PATIENCE, guard_of, spread, try_signal, wall};

/// How a term ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGTERM to the supervisor.
    Stop,
    /// CMD's main process ends by itself, and leaves the rest behind.
    Leave,
    /// SIGKILL to the supervisor.
    Kill,
    /// SIGKILL to the guard.
    KillGuard,
}

pub(crate) const EVERY_BLOW: [Blow; 4] = [Blow::Stop, Blow::Leave, Blow::Kill, Blow::KillGuard];

/// What never stops by itself is killed soon.
pub(crate) const HASTY: &[&str] = &["--stop-grace", "200ms", "--drain-timeout", "200ms"];

/// Strikes so often, each blow in turn, and returns how long each time until work runs again. CMD
/// of the next term looks whether anything of the last one lives.
pub(crate) fn strike(fleet: &mut Fleet, blows: &[Blow], rounds: usize) -> Vec<Duration> {
    let mut dice = Dice::new();
    for name in ["a", "b", "c"] {
        fleet.start(name);
    }
    let mut leader = fleet.wait_start(0, PATIENCE);
    let mut gaps = Vec::new();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_micros(dice.below(40_000)));
        let index = fleet.index_of(&leader.identity);
        let supervisor = fleet.pid(index);
        let blow = blows[round % blows.len()];
        let struck = wall();
        match blow {
            Blow::Stop => try_signal(supervisor, Signal::TERM),
            Blow::Leave => fleet.leave(leader.token),
            Blow::Kill => try_signal(supervisor, Signal::KILL),
            Blow::KillGuard => {
                if let Some(guard) = guard_of(supervisor) {
                    try_signal(guard, Signal::KILL);
                }
            }
        }
        let next = fleet.wait_start(leader.token, PATIENCE);
        gaps.push(next.at.saturating_sub(struck));
        assert_eq!(fleet.overlaps(), "", "after {blow:?}: {}", fleet.logs());
        match blow {
            Blow::Stop | Blow::Leave => {
                let code = fleet.wait_exit(index, PATIENCE);
                let wrong = [79, 80, 101, 134].map(Some).contains(&code);
                assert!(!wrong, "{blow:?} ended with {code:?}: {}", fleet.logs());
                fleet.forget(index);
                fleet.start(&format!("r{round}"));
            }
            Blow::Kill => {
                fleet.forget(index);
                fleet.start(&format!("r{round}"));
            }
            Blow::KillGuard => {}
        }
        leader = next;
    }
    fleet.assert_safe();
    gaps
}

/// Runs each case, so many side by side, and then fails if one of them did. Returns all that they
/// measured.
pub(crate) fn side_by_side<T: Sync>(
    cases: &[T],
    width: usize,
    name: impl Fn(&T) -> String + Sync,
    run: impl Fn(&T) -> Vec<Duration> + Sync,
) -> Vec<Duration> {
    let next = Mutex::new(cases.iter());
    let outcomes = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().unwrap().next() else { return };
                    let ran = catch_unwind(AssertUnwindSafe(|| run(case)));
                    let mut outcomes = outcomes.lock().unwrap();
                    match ran {
                        Ok(gaps) => {
                            let (median, worst) = spread(gaps.clone());
                            println!(
                                "{}: {} rounds, {median:?} (median), {worst:?} (worst)",
                                name(case),
                                gaps.len()
                            );
                            outcomes.0.extend(gaps);
                        }
                        Err(_) => outcomes.1.push(name(case)),
                    }
                }
            });
        }
    });
    let (gaps, failed) = outcomes.into_inner().unwrap();
    assert!(failed.is_empty(), "these failed, for the reasons above: {failed:?}");
    gaps
}
