//! The scheduler: one schedule from beginning to end.

use std::fmt;

use leasehold_core::{Input, InvalidTiming, Loss, Outcome, Time, Token};

use crate::case::{Case, Kind, MS, Nanos};
use crate::draw::{Purpose, below, draw};
use crate::foreign::Foreign;
use crate::judge::{Rule, Violation, Won, name};
use crate::mutant::Mutant;
use crate::node::{Node, incarnation};
use crate::queue::{Command, Event, Local, Queue};
use crate::store::Store;

/// What happened in a schedule, counted: a proof that it was worth running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Events.
    pub events: u64,
    /// Terms begun.
    pub terms: u64,
    /// Writes refused.
    pub conflicts: u64,
    /// Operations that timed out.
    pub unknown: u64,
    /// Writes applied after their sender gave up.
    pub zombies: u64,
    /// Renewals over something that was not the sender's.
    pub reasserted: u64,
    /// Releases applied.
    pub released: u64,
    /// Adoptions applied.
    pub adopted: u64,
    /// Copies that noticed.
    pub copies: u64,
    /// Overlaps explained by their cause.
    pub excused: u64,
}

impl Coverage {
    /// Adds another schedule's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.terms += other.terms;
        self.conflicts += other.conflicts;
        self.unknown += other.unknown;
        self.zombies += other.zombies;
        self.reasserted += other.reasserted;
        self.released += other.released;
        self.adopted += other.adopted;
        self.copies += other.copies;
        self.excused += other.excused;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, terms, conflicts, unknown, zombies, .. } = self;
        let Self { reasserted, released, adopted, copies, excused, .. } = self;
        write!(
            f,
            "{events} events, {terms} terms, {conflicts} conflicts, {unknown} unknown outcomes, {zombies} late writes, {reasserted} re-assertions, {released} releases, {adopted} adoptions, {copies} copies noticed, {excused} overlaps explained"
        )
    }
}

/// How a schedule ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// What happened.
    pub cover: Coverage,
    /// The story, if it was asked for.
    pub story: Vec<String>,
}

/// A running schedule.
pub struct World<'a> {
    pub(crate) case: &'a Case,
    pub(crate) now: Nanos,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) foreign: Foreign,
    /// Faults that last now.
    pub(crate) active: Vec<usize>,
    /// Whom each fault hits.
    pub(crate) targets: Vec<usize>,
    pub(crate) stalled_until: Nanos,
    /// Numbers processes and watches.
    pub(crate) numbers: u64,
    pub(crate) quiet: bool,
    pub(crate) bound: bool,
    pub(crate) led: bool,
    /// Nothing in the schedule rewrites history.
    pub(crate) calm: bool,
    /// A late re-assertion came true over a record that was deleted once more.
    pub(crate) haunted: bool,
    pub(crate) greatest: Token,
    pub(crate) won: Vec<Won>,
    pub(crate) violation: Option<Violation>,
    pub(crate) cover: Coverage,
    pub(crate) story: Option<Vec<String>>,
}

/// Runs a schedule.
///
/// # Errors
/// A timing in the case breaks a rule.
pub fn run(case: &Case, tell: bool) -> Result<Report, InvalidTiming> {
    let mut world = World::new(case, tell)?;
    world.play();
    Ok(Report {
        violation: world.violation,
        cover: world.cover,
        story: world.story.unwrap_or_default(),
    })
}

impl<'a> World<'a> {
    fn new(case: &'a Case, tell: bool) -> Result<Self, InvalidTiming> {
        let count = case.candidates.len() + usize::from(case.observer);
        let nodes = (0..count).map(|config| Node::new(case, config)).collect::<Result<_, _>>()?;
        let rewrites = |kind: Kind| {
            use Kind::{AdminDelete, AdminFree, Clone, Foreign};
            matches!(kind, AdminDelete | AdminFree | Clone | Foreign)
        };
        let forgets = case.store == crate::case::StoreKind::Forgets;
        let mut world = Self {
            case,
            now: 0,
            queue: Queue::default(),
            store: Store::new(case.store, case.floor, case.server_rate, case.mutant),
            nodes,
            foreign: Foreign::new(case),
            active: Vec::new(),
            targets: vec![0; case.faults.len()],
            stalled_until: 0,
            numbers: count as u64,
            quiet: false,
            bound: false,
            led: false,
            calm: !forgets && !case.faults.iter().any(|fault| rewrites(fault.kind)),
            haunted: false,
            greatest: 0,
            won: Vec::new(),
            violation: None,
            cover: Coverage::default(),
            story: tell.then(Vec::new),
        };
        world.prepare();
        Ok(world)
    }

