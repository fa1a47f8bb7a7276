//! Guard and supervisor in a model of a kernel: fixed seeds, deliberate flaws, and schedules made by hand.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use leasehold_sim::processes::{
    Case, Defect, Ending, Fault, Finale, Flaw, Kind, Rule, generate, play, shrink,
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

#[test]
fn a_frozen_supervisor_changes_nothing_and_two_frozen_ones_tell_it_when_they_thaw() {
    let case = quiet(&[fault(1_500, 4_000, Kind::FreezeSupervisor)]);
    assert_eq!((broken(&case, None), play(&case, None, false).ending), (None, Ending::Over));
    let both = [Kind::FreezeSupervisor, Kind::FreezeGuard].map(|kind| fault(1_500, 4_000, kind));
    assert_eq!(broken(&quiet(&both), None), None);
    assert_eq!(play(&quiet(&both), None, false).ending, Ending::Late);
}
