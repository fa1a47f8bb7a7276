//! The state that is explored, and its steps.

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{
    Action, Change, Election, ErrorKind, Input, Intent, InvalidTiming, Nonce, Observed, Outcome,
    Time, Token, Version,
};

use super::register::{Register, is_revocation};
use super::setup::{ANY, Mode, Rates, Setup, incarnation};

/// What must hold in every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// S1: two candidates believe at once.
    Belief,
    /// S3: tokens grow in the order in which the store applies.
    Token,
    /// S4: only who won a term extends it.
    Extension,
    /// S5: a release changes its own term's record only.
    Release,
    /// S6: what ended stays ended.
    Resurrection,
    /// Nobody stops contending for good.
    Failure,
    /// Nobody takes its own record for a copy's.
    Copy,
}

impl Rule {
    /// All of them, with what they are called.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Belief, "no two leaders"),
        (Self::Token, "tokens grow by commit"),
        (Self::Extension, "only who won a term extends it"),
        (Self::Release, "a release changes its own term only"),
        (Self::Resurrection, "what ended stays ended"),
        (Self::Failure, "nobody stops for good"),
        (Self::Copy, "nobody sees a copy"),
    ];
}

/// What happens next. Candidates are 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// All clocks advance.
    Tick,
    /// The write of a candidate arrives and is applied.
    /// Or its read arrives only now, and not when it was sent.
    Arrive(usize),
    /// The answer arrives.
    Answer(usize),
    /// The candidate gives up its request, and may be told nothing of it; it may still arrive.
    GiveUp(usize),
    /// The same, and the request is lost; an older one may still arrive.
    Lose(usize),
    /// A request that was given up arrives.
    Haunt(usize),
    /// The work is told to stop.
    Stop(usize),
    /// The work has stopped.
    Drained(usize),
    /// Somebody saw the deadline pass.
    Expired(usize),
    /// The candidate withdraws; a leader's owner is dropped.
    Withdraw(usize),
    /// It stands again.
    Stand(usize),
    /// The process dies, and starts again as another.
    Restart(usize),
    /// An administrator deletes the record.
    Delete,
}

/// What must happen at least once, lest a run without violation prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A candidate begins its first term after somebody else's.
    HandOver,
    /// A write is applied after its sender gave it up.
    ZombieApplied,
    /// A write whose outcome was unknown is read, and recognised.
    AmbiguousThenOwn,
    /// A leader asserts its record again where it was not.
    Reassertion,
}

impl Event {
    /// All of them, in order.
    pub const ALL: [Self; 4] =
        [Self::HandOver, Self::ZombieApplied, Self::AmbiguousThenOwn, Self::Reassertion];
}

/// What happened in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events([bool; 4]);

impl Events {
    /// Whether this happened.
    #[must_use]
    pub fn has(self, event: Event) -> bool {
        self.0[event as usize]
    }

    fn note(&mut self, event: Event, happened: bool) {
        self.0[event as usize] |= happened;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub expected: Version,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Read(Observed),
    Wrote(Outcome),
}

/// The one request in flight. A read shows what was stored when it was sent, or when it arrived last.
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
    /// It has led in this life.
    pub led: bool,
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
                led: false,
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

    /// Every step that is possible.
    pub fn steps(&self, setup: &Setup, steps: &mut Vec<Step>) {
        if Rule::ALL.iter().any(|(rule, _)| !self.keeps(*rule)) {
            return;
        }
        let gives_up_first = |node: &Node| !setup.late && node.wire != Wire::Idle;
        if !self.nodes.iter().any(gives_up_first) {
            steps.push(Step::Tick);
        }
        for x in 0..2 {
            self.steps_of(x, setup, steps);
        }
        if self.deletes > 0 && self.is_holder_known(!setup.unseen) {
            steps.push(Step::Delete);
        }
    }