    fn prepare(&mut self) {
        for x in 0..self.nodes.len() {
            let start = self.case.candidates.get(x).map_or(0, |config| config.start_ms);
            self.queue.push(start * MS, Event::Start(x));
        }
        for (index, fault) in self.case.faults.iter().enumerate() {
            let ends = (fault.at_ms + fault.for_ms).min(self.case.chaos_ms);
            self.queue.push(fault.at_ms * MS, Event::FaultBegins(index));
            self.queue.push(ends.max(fault.at_ms) * MS, Event::FaultEnds(index));
        }
        self.queue.push(self.case.chaos_ms * MS, Event::Quiet);
        let bound = self.case.chaos_ms + self.case.quiet_bound_ms();
        self.queue.push(bound * MS, Event::QuietBound);
    }

    fn play(&mut self) {
        let end = self.case.end_ms * MS;
        while self.violation.is_none() {
            let (mut wakes, mut sleeper) = (Nanos::MAX, 0);
            for (x, node) in self.nodes.iter().enumerate() {
                let at = node.next_at();
                if at < wakes {
                    (wakes, sleeper) = (at, x);
                }
            }
            let (queued, expires) = (self.queue.next_at(), self.store.next_expiry());
            let next = queued.min(wakes).min(expires);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.cover.events += 1;
            if expires == next {
                self.expire_lease();
            } else if wakes == next && self.nodes[sleeper].gives_up <= next {
                self.time_out(sleeper);
            } else if wakes == next {
                self.input(sleeper, Input::Tick);
            } else if let Some(event) = self.queue.pop() {
                self.happen(event);
            }
        }
        if self.violation.is_none() {
            self.now = end;
            self.judge_end();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(request) => self.arrive(request),
            Event::Commit(request) => self.commit(*request),
            Event::Local(x, local) => self.local(x, local),
            Event::Start(x) => self.start(x),
            Event::FaultBegins(index) => self.begin_fault(index),
            Event::FaultEnds(index) => self.end_fault(index),
            Event::Foreign => self.foreign_looks(),
            Event::Quiet => self.begin_quiet(),
            Event::QuietBound => {
                self.bound = true;
                if !self.led {
                    self.violate(Rule::Failover, || "nobody led within the bound".into());
                }
            }
        }
    }

    fn expire_lease(&mut self) {
        if self.stalled_until > self.now {
            self.store.defer_expiry(self.stalled_until);
        } else if self.store.expire(self.now) {
            self.tell(|| "the server ends the lease".to_owned());
            self.changed();
        }
    }

    fn begin_quiet(&mut self) {
        self.quiet = true;
        self.tell(|| "the faults are over".to_owned());
        self.foreign_stops();
        for x in 0..self.nodes.len() {
            self.led |= self.nodes[x].belief.is_some_and(|belief| belief.until > self.now);
            if !self.nodes[x].alive {
                self.start(x);
            }
            if x < self.case.candidates.len() || self.nodes[x].config < self.case.candidates.len() {
                self.local(x, Local::Command(Command::Stand));
            }
            if self.nodes[x].watch.dead {
                self.break_watch(x);
            }
        }
    }

    /// A process starts.
    pub(crate) fn start(&mut self, x: usize) {
        if self.nodes[x].alive {
            return;
        }
        self.tell(|| format!("{} starts", name(x)));
        let node = &mut self.nodes[x];
        node.alive = true;
        node.paused = 0;
        node.watch.cursor = self.store.index();
        let wanted = node.wanted;
        self.stand_watch(x, 0);
        if wanted {
            self.input(x, Input::Stand);
        } else {
            self.input(x, Input::Tick);
        }
    }

