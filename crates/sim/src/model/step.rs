//! What may happen next, and what it does.

use leasehold_core::{
    Action, ErrorKind, Input, Intent, InvalidTiming, Nonce, Observed, Outcome, Token, Version,
};

use super::check::Space;
use super::event::{Event, Events};
use super::register::Write;
use super::rule::Rule;
use super::setup::{ANY, Mode, Setup, incarnation};
use super::story::tell;
use super::world::{Node, Reply, Wire, World};

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
    /// A leader's owner is dropped, and nobody else waits: the candidate withdraws.
    Withdraw(usize),
    /// It stands again.
    Stand(usize),
    /// The process dies, and starts again as another.
    Restart(usize),
    /// An administrator deletes the record.
    Delete,
    /// An administrator saves the record.
    Save,
    /// An administrator puts back what was saved, or the store goes back to it.
    PutBack,
}

impl Space for World {
    type Setup = Setup;
    type Step = Step;

    fn first(setup: &Setup) -> Result<Vec<Self>, InvalidTiming> {
        setup.rates.iter().map(|rates| Self::new(setup, *rates)).collect()
    }

    fn next(&self, setup: &Setup, steps: &mut Vec<Step>) {
        self.steps(setup, steps);
    }

    fn take_step(&mut self, setup: &Setup, step: Step) -> Events {
        self.take(setup, step)
    }

    fn canonical(&mut self) {
        self.rename();
    }

    fn holds(&self, rule: Rule) -> bool {
        self.keeps(rule)
    }

    fn story(&self, setup: &Setup, steps: &[Step]) -> Vec<String> {
        tell(setup, self, steps)
    }
}

