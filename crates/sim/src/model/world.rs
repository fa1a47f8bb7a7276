//! The state that is explored.

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{Election, Input, InvalidTiming, Observed, Outcome, Time, Token};

use super::register::{Register, Write};
use super::rule::Rule;
use super::setup::{Mode, Rates, Setup};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Read(Observed),
    Wrote(Outcome),
}

/// The one request in flight. A read shows what was stored when it was sent, or when it arrived
/// last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Idle,
    Asked(Write),
    Answered(Reply),
}

/// One candidate's process and what it has on the way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub election: Election,
    /// What its clock shows.
    pub now: Time,
    pub wire: Wire,
    /// A write that it gave up and that may still arrive.
    pub zombie: Option<Write>,
    /// The work of its last term is not known to have stopped.
    pub working: bool,
    /// The greatest token it no longer believes in.
    pub over: Option<Token>,
}

/// What is named next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fresh {
    pub nonce: u64,
    pub version: u64,
    pub incarnation: u64,
}

/// A state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) nodes: [Node; 2],
    pub(crate) register: Register,
    pub(crate) rates: Rates,
    pub(crate) fresh: Fresh,
    pub(crate) restarts: u8,
    pub(crate) deletes: u8,
    pub(crate) restores: u8,
    pub(crate) broken: Option<Rule>,
    /// To take a record of one's own for a copy's breaks a rule.
    pub(crate) copies: bool,
}

/// What the clock of a candidate shows to begin with, and after every renaming.
pub(crate) const BASE: Time = Time(1 << 50);

impl World {
    /// Both candidates stand, and nobody has ever held the lock.
    ///
    /// # Errors
    /// The timing breaks a rule.
    pub fn new(setup: &Setup, rates: Rates) -> Result<Self, InvalidTiming> {
        let node = |number| {
            Ok(Node {
                election: setup.election(number)?,
                now: BASE,
                wire: Wire::Idle,
                zombie: None,
                working: false,
                over: None,
            })
        };
        let mut world = Self {
            nodes: [node(1)?, node(2)?],
            register: Register::new(setup.mode),
            rates,
            fresh: Fresh { nonce: 1, version: 1, incarnation: 3 },
            restarts: setup.restarts,
            deletes: setup.deletes,
            restores: setup.restores,
            broken: None,
            copies: !setup.copies,
        };
        for x in 0..2 {
            world.input(x, Input::Stand);
        }
        Ok(world)
    }

    /// The token that a candidate's program would be told it leads with.
    #[must_use]
    pub fn leads(&self, x: usize) -> Option<Token> {
        let node = &self.nodes[x];
        node.election.leadership(node.now).map(|leadership| leadership.token)
    }

    /// Whether this rule holds here.
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        let two = rule == Rule::Belief && self.leads(0).is_some() && self.leads(1).is_some();
        !two && self.broken != Some(rule)
    }
}

impl Write {
    pub(crate) fn visit(&mut self, mode: Mode, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { expected, change } = self;
        expected.visit(see);
        change.visit(mode == Mode::ByServer, see);
    }
}

impl Wire {
    pub(crate) fn visit(&mut self, mode: Mode, see: &mut dyn FnMut(Atom<'_>)) {
        match self {
            Self::Idle => {}
            Self::Asked(write) => write.visit(mode, see),
            Self::Answered(Reply::Read(observed)) => observed.visit(see),
            Self::Answered(Reply::Wrote(outcome)) => outcome.visit(see),
        }
    }
}

impl Node {
    pub(crate) fn visit(&mut self, mode: Mode, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { election, now: _, wire, zombie, working: _, over } = self;
        election.visit(see);
        wire.visit(mode, see);
        if let Some(zombie) = zombie {
            zombie.visit(mode, see);
        }
        if let Some(over) = over {
            see(Atom::Mark(over));
        }
    }
}