    fn steps_of(&self, x: usize, setup: &Setup, steps: &mut Vec<Step>) {
        let node = &self.nodes[x];
        match node.wire {
            Wire::Idle => {}
            Wire::Asked(_) => steps.extend([Step::Arrive(x), Step::GiveUp(x)]),
            Wire::Answered(_) => steps.extend([Step::Answer(x), Step::GiveUp(x)]),
        }
        if let Wire::Answered(Reply::Read(observed)) = &node.wire
            && observed.version != self.register.version
        {
            steps.push(Step::Arrive(x));
        }
        if node.zombie.is_some() {
            steps.push(Step::Haunt(x));
        }
        if matches!(node.wire, Wire::Asked(_)) && self.displaces(x, setup) {
            steps.push(Step::Lose(x));
        }
        let leadership = node.election.leadership(node.now);
        let draining = leadership.is_some_and(|leadership| leadership.draining);
        if leadership.is_some() && !draining && setup.resigns {
            steps.push(Step::Stop(x));
        }
        if node.working && (draining || leadership.is_none()) {
            steps.push(Step::Drained(x));
        }
        if leadership.is_some() && setup.expires {
            steps.push(Step::Expired(x));
        }
        if setup.withdraws {
            let standing = node.election.standing();
            steps.push(if standing { Step::Withdraw(x) } else { Step::Stand(x) });
        }
        if self.restarts > 0 {
            steps.push(Step::Restart(x));
        }
    }

    /// Whether a write of this candidate that is given up takes the place of one that was given up before.
    fn displaces(&self, x: usize, setup: &Setup) -> bool {
        let all = setup.zombies == 1 && self.nodes.iter().any(|node| node.zombie.is_some());
        all || self.nodes[x].zombie.is_some()
    }

    /// Both candidates have seen the present holder, or even its last sign of life.
    fn is_holder_known(&self, last_sign: bool) -> bool {
        let Some(stored) = self.register.record.as_ref().filter(|stored| stored.holder.is_some())
        else {
            return false;
        };
        self.nodes.iter().all(|node| {
            let seen = node.election.observed().and_then(Observed::record);
            seen.is_some_and(|seen| {
                let known = seen.holder == stored.holder && seen.token == stored.token;
                known && (seen.nonce == stored.nonce || !last_sign)
            })
        })
    }

    /// Takes a step that [`steps`](Self::steps) named.
    pub fn take(&mut self, setup: &Setup, step: Step) -> Events {
        let mut events = Events::default();
        match step {
            Step::Tick => events = self.tick(setup),
            Step::Arrive(x) => self.arrive(x, &mut events),
            Step::Answer(x) => {
                if let Wire::Answered(reply) =
                    std::mem::replace(&mut self.nodes[x].wire, Wire::Idle)
                {
                    events = self.answer(x, reply);
                }
            }
            Step::GiveUp(x) => events = self.give_up(x, setup.zombies),
            Step::Lose(x) => events = self.give_up(x, 0),
            Step::Haunt(x) => {
                if let Some(zombie) = self.nodes[x].zombie.take() {
                    let applied = self.apply(&zombie, &mut events).is_some();
                    events.note(Event::ZombieApplied, applied);
                }
            }
            Step::Stop(x) => events = self.input(x, Input::Stop),
            Step::Drained(x) => {
                self.nodes[x].working = false;
                events = self.input(x, Input::Drained);
            }
            Step::Expired(x) => events = self.input(x, Input::Expired),
            Step::Withdraw(x) => events = self.input(x, Input::Withdraw),
            Step::Stand(x) => events = self.input(x, Input::Stand),
            Step::Restart(x) => self.restart(x, setup),
            Step::Delete => {
                self.deletes -= 1;
                self.register.delete();
            }
        }
        events
    }

    fn tick(&mut self, setup: &Setup) -> Events {
        let before = [self.leads(0), self.leads(1)];
        for x in 0..2 {
            let node = &mut self.nodes[x];
            node.now = node.now + setup.tick() * u32::from(self.rates.candidates[x]);
        }
        let mut events = Events::default();
        // What ends with time alone has ended before anybody does anything.
        for (x, before) in before.into_iter().enumerate() {
            self.compare(x, before, &mut events);
        }
        self.register.advance(self.rates.store, setup.lease);
        for x in 0..2 {
            self.input(x, Input::Tick);
        }
        events
    }

    fn arrive(&mut self, x: usize, events: &mut Events) {
        let wire = std::mem::replace(&mut self.nodes[x].wire, Wire::Idle);
        self.nodes[x].wire = match wire {
            Wire::Idle => Wire::Idle,
            Wire::Answered(_) => Wire::Answered(Reply::Read(self.register.observe())),
            Wire::Asked(write) => {
                let written = self.apply(&write, events);
                Wire::Answered(Reply::Wrote(written.map_or(Outcome::Conflict, Outcome::Written)))
            }
        };
    }