impl World {
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
        if self.deletes > 0 && self.is_holder_known() {
            steps.push(Step::Delete);
        }
        let holder = self.register.record.as_ref().and_then(|record| record.holder.as_ref());
        let is_candidate = holder.is_some_and(|holder| !holder.is_unknown());
        let may_save = is_candidate && self.is_holder_known();
        if self.restores > 0 && self.register.saved().is_none() && may_save {
            steps.push(Step::Save);
        }
        let goes_back = setup.mode == Mode::Forgets && self.is_saved_replaced();
        if goes_back || self.is_saved_outdated() {
            steps.push(Step::PutBack);
        }
    }

    /// What was saved is of the term that lasts, and neither candidate believes it to be the last
    /// sign of life: who was cut off since it was written waits for nobody.
    fn is_saved_outdated(&self) -> bool {
        let Some(saved) = self.register.saved() else { return false };
        let nonce = Some(saved.nonce);
        let shows = |observed: &Observed| observed.record().map(|record| record.nonce) == nonce;
        let stored = self.register.record.as_ref().map(|record| record.nonce);
        let known = self.nodes.iter().any(|node| {
            let told = matches!(&node.wire, Wire::Answered(Reply::Read(seen)) if shows(seen));
            told || node.election.observed().is_some_and(shows)
        });
        !known && stored != nonce
    }

    /// What was saved is not stored any more.
    fn is_saved_replaced(&self) -> bool {
        self.register.saved().is_some() && self.register.saved_as != self.register.version
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
        // As the driver does it: nobody stands while work of the last term may run here.
        if setup.withdraws && leadership.is_some() {
            steps.push(Step::Withdraw(x));
        }
        if !node.election.standing() && !node.working {
            steps.push(Step::Stand(x));
        }
        if self.restarts > 0 {
            steps.push(Step::Restart(x));
        }
    }

    /// Whether a write of this candidate that is given up takes the place of one that was given up
    /// before.
    fn displaces(&self, x: usize, setup: &Setup) -> bool {
        let all = setup.zombies == 1 && self.nodes.iter().any(|node| node.zombie.is_some());
        all || self.nodes[x].zombie.is_some()
    }

    /// Both candidates have seen the present holder.
    fn is_holder_known(&self) -> bool {
        let Some(stored) = self.register.record.as_ref().filter(|stored| stored.holder.is_some())
        else {
            return false;
        };
        self.nodes.iter().all(|node| {
            let seen = node.election.observed().and_then(Observed::record);
            seen.is_some_and(|seen| seen.holder == stored.holder && seen.token == stored.token)
        })
    }

    /// Takes a step that [`steps`](Self::steps) named.
    pub fn take(&mut self, setup: &Setup, step: Step) -> Events {
        let mut events = Events::default();
        match step {
            Step::Tick => self.tick(setup),
            Step::Arrive(x) => self.arrive(x, &mut events),
            Step::Answer(x) => {
                if let Wire::Answered(reply) =
                    std::mem::replace(&mut self.nodes[x].wire, Wire::Idle)
                {
                    self.answer(x, reply, &mut events);
                }
            }
            Step::GiveUp(x) => self.give_up(x, setup.zombies),
            Step::Lose(x) => self.give_up(x, 0),
            Step::Haunt(x) => {
                if let Some(zombie) = self.nodes[x].zombie.take() {
                    let applied = self.apply(&zombie, &mut events).is_some();
                    events.note(Event::ZombieApplied, applied);
                }
            }
            Step::Stop(x) => self.input(x, Input::Stop),
            Step::Drained(x) => {
                self.nodes[x].working = false;
                self.input(x, Input::Drained);
            }
            Step::Expired(x) => self.input(x, Input::Expired),
            Step::Withdraw(x) => self.input(x, Input::Withdraw),
            Step::Stand(x) => self.input(x, Input::Stand),
            Step::Restart(x) => self.restart(x, setup),
            Step::Delete => {
                self.deletes -= 1;
                self.register.delete();
            }
            Step::Save => {
                self.restores -= 1;
                self.register.save();
            }
            Step::PutBack if setup.mode == Mode::Forgets => self.register.go_back(),
            Step::PutBack => {
                let version = Version::number(self.fresh.version);
                self.fresh.version += 1;
                self.register.put_back(version);
            }
        }
        events
    }

    fn tick(&mut self, setup: &Setup) {
        let before = [self.leads(0), self.leads(1)];
        for x in 0..2 {
            let node = &mut self.nodes[x];
            node.now = node.now + setup.tick() * u32::from(self.rates.candidates[x]);
        }
        // What ends with time alone has ended before anybody does anything.
        for (x, before) in before.into_iter().enumerate() {
            self.compare(x, before);
        }
        self.register.advance(self.rates.store, setup.lease);
        for x in 0..2 {
            self.input(x, Input::Tick);
        }
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
        events.note(Event::OverOldCopy, effect.over_old_copy);
        Some(register.observe())
    }

    fn answer(&mut self, x: usize, reply: Reply, events: &mut Events) {
        let input = match reply {
            Reply::Read(observed) => {
                self.note_read(x, &observed, events);
                Input::Read(Ok(observed))
            }
            Reply::Wrote(outcome) => Input::Wrote(Ok(outcome)),
        };
        self.input(x, input);
    }

    fn note_read(&self, x: usize, observed: &Observed, events: &mut Events) {
        let Some(record) = observed.record() else { return };
        let other = Some(self.nodes[1 - x].election.incarnation());
        let is_others = record.holder.as_ref().is_some_and(|holder| holder.incarnation == other);
        let over = self.nodes[x].over.is_some_and(|over| over < record.token);
        events.note(Event::HandOver, is_others && over);
        let awaited = self.nodes[x].election.awaits(record.nonce);
        events.note(Event::AmbiguousThenOwn, awaited);
    }

    /// The outcome of the request in flight stays unknown to its sender.
    fn give_up(&mut self, x: usize, zombies: u8) {
        let node = &mut self.nodes[x];
        let unavailable = ErrorKind::Unavailable;
        let input = match std::mem::replace(&mut node.wire, Wire::Idle) {
            Wire::Idle => return,
            Wire::Answered(Reply::Read(_)) => Input::Read(Err(unavailable)),
            Wire::Asked(write) => {
                self.haunt_later(x, write, zombies);
                Input::Wrote(Err(unavailable))
            }
            Wire::Answered(Reply::Wrote(_)) => Input::Wrote(Err(unavailable)),
        };
        self.input(x, input);
    }

    /// A write may still arrive although nobody waits for it.
    fn haunt_later(&mut self, x: usize, write: Write, zombies: u8) {
        // What cannot be applied takes nobody's place.
        let revokes = write.change.intent == Intent::Revoke;
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
        node.over = None;
        self.input(x, Input::Stand);
    }

    /// Hands an input to the election and does what the driver does after every input.
    pub(crate) fn input(&mut self, x: usize, input: Input) {
        let before = self.leads(x);
        let now = self.nodes[x].now;
        self.nodes[x].election.handle(now, input);
        self.compare(x, before);
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
    }

    /// Compares what a candidate believes with what it believed.
    fn compare(&mut self, x: usize, before: Option<Token>) {
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
        }
    }
}