    /// Something happens to a node, now or once it runs again.
    pub(crate) fn local(&mut self, x: usize, local: Local) {
        let node = &mut self.nodes[x];
        if !node.alive {
            return;
        }
        if node.paused > 0 {
            node.inbox.push(local);
            return;
        }
        match local {
            Local::Answer(operation, input) => {
                let write = matches!(*input, Input::Wrote(_));
                if node.flight == Some((operation, write)) {
                    match &*input {
                        Input::Wrote(Ok(Outcome::Written(_))) => node.unsure = false,
                        // While the version stands the Take that went astray is sent again.
                        Input::Read(Ok(observed)) => {
                            node.unsure &= node.asked.as_ref() == Some(&observed.version);
                        }
                        Input::Wrote(_) => node.unsure = true,
                        _ => {}
                    }
                    node.flight = None;
                    node.gives_up = Nanos::MAX;
                    self.tell(|| {
                        format!("{} is answered ({operation}): {}", name(x), crate::story::answer(&input))
                    });
                    self.answered(x, &input);
                    self.input(x, *input);
                }
            }
            Local::Hint(watch, index) => {
                if node.watch.number == watch && node.watch.stands {
                    let observed = self.store.observe(index, self.now);
                    self.tell(|| format!("{} is pushed {}", name(x), crate::story::observed(&observed)));
                    self.input(x, Input::Hint(observed));
                }
            }
            Local::WatchEnded(watch) => self.watch_ended(x, watch),
            Local::WatchStands(watch) => self.watch_stands(x, watch),
            Local::WorkStopped(token) => self.work_stopped(x, token),
            Local::Command(command) => self.command(x, command),
        }
    }

    /// The operation in flight took too long.
    pub(crate) fn time_out(&mut self, x: usize) {
        let node = &mut self.nodes[x];
        node.gives_up = Nanos::MAX;
        let Some((operation, write)) = node.flight.take() else { return };
        node.unsure |= write;
        self.cover.unknown += 1;
        self.tell(|| format!("{} gives up operation {operation}", name(x)));
        let unavailable = leasehold_core::ErrorKind::Unavailable;
        let input =
            if write { Input::Wrote(Err(unavailable)) } else { Input::Read(Err(unavailable)) };
        self.input(x, input);
    }

    fn command(&mut self, x: usize, command: Command) {
        let leads = self.nodes[x].belief.is_some();
        self.tell(|| format!("{} is told: {command:?}", name(x)));
        match command {
            Command::Stand => {
                self.nodes[x].leaves = false;
                self.nodes[x].wanted = true;
                self.input(x, Input::Stand);
            }
            Command::Withdraw => {
                self.nodes[x].wanted = false;
                self.input(x, Input::Withdraw);
                if self.case.mutant == Some(Mutant::ReleasesWithoutStop) {
                    self.input(x, Input::Drained);
                }
            }
            Command::Drain if !leads => self.command(x, Command::Withdraw),
            Command::Resign | Command::Drain => {
                self.nodes[x].leaves = command == Command::Drain;
                self.input(x, Input::Stop);
                if self.case.mutant == Some(Mutant::ReleasesBeforeStop) {
                    self.input(x, Input::Drained);
                }
                if let Some(work) = self.nodes[x].work {
                    let until = self.longest_drain(x);
                    self.stop_work(x, work.token, until);
                }
            }
        }
    }

    fn longest_drain(&self, x: usize) -> Nanos {
        self.now + self.nodes[x].real(self.case, self.nodes[x].timing.lease_duration())
    }

    /// The work of a term ends at some moment before `until`.
    fn stop_work(&mut self, x: usize, token: Token, until: Nanos) {
        let chance = draw(self.case.seed, x, token, Purpose::Work);
        let at = self.now + below(chance, until.saturating_sub(self.now));
        if let Some(work) = &mut self.nodes[x].work {
            work.stops = Some(work.stops.unwrap_or(Nanos::MAX).min(at));
        }
        self.queue.push(at, Event::Local(x, Local::WorkStopped(token)));
    }

    fn work_stopped(&mut self, x: usize, token: Token) {
        if self.nodes[x].work.is_none_or(|work| work.token != token) {
            return;
        }
        self.tell(|| format!("the work of {} in term {token} has stopped", name(x)));
        let node = &mut self.nodes[x];
        node.work = None;
        let leaves = std::mem::take(&mut node.leaves);
        self.input(x, Input::Drained);
        let node = &mut self.nodes[x];
        if node.election.releasing() {
            node.releasing = Some(node.clock.show(self.now));
        }
        if leaves {
            self.command(x, Command::Withdraw);
        }
    }

