//! The guard's process: drives [`leasehold_guard::Guard`] as the product does, one system call a
//! turn.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold_guard::{
    Cgroup, Children, Evidence, Exit, Guard, GuardAction, GuardInput, Order, Report, Time, Verdict,
    signal,
};

use super::{Message, World};
use crate::processes::case::Kind;
use crate::processes::hands::{Call, Hands};
use crate::processes::kernel::{Kin, Pid, State};
use crate::processes::list::Reader;

/// The most actions between two looks at orders and board.
pub(super) const MOST: u32 = 128;

#[derive(Debug)]
pub(super) struct GuardSide {
    pub(super) machine: Guard,
    pub(super) hands: Hands,
    place: Place,
    action: Option<GuardAction>,
    unsent: VecDeque<Report>,
    pub(super) closed: bool,
    board: bool,
    stopped: bool,
    done: u32,
    cgroup: Cgroup,
    idle: u32,
    pub(super) next: Time,
    /// It holds the lock's liveness file.
    pub(super) liveness: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Orders,
    Board,
    Observe,
    ReapOthers,
    Act,
    Do,
    Wait,
    Send,
    Sleep,
    Over(bool),
}

impl GuardSide {
    pub(super) fn new(machine: Guard, pid: Pid) -> Self {
        Self {
            machine,
            hands: Hands::new(pid),
            place: Place::Orders,
            action: None,
            unsent: VecDeque::new(),
            closed: false,
            board: false,
            stopped: false,
            done: 0,
            cgroup: Cgroup::Unused,
            idle: 0,
            next: Time(0),
            liveness: true,
        }
    }
}

impl World {
    fn tell_guard(&mut self, input: GuardInput) {
        self.guard.machine.handle(self.kernel.now, input);
    }

    /// When the guard has its next turn, frozen or not.
    pub(super) fn guard_next(&self) -> Time {
        if self.guard.place != Place::Sleep {
            return self.guard.next;
        }
        let pid = self.guard.hands.who;
        let news = self.kernel.find(pid).is_some_and(|guard| guard.news > 0);
        let readable = !self.guard.closed && (!self.orders.is_empty() || self.orders_closed);
        let room = !self.guard.unsent.is_empty() && self.reports.len() < self.case.socket;
        if news || readable || room {
            return self.guard.next;
        }
        self.guard.machine.next_deadline().max(self.guard.next)
    }

    pub(super) fn guard_turn(&mut self) {
        let pid = self.guard.hands.who;
        if self.guard.hands.call(&mut self.kernel, &mut self.strays) {
            return;
        }
        if let Some(mut reader) = self.guard.hands.reader.take() {
            match reader.step(&self.kernel, &mut self.draws) {
                None => self.guard.hands.reader = Some(reader),
                Some(listing) => {
                    let blind = self.has(Kind::Blind);
                    self.tell_guard(GuardInput::Listed((!blind).then_some(listing)));
                }
            }
            return;
        }
        self.guard.place = match self.guard.place {
            Place::Orders => self.guard_reads_orders(),
            Place::Board => {
                if self.guard.board {
                    self.awake = Some(self.kernel.now);
                    self.tell_guard(GuardInput::Posted(self.posted));
                }
                Place::Observe
            }
            Place::Observe => self.guard_observes(),
            Place::ReapOthers => self.guard_reaps_others(),
            Place::Act => match self.guard.machine.poll(self.kernel.now) {
                None => Place::Send,
                Some(GuardAction::Over(verdict)) => return self.guard_is_over(&verdict),
                Some(action) => {
                    self.guard.idle = 0;
                    self.guard.done += 1;
                    self.guard.action = Some(action);
                    Place::Do
                }
            },
            Place::Do => self.guard_acts(),
            Place::Wait => self.guard_waits(),
            Place::Send => {
                while self.reports.len() < self.case.socket {
                    let Some(report) = self.guard.unsent.pop_front() else { break };
                    self.reports.push_back(Message::Report(report));
                }
                self.guard.idle += 1;
                if self.guard.idle > 100 && self.guard.machine.next_deadline() <= self.kernel.now {
                    self.judge.spins = Some("guard");
                }
                Place::Sleep
            }
            Place::Sleep => {
                self.guard.done = 0;
                if std::mem::take(&mut self.kernel.get(pid).expect("it has a turn").news) > 0 {
                    self.guard.idle = 0;
                    self.judge.guard_news += 1;
                    self.tell_guard(GuardInput::ChildEnded);
                }
                Place::Orders
            }
            Place::Over(dead) => return self.guard_ends(dead),
        };
    }

    fn guard_reads_orders(&mut self) -> Place {
        while let Some(order) = self.orders.pop_front() {
            if let Order::Start { .. } = order {
                self.guard.board = true;
            }
            self.tell_guard(GuardInput::Order(order));
        }
        if self.orders_closed && !self.guard.closed {
            self.guard.closed = true;
            self.judge.guard_closed_at = self.kernel.now;
            self.tell_guard(GuardInput::SupervisorGone);
        }
        Place::Board
    }

    fn guard_observes(&mut self) -> Place {
        let Some(cmd) = self.guard.machine.cmd().filter(|_| !self.guard.machine.has_exited())
        else {
            return Place::Act;
        };
        let Some((state, exit)) = self.kernel.find(cmd).map(|p| (p.state, p.exit)) else {
            return Place::Act;
        };
        let stopped = state == State::Stopped;
        if stopped != self.guard.stopped && state != State::Zombie {
            self.guard.stopped = stopped;
            let input = if stopped { GuardInput::Stopped(19) } else { GuardInput::Continued };
            self.tell_guard(input);
        }
        if state == State::Zombie {
            self.tell_guard(GuardInput::Exited { exit, reaped: false });
            return Place::Act;
        }
        self.tell_guard(GuardInput::Runs);
        Place::ReapOthers
    }

