//! The runs.

use super::super::event::Event;
use super::super::rule::Rule;
use super::super::runs::Run;
use super::super::setup::ANY;
use super::world::{Defect, Setup, World};

/// Every order of promotions, moves and restarts.
const BASE: Setup = Setup {
    name: "redis",
    candidates: 2,
    lease: 2,
    promotions: ANY,
    moves: ANY,
    restarts: true,
    old_dumps: false,
    counts_partials: false,
    defect: None,
};

/// All of them.
#[must_use]
pub fn all() -> Vec<Run<World>> {
    let safe = |setup| Run { setup, breaks: &[], needs: NEEDS };
    let found = |setup| Run { setup, breaks: &[Rule::Belief], needs: &[] };
    let defects = [
        ("redis-defect-no-reign", Defect::NoReign),
        ("redis-defect-no-full-resyncs", Defect::NoFullResyncs),
        ("redis-defect-no-second-look", Defect::NoSecondLook),
        ("redis-defect-no-wait", Defect::NoWait),
        ("redis-defect-waits-elsewhere", Defect::WaitsElsewhere),
    ];
    let defects = defects
        .map(|(name, defect)| found(Setup { name, restarts: false, defect: Some(defect), ..BASE }));
    let old_dumps = Setup { restarts: false, old_dumps: true, ..BASE };
    let mut runs = vec![
        safe(BASE),
        safe(Setup { name: "redis-longer", lease: 3, ..BASE }),
        safe(Setup { name: "redis-three", candidates: 3, ..BASE }),
        // A reign that does not count partial resyncs, and the product's.
        found(Setup { name: "redis-old-dump", ..old_dumps }),
        safe(Setup { name: "redis-partials", counts_partials: true, ..old_dumps }),
    ];
    runs.extend(defects);
    runs
}

const NEEDS: &[Event] = &[
    Event::HandOver,
    Event::Adoption,
    Event::FullResync,
    Event::ReignEnded,
    Event::Restart,
    Event::TwoPrimaries,
];
