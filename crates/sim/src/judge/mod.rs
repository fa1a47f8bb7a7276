//! What must hold after every event.
//!
//! The judge listens: whoever plays a schedule reports every fact to it, with the [`Scene`] in
//! which it happened. The judge keeps what it has to remember, and changes nothing that is played.

mod conduct;
mod views;
mod writes;

use leasehold_core::{Nonce, Time, Token};

use crate::case::{Case, Kind, Nanos};
use crate::cause::Cause;
use crate::excuse::{Excuses, Of, Side};
use crate::node::{Belief, Node, Work};
use crate::scene::Scene;
use crate::store_kind::StoreKind;
use crate::story::name;

pub(crate) use self::writes::Wrote;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in real time.
    pub at: Nanos,
    /// What was seen.
    pub what: String,
}

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// S1: two candidates believe at once.
    Belief,
    /// S9: the works of two terms run at once.
    Work,
    /// S3: tokens grow in store order.
    Token,
    /// S4: only who won a term extends it.
    Extension,
    /// S5: a release is of one's own term, after its work, and frees the lock.
    Release,
    /// S6: what ended stays ended.
    Resurrection,
    /// S7: what observers are told.
    View,
    /// L1: somebody leads in time.
    Failover,
    /// L2: a release is settled in time.
    Termination,
    /// L3, L5: a term ends for a reason.
    Stability,
    /// No hot loop.
    Spinning,
    /// Contending stops for a reason.
    Failure,
    /// What cannot be parsed stays.
    Overwritten,
}

/// What a release's and a renewal's sender has won.
#[derive(Clone, Copy, Debug)]
struct Won {
    token: Token,
    lineage: u64,
}

/// What the judge remembers of a node.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// So many requests in a second are no hot loop.
    fair: u64,
    /// Requests since `window`.
    requests: u64,
    /// The present second of the request count.
    window: Time,
    /// The holder in view: nonce, and until when at most.
    viewed: Option<(Nonce, Time)>,
    /// The greatest token in view.
    greatest: Token,
    /// When the watch showed it what was long gone.
    misled_at: Nanos,
}

impl Watched {
    fn new(case: &Case, node: &Node) -> Self {
        let settings = &case.candidates[node.config.min(case.candidates.len() - 1)];
        let fastest = settings.retry_period_ms.min(settings.request_timeout_ms);
        Self {
            fair: 30 + 6000 / fastest.max(1),
            requests: 0,
            window: node.clock.show(0),
            viewed: None,
            greatest: 0,
            misled_at: 0,
        }
    }
}

/// The judge of a schedule.
#[derive(Debug)]
pub(crate) struct Judge {
    violation: Option<Violation>,
    /// Which overlaps are expected.
    excuses: Excuses,
    watched: Vec<Watched>,
    /// Nothing in the schedule rewrites history.
    calm: bool,
    /// The faults are over.
    quiet: bool,
    /// And so is the time within which somebody has to lead.
    bound: bool,
    /// Somebody has led since the faults were over.
    led: bool,
    /// How many faults last.
    faults: usize,
    /// When the last one ended.
    disturbed_at: Nanos,
    greatest: Token,
    /// The term that the store names, and since when.
    named: (Option<Token>, Nanos),
    /// The state in which it began to.
    named_at: usize,
    won: Vec<Won>,
    /// The Takes that somebody has asked to revoke.
    revoked: Vec<Nonce>,
}

impl Judge {
    /// Nothing has happened. The foreign client believes for so long after a write.
    #[must_use]
    pub(crate) fn new(case: &Case, nodes: &[Node], foreign: Nanos) -> Self {
        let rewrites = |kind: Kind| {
            use Kind::{AdminDelete, AdminFree, Clone, Foreign, Replaced, Restored};
            matches!(kind, AdminDelete | AdminFree | Clone | Foreign | Replaced | Restored)
        };
        let forgets = case.store == StoreKind::Forgets;
        Self {
            violation: None,
            excuses: Excuses::new(case, nodes, foreign),
            watched: nodes.iter().map(|node| Watched::new(case, node)).collect(),
            calm: !forgets && !case.faults.iter().any(|fault| rewrites(fault.kind)),
            quiet: false,
            bound: false,
            led: false,
            faults: 0,
            disturbed_at: 0,
            greatest: 0,
            named: (None, 0),
            named_at: 0,
            won: Vec::new(),
            revoked: Vec::new(),
        }
    }

    /// What was broken first.
    #[must_use]
    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Why overlaps were expected, each once.
    #[must_use]
    pub(crate) fn excused(&self) -> &[Cause] {
        self.excuses.counted()
    }

