//! The scheduler: one schedule from beginning to end.

mod drawing;
mod driver;
mod faults;
mod foreign;
mod network;
mod watch;

use leasehold_core::{Input, InvalidTiming, Nonce, Record, Token};

use self::foreign::Foreign;
use crate::case::{Case, Kind, MS, Nanos};
use crate::coverage::Coverage;
use crate::draw::{Purpose, draw};
use crate::excuse::{Excuses, longest_term};
use crate::judge::{Rule, Violation, Won};
use crate::lanes::Lanes;
use crate::node::Node;
use crate::queue::{Command, Event, Local, Queue};
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
pub(crate) struct World<'a> {
    pub(crate) case: &'a Case,
    pub(crate) now: Nanos,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) foreign: Foreign,
    /// The longest lease and request timeout that are configured.
    pub(crate) longest_lease: Nanos,
    pub(crate) longest_timeout: Nanos,
    /// Faults that last now.
    pub(crate) active: Vec<usize>,
    /// Whom each fault hits.
    pub(crate) targets: Vec<usize>,
    pub(crate) stalled_until: Nanos,
    /// How many stores were replaced.
    pub(crate) generation: u64,
    /// Numbers processes and watches.
    pub(crate) numbers: u64,
    /// When the last fault ended.
    pub(crate) disturbed_at: Nanos,
    pub(crate) quiet: bool,
    pub(crate) bound: bool,
    pub(crate) led: bool,
    /// Nothing in the schedule rewrites history.
    pub(crate) calm: bool,
    /// Which overlaps are expected.
    pub(crate) excuses: Excuses,
    /// The longest time that work lasts once its term is displaced.
    pub(crate) longest_term: Nanos,
    pub(crate) greatest: Token,
    /// The term that the store names, and since when.
    pub(crate) named: (Option<Token>, Nanos),
    /// The state in which it began to.
    pub(crate) named_at: usize,
    /// What was stored before it became unreadable.
    pub(crate) spoiled: Option<Record>,
    pub(crate) won: Vec<Won>,
    /// The Takes that somebody has asked to revoke.
    pub(crate) revoked: Vec<Nonce>,
    pub(crate) violation: Option<Violation>,
    pub(crate) cover: Coverage,
    pub(crate) story: Option<Vec<String>>,
    pub(crate) lanes: Option<Lanes>,
}

/// Runs a schedule.
///
/// # Errors
/// A timing in the case breaks a rule.
pub fn run(case: &Case, tell: bool) -> Result<Report, InvalidTiming> {
    let mut world = World::new(case, tell)?;
    world.play();
    world.draw();
    Ok(Report {
        violation: world.violation,
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
        let longest_term = longest_term(&nodes, case, foreign.deadline);
        let rewrites = |kind: Kind| {
            use Kind::{AdminDelete, AdminFree, Clone, Foreign, Replaced, Restored};
            matches!(kind, AdminDelete | AdminFree | Clone | Foreign | Replaced | Restored)
        };
        let forgets = case.store == StoreKind::Forgets;
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
            disturbed_at: 0,
            quiet: false,
            bound: false,
            led: false,
            calm: !forgets && !case.faults.iter().any(|fault| rewrites(fault.kind)),
            excuses: Excuses::default(),
            longest_term,
            greatest: 0,
            named: (None, 0),
            named_at: 0,
            spoiled: None,
            won: Vec::new(),
            revoked: Vec::new(),
            violation: None,
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
            self.draw();
        }
        if self.violation.is_none() {
            self.now = end;
            self.judge_end();
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
            return;
        }
        let named = self.store.named();
        if self.store.expire(self.now) {
            self.displaces(named, None);
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

    /// Adds a line to the story.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let seconds = self.now as f64 / 1e9;
            story.push(format!("{seconds:>10.6}  {}", line()));
        }
    }
}
