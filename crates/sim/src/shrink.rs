//! Makes a failing schedule smaller while it still fails in the same way.

use crate::case::Case;
use crate::judge::{Rule, Violation};
use crate::world::run;

/// The smallest failing schedule found by removing and simplifying greedily, and what it breaks.
#[must_use]
pub fn shrink(case: &Case, rule: Rule) -> (Case, Option<Violation>) {
    let mut best = case.clone();
    let mut broken = breaks(&best, rule);
    let mut again = broken.is_some();
    while again {
        again = false;
        for candidate in smaller(&best) {
            if let Some(violation) = breaks(&candidate, rule) {
                (best, broken, again) = (candidate, Some(violation), true);
                break;
            }
        }
    }
    (best, broken)
}

fn breaks(case: &Case, rule: Rule) -> Option<Violation> {
    let violation = run(case, false).ok()?.violation.filter(|violation| violation.rule == rule)?;
    // A mutant's case must be one of the mutant.
    let sound = case.mutant.is_some().then(|| Case { mutant: None, ..case.clone() });
    let blames = sound.is_none_or(|case| run(&case, false).is_ok_and(|r| r.violation.is_none()));
    blames.then_some(violation)
}

/// Every schedule that is one step simpler.
fn smaller(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut simpler = case.clone();
        change(&mut simpler);
        if simpler != *case {
            all.push(simpler);
        }
    };
    for index in 0..case.faults.len() {
        add(&|case| {
            case.faults.remove(index);
        });
    }
    add(&|case| case.observer = false);
    if case.candidates.len() > 2 {
        add(&|case| {
            case.candidates.pop();
            let last = case.candidates.len() - 1;
            for node in case.faults.iter_mut().filter_map(|fault| fault.node.as_mut()) {
                *node = last.min(*node);
            }
        });
    }
    for index in 0..case.candidates.len() {
        add(&|case| case.candidates[index].rate = 1_000_000);
        add(&|case| case.candidates[index].hand_over_jitter_ms = 0);
    }
    add(&|case| case.server_rate = 1_000_000);
    for index in 0..case.faults.len() {
        add(&|case| case.faults[index].for_ms = case.faults[index].for_ms / 100 * 100);
        add(&|case| case.faults[index].at_ms = case.faults[index].at_ms / 100 * 100);
        add(&|case| case.faults[index].strength = 100);
    }
    all
}
