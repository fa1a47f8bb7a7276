//! The scheduler: one schedule from beginning to end.

mod drawing;
mod driver;
mod faults;
mod foreign;
mod network;
mod watch;

use leasehold_core::{Input, InvalidTiming, Record};

use self::foreign::Foreign;
use crate::case::{Case, Kind, MS, Nanos};
use crate::coverage::Coverage;
use crate::draw::{Purpose, draw};
use crate::judge::{Judge, Violation};
use crate::lanes::Lanes;
use crate::node::Node;
use crate::queue::{Command, Event, Local, Queue};
use crate::scene::Scene;
use crate::store::Store;
use crate::store_kind::StoreKind;

/// How a schedule ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// What happened.
    pub cover: Coverage,
    /// The story, if it was asked for.
    pub story: Vec<String>,
    /// The same as a picture.
    pub lanes: Option<Lanes>,
}

/// A running schedule.
struct World<'a> {
    case: &'a Case,
    now: Nanos,
    queue: Queue,
    store: Store,
    nodes: Vec<Node>,
    foreign: Foreign,
    /// The longest lease and request timeout that are configured.
    longest_lease: Nanos,
    longest_timeout: Nanos,
    /// Faults that last now.
    active: Vec<usize>,
    /// Whom each fault hits.
    targets: Vec<usize>,
    stalled_until: Nanos,
    /// How many stores were replaced.
    generation: u64,
    /// Numbers processes and watches.
    numbers: u64,
    judge: Judge,
    /// What was stored before it became unreadable.
    spoiled: Option<Record>,
    cover: Coverage,
    story: Option<Vec<String>>,
    lanes: Option<Lanes>,
}

/// Runs a schedule.
///
/// # Errors
/// A timing in the case breaks a rule.
pub fn run(case: &Case, tell: bool) -> Result<Report, InvalidTiming> {
    let mut world = World::new(case, tell)?;
    world.play();
    world.draw();
    for cause in world.judge.excused() {
        world.cover.excuse(*cause);
    }
    Ok(Report {
        violation: world.judge.violation().cloned(),
        cover: world.cover,
        story: world.story.unwrap_or_default(),
        lanes: world.lanes,
    })
}

impl<'a> World<'a> {
    fn new(case: &'a Case, tell: bool) -> Result<Self, InvalidTiming> {
        let count = case.candidates.len() + usize::from(case.observer);
        let nodes = (0..count).map(|config| Node::new(case, config));
        let nodes: Vec<Node> = nodes.collect::<Result<_, _>>()?;
        let foreign = Foreign::new(case);
        let judge = Judge::new(case, &nodes, foreign.deadline);
        let mut world = Self {
            case,
            now: 0,
            queue: Queue::default(),
            store: Store::new(case.store, case.floor, case.server_rate, case.mutant),
            nodes,
            foreign,
            longest_lease: case.longest_lease_ms() * MS,
            longest_timeout: case.longest_timeout_ms() * MS,
            active: Vec::new(),
            targets: vec![0; case.faults.len()],
            stalled_until: 0,
            generation: 0,
            numbers: count as u64,
            judge,
            spoiled: None,
            cover: Coverage::default(),
            story: tell.then(Vec::new),
            lanes: tell.then(|| Lanes::new(case)),
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
        self.draw();
        while self.judge.violation().is_none() {
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
            self.draw();
        }
        if self.judge.violation().is_none() {
            self.now = end;
            self.report(Judge::ends);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(request) => self.arrive(request),
            Event::Commit(request) => self.commit(request),
            Event::Local(x, local) => self.local(x, local),
            Event::Start(x) => self.start(x),
            Event::FaultBegins(index) => self.begin_fault(index),
            Event::FaultEnds(index) => self.end_fault(index),
            Event::Foreign => self.foreign_looks(),
            Event::Edit => self.edit_on(),
            Event::Quiet => self.begin_quiet(),
            Event::QuietBound => self.report(Judge::reaches_bound),
        }
    }

    fn expire_lease(&mut self) {
        if self.stalled_until > self.now {
            self.store.defer_expiry(self.stalled_until);
            return;
        }
        let named = self.store.named();
        if self.store.expire(self.now) {
            self.report(|judge, scene| judge.displaces(scene, named, None));
            self.tell(|| "the server ends the lease".to_owned());
            self.changed();
        }
    }

    fn begin_quiet(&mut self) {
        self.report(Judge::begins_quiet);
        self.tell(|| "the faults are over".to_owned());
        self.foreign_stops();
        for x in 0..self.nodes.len() {
            if !self.nodes[x].alive {
                self.start(x);
            }
            if x < self.case.candidates.len() || self.nodes[x].config < self.case.candidates.len() {
                self.local(x, Local::Command(Command::Stand));
            }
            // A silently dead watch may stay so: its silence is a symptom.
            let mends = draw(self.case.seed, x, 0, Purpose::Watch) & 1 == 0;
            if self.nodes[x].watch.dead && mends {
                self.break_watch(x);
            }
        }
        // What may have been brought back is waited for anew whenever its version changes.
        let restarts = self.case.store == StoreKind::Forgets;
        let edits = self.case.faults.iter().any(|fault| fault.kind == Kind::AdminLabel);
        if edits && !restarts {
            self.edit_on();
        }
    }

    /// Reports a fact to the judge.
    pub(crate) fn report(&mut self, fact: impl FnOnce(&mut Judge, &Scene<'_>)) {
        let sound = self.judge.violation().is_none();
        let (case, now, store, nodes) = (self.case, self.now, &self.store, &*self.nodes);
        let scene = Scene { case, now, store, nodes, foreign_until: self.foreign.until };
        fact(&mut self.judge, &scene);
        if sound && self.story.is_some() {
            let broken = self.judge.violation();
            let line = broken.map(|it| format!("VIOLATION {:?}: {}", it.rule, it.what));
            line.into_iter().for_each(|line| self.tell(|| line));
        }
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
