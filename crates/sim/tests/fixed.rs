//! Fixed seeds, and every mutant's shrunk failure kept as a regression test.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::path::{Path, PathBuf};

use leasehold_sim::{Case, Cause, Coverage, Mutant, Rule, generate, generate_at, run};

const SCHEDULES: u64 = 20_000;

#[test]
fn fixed_seeds_break_nothing() {
    let mut cover = Coverage::default();
    for seed in 0..SCHEDULES {
        let case = generate(seed);
        let report = run(&case, false).unwrap();
        assert_eq!(report.violation, None, "seed {seed}");
        cover.add(&report.cover);
    }
    assert!(cover.terms > SCHEDULES, "hardly anybody led");
    for (cause, words) in Cause::ALL {
        assert!(
            cover.excused(cause) > 0,
            "no overlap is expected {words}: nothing holds it to its bound"
        );
    }
}

/// A change of what the election does when makes a case miss its defect: draw them anew, from the root of the
/// checkout, by `cargo xtask sim --mutants --failures crates/sim/tests/mutants`.
#[test]
fn every_mutant_is_killed_by_its_case_and_only_because_of_the_defect() {
    for mutant in Mutant::ALL {
        let file = format!("{}.json", mutant.name());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants").join(&file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        let case: Case = serde_json::from_str(&text).unwrap();
        assert_eq!((case.check(), case.mutant), (Ok(()), Some(*mutant)), "{file}");
        assert!(run(&case, false).unwrap().violation.is_some(), "{file}: survives");
        let sound = Case { mutant: None, ..case };
        assert_eq!(run(&sound, false).unwrap().violation, None, "{file}: fails without the defect");
    }
}

/// The schedules that are kept in a directory beside this file.
fn kept(directory: &str) -> Vec<(PathBuf, Case)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let cases = std::fs::read_dir(directory).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let case: Case = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(case.check(), Ok(()), "{}", path.display());
        (path, case)
    });
    cases.collect()
}

/// Schedules that broke an earlier election, or that an earlier simulator could not explain.
#[test]
fn schedules_that_once_failed_hold() {
    let found = kept("found");
    for (path, case) in &found {
        assert_eq!(run(case, false).unwrap().violation, None, "{}", path.display());
    }
    assert!(found.len() >= 19, "only {} schedules", found.len());
}

/// Schedules of a deliberate defect whose harm an excuse once covered that has nothing to do with it.
#[test]
fn no_excuse_covers_what_it_does_not_explain() {
    let unexcused = kept("unexcused");
    assert!(unexcused.len() >= 2, "only {} schedules", unexcused.len());
    for (path, case) in unexcused {
        assert!(run(&case, false).unwrap().violation.is_some(), "{}", path.display());
        let sound = Case { mutant: None, ..case };
        assert_eq!(run(&sound, false).unwrap().violation, None, "{}", path.display());
    }
}

#[test]
fn a_replay_tells_the_same_story() {
    for seed in 0..50 {
        let case = generate(seed);
        let json = serde_json::to_string(&case).unwrap();
        let again: Case = serde_json::from_str(&json).unwrap();
        assert_eq!(run(&case, true).unwrap().story, run(&again, true).unwrap().story);
    }
}

#[test]
fn telling_changes_nothing() {
    for seed in 0..200 {
        let case = generate(seed);
        let (silent, told) = (run(&case, false).unwrap(), run(&case, true).unwrap());
        assert_eq!(silent.cover, told.cover, "seed {seed}");
    }
}

#[test]
fn clock_rates_beyond_the_bound_are_found() {
    let overlaps = (0..SCHEDULES).filter(|seed| {
        let violation = run(&generate_at(*seed, 105), false).unwrap().violation;
        violation.is_some_and(|v| matches!(v.rule, Rule::Belief | Rule::Work))
    });
    assert!(overlaps.take(1).count() == 1, "the bound was exceeded and nothing happened");
}
