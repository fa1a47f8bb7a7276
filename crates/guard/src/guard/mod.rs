//! The guard: CMD is its child, and it kills in time whatever becomes of the supervisor.

mod types;

use std::collections::VecDeque;
use std::time::Duration;

use crate::defect::Defects;
use crate::messages::{ends_by_default, signal};
use crate::sweep::Sweep;
use crate::{
    Children, Defect, Depth, Evidence, Exit, Instants, Listing, Order, Process, Report, Targets,
    Time,
};
pub use types::{GuardAction, GuardInput, Verdict};

/// The guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    own_session: i32,
    cgroup: bool,
    phase: Phase,
    instants: Option<Instants>,
    /// How long what CMD leaves behind may take to stop.
    grace: Duration,
    /// Signals that wait. Two of one number are one, as in the kernel.
    signals: Vec<u8>,
    reports: VecDeque<Report>,
    agenda: VecDeque<GuardAction>,
    /// When the question was asked whose answer is due.
    asked: Option<Time>,
    in_round: bool,
    kill: bool,
    closed: bool,
    /// Somebody asked for a stop.
    stop: bool,
    /// SIGTERM was sent because the first instant passed.
    told: bool,
    exited: bool,
    /// CMD's main process is reaped: its pid, which is also the group's, may belong to another.
    reaped: bool,
    stopped: bool,
    /// What CMD left behind is still to be told to stop.
    tell_leftovers: bool,
    leftovers_until: Time,
    populated: bool,
    empty_lists: u32,
    sweep: Sweep,
    defects: Defects,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Waiting,
    /// CMD is to be started.
    Ordered,
    Starting,
    Running(i32),
    Ending(Verdict),
    Over,
}

impl Guard {
    /// A guard that waits for its orders. `own_session` is its session, and `cgroup` whether CMD
    /// gets a control group of its own.
    #[must_use]
    pub fn new(now: Time, own_session: i32, cgroup: bool) -> Self {
        Self {
            own_session,
            cgroup,
            phase: Phase::Waiting,
            instants: None,
            grace: Duration::ZERO,
            signals: Vec::new(),
            reports: VecDeque::new(),
            agenda: VecDeque::new(),
            asked: None,
            in_round: false,
            kill: false,
            closed: false,
            stop: false,
            told: false,
            exited: false,
            reaped: false,
            stopped: false,
            tell_leftovers: false,
            leftovers_until: Time::NEVER,
            populated: false,
            empty_lists: 0,
            sweep: Sweep::new(now),
            defects: Defects::default(),
        }
    }