    /// It reaps one that has ended. It may be CMD's main process, which ended just now.
    fn guard_reaps_others(&mut self) -> Place {
        let pid = self.guard.hands.who;
        let Some(ended) = self.kernel.ended_child(pid) else { return Place::Act };
        let exit = self.kernel.reap(pid, ended).unwrap_or(Exit::Code(0));
        if self.guard.machine.cmd() == Some(ended) {
            self.tell_guard(GuardInput::Exited { exit, reaped: true });
            return Place::Act;
        }
        Place::ReapOthers
    }

    fn guard_acts(&mut self) -> Place {
        let pid = self.guard.hands.who;
        let Some(action) = self.guard.action.take() else { return Place::Act };
        self.tell_action("guard", &action);
        if self.killing > 0 || action == GuardAction::SignalCmd(signal::KILL) {
            self.guard_kills();
        }
        match action {
            GuardAction::Start => {
                let Some(cmd) = self.kernel.fork(pid, Kin::Cmd, false) else {
                    self.tell_guard(GuardInput::NotStarted(11));
                    return Place::Act;
                };
                let cgroup = self.case.cgroup;
                let process = self.kernel.get(cmd).expect("just forked");
                (process.group, process.in_cgroup) = (cmd, cgroup);
                self.cmd = Some((cmd, process.serial));
                self.tell_guard(GuardInput::Started(cmd));
            }
            GuardAction::SignalCmd(number) => {
                // As the product does: the group is that of a process that is not reaped.
                if let Some(cmd) = self.guard.machine.cmd() {
                    self.guard.hands.calls.push_back(Call::Group(number, cmd));
                }
            }
            GuardAction::KillCgroup => self.guard.hands.calls.push_back(Call::Cgroup),
            GuardAction::Look(depth) => {
                self.guard.hands.looks += 1;
                let partial = self.has(Kind::Partial);
                let reader = Reader::new(pid, depth, self.case.stride, partial);
                self.guard.hands.reader = Some(reader);
            }
            GuardAction::Signal { signal, targets } => self.guard.hands.signal(signal, &targets),
            GuardAction::Reap(pids) => {
                self.guard.hands.calls.extend(pids.into_iter().map(Call::Reap));
            }
            GuardAction::Wait => {
                self.guard.cgroup = self.cgroup();
                return Place::Wait;
            }
            GuardAction::Report(report) => {
                self.guard.unsent.push_back(report);
                return Place::Send;
            }
            GuardAction::Beat(alive_at) => self.beat = Some((self.kernel.now, alive_at)),
            GuardAction::Over(_) => {}
        }
        if self.guard.done >= MOST { Place::Send } else { Place::Act }
    }

    /// Reaps what has ended, one at a time, and asks what `wait` says.
    fn guard_waits(&mut self) -> Place {
        let pid = self.guard.hands.who;
        if let Some(ended) = self.kernel.ended_child(pid) {
            self.kernel.reap(pid, ended);
            return Place::Wait;
        }
        let children = self.wait(pid);
        let cgroup = self.guard.cgroup;
        self.judge.guard_evidence = Some(children);
        self.tell_guard(GuardInput::Waited(Evidence { children, cgroup }));
        Place::Act
    }

    /// What `wait` says of a process.
    pub(super) fn wait(&self, pid: Pid) -> Children {
        if self.has(Kind::WaitFails) {
            return Children::Unknown;
        }
        let none = self.kernel.children(pid).is_empty();
        if none { Children::None } else { Children::Some }
    }

    /// What the control group says.
    pub(super) fn cgroup(&self) -> Cgroup {
        if !self.case.cgroup {
            return Cgroup::Unused;
        }
        let populated = self.kernel.processes.iter().any(|p| p.in_cgroup && p.lives());
        if populated { Cgroup::Populated } else { Cgroup::Empty }
    }

    /// First the liveness lock is free, then it says so, then it ends.
    fn guard_is_over(&mut self, verdict: &Verdict) {
        self.guard.liveness = false;
        let dead = matches!(verdict, Verdict::Dead { .. });
        if self.story.on() {
            self.story.line(self.kernel.now, format!("guard: over, {verdict:?}"));
        }
        self.judge_guards_end(dead);
        if let Verdict::Dead { alive_at, dead_at } = *verdict {
            self.guard.unsent.push_back(Report::Gone { alive_at, dead_at });
        }
        self.guard.place = Place::Over(dead);
    }

    fn guard_ends(&mut self, _: bool) {
        while self.reports.len() < self.case.socket {
            let Some(report) = self.guard.unsent.pop_front() else { break };
            self.reports.push_back(Message::Report(report));
        }
        self.kernel.exit(self.guard.hands.who, Exit::Code(0));
    }

    /// It says that everything is gone, and ends.
    pub(super) fn guard_lies(&mut self) {
        let now = self.kernel.now;
        let gone = Report::Gone { alive_at: now, dead_at: now };
        self.reports.push_back(Message::Report(gone));
        self.kernel.exit(self.guard.hands.who, Exit::Code(0));
    }

    /// What the kernel does once the guard is dead: its descriptors are closed.
    pub(super) fn close_guard(&mut self) {
        if !std::mem::replace(&mut self.reports_closed, true) {
            self.guard.liveness = false;
            self.judge.guard_dead_at = self.kernel.now;
            // With an order unread the other end reads an error before what was sent to it.
            if !self.orders.is_empty() {
                self.reports.push_front(Message::Reset);
            }
        }
    }

    pub(super) fn guard_rests(&mut self, cost: Duration) {
        self.guard.next = self.kernel.now + cost;
    }
}