    /// Hands an input to the election and does what the driver does after every input.
    pub(crate) fn input(&mut self, x: usize, input: Input) {
        let now = self.nodes[x].clock.show(self.now);
        self.nodes[x].election.handle(now, input);
        self.settle(x, now);
        let (seed, operation) = (self.case.seed, self.nodes[x].operations);
        let action = self.nodes[x].election.poll(now, || {
            let half = |purpose| u128::from(draw(seed, x, operation, purpose));
            leasehold_core::Nonce(half(Purpose::NonceHigh) << 64 | half(Purpose::NonceLow))
        });
        self.settle(x, now);
        if let Some(action) = action {
            self.send(x, now, action);
        }
        self.judge_view(x);
        self.schedule_wake(x, now);
    }

    fn settle(&mut self, x: usize, now: Time) {
        self.judge_belief(x);
        if let Some((token, loss)) = self.nodes[x].election.take_ended() {
            self.ended(x, token, loss);
        }
        let node = &mut self.nodes[x];
        if node.election.take_released().is_some() || !node.election.releasing() {
            node.releasing = None;
        }
        let overdue = 2 * node.timing.request_timeout() + std::time::Duration::from_nanos(2);
        if node.releasing.is_some_and(|since| now > since + overdue) && node.paused == 0 {
            self.nodes[x].releasing = None;
            if self.now > self.nodes[x].paused_at {
                self.violate(Rule::Termination, || format!("{} releases without end", name(x)));
            }
        }
        if self.nodes[x].election.copied() {
            self.cover.copies += 1;
            self.tell(|| format!("{} sees a copy of itself", name(x)));
            self.numbers += 1;
            let incarnation = incarnation(self.case.seed, x, self.numbers);
            self.nodes[x].election.handle(now, Input::Reborn(incarnation));
            self.judge_belief(x);
        }
        if let Some(failure) = self.nodes[x].election.failure().cloned() {
            self.violate(Rule::Failure, || format!("{} stops for good: {failure:?}", name(x)));
        }
    }

    fn ended(&mut self, x: usize, token: Token, loss: Loss) {
        self.tell(|| format!("the term {token} of {} ended: {loss:?}", name(x)));
        let node = &self.nodes[x];
        if loss == Loss::Superseded && !node.cloned {
            let stored = self.store.state();
            let own = node.election.incarnation();
            let is_ours = stored.record.as_ref().is_some_and(|record| {
                record.token == token
                    && record.holder.as_ref().is_some_and(|h| h.incarnation == Some(own))
            });
            if is_ours && !self.haunted && self.case.store != crate::case::StoreKind::Forgets {
                self.violate(Rule::Stability, || format!("{} gives up its own term", name(x)));
            }
        }
        if self.bound && !self.nodes[x].cloned {
            self.violate(Rule::Stability, || format!("{} loses term {token} ({loss:?})", name(x)));
        }
        let Some(work) = self.nodes[x].work.filter(|work| work.token == token) else {
            return;
        };
        let known = draw(self.case.seed, x, token, Purpose::Resume) & 1 == 0;
        match loss {
            Loss::Resigned => {}
            Loss::Superseded => self.stop_work(x, token, self.now),
            Loss::Dropped if !known => {
                // Dropped, and nobody will ever say whether it stopped: it runs until it is killed.
            }
            _ => self.stop_work(x, token, work.killed),
        }
    }

    fn schedule_wake(&mut self, x: usize, now: Time) {
        let node = &mut self.nodes[x];
        let next = node.election.next_deadline(now);
        if next <= now && node.flight.is_none() {
            self.violate(Rule::Spinning, || format!("{} wants to wake at once", name(x)));
            return;
        }
        node.wakes = if next <= now { Nanos::MAX } else { node.clock.when(next) };
    }

    /// Adds a line to the story.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let seconds = self.now as f64 / 1e9;
            story.push(format!("{seconds:>10.6}  {}", line()));
        }
    }
}
