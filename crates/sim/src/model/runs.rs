//! The runs: which together hold every step.

use leasehold_core::Mutant;

use super::check::{Outcome, Space};
use super::event::Event;
use super::rule::Rule;
use super::setup::{ANY, Mode, Rates, Setup};
use super::world::World;

/// A run and what it must find.
#[derive(Clone, Debug)]
pub struct Run<W: Space = World> {
    /// What it contains.
    pub setup: W::Setup,
    /// The rules of which it must break one; empty if every state must keep every rule.
    pub breaks: &'static [Rule],
    /// What must happen in it.
    pub needs: &'static [Event],
}

impl<W: Space> Run<W> {
    /// Whether what was found is what had to be.
    ///
    /// # Errors
    /// What is missing, or should not be.
    pub fn judge(&self, outcome: &Outcome<W>) -> Result<(), String> {
        let found = outcome.violation.as_ref().map(|(rule, ..)| *rule);
        match found {
            Some(rule) if self.breaks.contains(&rule) => return Ok(()),
            Some(rule) => return Err(format!("{rule:?} is broken")),
            None if self.breaks.is_empty() => {}
            None => return Err(format!("none of {:?} is broken", self.breaks)),
        }
        match self.needs.iter().find(|event| outcome.events.of(**event) == 0) {
            Some(event) => Err(format!("{event:?} never happened: the run proves little")),
            None => Ok(()),
        }
    }
}

const EQUAL: Rates = Rates { candidates: [1, 1], store: 1 };
/// One candidate's clock is twice as fast: exactly at the bound where L is 2 D.
const FAST_OTHER: Rates = Rates { candidates: [1, 2], store: 1 };
/// The store's clock is twice as fast.
const FAST_STORE: Rates = Rates { candidates: [1, 1], store: 2 };
/// One candidate's clock and the store's are: the slow one is exactly at the bound.
const SLOW_ONE: Rates = Rates { candidates: [1, 2], store: 2 };

const BASE: Setup = Setup {
    name: "",
    mode: Mode::ByObserver,
    lease: 4,
    deadline: 2,
    rates: &[],
    late: false,
    zombies: 2,
    resigns: false,
    expires: false,
    withdraws: false,
    restarts: 0,
    deletes: 0,
    restores: 0,
    copies: false,
    mutant: None,
};

const OVER: &[Event] = &[Event::HandOver, Event::AmbiguousThenOwn];
const OVER_LATE: &[Event] = &[Event::HandOver, Event::AmbiguousThenOwn, Event::ZombieApplied];
const AGAIN: &[Event] =
    &[Event::HandOver, Event::AmbiguousThenOwn, Event::ZombieApplied, Event::Reassertion];

const OLD_COPY: &[Event] = &[Event::HandOver, Event::AmbiguousThenOwn, Event::OverOldCopy];

/// The runs in which every state must keep every rule. Together they hold every step.
fn safe() -> Vec<Run> {
    let observer = Setup { rates: &[FAST_OTHER], ..BASE };
    let server =
        Setup { mode: Mode::ByServer, rates: &[SLOW_ONE], zombies: 1, copies: true, ..BASE };
    let plain = Setup { zombies: 0, ..observer.clone() };
    let one = Setup { zombies: 1, ..observer.clone() };
    let run = |name, setup, needs| Run { setup: Setup { name, ..setup }, breaks: &[], needs };
    vec![
        run("observer-late", Setup { late: true, ..plain.clone() }, OVER),
        run(
            "observer-release",
            Setup { resigns: true, expires: true, ..observer.clone() },
            OVER_LATE,
        ),
        run("observer-restart", Setup { restarts: ANY, ..one.clone() }, OVER_LATE),
        run("observer-withdraw", Setup { withdraws: true, ..plain }, OVER),
        // Without zombies: a re-assertion that lands after its term is taken for a copy's, as after
        // a deletion.
        run("observer-restore", Setup { restores: 1, ..plain.clone() }, OLD_COPY),
        run(
            "forgets",
            Setup { mode: Mode::Forgets, lease: 3, rates: &[EQUAL], restores: 1, ..plain.clone() },
            OLD_COPY,
        ),
        run("observer-delete", Setup { deletes: 1, copies: true, ..one }, AGAIN),
        run("observer-equal", Setup { lease: 3, rates: &[EQUAL], ..observer }, OVER_LATE),
        run("server-late", Setup { late: true, zombies: 0, ..server.clone() }, OVER),
        run("server-release", Setup { resigns: true, expires: true, ..server.clone() }, OVER_LATE),
        run("server-restart", Setup { restarts: 1, ..server }, OVER_LATE),
    ]
}

