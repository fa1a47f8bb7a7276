//! The watch: the supervisor's thread that keeps the guard informed, and stands in for it when it fails.

mod types;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::defect::Defects;
use crate::messages::signal;
use crate::sweep::{KILL_NOW, Sweep};
use crate::{
    Children, Defect, Depth, Evidence, Exit, Instants, Listing, Order, Process, Report, Targets,
    Time,
};
pub use types::{Event, Outcome, WatchAction, WatchInput};

/// How long beyond the second instant the guard may take, at most, before the supervisor kills in its place: a
/// quarter of what is left until the lease may pass on, and no more than this.
const LEAD: Duration = Duration::from_millis(250);

/// The least pause between two looks for children of others that have ended.
const ORPHANS: Duration = Duration::from_millis(20);

/// The watch over one guard, from its start to the end of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    own_session: i32,
    guard: i32,
    cgroup: bool,
    instants: Instants,
    grace: Duration,
    /// Children that are none of CMD's: a shell may have become this process and left its own behind.
    spared: BTreeSet<i32>,
    out: VecDeque<WatchAction>,
    agenda: VecDeque<WatchAction>,
    asked: Option<Asked>,
    in_round: bool,
    /// `wait` was asked twice in this round.
    again: bool,
    /// Who may be spared if the guard still runs after they were listed.
    candidates: Option<Vec<Process>>,
    /// Children of others may have ended: so often, and the next look at them.
    orphans: u32,
    orphans_at: Time,
    /// When everything must be dead or dying, besides the second instant.
    kill_from: Time,
    beat: Time,
    killed_guard: bool,
    guard_over: bool,
    guard_lost: bool,
    exit: Option<Exit>,
    failed: Option<u32>,
    /// The guard's word that everything is gone.
    gone: Option<(Time, Time)>,
    leave: bool,
    stopped_renewing: bool,
    told_overdue: bool,
    /// Look once more for what is left: to name it, and to name it in the end.
    named: bool,
    last_look: LastLook,
    evidence: Option<Evidence>,
    empty_lists: u32,
    sweep: Sweep,
    ended: bool,
    defects: Defects,
}

/// A question whose answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    at: Time,
    /// The guard had ended. What was listed before says nothing of the time after.
    guard_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LastLook {
    NotYet,
    Asked,
    /// It was answered, and counts if the guard still runs.
    Confirm,
    Done,
}

impl Watch {
    /// The watch over this guard, which was just started and will be told `grace`. `spared` are the children that this
    /// process had before.
    #[must_use]
    pub fn new(
        now: Time,
        guard: i32,
        own_session: i32,
        instants: Instants,
        grace: Duration,
    ) -> Self {
        Self {
            own_session,
            guard,
            cgroup: false,
            instants,
            grace,
            spared: BTreeSet::new(),
            out: VecDeque::new(),
            agenda: VecDeque::new(),
            asked: None,
            in_round: false,
            again: false,
            candidates: None,
            orphans: 0,
            orphans_at: Time(0),
            kill_from: Time::NEVER,
            beat: Time(0),
            killed_guard: false,
            guard_over: false,
            guard_lost: false,
            exit: None,
            failed: None,
            gone: None,
            leave: false,
            stopped_renewing: false,
            told_overdue: false,
            named: false,
            last_look: LastLook::NotYet,
            evidence: None,
            empty_lists: 0,
            sweep: Sweep::new(now),
            ended: false,
            defects: Defects::default(),
        }
    }

    /// The same, sparing the children that this process had before it started the guard.
    #[must_use]
    pub fn sparing(self, spared: impl IntoIterator<Item = i32>) -> Self {
        Self { spared: spared.into_iter().collect(), ..self }
    }

    /// The same, with a control group made for CMD.
    #[must_use]
    pub fn with_cgroup(self, cgroup: bool) -> Self {
        Self { cgroup, ..self }
    }

