//! What may happen next, and what it does.

mod story;

use leasehold_core::InvalidTiming;

use super::super::check::Space;
use super::super::event::{Event, Events};
use super::super::rule::Rule;
use super::super::setup::ANY;
use super::cluster::{Holder, Kept, OVER, SERVERS, Stored, number};
use super::world::{Candidate, Defect, Seen, Setup, Waiting, World};
use story::tell;

/// What happens next. Candidates are 0 and 1, servers 0, 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// All clocks advance.
    Tick,
    /// A candidate reads a server that takes itself for the primary.
    Read(usize, usize),
    /// A candidate adopts what it read, there; then the replicas have it that are in step and not
    /// left out.
    Adopt(usize, usize, Replicas),
    /// A candidate begins a term over what it read.
    Take(usize, usize, Replicas),
    /// A leader renews, or asserts its record again.
    Renew(usize, usize, Replicas),
    /// A leader gives the lock back; or an earlier request to do so arrives late.
    Release(usize, usize, Replicas),
    /// The wait of a candidate's write ends.
    Answer(usize),
    /// The candidate waits no longer, or never gets the answer.
    GiveUp(usize),
    /// A replica gets in step with its primary.
    Sync(usize),
    /// A replica is promoted.
    Promote(usize),
    /// A server is told to follow another.
    Follow(usize, usize),
    /// A server starts again.
    Restart(usize, Kept),
}

/// Some of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replicas(u8);

impl Replicas {
    fn all() -> impl Iterator<Item = Self> {
        (0..1 << SERVERS).map(Self)
    }

    fn has(self, n: usize) -> bool {
        self.0 & 1 << n != 0
    }
}

impl Space for World {
    type Setup = Setup;
    type Step = Step;

    fn first(setup: &Setup) -> Result<Vec<Self>, InvalidTiming> {
        Ok(vec![Self::new(setup, true), Self::new(setup, false)])
    }

    fn next(&self, setup: &Setup, steps: &mut Vec<Step>) {
        if !self.keeps(Rule::Belief) {
            return;
        }
        steps.push(Step::Tick);
        for x in 0..self.standing {
            self.steps_of(x, steps);
        }
        for r in 0..SERVERS {
            if self.cluster.may_sync(r) {
                steps.push(Step::Sync(r));
            }
            let is_replica = !self.cluster.is_primary(r);
            if is_replica && self.promotions > 0 {
                steps.push(Step::Promote(r));
            }
            if self.moves > 0 {
                let follows = self.cluster.servers[r].follows;
                let is_other = |p: &usize| *p != r && Some(number(*p)) != follows;
                let others = self.cluster.primaries().filter(is_other);
                steps.extend(others.map(|p| Step::Follow(r, p)));
            }
            if setup.restarts {
                steps.extend([Kept::Nothing, Kept::All].map(|kept| Step::Restart(r, kept)));
            }
            if setup.old_dumps && is_replica {
                steps.push(Step::Restart(r, Kept::Some));
            }
        }
    }