/// The runs beyond the bound: D is a tick longer, and two leaders must be found.
fn beyond() -> Vec<Run> {
    let observer = Setup { name: "observer-beyond", deadline: 3, rates: &[FAST_OTHER], ..BASE };
    let server = Setup {
        name: "server-beyond",
        mode: Mode::ByServer,
        deadline: 3,
        rates: &[FAST_STORE],
        ..BASE
    };
    let run = |setup| Run { setup, breaks: &[Rule::Belief], needs: &[] };
    vec![run(observer), run(server)]
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Run> {
    let mut runs = safe();
    runs.extend(beyond());
    runs.push(old_copy());
    runs.push(residue());
    runs.extend(mutants());
    runs
}

/// What is known not to hold (ARCHITECTURE.md, "Residues"). Once it does, this run fails, and
/// belongs to the safe ones: a Take went astray, its revocation too, and then the Take is applied.
/// The incarnation is the candidate's own, but the nonce was forgotten.
fn residue() -> Run {
    let setup = Setup {
        name: "server-copy",
        mode: Mode::ByServer,
        rates: &[FAST_STORE],
        zombies: 1,
        ..BASE
    };
    Run { setup, breaks: &[Rule::Copy], needs: &[] }
}

/// An older write of one's own that an administrator puts back is taken for a copy's.
fn old_copy() -> Run {
    let setup = Setup {
        name: "observer-mutant-old-write-is-copys",
        rates: &[FAST_OTHER],
        restores: 1,
        mutant: Some(Mutant::OldWriteIsCopys),
        ..BASE
    };
    Run { setup, breaks: &[Rule::Copy], needs: &[] }
}

/// Deliberate defects of the election, within the bound: each must break a rule.
fn mutants() -> Vec<Run> {
    let observer =
        Setup { rates: &[FAST_OTHER], late: true, zombies: 1, resigns: true, copies: true, ..BASE };
    let deletes = Setup { deletes: 1, late: false, ..observer.clone() };
    let server = Setup { mode: Mode::ByServer, rates: &[FAST_STORE], ..observer.clone() };
    let run = |(name, mutant, setup): (&'static str, Mutant, &Setup)| Run {
        setup: Setup { name, mutant: Some(mutant), ..setup.clone() },
        breaks: ANY_RULE,
        needs: &[],
    };
    [
        ("observer-mutant-constant-nonce", Mutant::ConstantNonce, &observer),
        ("observer-mutant-leads-on-read", Mutant::LeadsOnRead, &observer),
        ("observer-mutant-no-deadline", Mutant::NoDeadline, &observer),
        ("observer-mutant-no-margin", Mutant::NoMargin, &observer),
        ("observer-mutant-deadline-from-answer", Mutant::DeadlineFromAnswer, &observer),
        ("observer-mutant-waits-from-send", Mutant::WaitsFromSend, &observer),
        ("observer-mutant-timeout-is-success", Mutant::TimeoutIsSuccess, &observer),
        ("observer-mutant-accepts-late", Mutant::AcceptsLate, &observer),
        ("observer-mutant-resurrects", Mutant::Resurrects, &observer),
        ("observer-mutant-holds-on-unavailable", Mutant::HoldsOnUnavailable, &observer),
        ("observer-mutant-releases-anything", Mutant::ReleasesAnything, &observer),
        ("observer-mutant-client-go-timing", Mutant::ClientGoTiming, &observer),
        ("observer-mutant-token-reset", Mutant::TokenReset, &observer),
        ("observer-mutant-takes-absent", Mutant::TakesAbsent, &deletes),
        ("observer-mutant-vanished-counts-from-life", Mutant::VanishedCountsFromLife, &deletes),
        ("observer-mutant-adopted-is-release", Mutant::AdoptedIsRelease, &deletes),
        ("server-mutant-leads-on-read", Mutant::LeadsOnRead, &server),
        ("server-mutant-no-deadline", Mutant::NoDeadline, &server),
        ("server-mutant-no-margin", Mutant::NoMargin, &server),
        ("server-mutant-deadline-from-answer", Mutant::DeadlineFromAnswer, &server),
        ("server-mutant-timeout-is-success", Mutant::TimeoutIsSuccess, &server),
        ("server-mutant-accepts-late", Mutant::AcceptsLate, &server),
        ("server-mutant-resurrects", Mutant::Resurrects, &server),
        ("server-mutant-holds-on-unavailable", Mutant::HoldsOnUnavailable, &server),
    ]
    .map(run)
    .into()
}

const ANY_RULE: &[Rule] =
    &[Rule::Belief, Rule::Token, Rule::Extension, Rule::Release, Rule::Resurrection, Rule::Failure];
