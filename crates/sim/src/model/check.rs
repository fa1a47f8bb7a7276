//! Explores a setup with stateright.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::rule::Rule;
use super::setup::Setup;
use super::step::{Event, Events, Step};
use super::world::World;

/// How much an exploration may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads.
    pub threads: usize,
    /// Unique states.
    pub states: usize,
    /// Memory of the whole process, in MiB.
    pub memory: u64,
}

/// What an exploration found.
#[derive(Debug)]
pub struct Outcome {
    /// Unique states.
    pub states: usize,
    /// States generated, duplicates included.
    pub generated: usize,
    /// The longest way to a state that was looked at.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The broken rule and the way there, from the clocks it began with; `None` if every state
    /// keeps every rule.
    pub violation: Option<(Rule, World, Vec<Step>)>,
    /// How often each event happened.
    pub events: Counts,
}

/// How often each event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 5]);

impl Counts {
    /// How often this one did.
    #[must_use]
    pub fn of(&self, event: Event) -> u64 {
        self.0[event as usize]
    }
}

/// The space was not explored to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// More states than allowed.
    States(usize),
    /// More memory than allowed, in MiB.
    Memory(u64),
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(states) => {
                write!(f, "not complete: stopped at {states} states; allow more with --states")
            }
            Self::Memory(mib) => {
                write!(f, "not complete: stopped at {mib} MiB; allow more with --memory")
            }
        }
    }
}

impl std::error::Error for Unfinished {}

struct Exploration {
    setup: Setup,
    first: Vec<World>,
    shared: Arc<Shared>,
}

/// What the threads that explore share with the one that watches.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: [AtomicU64; 5],
}

impl Shared {
    fn note(&self, events: Events) {
        for event in Event::ALL.into_iter().filter(|event| events.has(*event)) {
            self.events[event as usize].fetch_add(1, Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        Counts(self.events.each_ref().map(|count| count.load(Relaxed)))
    }
}

impl Model for Exploration {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        self.first.clone()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if !self.shared.stop.load(Relaxed) {
            world.steps(&self.setup, steps);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        let events = world.take(&self.setup, step);
        self.shared.note(events);
        world.rename();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(name(Rule::Belief), |_, world: &World| world.keeps(Rule::Belief)),
            Property::always(name(Rule::Token), |_, world: &World| world.keeps(Rule::Token)),
            Property::always(name(Rule::Extension), |_, world: &World| {
                world.keeps(Rule::Extension)
            }),
            Property::always(name(Rule::Release), |_, world: &World| world.keeps(Rule::Release)),
            Property::always(name(Rule::Resurrection), |_, world: &World| {
                world.keeps(Rule::Resurrection)
            }),
            Property::always(name(Rule::Failure), |_, world: &World| world.keeps(Rule::Failure)),
            Property::always(name(Rule::Copy), |_, world: &World| world.keeps(Rule::Copy)),
        ]
    }
}

fn name(rule: Rule) -> &'static str {
    Rule::ALL.iter().find(|(known, _)| *known == rule).map_or("", |(_, name)| name)
}

/// Explores every state of a setup, or until a rule is broken.
///
/// # Errors
/// A limit was reached before the end, or the timing breaks a rule.
pub fn explore(setup: &Setup, limits: Limits) -> Result<Outcome, Box<dyn std::error::Error>> {
    let mut first = Vec::new();
    for rates in setup.rates {
        let mut world = World::new(setup, *rates)?;
        world.rename();
        first.push(world);
    }
    let shared = Arc::new(Shared::default());
    let exploration = Exploration { setup: setup.clone(), first, shared: Arc::clone(&shared) };
    let began = Instant::now();
    let checker = exploration
        .checker()
        .threads(limits.threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs();
    let mut unfinished = None;
    while !checker.is_done() {
        std::thread::sleep(Duration::from_millis(20));
        let (states, memory) = (checker.unique_state_count(), resident_mib());
        if unfinished.is_none() && states > limits.states {
            unfinished = Some(Unfinished::States(states));
        } else if unfinished.is_none() && memory > limits.memory {
            unfinished = Some(Unfinished::Memory(memory));
        }
        // Nothing follows any state from now on, so that the threads run dry.
        shared.stop.store(unfinished.is_some(), Relaxed);
    }
    let took = began.elapsed();
    let checker = checker.join();
    // The way to a broken rule is found by taking its steps again.
    shared.stop.store(false, Relaxed);
    let events = shared.counts();
    let violation = Rule::ALL.iter().find_map(|(rule, name)| {
        let path = checker.discovery(name)?;
        let begin = path.clone().into_states().into_iter().next()?;
        Some((*rule, begin, path.into_actions()))
    });
    if let (Some(unfinished), None) = (unfinished, &violation) {
        return Err(unfinished.into());
    }
    Ok(Outcome {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took,
        violation,
        events,
    })
}

/// The memory of this process. Zero where the system does not tell.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(0, |kib| kib / 1024)
}