    fn violate(&mut self, at: Nanos, rule: Rule, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at, what: what() });
        }
    }

    /// A fault begins.
    pub(crate) fn fault_begins(&mut self) {
        self.faults += 1;
    }

    /// A fault ends.
    pub(crate) fn fault_ends(&mut self, scene: &Scene<'_>) {
        self.faults -= 1;
        self.disturbed_at = scene.now;
    }

    /// The faults are over.
    pub(crate) fn begins_quiet(&mut self, scene: &Scene<'_>) {
        self.quiet = true;
        let leads = |node: &Node| node.belief.is_some_and(|belief| belief.until > scene.now);
        self.led |= scene.nodes.iter().any(leads);
    }

    /// By now somebody must have led.
    pub(crate) fn reaches_bound(&mut self, scene: &Scene<'_>) {
        self.bound = true;
        if !self.led {
            self.violate(scene.now, Rule::Failover, || "nobody led within the bound".into());
        }
    }

    /// A node was copied: the copy is the next node.
    pub(crate) fn copies(&mut self, scene: &Scene<'_>, x: usize) {
        self.excuses.copies(scene, x, scene.nodes.len());
        self.watched.push(self.watched[x]);
    }

    /// A node's process died.
    pub(crate) fn dies(&mut self, x: usize) {
        let watched = &mut self.watched[x];
        (watched.viewed, watched.greatest) = (None, 0);
    }

    /// A node believes in another term. `last` is the work that it did so far.
    pub(crate) fn begins_term(&mut self, scene: &Scene<'_>, x: usize, last: Option<Work>) {
        let now = scene.now;
        let node = &scene.nodes[x];
        let Some(Belief { token, .. }) = node.belief else { return };
        self.led |= self.quiet;
        if node.over.contains(&token) {
            self.violate(now, Rule::Resurrection, || {
                format!("{} leads term {token} once more", name(x))
            });
        }
        if let Some(work) = last.filter(|work| work.end() > now)
            && !self.expects(scene, [Side::of(x, token), Side::of(x, work.token)], Of::Work)
        {
            self.violate(now, Rule::Work, || {
                format!("{} begins while its last work runs", name(x))
            });
        }
        for (y, other) in scene.nodes.iter().enumerate() {
            let Some(work) = other.work.filter(|work| y != x && work.end() > now) else {
                continue;
            };
            if !self.expects(scene, [Side::of(x, token), Side::of(y, work.token)], Of::Work) {
                self.violate(now, Rule::Work, || {
                    format!("{} begins term {token} while the work of {} runs", name(x), name(y))
                });
            }
        }
        self.overlaps(scene, x);
    }

    /// A node still believes in the term that it believed in before.
    pub(crate) fn believes_on(&mut self, scene: &Scene<'_>, x: usize, before: Belief) {
        let Some(own) = scene.nodes[x].belief else { return };
        if scene.now >= before.until {
            self.violate(scene.now, Rule::Resurrection, || {
                format!("{} believes in term {} again", name(x), own.token)
            });
        }
        // Where nothing is excused, overlaps begin with a belief that begins or goes on.
        if own.deadline != before.deadline || !self.excuses.is_empty() {
            self.overlaps(scene, x);
        }
    }

    fn expects(&mut self, scene: &Scene<'_>, sides: [Side; 2], of: Of) -> bool {
        self.excuses.excuses(scene, sides, of)
    }

    /// Nobody else believes now.
    fn overlaps(&mut self, scene: &Scene<'_>, x: usize) {
        let now = scene.now;
        let Some(own) = scene.nodes[x].belief else { return };
        for y in 0..scene.nodes.len() {
            let other = scene.nodes[y].belief.filter(|belief| y != x && belief.until > now);
            let Some(other) = other else { continue };
            if !self.expects(scene, [Side::of(x, own.token), Side::of(y, other.token)], Of::Belief)
            {
                self.violate(scene.now, Rule::Belief, || {
                    format!("{} and {} believe at once", name(x), name(y))
                });
            }
        }
        if scene.foreign_until > now
            && !self.expects(scene, [Side::of(x, own.token), Side::FOREIGN], Of::Belief)
        {
            self.violate(scene.now, Rule::Belief, || {
                format!("{} and the foreign client believe at once", name(x))
            });
        }
    }

    /// The foreign client believes from now on.
    pub(crate) fn foreign_believes(&mut self, scene: &Scene<'_>) {
        for (x, node) in scene.nodes.iter().enumerate() {
            if node.belief.is_some_and(|belief| belief.until > scene.now) {
                self.overlaps(scene, x);
            }
        }
    }
}
