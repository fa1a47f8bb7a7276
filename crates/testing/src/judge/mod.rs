//! The checker: what every history must keep, whatever the case was about.
//!
//! With a lease the usual checker for mutual exclusion says no to legal histories: a holder dies
//! and never releases. Intervals of belief and tokens say the same in linear time, and a violation
//! is a line that people can read.

mod requests;
mod store;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::history::Event;

pub use crate::history::Span;
pub use terms::spans;

/// What a history must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Two candidates never believe at one moment.
    BeliefExclusion,
    /// A resource that compares tokens lets no smaller one in after a greater.
    FencedEffects,
    /// Every take stores a greater token than the one before, and no token names two terms.
    TokensGrow,
    /// Only who won a term extends or releases it.
    Identity,
    /// Nobody believes after giving a term back.
    ReleaseEndsBelief,
    /// A term that is over stays over.
    NoResurrection,
    /// An observer is told of leaders in the order of their tokens, and of none that never took.
    Observers,
    /// Work runs within its term and is dead before the lease can pass on.
    WorkWithinTerm,
    /// No two works run at one moment.
    WorkExclusion,
    /// Every request ends in time.
    Termination,
    /// Without a fault no term is lost.
    Stability,
}

/// What the judge needs to know of the case.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Closer than this is within what stamps are worth.
    pub marginal: Duration,
    /// The longest time that a request may take.
    pub request_limit: Duration,
    /// What the case shows to be violated.
    pub exempt: Vec<Exemption>,
}

impl Rules {
    /// Of a history whose stamps are exact, of a case that shows nothing to be violated.
    #[must_use]
    pub fn exact() -> Self {
        Self { marginal: Duration::ZERO, request_limit: Duration::MAX, exempt: Vec::new() }
    }
}

/// What a case shows to be violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// What.
    pub property: Property,
    /// Among the nodes of which lock (`lock/…`); `None` is all.
    pub lock: Option<&'static str>,
    /// For how long at a time; `None` says nothing of it.
    pub at_most: Option<Duration>,
}

impl Exemption {
    fn covers(&self, lock: &str, violation: &Violation) -> bool {
        self.property == violation.property
            && self.lock.is_none_or(|only| only == lock)
            && self.at_most.is_none_or(|most| violation.lasted.is_some_and(|it| it <= most))
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Of what.
    pub property: Property,
    /// What was seen.
    pub text: String,
    /// How long it lasted, where that can be told.
    pub lasted: Option<Duration>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.text)
    }
}

/// Everything that a history violates and the rules do not exempt. Nodes named `x/…` share a lock
/// of their own.
#[must_use]
pub fn judge(events: &[Event], rules: &Rules) -> Vec<Violation> {
    let mut all = Vec::new();
    let mut locks: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for event in events {
        let lock = event.node.split_once('/').map_or("", |(lock, _)| lock);
        locks.entry(lock).or_default().push(event.clone());
    }
    for (lock, events) in locks {
        let mut found = Findings(Vec::new());
        terms::judge(&events, rules, &mut found);
        store::judge(&events, &mut found);
        requests::judge(&events, rules, &mut found);
        let exempt =
            |violation: &Violation| rules.exempt.iter().any(|it| it.covers(lock, violation));
        all.extend(found.0.into_iter().filter(|violation| !exempt(violation)));
    }
    all
}

/// What was found so far.
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, property: Property, text: String) {
        self.0.push(Violation { property, text, lasted: None });
    }

    fn add_lasting(&mut self, property: Property, text: String, lasted: Duration) {
        self.0.push(Violation { property, text, lasted: Some(lasted) });
    }
}