    /// The same watch with a deliberate defect.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_defect(self, one: Option<Defect>) -> Self {
        Self { defects: Defects { one }, ..self }
    }

    /// Whether the lease may still be renewed.
    #[must_use]
    pub fn may_renew(&self) -> bool {
        !self.stopped_renewing
    }

    /// Takes in what was learnt.
    pub fn handle(&mut self, now: Time, input: WatchInput) {
        match input {
            // A renewal after renewals must stop was under way when they did: it changes nothing.
            WatchInput::Extend(instants) => {
                if !self.stopped_renewing {
                    self.instants = instants;
                    self.out.push_back(WatchAction::Post(instants));
                    self.send(Order::Look);
                }
            }
            WatchInput::Order(order) => {
                if order == Order::Kill {
                    self.kill_from = self.kill_from.min(now);
                }
                self.send(order);
            }
            WatchInput::Abandon => {
                self.kill_from = self.kill_from.min(now);
                self.out.push_back(WatchAction::CloseChannel);
            }
            WatchInput::Leave => self.leave = true,
            WatchInput::ChildEnded => {
                self.orphans = self.orphans.saturating_add(1);
                self.sweep.note_news();
            }
            WatchInput::Report(report) => self.reported(now, report),
            WatchInput::Beat { at, alive_at } => {
                self.beat = self.beat.max(at);
                self.sweep.note_life(alive_at);
            }
            WatchInput::Closed => {
                if self.defects.is(Defect::ClosedIsDeath) {
                    self.end(now, true);
                }
            }
            WatchInput::GuardRuns => self.spare(),
            WatchInput::GuardEnded => self.guard_ended(now),
            WatchInput::Listed(listing) => self.listed(now, listing),
            WatchInput::Waited(evidence) => self.waited(now, evidence),
        }
    }

    fn ask(&mut self, now: Time) {
        self.asked = Some(Asked { at: now, guard_over: self.guard_over });
    }

    fn send(&mut self, order: Order) {
        // One look that waits is enough.
        let waits = self.out.contains(&WatchAction::Send(Order::Look));
        if order != Order::Look || !waits {
            self.out.push_back(WatchAction::Send(order));
        }
    }

    fn tell(&mut self, event: Event) {
        self.out.push_back(WatchAction::Tell(event));
    }

    fn reported(&mut self, now: Time, report: Report) {
        match report {
            Report::Started(pid) => self.tell(Event::Started(pid)),
            Report::Exited { exit, by_itself } => {
                self.exit = Some(exit);
                // Otherwise the instants, or an order to kill, say when.
                if by_itself {
                    self.kill_from = self.kill_from.min(now + self.grace);
                }
                self.tell(Event::Exited { exit, by_itself });
            }
            Report::Stopped(number) => self.tell(Event::Stopped(number)),
            Report::Failed(errno) => self.failed = Some(errno),
            Report::Gone { alive_at, dead_at } => {
                self.gone = Some((alive_at, dead_at));
                self.kill_from = self.kill_from.min(now);
            }
        }
    }

    fn guard_ended(&mut self, now: Time) {
        if std::mem::replace(&mut self.guard_over, true) {
            return;
        }
        // Who was listed before may not be spared: the guard's children are among them, perhaps.
        let confirms = self.last_look == LastLook::Confirm;
        if self.candidates.take().is_some() || confirms {
            self.asked = None;
        }
        if confirms {
            self.last_look = LastLook::NotYet;
        }
        self.agenda.clear();
        self.in_round = false;
        if self.gone.is_none() {
            self.guard_lost = true;
            self.tell(Event::GuardLost);
        } else if self.defects.is(Defect::GuardsWordStands) {
            self.end(now, true);
        }
    }

    /// Those listed while the guard ran are not CMD's, for what CMD starts has the guard as its parent until that ends.
    fn spare(&mut self) {
        self.asked = None;
        if self.last_look == LastLook::Confirm {
            self.last_look = LastLook::Done;
        }
        let Some(listed) = self.candidates.take().filter(|_| !self.guard_over) else { return };
        let (ended, living): (Vec<Process>, Vec<Process>) =
            listed.into_iter().partition(|process| process.ended);
        // Not before they are out of it: once reaped, their pids may be anybody's.
        self.spared = living.into_iter().map(|process| process.pid).collect();
        let ended: Vec<i32> = ended.into_iter().map(|process| process.pid).collect();
        if !ended.is_empty() {
            self.agenda.push_back(WatchAction::Reap(ended));
        }
    }

    fn listed(&mut self, now: Time, listing: Option<Listing>) {
        let Some(asked) = self.asked.take() else { return };
        let current = asked.guard_over == self.guard_over;
        if self.last_look == LastLook::Asked {
            self.last_look = match (current, self.guard_over) {
                (false, _) => LastLook::NotYet,
                (true, true) => LastLook::Done,
                // If the guard ended meanwhile, what it had may hang anywhere.
                (true, false) => {
                    self.agenda.push_front(WatchAction::AskGuard);
                    LastLook::Confirm
                }
            };
        }
        let valid = listing.filter(|_| current);
        let Some(Listing { depth, mut processes, complete }) = valid else { return };
        if self.defects.is(Defect::HiddenIsNone) && depth == Depth::All {
            processes.retain(|process| process.seen.is_some());
        }
        if !self.guard_over {
            return self.listed_below_guard(depth, processes, complete);
        }
        if complete {
            let children: BTreeSet<i32> =
                processes.iter().filter(|p| p.is_child()).map(|p| p.pid).collect();
            self.spared.retain(|pid| children.contains(pid));
        }
        processes.retain(|process| process.root.is_none_or(|root| !self.spared.contains(&root)));
        let none = processes.is_empty();
        let (ended, living): (Vec<Process>, Vec<Process>) =
            processes.into_iter().partition(|process| process.ended);
        if !living.is_empty() {
            self.sweep.note_life(asked.at);
        }
        if !none {
            // The guard said otherwise, or did not live to say so.
            self.gone = None;
            self.empty_lists = 0;
        }
        self.kill_listed(depth, &living, &ended);
        if none && self.is_death(complete) {
            return self.end(now, true);
        }
        if depth == Depth::All {
            self.sweep.left = living;
            self.name_what_is_left();
        }
    }

    /// A complete list without a child that is not spared is a death, if the control group does not contradict. (Without
    /// spared children `wait` alone says it.)
    fn is_death(&mut self, complete: bool) -> bool {
        self.empty_lists += 1;
        let allowed = self.evidence.is_some_and(Evidence::allows_death);
        let complete = complete || self.defects.is(Defect::PartIsWhole);
        let listed = complete && !self.spared.is_empty() && allowed;
        listed || self.defects.is(Defect::EmptyListsAreDeath) && self.empty_lists >= 2
    }

    fn kill_listed(&mut self, depth: Depth, living: &[Process], ended: &[Process]) {
        let victims: Vec<&Process> = living.iter().collect();
        let targets = if self.spared.is_empty() {
            Targets::all(&victims, self.own_session)
        } else {
            Targets::among_spared(&victims)
        };
        if !targets.is_empty() {
            self.agenda.push_back(WatchAction::Signal { signal: signal::KILL, targets });
        }
        let ended: Vec<i32> = ended.iter().filter(|p| p.is_child()).map(|p| p.pid).collect();
        let all_ended = living.is_empty() && !ended.is_empty();
        if !ended.is_empty() {
            self.agenda.push_back(WatchAction::Reap(ended));
        }
        let populated = self.evidence.is_some_and(Evidence::is_life);
        if depth == Depth::Children && (!living.is_empty() || populated) {
            self.agenda.push_back(WatchAction::Look(Depth::All));
        } else if all_ended && !std::mem::replace(&mut self.again, true) {
            self.agenda.push_back(WatchAction::Wait);
        }
    }

    fn listed_below_guard(&mut self, depth: Depth, mut processes: Vec<Process>, complete: bool) {
        if depth == Depth::Children {
            if complete {
                processes.retain(|process| process.is_child() && process.pid != self.guard);
                self.candidates = Some(processes);
                self.agenda.push_back(WatchAction::AskGuard);
            }
            return;
        }
        // The guard may have ended unnoticed, so that what it had is here now.
        let cmds = |root: i32| !self.spared.contains(&root);
        processes.retain(|process| {
            !process.ended && process.pid != self.guard && process.root.is_none_or(cmds)
        });
        self.sweep.left = processes;
        self.name_what_is_left();
    }

    fn name_what_is_left(&mut self) {
        if self.stopped_renewing && !self.named && !self.sweep.left.is_empty() {
            self.named = true;
            self.tell(Event::Left(self.sweep.left.clone()));
        }
    }

    fn waited(&mut self, now: Time, evidence: Evidence) {
        let asked = self.asked.take().map_or(now, |asked| asked.at);
        self.evidence = Some(evidence);
        if evidence.is_life() {
            self.sweep.note_life(asked);
            self.gone = None;
        }
        let inferred =
            self.defects.is(Defect::EmptyCgroupIsDeath) && self.cgroup && evidence.allows_death();
        if evidence.is_death() || inferred {
            return self.end(now, true);
        }
        if self.cgroup && !self.again {
            self.agenda.push_back(WatchAction::KillCgroup);
        }
        // Without a child there is nobody to list, but for who left the tree.
        if evidence.children != Children::None || evidence.is_life() {
            self.agenda.push_back(WatchAction::Look(Depth::Children));
        }
    }

    /// What is to be done now. `None`: nothing before [`next_deadline`](Self::next_deadline).
    pub fn poll(&mut self, now: Time) -> Option<WatchAction> {
        if self.defects.is(Defect::QueueBeforeClock) && self.orphans > 0 && self.asked.is_none() {
            self.orphans -= 1;
            self.ask(now);
            return Some(WatchAction::Look(Depth::Children));
        }
        if !self.ended {
            self.look_at_the_clock(now);
        }
        if let Some(action) = self.out.pop_front() {
            return Some(action);
        }
        if self.ended {
            return None;
        }
        if let Some(action) = self.next_of_agenda(now) {
            return Some(action);
        }
        if !self.guard_over && self.orphans > 0 && self.asked.is_none() && now >= self.orphans_at {
            self.orphans = 0;
            self.orphans_at = now + ORPHANS;
            self.ask(now);
            return Some(WatchAction::Look(Depth::Children));
        }
        None
    }

    /// What the clock demands comes before what waits.
    fn look_at_the_clock(&mut self, now: Time) {
        if self.guard_over || now >= self.kill_at() {
            self.sweep.kill(now);
        }
        if now > self.instants.dead_by && self.gone.is_none() && !self.told_overdue {
            self.told_overdue = true;
            self.out.push_front(WatchAction::Tell(Event::Overdue));
        }
        if now >= self.stop_renewing_at() {
            self.stopped_renewing = true;
            self.out.push_front(WatchAction::Tell(Event::StopRenewing));
            self.agenda.push_back(WatchAction::Look(Depth::All));
        }
        if now >= self.backstop() {
            self.killed_guard = true;
            self.out.push_front(WatchAction::KillGuard);
        }
        if now >= self.end_at() {
            match self.last_look {
                LastLook::NotYet if self.asked.is_none() => {
                    self.last_look = LastLook::Asked;
                    self.agenda.push_front(WatchAction::Look(Depth::All));
                }
                LastLook::Done => self.end(now, self.defects.is(Defect::ReleasesWithLeft)),
                LastLook::NotYet | LastLook::Asked | LastLook::Confirm => {}
            }
        }
        let idle = self.agenda.is_empty() && self.asked.is_none() && !self.in_round;
        if self.guard_over && idle && now >= self.sweep.due() {
            self.sweep.begin();
            (self.in_round, self.again) = (true, false);
            self.agenda.push_back(WatchAction::Wait);
        }
    }

    fn next_of_agenda(&mut self, now: Time) -> Option<WatchAction> {
        if let Some(action) = self.agenda.pop_front() {
            match action {
                WatchAction::Look(_) | WatchAction::Wait | WatchAction::AskGuard => {
                    if self.asked.is_some() {
                        // One question at a time: this one comes after the answer.
                        self.agenda.push_front(action);
                        return None;
                    }
                    self.ask(now);
                }
                _ => {}
            }
            return Some(action);
        }
        if self.in_round && self.asked.is_none() {
            self.in_round = false;
            self.sweep.rest(now, self.defects);
        }
        None
    }

    fn end(&mut self, now: Time, dead: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // The guard's word dates the end; that it is one was asked of the kernel since.
        let (alive_at, at) = match self.gone.filter(|_| dead) {
            Some((alive_at, dead_at)) => (alive_at, dead_at),
            None => (self.sweep.alive_at, now),
        };
        let alive_at = if self.defects.is(Defect::DeathIsWhenNoticed) { at } else { alive_at };
        let left = if dead { Vec::new() } else { std::mem::take(&mut self.sweep.left) };
        self.out.push_back(WatchAction::End(Outcome {
            exit: self.exit,
            failed: self.failed,
            guard_lost: self.guard_lost,
            dead,
            alive_at,
            at,
            dead_by: self.instants.dead_by,
            left,
        }));
    }

    /// When everything is killed, by whomever.
    fn kill_at(&self) -> Time {
        self.instants.kill_at.min(self.kill_from)
    }

    /// When the guard is no longer trusted to kill.
    fn backstop(&self) -> Time {
        if self.guard_over || self.killed_guard || self.defects.is(Defect::WaitsForGuard) {
            return Time::NEVER;
        }
        let Instants { kill_at, dead_by, .. } = self.instants;
        let instant = kill_at + LEAD.min(dead_by.since(kill_at) / 4);
        instant.min(self.kill_from + KILL_NOW).max(self.works_until())
    }

    /// Until when a guard that kills and says so is left to it: it does what could be done in its place. But one that
    /// falls silent while the lease ends must leave time to do it.
    fn works_until(&self) -> Time {
        if self.beat == Time(0) {
            return self.beat;
        }
        let Instants { kill_at, dead_by, .. } = self.instants;
        let margin = dead_by.since(kill_at);
        let works = self.beat + KILL_NOW;
        // What is left after the kill's grace cannot be killed by anybody.
        if self.beat >= dead_by || self.beat >= self.sweep.grace_over() {
            return works;
        }
        let latest = (kill_at + margin / 2).max(self.beat + KILL_NOW.min(margin / 4));
        works.min(latest)
    }

    /// When renewals must stop, if they did not.
    fn stop_renewing_at(&self) -> Time {
        if self.stopped_renewing || self.defects.is(Defect::RenewsWhileKilling) {
            return Time::NEVER;
        }
        self.sweep.grace_over()
    }

    /// When the end is told although something lives: the lease is over; or the user does not want to wait, and the
    /// guard is there to keep the liveness lock until then.
    fn end_at(&self) -> Time {
        if self.defects.is(Defect::ReleasesWithLeft) {
            return self.sweep.grace_over();
        }
        if self.defects.is(Defect::NeverGivesUp) {
            return Time::NEVER;
        }
        let leaves = self.leave && self.stopped_renewing && !self.guard_over;
        let over = if leaves { Time(0) } else { self.instants.dead_by };
        self.sweep.grace_over().max(over)
    }

    /// When `poll` has something to do, if nothing is told before. A moment that has passed: at once.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        if !self.out.is_empty() {
            return Time(0);
        }
        if self.ended {
            return Time::NEVER;
        }
        let answer_due = self.asked.is_some();
        if !answer_due && (self.in_round || !self.agenda.is_empty()) {
            return Time(0);
        }
        let killing = self.sweep.is_killing();
        let kill_at = if killing { Time::NEVER } else { self.kill_at() };
        let over = self.instants.dead_by + Duration::from_nanos(1);
        let overdue = if self.told_overdue || self.gone.is_some() { Time::NEVER } else { over };
        let round = if self.guard_over { self.sweep.due() } else { Time::NEVER };
        let orphans = self.orphans > 0 && !self.guard_over;
        let orphans = if orphans { self.orphans_at } else { Time::NEVER };
        let waits = matches!(self.last_look, LastLook::Asked | LastLook::Confirm);
        let end = if waits { Time::NEVER } else { self.end_at() };
        let asking = if answer_due { Time::NEVER } else { round.min(orphans).min(end) };
        kill_at.min(overdue).min(asking).min(self.backstop()).min(self.stop_renewing_at())
    }
}