    fn apply(&mut self, write: &Write, events: &mut Events) -> Option<Observed> {
        let Self { register, fresh, broken, .. } = self;
        let version = || {
            fresh.version += 1;
            Version::number(fresh.version - 1)
        };
        let effect = register.write(&write.expected, &write.change, version)?;
        *broken = broken.or(effect.broken);
        events.note(Event::Reassertion, effect.reasserted);
        Some(register.observe())
    }

    fn answer(&mut self, x: usize, reply: Reply) -> Events {
        let (input, nonce) = match reply {
            Reply::Read(observed) => {
                let nonce = observed.record().map(|record| record.nonce);
                (Input::Read(Ok(observed)), nonce)
            }
            Reply::Wrote(outcome) => (Input::Wrote(Ok(outcome)), None),
        };
        let recognised = nonce.is_some_and(|nonce| self.nodes[x].election.awaits(nonce));
        let mut events = self.input(x, input);
        events.note(Event::AmbiguousThenOwn, recognised);
        events
    }

    /// The outcome of the request in flight stays unknown to its sender.
    fn give_up(&mut self, x: usize, zombies: u8) -> Events {
        let node = &mut self.nodes[x];
        let unavailable = ErrorKind::Unavailable;
        let input = match std::mem::replace(&mut node.wire, Wire::Idle) {
            Wire::Idle => return Events::default(),
            Wire::Answered(Reply::Read(_)) => Input::Read(Err(unavailable)),
            Wire::Asked(write) => {
                self.haunt_later(x, write, zombies);
                Input::Wrote(Err(unavailable))
            }
            Wire::Answered(Reply::Wrote(_)) => Input::Wrote(Err(unavailable)),
        };
        self.input(x, input)
    }

    /// A write may still arrive although nobody waits for it.
    fn haunt_later(&mut self, x: usize, write: Write, zombies: u8) {
        // What cannot be applied takes nobody's place.
        let revokes = is_revocation(&write.change);
        if !revokes && !self.register.may_apply(&write, self.deletes > 0, true) {
            return;
        }
        if zombies == 1 {
            self.nodes[1 - x].zombie = None;
        }
        if zombies > 0 {
            self.nodes[x].zombie = Some(write);
        }
    }

    fn restart(&mut self, x: usize, setup: &Setup) {
        if self.restarts != ANY {
            self.restarts -= 1;
        }
        let number = self.fresh.incarnation;
        self.fresh.incarnation += 1;
        let node = &mut self.nodes[x];
        node.election = setup.election(number).expect("the first of this timing was built");
        if let Wire::Asked(write) = std::mem::replace(&mut node.wire, Wire::Idle) {
            self.haunt_later(x, write, setup.zombies);
        }
        let node = &mut self.nodes[x];
        node.working = false;
        node.led = false;
        node.over = None;
        self.input(x, Input::Stand);
    }

    /// Hands an input to the election and does what the driver does after every input.
    fn input(&mut self, x: usize, input: Input) -> Events {
        let mut events = Events::default();
        let before = self.leads(x);
        let now = self.nodes[x].now;
        self.nodes[x].election.handle(now, input);
        self.compare(x, before, &mut events);
        let Self { nodes, fresh, register, .. } = self;
        let node = &mut nodes[x];
        if node.wire == Wire::Idle {
            let action = node.election.poll(now, || {
                fresh.nonce += 1;
                Nonce(u128::from(fresh.nonce - 1))
            });
            node.wire = match action {
                None => Wire::Idle,
                Some(Action::Read) => Wire::Answered(Reply::Read(register.observe())),
                Some(Action::Write { expected, change }) => {
                    register.grant(&change);
                    Wire::Asked(Write { expected, change })
                }
            };
        }
        // Whoever runs it takes these out after every input.
        let _ = (node.election.take_ended(), node.election.take_released());
        if node.election.failure().is_some() {
            self.broken = self.broken.or(Some(Rule::Failure));
        }
        if node.election.copied() {
            let life = incarnation(fresh.incarnation);
            fresh.incarnation += 1;
            self.broken = self.broken.or(self.copies.then_some(Rule::Copy));
            // Who was just born leads nothing.
            self.input(x, Input::Reborn(life));
        }
        events
    }

