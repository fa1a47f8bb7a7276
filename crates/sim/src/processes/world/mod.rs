//! One run: whose turn it is, and what a turn costs.

mod guard;
mod judge;
mod rest;
mod supervisor;
mod tree;

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::time::Duration;

use leasehold_guard::{Exit, Guard, Instants, Order, Report, Time, Watch};

use self::guard::GuardSide;
use self::judge::Judge;
use self::rest::Rest;
use self::supervisor::WatchSide;
use crate::draw::{Draws, Purpose};
use crate::processes::case::{Case, Kind, ms};
use crate::processes::hands::Stray;
use crate::processes::kernel::{Kernel, Kin, Pid, SESSION, SUPERVISOR, State};
use crate::processes::{Flaw, Played};

/// No run takes more turns.
const TURNS: u64 = 400_000;

/// How long a run goes on once nothing goes wrong any more.
const AFTER: Duration = Duration::from_secs(14);

/// What waits in the channel from guard to supervisor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    Report(Report),
    /// The other end was closed with something unread: an error, once.
    Reset,
}

pub(super) struct World {
    case: Case,
    flaw: Option<Flaw>,
    kernel: Kernel,
    guard: GuardSide,
    watch: WatchSide,
    rest: Rest,
    orders: VecDeque<Order>,
    orders_closed: bool,
    reports: VecDeque<Message>,
    reports_closed: bool,
    posted: Instants,
    beat: Option<(Time, Time)>,
    awake: Option<Time>,
    /// CMD's main process, once it was started: its pid and number.
    cmd: Option<(Pid, usize)>,
    forks: u32,
    strays: Vec<Stray>,
    judge: Judge,
    story: Story,
    draws: Draws,
    /// When each fault begins, and how often it had its turn: it begins and ends.
    begun: Vec<(Time, u8)>,
    /// What the guard did since it began to kill.
    killing: u32,
    turns: u64,
}

/// What happened, line by line, if somebody wants to know.
#[derive(Debug)]
pub(super) struct Story(Option<Vec<String>>);

