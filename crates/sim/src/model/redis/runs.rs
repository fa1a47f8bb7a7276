//! The runs.

use super::super::event::Event;
use super::super::rule::Rule;
use super::super::runs::Run;
use super::world::{Defect, Setup, World};

const BASE: Setup = Setup { name: "redis", promotions: 2, moves: 3, defect: None };

/// All of them.
#[must_use]
pub fn all() -> Vec<Run<World>> {
    let defects = [
        ("redis-defect-no-reign", Defect::NoReign),
        ("redis-defect-no-full-resyncs", Defect::NoFullResyncs),
        ("redis-defect-no-second-look", Defect::NoSecondLook),
        ("redis-defect-no-wait", Defect::NoWait),
        ("redis-defect-waits-elsewhere", Defect::WaitsElsewhere),
    ];
    let defects = defects.map(|(name, defect)| Run {
        setup: Setup { name, defect: Some(defect), ..BASE },
        breaks: &[Rule::Belief],
        needs: &[],
    });
    let mut runs = vec![Run { setup: BASE, breaks: &[], needs: NEEDS }];
    let run = |name, promotions, moves| Run { setup: Setup { name, promotions, moves, ..BASE }, breaks: &[], needs: NEEDS };
    runs.push(run("xany", u8::MAX, u8::MAX));
    runs.push(run("xa34", 3, 4));
    runs.push(run("xa33", 3, 3));
    runs.push(run("xa24", 2, 4));
    runs.extend(defects);
    runs
}

const NEEDS: &[Event] =
    &[Event::HandOver, Event::Adoption, Event::FullResync, Event::ReignEnded, Event::TwoPrimaries];