    /// The same guard with a deliberate defect.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_defect(self, one: Option<Defect>) -> Self {
        Self { defects: Defects { one }, ..self }
    }

    /// CMD's pid, while its main process is not reaped.
    #[must_use]
    pub fn cmd(&self) -> Option<i32> {
        match self.phase {
            Phase::Running(pid) if !self.reaped => Some(pid),
            _ => None,
        }
    }

    /// Whether CMD's main process has ended.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        self.exited
    }

    /// Takes in what was learnt.
    pub fn handle(&mut self, now: Time, input: GuardInput) {
        match input {
            GuardInput::Order(order) => self.obey(order),
            GuardInput::SupervisorGone => self.closed = true,
            GuardInput::Posted(instants) => self.instants = Some(instants),
            GuardInput::Started(pid) => {
                self.phase = Phase::Running(pid);
                self.sweep.note_life(now);
                self.reports.push_back(Report::Started(pid.unsigned_abs()));
            }
            GuardInput::NotStarted(errno) => {
                self.reports.push_back(Report::Failed(errno));
                self.end(now);
            }
            GuardInput::Runs => self.sweep.note_life(now),
            GuardInput::Stopped(number) => {
                if !std::mem::replace(&mut self.stopped, true) {
                    self.reports.push_back(Report::Stopped(number));
                }
            }
            GuardInput::Continued => self.stopped = false,
            GuardInput::Exited { exit, reaped } => self.cmd_ended(now, exit, reaped),
            GuardInput::ChildEnded => self.sweep.note_news(),
            GuardInput::Listed(listing) => self.listed(now, listing),
            GuardInput::Waited(evidence) => self.waited(now, evidence),
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { grace } => {
                if self.phase == Phase::Waiting {
                    self.grace = grace;
                    self.phase = Phase::Ordered;
                }
            }
            Order::Look => {}
            Order::Terminate => {
                self.stop = true;
                self.queue(signal::TERM);
            }
            Order::Signal(number) => self.queue(number),
            Order::Kill => self.kill = true,
        }
    }

    fn queue(&mut self, number: u8) {
        if !self.signals.contains(&number) {
            self.signals.push(number);
        }
    }

    /// CMD's main process has ended: what it left behind is told to stop, its group unless it was
    /// told before.
    fn cmd_ended(&mut self, now: Time, exit: Exit, reaped: bool) {
        if self.exited {
            return;
        }
        (self.exited, self.reaped) = (true, self.reaped || reaped);
        // A requested stop may drain as long as the supervisor lets it, whoever of CMD does the
        // draining.
        if !self.stop {
            self.leftovers_until = now + self.grace;
        }
        let asked = self.told || self.stop;
        let by_itself = !asked && !self.sweep.is_killing();
        self.reports.push_back(Report::Exited { exit, by_itself });
        if !self.sweep.is_killing() {
            if !asked {
                self.agenda.extend([signal::TERM, signal::CONT].map(GuardAction::SignalCmd));
            }
            self.tell_leftovers = true;
            self.begin_round(now);
            self.agenda.push_back(GuardAction::Look(Depth::All));
        }
    }

    fn end(&mut self, now: Time) {
        let alive_at =
            if self.defects.is(Defect::DeathIsWhenNoticed) { now } else { self.sweep.alive_at };
        self.phase = Phase::Ending(Verdict::Dead { alive_at, dead_at: now });
    }

    fn listed(&mut self, now: Time, listing: Option<Listing>) {
        let asked = self.asked.take();
        let Phase::Running(cmd) = self.phase else { return };
        let Some(Listing { depth, mut processes, .. }) = listing else {
            // Only `wait` can say more. Of CMD's group nothing is known after it, so not before it
            // must.
            if self.exited && self.sweep.is_killing() {
                self.agenda.push_back(GuardAction::Wait);
            }
            return;
        };
        if self.defects.is(Defect::HiddenIsNone) && depth == Depth::All {
            processes.retain(|process| process.seen.is_some());
        }
        let main = |process: &&Process| process.pid == cmd && !self.reaped;
        let living: Vec<&Process> = processes.iter().filter(|process| !process.ended).collect();
        let others_live = living.iter().any(|process| !main(process));
        let ended = processes.iter().filter(|process| process.ended && process.is_child());
        let ended: Vec<i32> = ended.filter(|p| !main(p)).map(|process| process.pid).collect();
        if let Some(asked) = asked.filter(|_| !living.is_empty()) {
            self.sweep.note_life(asked);
        }
        if self.sweep.is_killing() {
            let targets = Targets::all(&living, self.own_session);
            if !targets.is_empty() {
                self.agenda.push_back(GuardAction::Signal { signal: signal::KILL, targets });
            }
        } else if depth == Depth::All && std::mem::take(&mut self.tell_leftovers) {
            let others: Vec<i32> =
                living.iter().filter(|process| !main(process)).map(|process| process.pid).collect();
            if let Some(one) = others.first() {
                let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
                self.reports.push_back(Report::LeftBehind { count, one: one.unsigned_abs() });
            }
            let targets = Targets::outside(&living, cmd);
            for signal in [signal::TERM, signal::CONT] {
                let targets = targets.clone();
                if !targets.is_empty() {
                    self.agenda.push_back(GuardAction::Signal { signal, targets });
                }
            }
        }
        let kept = self.sweep.keeps(living.len(), ended.len(), now);
        if !ended.is_empty() && !kept {
            self.agenda.push_back(GuardAction::Reap(ended));
        }
        let deeper = depth == Depth::Children && self.sweep.is_killing();
        if deeper && (!living.is_empty() || self.populated) {
            self.agenda.push_back(GuardAction::Look(Depth::All));
        } else if self.exited && !others_live {
            self.empty_lists += 1;
            self.agenda.push_back(GuardAction::Wait);
        }
        if others_live {
            self.empty_lists = 0;
        }
        if depth == Depth::All {
            self.sweep.left = processes.into_iter().filter(|process| !process.ended).collect();
        }
    }

    fn waited(&mut self, now: Time, evidence: Evidence) {
        let asked = self.asked.take().unwrap_or(now);
        self.reaped = true;
        self.populated = evidence.is_life();
        if self.populated {
            self.sweep.note_life(asked);
        }
        let inferred = self.defects.is(Defect::EmptyListsAreDeath) && self.empty_lists >= 2
            || self.defects.is(Defect::EmptyCgroupIsDeath) && self.cgroup && !self.populated;
        if evidence.is_death() || inferred {
            self.end(now);
        } else if evidence.children != Children::Some || self.populated {
            // No child is left whose end would wake us: look again soon.
            self.sweep.note_doubt();
        }
    }

    /// What is to be done now. `None`: nothing before [`next_deadline`](Self::next_deadline).
    pub fn poll(&mut self, now: Time) -> Option<GuardAction> {
        match &self.phase {
            Phase::Waiting | Phase::Ordered => {
                if self.kill || self.stop || self.closed {
                    self.end(now);
                } else if self.phase == Phase::Ordered {
                    if self.instants.is_none_or(|instants| now >= instants.stop_at) {
                        self.end(now);
                    } else {
                        self.phase = Phase::Starting;
                        return Some(GuardAction::Start);
                    }
                }
            }
            Phase::Running(_) => {
                self.look_at_the_clock(now);
                if let Some(action) = self.next_of_agenda(now) {
                    return Some(action);
                }
            }
            Phase::Starting | Phase::Ending(_) | Phase::Over => {}
        }
        if let Some(report) = self.reports.pop_front() {
            return Some(GuardAction::Report(report));
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Ending(verdict) => Some(GuardAction::Over(verdict)),
            phase => {
                self.phase = phase;
                None
            }
        }
    }

    /// What the clock demands comes before what waits.
    fn look_at_the_clock(&mut self, now: Time) {
        if now >= self.kill_at() && !self.sweep.is_killing() {
            self.sweep.kill(now);
            self.agenda.clear();
            self.in_round = false;
        }
        let idle = self.agenda.is_empty() && self.asked.is_none();
        if self.sweep.is_killing() {
            self.signals.clear();
            if now >= self.give_up_at() {
                self.phase = Phase::Ending(Verdict::NotDead(std::mem::take(&mut self.sweep.left)));
            } else if idle && !self.in_round && now >= self.sweep.due() {
                self.begin_round(now);
                if self.cgroup {
                    self.agenda.push_back(GuardAction::KillCgroup);
                }
                self.agenda.push_back(GuardAction::SignalCmd(signal::KILL));
                self.agenda.push_back(GuardAction::Look(Depth::Children));
            }
            return;
        }
        if now >= self.stop_at() {
            self.told = true;
            self.agenda.push_front(GuardAction::SignalCmd(signal::CONT));
            self.agenda.push_front(GuardAction::SignalCmd(signal::TERM));
        }
        for number in std::mem::take(&mut self.signals) {
            self.agenda.push_back(GuardAction::SignalCmd(number));
            if ends_by_default(number) {
                self.agenda.push_back(GuardAction::SignalCmd(signal::CONT));
            }
        }
        if idle && !self.in_round && self.exited && now >= self.sweep.due() {
            self.begin_round(now);
            self.agenda.push_back(GuardAction::Look(Depth::Children));
        }
    }

    fn begin_round(&mut self, now: Time) {
        self.sweep.begin(now);
        self.in_round = true;
    }

    fn next_of_agenda(&mut self, now: Time) -> Option<GuardAction> {
        while let Some(action) = self.agenda.pop_front() {
            match action {
                GuardAction::SignalCmd(_) if self.reaped => continue,
                GuardAction::Look(_) | GuardAction::Wait if self.asked.is_some() => {
                    // One question at a time: this one comes after the answer.
                    self.agenda.push_front(action);
                    return None;
                }
                GuardAction::Look(_) | GuardAction::Wait => self.asked = Some(now),
                _ => {}
            }
            return Some(action);
        }
        if self.in_round && self.asked.is_none() {
            self.in_round = false;
            self.sweep.rest(now, self.defects);
            return self.sweep.is_killing().then_some(GuardAction::Beat(self.sweep.alive_at));
        }
        None
    }

    /// When everything is killed.
    fn kill_at(&self) -> Time {
        if self.kill || self.closed {
            return Time(0);
        }
        let kill_at = self.instants.map_or(Time(0), |instants| instants.kill_at);
        kill_at.min(self.leftovers_until)
    }

    /// When CMD is told to stop, if it was not.
    fn stop_at(&self) -> Time {
        let stop_at = self.instants.map_or(Time(0), |instants| instants.stop_at);
        if self.told { Time::NEVER } else { stop_at }
    }

    /// When killing ends although something lives: nobody waits for the outcome, and the lease is
    /// over.
    fn give_up_at(&self) -> Time {
        if !self.closed || self.defects.is(Defect::NeverGivesUp) {
            return Time::NEVER;
        }
        let dead_by = self.instants.map_or(Time(0), |instants| instants.dead_by);
        self.sweep.gives_up_at().max(dead_by)
    }

    /// When `poll` has something to do, if nothing is told before. A moment that has passed: at
    /// once.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let answer_due = self.asked.is_some();
        match self.phase {
            Phase::Waiting | Phase::Starting | Phase::Over => Time::NEVER,
            Phase::Ordered | Phase::Ending(_) => Time(0),
            Phase::Running(_) if self.reports.is_empty() && self.signals.is_empty() => {
                if !answer_due && (self.in_round || !self.agenda.is_empty()) {
                    return Time(0);
                }
                let round = if answer_due { Time::NEVER } else { self.sweep.due() };
                if self.sweep.is_killing() {
                    return round.min(self.give_up_at());
                }
                let round = if self.exited { round } else { Time::NEVER };
                self.kill_at().min(self.stop_at()).min(round)
            }
            Phase::Running(_) => Time(0),
        }
    }
}