impl Story {
    pub(super) fn on(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn line(&mut self, now: Time, what: String) {
        if let Some(lines) = &mut self.0 {
            let (whole, part) = (now.0 / 1_000_000, now.0 / 1_000 % 1_000);
            let mut line = String::new();
            let _ = write!(line, "{whole:>6}.{part:03} ms  {what}");
            lines.push(line);
        }
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Guard,
    Watch,
    Rest,
    Process(Pid),
    Fault(usize),
}

impl World {
    pub(super) fn new(case: &Case, flaw: Option<Flaw>, told: bool) -> Self {
        let mut kernel = Kernel::new(case.max_pid);
        let instants = case.instants(Time(0));
        let mut spared = Vec::new();
        for _ in 0..case.spared {
            let child = kernel.fork(SUPERVISOR, Kin::Spared, false).expect("there are pids");
            spared.push(child);
            if case.spared_sessions {
                kernel.setsid(child);
            }
            kernel.fork(child, Kin::Spared, false);
            if let Some(process) = kernel.get(child) {
                process.original = true;
            }
        }
        let guard = kernel.fork(SUPERVISOR, Kin::Guard, false).expect("there are pids");
        if let Some(process) = kernel.get(guard) {
            (process.group, process.subreaper, process.next) = (guard, true, Time::NEVER);
        }
        let grace = Duration::from_millis(case.grace_ms);
        let defect = flaw.and_then(Flaw::defect);
        let machine = Guard::new(Time(0), SESSION, case.cgroup).with_defect(defect);
        let watch = Watch::new(Time(0), guard, SESSION, instants, grace)
            .sparing(spared.iter().copied())
            .with_cgroup(case.cgroup)
            .with_defect(defect);
        let mut judge = Judge::new(instants.dead_by, instants.kill_at);
        judge.sparing(&spared);
        Self {
            case: case.clone(),
            flaw,
            kernel,
            guard: GuardSide::new(machine, guard),
            watch: WatchSide::new(watch, grace),
            rest: Rest::new(),
            orders: VecDeque::new(),
            orders_closed: false,
            reports: VecDeque::new(),
            reports_closed: false,
            posted: instants,
            beat: None,
            awake: None,
            cmd: None,
            forks: case.forks,
            strays: Vec::new(),
            judge,
            story: Story(told.then(Vec::new)),
            draws: Draws::new(case.seed, 1, Purpose::Turn),
            begun: begun(case),
            killing: 0,
            turns: 0,
        }
    }

    /// Plays it to its end.
    pub(super) fn play(mut self) -> Played {
        while self.judge.broken.is_none() && self.turns < TURNS {
            let Some((at, turn)) = self.next() else { break };
            if at > self.quiet_from() + AFTER {
                self.judge_the_whole();
                break;
            }
            self.turns += 1;
            self.kernel.now = self.kernel.now.max(at);
            self.take(turn);
            self.settle();
            self.judge();
            if self.is_over() {
                break;
            }
        }
        let ending = self.ending();
        Played {
            broken: self.judge.broken,
            ending,
            turns: self.turns,
            story: self.story.0.unwrap_or_default(),
        }
    }

    /// CMD's main process, until it is reaped.
    pub(super) fn main(&self) -> Option<Pid> {
        let (pid, serial) = self.cmd?;
        self.kernel.find(pid).filter(|process| process.serial == serial)?;
        Some(pid)
    }

    /// Whether CMD's main process has ended, as its descriptor says.
    pub(super) fn main_has_ended(&self) -> bool {
        self.cmd.is_some()
            && self.main().and_then(|pid| self.kernel.find(pid)).is_none_or(|p| !p.lives())
    }

    fn is_over(&self) -> bool {
        let supervisor = self.kernel.find(SUPERVISOR).is_some_and(|process| process.lives());
        !supervisor && self.guard_has_ended()
    }

    /// Who is next.
    fn next(&self) -> Option<(Time, Turn)> {
        let runs = |pid: Pid, kin: Kin| {
            self.kernel.find(pid).is_some_and(|p| p.state == State::Runs && p.kin == kin)
        };
        let mut first: Option<(Time, Turn)> = None;
        let mut offer = |at: Time, turn: Turn| {
            if at != Time::NEVER && first.is_none_or(|(earliest, _)| at < earliest) {
                first = Some((at, turn));
            }
        };
        for (index, (begins, turns)) in self.begun.iter().enumerate() {
            match turns {
                0 => offer(*begins, Turn::Fault(index)),
                1 => offer(*begins + self.case.faults[index].lasts(), Turn::Fault(index)),
                _ => {}
            }
        }
        if runs(self.guard.hands.who, Kin::Guard) {
            offer(self.guard_next(), Turn::Guard);
        }
        if runs(SUPERVISOR, Kin::Supervisor) {
            offer(self.watch_next(), Turn::Watch);
            offer(self.rest_next(), Turn::Rest);
        }
        for process in &self.kernel.processes {
            let acts = matches!(process.kin, Kin::Cmd | Kin::Spared);
            if acts && process.state == State::Runs {
                offer(process.next, Turn::Process(process.pid));
            }
        }
        first
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Guard => {
                let cost = self.cost(Kind::StarveGuard);
                self.guard_turn();
                self.guard_rests(cost);
            }
            Turn::Watch => {
                let cost = self.cost(Kind::StarveSupervisor);
                self.watch_turn();
                self.watch.next = self.kernel.now + cost;
            }
            Turn::Rest => {
                let cost = self.cost(Kind::StarveSupervisor);
                self.rest_turn();
                self.rest.next = self.kernel.now + cost;
            }
            Turn::Process(pid) => self.process_turn(pid),
            Turn::Fault(index) => self.fault(index),
        }
    }

    /// What a turn costs.
    fn cost(&mut self, starves: Kind) -> Duration {
        let usual = self.case.turn_us;
        let starved = self.has(starves);
        let most = if starved { 20_000 } else { 3 * usual };
        Duration::from_micros(self.draws.between(usual, most))
    }

    /// Something begins to go wrong, or goes wrong no more.
    fn fault(&mut self, index: usize) {
        let ends = self.begun[index].1 > 0;
        self.begun[index].1 += 1;
        let kind = self.case.faults[index].kind;
        if self.story.on() {
            let what = format!("{} {kind:?}", if ends { "end of" } else { "begin of" });
            self.story.line(self.kernel.now, what);
        }
        let guard = self.guard.hands.who;
        match kind {
            Kind::FreezeGuard => self.freeze(guard, kind),
            Kind::FreezeSupervisor => self.freeze(SUPERVISOR, kind),
            _ if ends => {}
            Kind::KillGuard => self.kill_guard(),
            Kind::KillSupervisor => self.supervisor_exits(),
            Kind::GuardLies if !self.guard_has_ended() => self.guard_lies(),
            _ => {}
        }
    }

    /// Whether a fault of this kind is there now.
    pub(super) fn has(&self, kind: Kind) -> bool {
        let faults = self.case.faults.iter().zip(&self.begun);
        let mut of_kind = faults.filter(|(fault, _)| fault.kind == kind);
        of_kind.any(|(_, (_, turns))| *turns == 1)
    }

    /// When nothing goes wrong any more, as far as is known.
    fn quiet_from(&self) -> Time {
        let faults = self.case.faults.iter().zip(&self.begun).filter(|(_, (_, turns))| *turns > 0);
        let ends = faults.map(|(fault, (begins, _))| *begins + fault.lasts());
        ends.max().unwrap_or(Time(0)).max(ms(self.case.finale_ms))
    }

    /// The guard does one more thing while it kills.
    pub(super) fn guard_kills(&mut self) {
        self.killing += 1;
        for (fault, begun) in self.case.faults.iter().zip(&mut self.begun) {
            if fault.after == self.killing && begun.1 == 0 {
                begun.0 = self.kernel.now;
            }
        }
    }

    fn freeze(&mut self, pid: Pid, kind: Kind) {
        let frozen = self.has(kind);
        let kin = if pid == SUPERVISOR { Kin::Supervisor } else { Kin::Guard };
        if let Some(process) = self.kernel.get(pid).filter(|p| p.lives() && p.kin == kin) {
            process.state = if frozen { State::Stopped } else { State::Runs };
        }
    }

    /// What the kernel does by itself after a turn.
    fn settle(&mut self) {
        if self.guard_has_ended() {
            self.close_guard();
        }
        let supervisor = self.kernel.find(SUPERVISOR).is_some_and(|process| process.lives());
        if !supervisor {
            self.close_supervisor();
        }
        if !self.story.on() {
            return self.kernel.ends.clear();
        }
        for (pid, kin, exit) in std::mem::take(&mut self.kernel.ends) {
            let how = match exit {
                Exit::Code(code) => format!("with {code}"),
                Exit::Signal(number) => format!("by signal {number}"),
            };
            self.story.line(self.kernel.now, format!("{pid} ({kin:?}) ends {how}"));
        }
    }

    pub(super) fn tell_action(&mut self, who: &str, action: &impl Debug) {
        if self.story.on() {
            self.story.line(self.kernel.now, format!("{who}: {action:?}"));
        }
    }
}

fn begun(case: &Case) -> Vec<(Time, u8)> {
    let begins = |after: u32, at: u64| if after == 0 { ms(at) } else { Time::NEVER };
    case.faults.iter().map(|fault| (begins(fault.after, fault.at_ms), 0)).collect()
}
