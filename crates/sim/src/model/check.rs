//! Explores a setup with stateright.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use std::hash::Hash;

use leasehold_core::InvalidTiming;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::event::{Event, Events};
use super::rule::Rule;
use super::world::World;

/// The states of one model.
pub trait Space: Clone + fmt::Debug + PartialEq + Hash + Send + Sync + Sized + 'static {
    /// What a run of it contains.
    type Setup: Clone + Send + Sync + 'static;
    /// What happens next.
    type Step: Copy + fmt::Debug + PartialEq + Send + Sync + 'static;

    /// The states that a run begins with.
    ///
    /// # Errors
    /// The timing breaks a rule.
    fn first(setup: &Self::Setup) -> Result<Vec<Self>, InvalidTiming>;

    /// Every step that is possible: none once a rule is broken.
    fn next(&self, setup: &Self::Setup, steps: &mut Vec<Self::Step>);

    /// Takes a step that [`next`](Self::next) named.
    fn take_step(&mut self, setup: &Self::Setup, step: Self::Step) -> Events;

    /// Writes it in the one form of all states that differ in names only.
    fn canonical(&mut self);

    /// Whether this rule holds here.
    fn holds(&self, rule: Rule) -> bool;

    /// Tells the steps from a first state, line by line.
    fn story(&self, setup: &Self::Setup, steps: &[Self::Step]) -> Vec<String>;
}

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
pub struct Outcome<W: Space = World> {
    /// Unique states.
    pub states: usize,
    /// States generated, duplicates included.
    pub generated: usize,
    /// The longest way to a state that was looked at.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The broken rule and the way there, from the state it began with; `None` if every state
    /// keeps every rule.
    pub violation: Option<(Rule, W, Vec<W::Step>)>,
    /// How often each event happened.
    pub events: Counts,
}

/// How often each event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Event::ALL.len()]);

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
    /// More memory than allowed, in MiB, after so many states.
    Memory(u64, usize),
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(states) => {
                write!(f, "not complete: stopped at {states} states; allow more with --states")
            }
            Self::Memory(mib, states) => write!(
                f,
                "not complete: stopped at {mib} MiB and {states} states; allow more with --memory"
            ),
        }
    }
}

impl std::error::Error for Unfinished {}

struct Exploration<W: Space> {
    setup: W::Setup,
    first: Vec<W>,
    shared: Arc<Shared>,
}

/// What the threads that explore share with the one that watches.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: [AtomicU64; Event::ALL.len()],
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

impl<W: Space> Model for Exploration<W> {
    type State = W;
    type Action = W::Step;

    fn init_states(&self) -> Vec<W> {
        self.first.clone()
    }

    fn actions(&self, world: &W, steps: &mut Vec<W::Step>) {
        if !self.shared.stop.load(Relaxed) {
            world.next(&self.setup, steps);
        }
    }

    fn next_state(&self, world: &W, step: W::Step) -> Option<W> {
        let mut world = world.clone();
        let events = world.take_step(&self.setup, step);
        self.shared.note(events);
        world.canonical();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(name(Rule::Belief), |_, world: &W| world.holds(Rule::Belief)),
            Property::always(name(Rule::Token), |_, world: &W| world.holds(Rule::Token)),
            Property::always(name(Rule::Extension), |_, world: &W| world.holds(Rule::Extension)),
            Property::always(name(Rule::Release), |_, world: &W| world.holds(Rule::Release)),
            Property::always(name(Rule::Resurrection), |_, world: &W| {
                world.holds(Rule::Resurrection)
            }),
            Property::always(name(Rule::Failure), |_, world: &W| world.holds(Rule::Failure)),
            Property::always(name(Rule::Copy), |_, world: &W| world.holds(Rule::Copy)),
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
pub fn explore<W: Space>(
    setup: &W::Setup,
    limits: Limits,
) -> Result<Outcome<W>, Box<dyn std::error::Error>> {
    let mut first = W::first(setup)?;
    first.iter_mut().for_each(W::canonical);
    let shared = Arc::new(Shared::default());
    let exploration = Exploration::<W> { setup: setup.clone(), first, shared: Arc::clone(&shared) };
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
            unfinished = Some(Unfinished::Memory(memory, states));
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