    fn take_step(&mut self, _: &Setup, step: Step) -> Events {
        let mut events = Events::default();
        match step {
            Step::Tick => self.tick(),
            Step::Read(x, n) => self.read(x, n, &mut events),
            Step::Adopt(x, n, replicas) => {
                // Whoever it names, everybody waits.
                let version = self.write(n, Holder::Unknown);
                events.note(Event::Adoption, true);
                self.see_own(x, n, version, Holder::Unknown);
                self.replicate(n, replicas, &mut events);
            }
            Step::Take(x, n, replicas) | Step::Renew(x, n, replicas) => {
                let version = self.write(n, Holder::Candidate(number(x)));
                let server = number(n);
                let waiting =
                    Waiting { server, reign: server, version, acknowledged: false, age: 0 };
                self.candidates[x].seen = None;
                self.candidates[x].waiting = Some(waiting);
                self.replicate(n, replicas, &mut events);
            }
            Step::Release(x, n, replicas) => {
                self.write(n, Holder::Nobody);
                self.candidates[x] = Candidate { seen: None, waiting: None, sent: self.lease };
                self.replicate(n, replicas, &mut events);
            }
            Step::Answer(x) => self.answer(x),
            Step::GiveUp(x) => self.candidates[x].waiting = None,
            Step::Sync(r) => self.sync(r, &mut events),
            Step::Promote(n) => {
                spend(&mut self.promotions);
                self.cluster.promote(n);
                let ended = self.end_reign(number(n));
                events.note(Event::ReignEnded, ended);
            }
            Step::Follow(r, p) => {
                spend(&mut self.moves);
                self.cluster.follow(r, p);
            }
            Step::Restart(n, kept) => {
                self.cluster.restart(n, kept);
                let ended = self.end_reign(number(n));
                events.note(Event::ReignEnded, ended);
                events.note(Event::Restart, true);
            }
        }
        events.note(Event::TwoPrimaries, self.cluster.primaries().count() > 1);
        events
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

fn spend(left: &mut u8) {
    if *left != ANY {
        *left -= 1;
    }
}

impl World {
    fn steps_of(&self, x: usize, steps: &mut Vec<Step>) {
        let candidate = &self.candidates[x];
        if let Some(waiting) = candidate.waiting {
            steps.push(Step::GiveUp(x));
            if self.is_done(&waiting) {
                steps.push(Step::Answer(x));
            }
            return;
        }
        for n in self.cluster.primaries() {
            if self.would_learn(x, n) {
                steps.push(Step::Read(x, n));
            }
            let Some(seen) = candidate.seen.filter(|seen| self.accepts(n, seen)) else { continue };
            let (leads, is_own) = (self.leads(x), seen.holder == Holder::Candidate(number(x)));
            let mut add = |step: fn(usize, usize, Replicas) -> Step| {
                let known = Replicas::all().filter(|some| self.are_in_step(*some, n));
                steps.extend(known.map(|some| step(x, n, some)));
            };
            if leads {
                add(Step::Renew);
            } else if seen.suspended {
                add(Step::Adopt);
            } else if is_own || seen.holder == Holder::Nobody || seen.age >= self.lease {
                add(Step::Take);
            }
            if is_own && !seen.suspended {
                add(Step::Release);
            }
        }
    }

    fn are_in_step(&self, some: Replicas, p: usize) -> bool {
        (0..SERVERS).all(|r| !some.has(r) || self.cluster.is_in_step(r, p))
    }

    /// The script: whether what a candidate read is what is stored here, in the same reign.
    fn accepts(&self, n: usize, seen: &Seen) -> bool {
        let stored = self.cluster.servers[n].data.map(|stored| stored.version);
        stored == seen.version && (seen.reign == number(n) || self.has(Defect::NoReign))
    }

    /// What a read of this server shows.
    fn observe(&self, n: usize) -> Seen {
        let data = self.cluster.servers[n].data;
        let named = !self.has(Defect::NoReign);
        let vouched = data.is_some_and(|stored| stored.reign == number(n) || !named);
        Seen {
            version: data.map(|stored| stored.version),
            holder: data.map_or(Holder::Unknown, |stored| stored.holder),
            reign: if named { number(n) } else { OVER },
            suspended: !vouched,
            age: 0,
        }
    }

    fn would_learn(&self, x: usize, n: usize) -> bool {
        let new = self.observe(n);
        self.candidates[x].seen.is_none_or(|seen| Seen { age: 0, ..seen } != new)
    }

    fn read(&mut self, x: usize, n: usize, events: &mut Events) {
        let seen = self.observe(n);
        let is_others = matches!(seen.holder, Holder::Candidate(y) if usize::from(y) != x);
        events.note(Event::HandOver, is_others && !seen.suspended);
        self.candidates[x].seen = Some(seen);
    }

    /// Replaces what is stored. The new version.
    fn write(&mut self, n: usize, holder: Holder) -> u8 {
        let version = self.fresh();
        let server = &mut self.cluster.servers[n];
        server.data = Some(Stored { holder, version, reign: number(n) });
        server.offset += 1;
        version
    }

    fn see_own(&mut self, x: usize, n: usize, version: u8, holder: Holder) {
        let reign = if self.has(Defect::NoReign) { OVER } else { number(n) };
        let version = Some(version);
        let seen = Seen { version, holder, reign, suspended: false, age: 0 };
        self.candidates[x].seen = Some(seen);
    }

    /// A replica that is in step gets a write at once, or not before the next one: nobody can tell
    /// from when in between.
    fn replicate(&mut self, n: usize, replicas: Replicas, events: &mut Events) {
        for r in (0..SERVERS).filter(|r| replicas.has(*r)) {
            debug_assert!(self.cluster.is_in_step(r, n));
            self.sync(r, events);
        }
    }

    /// Whether the wait ends, other than by its timeout.
    fn is_done(&self, waiting: &Waiting) -> bool {
        let follows = |n: usize| self.cluster.servers[n].follows == Some(waiting.server);
        match self.defect {
            Some(Defect::NoWait) => true,
            // Nothing was written there, so that every replica has it all.
            Some(Defect::WaitsElsewhere) => (0..SERVERS).any(follows),
            _ => waiting.acknowledged,
        }
    }

    /// The wait is over, and the server's reign is looked at again.
    fn answer(&mut self, x: usize) {
        let Some(waiting) = self.candidates[x].waiting.take() else { return };
        let goes_on = waiting.reign != OVER;
        let is_refused = !goes_on && !self.has(Defect::NoSecondLook) && !self.has(Defect::NoReign);
        // Too late to lead by it; a read shows as much as the answer.
        if is_refused || waiting.age >= self.lease {
            return;
        }
        self.candidates[x].sent = self.candidates[x].sent.min(waiting.age);
        if goes_on || self.has(Defect::NoReign) {
            let n = usize::from(waiting.server);
            self.see_own(x, n, waiting.version, Holder::Candidate(number(x)));
        }
    }

    /// A replica gets what its primary has, and acknowledges it.
    fn sync(&mut self, r: usize, events: &mut Events) {
        let Some(primary) = self.cluster.servers[r].follows else { return };
        let (history, linked) = (self.cluster.servers[r].history, self.cluster.servers[r].linked);
        let full = self.cluster.sync(r);
        events.note(Event::FullResync, full);
        if self.cluster.servers[r].history != history {
            let ended = self.end_reign(number(r));
            events.note(Event::ReignEnded, ended);
        }
        for candidate in &mut self.candidates {
            if let Some(waiting) = &mut candidate.waiting {
                waiting.acknowledged |= waiting.server == primary;
            }
        }
        let counts = full || !linked && self.counts_partials;
        if counts && !self.has(Defect::NoFullResyncs) {
            let ended = self.end_reign(primary);
            events.note(Event::ReignEnded, ended);
        }
    }

    fn tick(&mut self) {
        let lease = self.lease;
        let older = |age: &mut u8| *age = (*age + 1).min(lease);
        for candidate in &mut self.candidates {
            older(&mut candidate.sent);
            candidate.seen.iter_mut().for_each(|seen| older(&mut seen.age));
            candidate.waiting.iter_mut().for_each(|waiting| older(&mut waiting.age));
        }
    }

    fn fresh(&self) -> u8 {
        let stored = self.cluster.servers.iter().filter_map(|server| server.data);
        let seen = self.candidates.iter().filter_map(|it| it.seen?.version);
        let waiting = self.candidates.iter().filter_map(|it| Some(it.waiting?.version));
        let known = stored.map(|stored| stored.version).chain(seen).chain(waiting);
        known.max().map_or(0, |version| version + 1)
    }
}
