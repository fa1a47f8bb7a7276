//! Guard and supervisor in a model of a kernel: fixed seeds, deliberate flaws, and schedules made
//! by hand.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use leasehold_sim::processes::{
    Case, Defect, Ending, Fault, Finale, Flaw, Kind, Rule, generate, play,
};

/// A lease of 3 s that is not renewed after one, CMD with no wish of its own, and these faults.
fn quiet(faults: &[Fault]) -> Case {
    Case {
        lease_ms: 3_000,
        margin_ms: 400,
        grace_ms: 100,
        finale: Finale::Refused,
        finale_ms: 1_000,
        spared: 0,
        cgroup: false,
        deeds: 0,
        forks: 3,
        alive: 4,
        pace_us: 300,
        turn_us: 10,
        max_pid: 1_000_000,
        faults: faults.to_vec(),
        ..generate(0)
    }
}

fn fault(at_ms: u64, for_ms: u64, kind: Kind) -> Fault {
    Fault { at_ms, after: 0, for_ms, kind }
}

fn broken(case: &Case, flaw: Option<Defect>) -> Option<Rule> {
    play(case, flaw.map(Flaw::Machine), false).broken.map(|broken| broken.rule)
}

#[test]
fn a_frozen_guard_is_stood_in_for_in_time() {
    let case = quiet(&[fault(1_500, 4_000, Kind::FreezeGuard)]);
    assert_eq!(play(&case, None, false).ending, Ending::Over);
    assert_eq!(broken(&case, None), None);
    assert_eq!(broken(&case, Some(Defect::WaitsForGuard)), Some(Rule::Passing));
}

/// CMD ends at 1 s, and the guard that should say so is frozen from before until after the end.
#[test]
fn a_guard_frozen_when_cmd_ends_is_stood_in_for_and_the_lock_is_given_back() {
    for (spared, cgroup) in [(0, false), (0, true), (2, false)] {
        let freeze = fault(500, 30_000, Kind::FreezeGuard);
        let case = Case { finale: Finale::Exits, spared, cgroup, ..quiet(&[freeze]) };
        let played = play(&case, None, true);
        assert_eq!((played.broken, played.ending), (None, Ending::Released), "{:?}", played.story);
        assert_eq!(broken(&case, Some(Defect::TrustsSilentGuard)), Some(Rule::Renewal));
    }
}

/// The same for one that has not started CMD yet.
#[test]
fn a_guard_frozen_before_it_starts_cmd_is_given_up() {
    let freeze = fault(0, 50_000, Kind::FreezeGuard);
    let case = Case { finale: Finale::Exits, finale_ms: 60_000, ..quiet(&[freeze]) };
    let played = play(&case, None, true);
    assert_eq!((played.broken, played.ending), (None, Ending::Released), "{:?}", played.story);
    assert!(played.story.iter().any(|line| line.contains("GuardSilent")));
}

/// A frozen guard while CMD runs, and one that is merely slow when CMD ends.
#[test]
fn a_guard_that_is_awake_is_trusted_however_slow() {
    let freeze = fault(100, 12_000, Kind::FreezeGuard);
    let starve = fault(100, 30_000, Kind::StarveGuard);
    for (fault, finale_ms) in [(freeze, 20_000), (starve, 5_000)] {
        let case = Case { finale: Finale::Exits, finale_ms, ..quiet(&[fault]) };
        let played = play(&case, None, true);
        assert_eq!((played.broken, played.ending), (None, Ending::Released));
        let lost = |line: &String| line.contains("GuardSilent") || line.contains("GuardLost");
        assert!(!played.story.iter().any(lost), "{:?}", played.story);
    }
}

#[test]
fn a_frozen_supervisor_changes_nothing_and_two_frozen_ones_tell_it_when_they_thaw() {
    let case = quiet(&[fault(1_500, 4_000, Kind::FreezeSupervisor)]);
    assert_eq!((broken(&case, None), play(&case, None, false).ending), (None, Ending::Over));
    let both = [Kind::FreezeSupervisor, Kind::FreezeGuard].map(|kind| fault(1_500, 4_000, kind));
    assert_eq!(broken(&quiet(&both), None), None);
    assert_eq!(play(&quiet(&both), None, false).ending, Ending::Late);
}

/// The guard is stopped for good between any two of its system calls while it kills.
#[test]
fn a_guard_frozen_in_the_middle_of_its_kill_is_stood_in_for_in_time() {
    for seed in 0..150 {
        for after in 1..12 {
            let freeze = Fault { at_ms: 0, after, for_ms: 6_000, kind: Kind::FreezeGuard };
            // Every other time only sessions and hidden processes: what no group and no list shows.
            let Case { deeds, .. } = generate(seed);
            let deeds = if seed % 2 == 0 { deeds } else { 1 << 4 | 1 << 9 };
            let case = Case { seed, deeds, forks: 30, alive: 12, ..quiet(&[freeze]) };
            let case = Case { margin_ms: 250, finale_ms: 300, lease_ms: 1_000, ..case };
            let broken = play(&case, None, false).broken;
            assert_eq!(broken, None, "seed {seed} after {after}: {case:?}");
        }
    }
}

/// About 10 s of one core.
#[test]
fn fixed_seeds_break_nothing() {
    let mut endings = std::collections::BTreeMap::<Ending, u32>::new();
    for seed in 0..5_000 {
        let played = play(&generate(seed), None, false);
        assert_eq!(played.broken, None, "seed {seed}: leasehold-sim processes --show {seed}");
        *endings.entry(played.ending).or_default() += 1;
    }
    // Each ending is reached, or nothing judges it.
    assert!(endings.len() == 5 && endings.values().all(|count| *count > 10), "{endings:?}");
}

#[test]
fn every_flaw_is_found() {
    for flaw in Flaw::ALL {
        let found = (0..20_000).any(|seed| {
            let case = generate(seed);
            play(&case, Some(flaw), false).broken.is_some()
                && play(&case, None, false).broken.is_none()
        });
        assert!(found, "{} survives", flaw.name());
    }
}

#[test]
fn a_seed_tells_the_same_story_twice_and_telling_changes_nothing() {
    for seed in 0..50 {
        let case = generate(seed);
        let (told, again) = (play(&case, None, true), play(&case, None, true));
        assert_eq!(told.story, again.story);
        assert_eq!(told.turns, play(&case, None, false).turns);
        let json = serde_json::to_string(&case).unwrap();
        assert_eq!(serde_json::from_str::<Case>(&json).unwrap(), case);
    }
}
