//! What a fault does when it begins and when it ends.

use leasehold_core::{Input, Record, Time};

use super::World;
use crate::case::{Kind, MS};
use crate::cause::Cause;
use crate::draw::{Purpose, below, draw};
use crate::judge::Judge;
use crate::mutant::Mutant;
use crate::node::{PLENTY, Watch, election};
use crate::queue::{Command, Event, Local};
use crate::store_kind::{Floor, StoreKind};
use crate::story::name;

/// No more nodes than this, copies included.
const MAX_NODES: usize = 9;

impl World<'_> {
    pub(crate) fn begin_fault(&mut self, index: usize) {
        let fault = &self.case.faults[index];
        let x = self.target(index);
        self.targets[index] = x;
        self.active.push(index);
        self.report(|judge, _| judge.fault_begins());
        self.count_faults_of(index);
        self.cover.begin(fault.kind);
        self.tell(|| match fault.kind.is_of_store() || fault.is_for_all() {
            true => format!("fault {index} begins: {:?}", fault.kind),
            false => format!("fault {index} begins: {:?} at {}", fault.kind, name(x)),
        });
        match fault.kind {
            Kind::Pause | Kind::Suspend => {
                let node = &mut self.nodes[x];
                if node.alive {
                    node.paused += 1;
                    node.setbacks = PLENTY;
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
                let (named, before) = (self.store.named(), self.store.index());
                self.store.delete(self.now);
                if self.store.index() > before {
                    self.report(|judge, scene| judge.touches(scene, named, Cause::Deleted));
                    self.changed();
                }
            }
            Kind::Replaced => self.replace_store(),
            Kind::Restored => self.put_back(index),
            Kind::AdminLabel => self.edit(false),
            Kind::AdminFree => self.edit(true),
            Kind::Unreadable => {
                let named = self.store.named();
                self.spoiled = self.store.spoil(self.now).or(self.spoiled.take());
                self.report(|judge, scene| judge.displaces(scene, named, None));
                self.changed();
            }
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
        self.report(Judge::fault_ends);
        self.count_faults_of(index);
        self.tell(|| format!("fault {index} ends: {kind:?}"));
        match kind {
            Kind::Pause | Kind::Suspend => self.resume(x, index),
            Kind::Restart => self.start(x),
            Kind::WatchSilent | Kind::Partition if self.nodes[x].watch.dead => self.break_watch(x),
            Kind::Foreign => self.foreign_stops(),
            Kind::Unreadable => self.put_right(),
            Kind::AdminLabel if self.case.store == StoreKind::Observer => self.edit(false),
            Kind::Withdraw | Kind::Drain => self.local(x, Local::Command(Command::Stand)),
            _ => {}
        }
    }

    fn count_faults_of(&mut self, index: usize) {
        if self.case.faults[index].is_for_all() {
            (0..self.nodes.len()).for_each(|x| self.count_faults(x));
        } else {
            self.count_faults(self.targets[index]);
        }
    }

    /// Another store answers at the same address: nothing is stored there, and it knows nothing of
    /// what was. Its history is the longer one, so that tokens repeat no more than after a
    /// deletion.
    fn replace_store(&mut self) {
        let named = self.store.named();
        self.generation += 1;
        self.spoiled = None;
        self.store.delete(self.now);
        self.report(|judge, scene| judge.touches(scene, named, Cause::Replaced));
        for x in 0..self.nodes.len() {
            self.break_watch(x);
        }
        self.changed();
    }

    /// An administrator puts an earlier record back.
    fn put_back(&mut self, index: usize) {
        let named = self.store.named();
        let chance = draw(self.case.seed, 96, index as u64, Purpose::Restore);
        if self.store.put_back(self.now, chance) {
            self.report(|judge, scene| judge.restores(scene, named));
            self.changed();
        }
    }

    /// Whom a fault hits: whoever leads now, if it names nobody.
    fn target(&self, index: usize) -> usize {
        if let Some(node) = self.case.faults[index].node {
            return node;
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
            // What was mapped before is mapped anew.
            node.wakes_at = Time::NEVER;
            if let Some(belief) = &mut node.belief {
                belief.deadline = Time::NEVER;
            }
        }
        (node.paused_at, node.running_since) = (self.now, self.now);
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

    pub(crate) fn kill(&mut self, x: usize) {
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
        (node.lineage, node.parted) = (numbers, None);
        let reused = self.case.mutant == Some(Mutant::ReusedIdentity);
        let (whose, life) = if reused { (config, 0) } else { (x, numbers) };
        node.election = election(self.case, config, whose, life, timing);
        node.inbox.clear();
        node.flight = None;
        node.knows = None;
        node.told = None;
        node.known = 0;
        (node.wakes, node.wakes_at) = (u64::MAX, Time::NEVER);
        node.gives_up = u64::MAX;
        node.paused = 0;
        if let Some(belief) = node.belief.take() {
            node.over.push(belief.token);
        }
        if self.case.floor == Floor::None {
            node.over.clear();
        }
        (node.setbacks, node.refused_at) = (PLENTY, 0);
        node.work = None;
        node.leaves = false;
        node.releasing = None;
        node.watch = Watch { number: 0, stands: false, dead: false, cursor: 0, delivered: now };
        self.report(|judge, _| judge.dies(x));
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
        self.report(|judge, scene| judge.copies(scene, x));
        let mut twin = self.nodes[x].clone();
        twin.strengths = [0; Kind::ALL.len()];
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
        let named = self.store.named();
        self.store.restart(self.now, depth);
        self.report(|judge, scene| judge.displaces(scene, named, None));
        for x in 0..self.nodes.len() {
            self.break_watch(x);
        }
        if self.case.store == StoreKind::Forgets {
            self.report(Judge::forgets);
            self.changed();
        }
    }

    /// What could not be parsed is put back as it was.
    fn put_right(&mut self) {
        if self.store.state().unreadable
            && let Some(record) = self.spoiled.take()
        {
            self.store.edit(self.now, record);
            self.report(|judge, scene| judge.displaces(scene, None, None));
            self.changed();
        }
    }

    /// Somebody edits a field that is not ours, again and again, also once the faults are over.
    pub(crate) fn edit_on(&mut self) {
        self.edit(false);
        let leases = self.case.candidates.iter().map(|c| c.lease_duration_ms);
        let pause = leases.min().unwrap_or(1000) / 2 * MS;
        self.queue.push(self.now + pause, Event::Edit);
    }

    /// Somebody edits the record: something that is not ours, or the holder.
    fn edit(&mut self, frees: bool) {
        let Some(record) = self.store.state().record.clone() else { return };
        let record = if frees { Record { holder: None, ..record } } else { record };
        let named = self.store.named();
        self.store.edit(self.now, record);
        if frees {
            self.report(|judge, scene| judge.touches(scene, named, Cause::Freed));
        }
        self.changed();
    }
}