    /// Compares what a candidate believes with what it believed.
    fn compare(&mut self, x: usize, before: Option<Token>, events: &mut Events) {
        let after = self.leads(x);
        if before == after {
            return;
        }
        let node = &mut self.nodes[x];
        node.over = node.over.max(before);
        if let Some(token) = after {
            node.working = true;
            if node.over.is_some_and(|over| token <= over) {
                self.broken = self.broken.or(Some(Rule::Resurrection));
            }
            // The first token of all is 1.
            let first = !std::mem::replace(&mut node.led, true);
            events.note(Event::HandOver, first && token > 1);
        }
    }

    /// Forgets what can never matter again.
    pub(crate) fn prune(&mut self) {
        let Self { nodes, register, deletes, .. } = self;
        let stored = register.record.as_ref().map(|record| record.nonce);
        register.leases.retain(|lease| {
            // To revoke what no Take will use changes nothing.
            let names = |write: &Write| {
                write.change.intent == Intent::Take && write.change.record.nonce == lease.nonce
            };
            let asks = |node: &Node| matches!(&node.wire, Wire::Asked(write) if names(write));
            let haunts = |node: &Node| node.zombie.as_ref().is_some_and(names);
            Some(lease.nonce) == stored || nodes.iter().any(|node| asks(node) || haunts(node))
        });
        let again = *deletes > 0;
        for node in nodes.iter_mut() {
            node.zombie = node.zombie.take().filter(|zombie| {
                let sent_again = node.election.awaits(zombie.change.record.nonce);
                register.may_apply(zombie, again, sent_again)
            });
            if let Wire::Asked(write) = &node.wire
                && !register.may_apply(write, again, true)
                && !is_revocation(&write.change)
            {
                node.wire = Wire::Answered(Reply::Wrote(Outcome::Conflict));
            }
            if node.working && node.election.leadership(node.now).is_none() {
                let mut drained = node.election.clone();
                drained.handle(node.now, Input::Drained);
                node.working = drained != node.election;
            }
        }
        self.forget();
        for x in 0..2 {
            self.forget_term(x);
        }
    }

    /// Forgets which term of a candidate is over, once nothing names it or an earlier one. Tokens that are minted
    /// later are greater, unless a process starts again after a deletion, which no run contains.
    fn forget_term(&mut self, x: usize) {
        let Some(over) = self.nodes[x].over else { return };
        let mut named = false;
        let mut note = |atom: Atom<'_>| {
            if let Atom::Token(token) = atom {
                named |= (1..=over).contains(token);
            }
        };
        self.register.visit(&mut note);
        let mode = self.register.mode;
        self.nodes.iter_mut().for_each(|node| node.visit(mode, &mut note));
        if !named {
            self.nodes[x].over = None;
        }
    }

    /// Lets the candidates forget names that are not stored or on the way any more.
    fn forget(&mut self) {
        let (mut nonces, mut versions) = (Vec::with_capacity(8), Vec::with_capacity(8));
        let mut note = |atom: Atom<'_>| match atom {
            Atom::Nonce(nonce) => nonces.push(*nonce),
            Atom::Version(version) => versions.push(version.clone()),
            _ => {}
        };
        self.register.visit(&mut note);
        let mode = self.register.mode;
        for node in &mut self.nodes {
            node.wire.visit(mode, &mut note);
            if let Some(zombie) = &mut node.zombie {
                zombie.visit(mode, &mut note);
            }
        }
        for node in &mut self.nodes {
            // Absent is the same version again and again.
            let is_stored = |version: &Version| version.is_absent() || versions.contains(version);
            node.election.forget(&|nonce| nonces.contains(&nonce), &is_stored);
        }
    }
}

impl Write {
    fn visit(&mut self, mode: Mode, see: &mut dyn FnMut(Atom<'_>)) {
        let Self { expected, change } = self;
        expected.visit(see);
        change.visit(mode == Mode::ByServer, see);
    }
}

impl Wire {
    fn visit(&mut self, mode: Mode, see: &mut dyn FnMut(Atom<'_>)) {
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
        let Self { election, now: _, wire, zombie, working: _, led: _, over } = self;
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
