//! What a fault does when it begins and when it ends.

use leasehold_core::{Input, Record};

use crate::case::{Kind, MS, StoreKind};
use crate::coverage::Step;
use crate::draw::{Purpose, below, draw};
use crate::judge::name;
use crate::mutant::Mutant;
use crate::node::{Watch, election};
use crate::queue::{Command, Event, Local};
use crate::world::World;

/// No more nodes than this, copies included.
const MAX_NODES: usize = 9;

impl World<'_> {
    pub(crate) fn begin_fault(&mut self, index: usize) {
        let fault = &self.case.faults[index];
        let x = self.target(index);
        self.targets[index] = x;
        self.active.push(index);
        self.cover.begin(fault.kind);
        self.tell(|| format!("fault {index} begins: {:?} at {}", fault.kind, name(x)));
        match fault.kind {
            Kind::Pause | Kind::Suspend => {
                let node = &mut self.nodes[x];
                if node.alive {
                    node.paused += 1;
                    node.paused_at = self.now;
                    // Work of a process that stands still stops no earlier than it is killed.
                    if let Some(work) = &mut node.work {
                        work.stops = None;
                    }
                }
            }
            Kind::Restart => self.kill(x),
            Kind::Clone => self.clone_node(x),
            Kind::ServerStall => {
                let ends = (fault.at_ms + fault.for_ms.min(2 * self.case.longest_lease_ms()))
                    .min(self.case.chaos_ms);
                self.stalled_until = self.stalled_until.max(ends * MS);
            }
            Kind::ServerRestart => self.restart_server(index),
            Kind::WatchCut => self.break_watch(x),
            Kind::Foreign => self.foreign_starts(),
            Kind::AdminDelete => {
                self.store.delete(self.now);
                self.changed();
            }
            Kind::AdminLabel => self.edit(false),
            Kind::AdminFree => self.edit(true),
            Kind::Resign => self.local(x, Local::Command(Command::Resign)),
            Kind::Withdraw => self.local(x, Local::Command(Command::Withdraw)),
            Kind::Drain => self.local(x, Local::Command(Command::Drain)),
            _ => {}
        }
    }

    pub(crate) fn end_fault(&mut self, index: usize) {
        let kind = self.case.faults[index].kind;
        let x = self.targets[index];
        self.active.retain(|active| *active != index);
        self.tell(|| format!("fault {index} ends: {kind:?}"));
        match kind {
            Kind::Pause | Kind::Suspend => self.resume(x, index),
            Kind::Restart => self.start(x),
            Kind::WatchSilent | Kind::Partition if self.nodes[x].watch.dead => self.break_watch(x),
            Kind::Foreign => self.foreign_stops(),
            Kind::AdminLabel if self.case.store == StoreKind::Observer => self.edit(false),
            Kind::Withdraw | Kind::Drain => self.local(x, Local::Command(Command::Stand)),
            _ => {}
        }
    }

    /// Whom a fault hits: whoever leads now, if it names nobody.
    fn target(&self, index: usize) -> usize {
        if let Some(node) = self.case.faults[index].node {
            return node.min(self.case.candidates.len() - 1);
        }
        let leads =
            self.nodes.iter().position(|node| node.belief.is_some_and(|b| b.until > self.now));
        let any = draw(self.case.seed, 98, index as u64, Purpose::Fault);
        leads.unwrap_or_else(|| {
            usize::try_from(below(any, self.case.candidates.len() as u64)).unwrap_or(0)
        })
    }

    fn resume(&mut self, x: usize, index: usize) {
        let node = &mut self.nodes[x];
        if !node.alive || node.paused == 0 {
            return;
        }
        node.paused -= 1;
        if node.paused > 0 {
            return;
        }
        let slept = self.case.faults[index].kind == Kind::Suspend;
        if slept && self.case.mutant == Some(Mutant::MonotonicClock) {
            node.clock.miss(self.now - node.paused_at);
        }
        node.paused_at = self.now;
        let inbox = std::mem::take(&mut node.inbox);
        // What the timers do and what has arrived meanwhile may come in either order.
        let timers_first = draw(self.case.seed, x, index as u64, Purpose::Resume) & 1 == 0;
        let timed_out = node.gives_up <= self.now;
        let killed = node.work.filter(|work| work.end() <= self.now).map(|work| work.token);
        self.tell(|| format!("{} goes on", name(x)));
        if timed_out && timers_first {
            self.time_out(x);
        }
        for local in inbox {
            self.local(x, local);
        }
        self.input(x, Input::Tick);
        if let Some(token) = killed {
            self.local(x, Local::WorkStopped(token));
        }
    }

    fn kill(&mut self, x: usize) {
        let now = self.now;
        if !self.nodes[x].alive {
            return;
        }
        self.tell(|| format!("{} dies", name(x)));
        self.store.bury(self.nodes[x].election.incarnation());
        self.numbers += 1;
        let (numbers, config, timing) = (self.numbers, self.nodes[x].config, self.nodes[x].timing);
        let node = &mut self.nodes[x];
        node.alive = false;
        node.lineage = numbers;
        node.cloned = false;
        let reused = self.case.mutant == Some(Mutant::ReusedIdentity);
        let (whose, life) = if reused { (config, 0) } else { (x, numbers) };
        node.election = election(self.case, config, whose, life, timing);
        node.inbox.clear();
        node.flight = None;
        node.unsure = false;
        node.holder_seen = 0;
        node.known = 0;
        node.wakes = u64::MAX;
        node.gives_up = u64::MAX;
        node.paused = 0;
        if let Some(belief) = node.belief.take() {
            node.over.push(belief.token);
        }
        node.work = None;
        node.leaves = false;
        node.releasing = None;
        node.viewed = None;
        node.greatest = 0;
        node.watch = Watch { number: 0, stands: false, dead: false, cursor: 0, delivered: now };
        // Whoever watches the process is told.
        if self.case.store == StoreKind::Passed {
            self.changed();
        }
    }

    fn clone_node(&mut self, x: usize) {
        if !self.nodes[x].alive || self.nodes.len() >= MAX_NODES {
            return;
        }
        let copy = self.nodes.len();
        self.tell(|| format!("{} is a copy of {}", name(copy), name(x)));
        let node = &self.nodes[x];
        let writes = node.flight.is_some_and(|flying| flying.step != Step::Read);
        let stored = self.store.state().record.as_ref().and_then(|record| record.holder.as_ref());
        let held = stored.is_some_and(|h| h.incarnation == Some(node.election.incarnation()));
        let claims = held || node.belief.is_some() || node.unsure || writes || node.work.is_some();
        let (believes, works) = node.longest_term(self.case);
        let (believes, works) = match self.case.store {
            // A renewal that stores nothing is never refused.
            StoreKind::Server => (u64::MAX, u64::MAX),
            _ => (self.now + believes, self.now + works),
        };
        let node = &mut self.nodes[x];
        node.cloned = true;
        if claims {
            node.excused = node.excused.max(believes);
            node.excused_work = node.excused_work.max(works);
        }
        let mut twin = node.clone();
        twin.paused = 0;
        twin.inbox.clear();
        twin.releasing = None;
        twin.watch.stands = false;
        if let Some(work) = &mut twin.work {
            work.stops = None;
        }
        self.nodes.push(twin);
        self.stand_watch(copy, 0);
        if let Some(work) = self.nodes[copy].work {
            self.queue.push(work.killed, Event::Local(copy, Local::WorkStopped(work.token)));
        }
        self.input(copy, Input::Push(false));
    }

    fn restart_server(&mut self, index: usize) {
        let chance = draw(self.case.seed, 97, index as u64, Purpose::Forget);
        let depth = usize::try_from(below(chance, 6)).unwrap_or(0);
        self.store.restart(self.now, depth);
        for x in 0..self.nodes.len() {
            self.break_watch(x);
        }
        if self.case.store == StoreKind::Forgets {
            self.changed();
        }
    }

    /// Somebody edits the record: something that is not ours, or the holder.
    fn edit(&mut self, frees: bool) {
        let Some(record) = self.store.state().record.clone() else { return };
        let record = if frees { Record { holder: None, ..record } } else { record };
        self.store.edit(self.now, record, frees);
        self.changed();
    }
}
