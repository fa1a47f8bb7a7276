//! Fixed seeds, and every mutant's shrunk failure kept as a regression test.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::path::{Path, PathBuf};

use leasehold_sim::{
    Branch, CandidateConfig, Case, Cause, Coverage, Fault, Kind, Mutant, Rule, generate,
    generate_at, run,
};

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

/// A change of what the election does when makes a case miss its defect: draw them anew, from the
/// root of the checkout, by `cargo xtask sim --mutants --failures crates/sim/tests/mutants`.
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
    assert!(found.len() >= 23, "only {} schedules", found.len());
}

/// Schedules of a deliberate defect whose harm an excuse once covered that has nothing to do with
/// it.
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

/// The schedule of a seed in which nothing goes wrong but that everybody is refused for a while.
/// `longest` says for how long at most, of one candidate, on its clock and in milliseconds.
fn refused(seed: u64, longest: impl Fn(&CandidateConfig) -> Option<u64>) -> Option<Case> {
    let mut case = generate(seed);
    let of_one = |config: &CandidateConfig| Some(longest(config)? * 1_000_000 / config.rate);
    let all: Option<Vec<u64>> = case.candidates.iter().map(of_one).collect();
    let for_ms = all?.into_iter().min()?;
    let strength = if seed & 1 == 0 { 30 } else { 100 };
    // By then somebody leads, on a store that forgets too.
    let at_ms = 12_000 + seed % 2_000;
    case.faults = vec![Fault { kind: Kind::Refused, node: None, at_ms, for_ms, strength }];
    Some(case)
}

fn lost(cover: &Coverage) -> bool {
    let missing: Vec<Branch> = cover.missing_branches().collect();
    !missing.contains(&Branch::LostExpired) || !missing.contains(&Branch::LostSuperseded)
}

/// A refused leader asks again after P or T, whichever is shorter, with a read and a renewal.
#[test]
fn a_refusal_that_ends_before_the_deadline_ends_no_term() {
    let room = |c: &CandidateConfig| {
        let (period, timeout) = (c.retry_period_ms, c.request_timeout_ms);
        let after = period + period.min(timeout) + 3 * timeout + 5;
        c.renew_deadline_ms.checked_sub(after).filter(|room| *room > 20)
    };
    let mut played = 0;
    for case in (0..2_000).filter_map(|seed| refused(seed, room)) {
        let report = run(&case, false).unwrap();
        assert_eq!(report.violation, None, "{case:?}");
        assert!(!lost(&report.cover) && report.cover.terms == 1, "{case:?}");
        played += 1;
    }
    assert!(played > 200, "only {played} schedules");
    // One that lasts for a lease and more does end it.
    let ended = (0..200).filter_map(|seed| refused(seed, |_| Some(8_000)));
    assert!(ended.filter(|case| lost(&run(case, false).unwrap().cover)).count() > 100);
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
