//! Guard and supervisor of `leasehold run` in a small model of a kernel.
//!
//! The objects that decide are the product's ([`leasehold_guard::Guard`] and
//! [`leasehold_guard::Watch`]); they are driven as the product drives them, one system call a turn,
//! with everybody else's turns between. CMD's processes fork, hide, reparent, change their session,
//! user and namespace and end as they like; guard and supervisor are frozen, starved and killed.
//! After every turn the invariants ([`Rule`]) are judged by who really lives.
//!
//! Not modelled: threads, `ptrace`, a full process table, a `/proc` of another namespace, and more
//! than one thing that happens within a system call. A process that leaves CMD's tree and its
//! control group has escaped (docs/RUN.md); no process does it here.
//!
//! - `case.rs`: what a seed stands for.
//! - `kernel.rs`: processes, parents, groups, namespaces, signals. `list.rs`: lists that take time.
//! - `hands.rs`: what guard and supervisor do, one system call at a time.
//! - `world/`: whose turn it is, and who takes it. `tree.rs`: what CMD's processes do. `guard.rs`,
//!   `supervisor.rs`, `rest.rs`: those who drive the machines. `judge.rs`: the invariants.

mod case;
mod hands;
mod kernel;
mod list;
mod world;

pub use case::{Case, Fault, Finale, Kind, generate};
pub use leasehold_guard::Defect;
use leasehold_guard::Time;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// "All dead" is said, or the lock given back or freed, while something of CMD lives.
    Release,
    /// "All dead" is said without the kernel's word.
    Evidence,
    /// Something that could be killed lives when the lease may pass to another, though somebody had
    /// the time to kill it.
    Passing,
    /// What outlives the lease is not reported, or not by name.
    Report,
    /// The end is dated by what nobody saw.
    Dates,
    /// The lease is renewed although something was not dead in time.
    Renewal,
    /// Somebody was signalled who is none of CMD's.
    Stray,
    /// A loop has no bound.
    Loop,
    /// The run does not end.
    End,
    /// Nothing went wrong, and it does not end well.
    Quiet,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// When.
    pub at: Time,
    /// How it shows.
    pub what: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The lock was given back.
    Released,
    /// Everything was dead in time, and the lease was over or lost.
    Over,
    /// Everything is dead, and something outlived the lease.
    Late,
    /// Something is not dead.
    NotDead,
    /// The supervisor was killed.
    Killed,
}

/// A run that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// The first invariant that was broken.
    pub broken: Option<Broken>,
    /// How it ended.
    pub ending: Ending,
    /// How many turns it took.
    pub turns: u64,
    /// What happened, if that was asked for.
    pub story: Vec<String>,
}

/// A deliberate flaw: in the machines, or in what drives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// In a machine.
    Machine(Defect),
    /// The error of a channel whose other end was closed with something unread is taken for its
    /// end.
    ResetIsTheEnd,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Machine(Defect::EmptyListsAreDeath),
        Self::Machine(Defect::QueueBeforeClock),
        Self::Machine(Defect::RenewsWhileKilling),
        Self::Machine(Defect::ClosedIsDeath),
        Self::Machine(Defect::ReleasesWithLeft),
        Self::Machine(Defect::GuardsWordStands),
        Self::Machine(Defect::HiddenIsNone),
        Self::Machine(Defect::PartIsWhole),
        Self::Machine(Defect::EmptyCgroupIsDeath),
        Self::Machine(Defect::NeverRests),
        Self::Machine(Defect::NeverGivesUp),
        Self::Machine(Defect::WaitsForGuard),
        Self::Machine(Defect::TrustsSilentGuard),
        Self::Machine(Defect::BeatOutlastsLease),
        Self::Machine(Defect::DeathIsWhenNoticed),
        Self::ResetIsTheEnd,
    ];

    fn defect(self) -> Option<Defect> {
        match self {
            Self::Machine(defect) => Some(defect),
            Self::ResetIsTheEnd => None,
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let camel = match self {
            Self::Machine(defect) => format!("{defect:?}"),
            flaw @ Self::ResetIsTheEnd => format!("{flaw:?}"),
        };
        let mut name = String::new();
        for letter in camel.chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}

/// Plays a schedule, with a flaw if that is wanted.
#[must_use]
pub fn play(case: &Case, flaw: Option<Flaw>, told: bool) -> Played {
    world::World::new(case, flaw, told).play()
}

/// A smaller schedule that breaks the same rule, found by removing and simplifying greedily.
#[must_use]
pub fn shrink(case: &Case, flaw: Option<Flaw>, rule: Rule) -> Case {
    let breaks = |case: &Case| play(case, flaw, false).broken.is_some_and(|b| b.rule == rule);
    let mut best = case.clone();
    while let Some(smaller) = smaller(&best).into_iter().find(breaks) {
        best = smaller;
    }
    best
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
    for forks in [0, case.forks / 2, case.forks.saturating_sub(1)] {
        add(&|case| case.forks = forks);
    }
    for bit in 0..32 {
        add(&|case| case.deeds &= !(1 << bit));
    }
    add(&|case| case.spared = case.spared.saturating_sub(1));
    add(&|case| case.cgroup = false);
    add(&|case| case.alive = (case.alive / 2).max(1));
    all
}
