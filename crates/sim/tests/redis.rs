//! The model of the layer below the register on Redis: its renaming, and that it finds what it
//! must.

use std::collections::HashSet;

use leasehold_sim::model::redis::{Setup, Step, World, all};
use leasehold_sim::model::{Event, Limits, Rule, Space, explore};

/// A stream of numbers that a seed stands for (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("below a usize")
    }
}

fn steps(setup: &Setup, world: &World) -> Vec<Step> {
    let mut steps = Vec::new();
    world.next(setup, &mut steps);
    steps
}

fn canonical(world: &World) -> World {
    let mut world = *world;
    world.canonical();
    world
}

/// The states that follow, in their one form, and the state itself: a read that shows nothing new
/// leads there.
fn followers(setup: &Setup, world: &World) -> HashSet<World> {
    let follow = |step: Step| {
        let mut next = *world;
        next.take_step(setup, step);
        canonical(&next)
    };
    let followers = steps(setup, world).into_iter().map(follow);
    followers.chain([canonical(world)]).collect()
}

/// From a state and from its one form the same states follow, of which two believers are one rule:
/// in every state of many walks. So no renaming, and nothing that it takes away, changes what can
/// happen.
#[test]
fn renaming_changes_nothing_that_can_happen() {
    let (mut compared, mut led) = (0, 0);
    for run in all() {
        let setup = Setup { name: "walk", candidates: 3, ..run.setup };
        let defect = setup.defect;
        for seed in 0..40 {
            let mut draws = Draws(seed);
            let first = World::first(&setup).unwrap();
            let mut world = first[draws.below(first.len())];
            for depth in 0..120 {
                let renamed = canonical(&world);
                assert_eq!(canonical(&renamed), renamed, "{defect:?}, seed {seed}, {depth}");
                assert_eq!(renamed.holds(Rule::Belief), world.holds(Rule::Belief));
                let (plain, after) = (followers(&setup, &world), followers(&setup, &renamed));
                // Who waits for nothing any more has given that up in the one form.
                let mut further = plain.clone();
                for x in (0..3).filter(|x| steps(&setup, &world).contains(&Step::GiveUp(*x))) {
                    let mut next = world;
                    next.take_step(&setup, Step::GiveUp(x));
                    further.extend(followers(&setup, &next));
                }
                let lost = plain.difference(&after).next();
                let added = after.difference(&further).next();
                if lost.is_some() || added.is_some() {
                    panic!("{defect:?}, seed {seed}, {depth}: {world:#?} {lost:#?} {added:#?}");
                }
                compared += plain.len();
                let steps = steps(&setup, &world);
                if steps.is_empty() {
                    break;
                }
                world.take_step(&setup, steps[draws.below(steps.len())]);
                led += usize::from(world.leads(0));
            }
        }
    }
    assert!(compared > 100_000 && led > 500, "{compared} compared, {led} led");
}

/// With fewer promotions and moves, in seconds: a defect that this finds needs no more.
#[test]
fn a_small_run_is_safe_and_the_defects_are_found() {
    let limits = Limits { threads: 2, states: 2_000_000, memory: 4096 };
    let setup = Setup { name: "small", promotions: 1, moves: 1, restarts: false, ..all()[0].setup };
    let safe = explore::<World>(&setup, limits).unwrap();
    assert!(safe.violation.is_none() && safe.states > 10_000, "{safe:?}");
    assert!(safe.events.of(Event::HandOver) > 0 && safe.events.of(Event::ReignEnded) > 0);
    for run in all().into_iter().filter(|run| !run.breaks.is_empty()) {
        let setup = Setup { promotions: 1, moves: 1, ..run.setup };
        let outcome = explore::<World>(&setup, limits).unwrap();
        run.judge(&outcome).unwrap_or_else(|error| panic!("{}: {error}", run.setup.name));
        let (rule, begin, steps) = outcome.violation.unwrap();
        assert_eq!(rule, Rule::Belief);
        let story = begin.story(&setup, &steps);
        assert!(story.last().unwrap().starts_with("VIOLATION Belief"), "{story:?}");
        let leads = story.iter().filter(|line| line.ends_with(" LEADS")).count();
        assert!(leads >= 2, "{story:#?}");
    }
}
