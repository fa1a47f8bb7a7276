//! The supervisor's process: the thread that drives [`leasehold_guard::Watch`], one system call a
//! turn.

use std::collections::VecDeque;

use leasehold_guard::{
    Cgroup, Evidence, Exit, Order, Outcome, Report, Time, Watch, WatchAction, WatchInput, signal,
};

use super::guard::MOST;
use super::{Message, World};
use crate::processes::Flaw;
use crate::processes::case::Kind;
use crate::processes::hands::{Call, Hands};
use crate::processes::kernel::{Kin, SUPERVISOR};
use crate::processes::list::Reader;

#[derive(Debug)]
pub(super) struct WatchSide {
    pub(super) machine: Watch,
    pub(super) hands: Hands,
    place: Place,
    action: Option<WatchAction>,
    /// What the rest of the supervisor wants.
    pub(super) asks: VecDeque<WatchInput>,
    unsent: VecDeque<Order>,
    /// The channel is closed, by whom ever.
    closed: bool,
    guard_over: bool,
    /// The guard has ended; what it said is still to be read.
    ended: bool,
    asked: bool,
    beat: Time,
    awake: Time,
    /// The guard said that it started CMD: since then its end shows.
    started: bool,
    /// Its end was told.
    cmd_over: bool,
    cgroup: Cgroup,
    done: u32,
    idle: u32,
    pub(super) outcome: Option<Outcome>,
    pub(super) next: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Asks,
    Send,
    Pidfd,
    Reports,
    Act,
    Do,
    Wait,
    Rest,
    Sleep,
    Over,
}

impl WatchSide {
    pub(super) fn new(machine: Watch, grace: std::time::Duration) -> Self {
        Self {
            machine,
            hands: Hands::new(SUPERVISOR),
            place: Place::Asks,
            action: None,
            asks: VecDeque::new(),
            unsent: VecDeque::from([Order::Start { grace }]),
            closed: false,
            guard_over: false,
            ended: false,
            asked: false,
            beat: Time(0),
            awake: Time(0),
            started: false,
            cmd_over: false,
            cgroup: Cgroup::Unused,
            done: 0,
            idle: 0,
            outcome: None,
            next: Time(0),
        }
    }
}

impl World {
    fn tell_watch(&mut self, input: WatchInput) {
        self.watch.machine.handle(self.kernel.now, input);
    }

    /// When the watch has its next turn, frozen or not.
    pub(super) fn watch_next(&self) -> Time {
        match self.watch.place {
            Place::Over => return Time::NEVER,
            Place::Sleep => {}
            _ => return self.watch.next,
        }
        let ended = !self.watch.guard_over && self.guard_has_ended();
        let readable = !self.watch.closed && (!self.reports.is_empty() || self.reports_closed);
        let room = !self.watch.closed
            && !self.watch.unsent.is_empty()
            && self.orders.len() < self.case.socket;
        let cmd = self.watch_sees_the_end_of_cmd();
        if ended || readable || room || cmd || !self.watch.asks.is_empty() {
            return self.watch.next;
        }
        self.watch.machine.next_deadline().max(self.watch.next)
    }

    fn watch_sees_the_end_of_cmd(&self) -> bool {
        let told = !self.watch.started || self.watch.cmd_over || self.watch.guard_over;
        !told && self.main_has_ended()
    }

    /// How CMD ended, if that is for the supervisor to ask.
    fn inherited_exit(&self) -> Option<Exit> {
        let cmd = self.kernel.find(self.main()?)?;
        (cmd.parent == SUPERVISOR && !cmd.lives()).then_some(cmd.exit)
    }

    pub(super) fn guard_has_ended(&self) -> bool {
        let guard = self.kernel.find(self.guard.hands.who);
        // Its pid may be another's by now.
        guard.is_none_or(|guard| !guard.lives() || guard.kin != Kin::Guard)
    }

    pub(super) fn watch_turn(&mut self) {
        if self.watch.hands.call(&mut self.kernel, &mut self.strays) {
            return;
        }
        if let Some(mut reader) = self.watch.hands.reader.take() {
            match reader.step(&self.kernel, &mut self.draws) {
                None => self.watch.hands.reader = Some(reader),
                Some(listing) => {
                    let blind = self.has(Kind::Blind);
                    let listing = (!blind).then_some(listing);
                    if let Some(listing) = &listing {
                        self.judge.watch_listed(listing, self.guard.hands.who);
                    }
                    self.tell_watch(WatchInput::Listed(listing));
                }
            }
            return;
        }
        self.watch.place = match self.watch.place {
            Place::Asks => {
                for _ in 0..MOST {
                    let Some(ask) = self.watch.asks.pop_front() else { break };
                    self.watch.idle = 0;
                    self.tell_watch(ask);
                }
                Place::Pidfd
            }
            Place::Pidfd => {
                self.watch.ended = !self.watch.guard_over && self.guard_has_ended();
                if self.watch.ended {
                    self.kernel.reap(SUPERVISOR, self.guard.hands.who);
                }
                Place::Reports
            }
            Place::Reports => self.watch_reads_reports(),
            Place::Act => self.watch_polls(),
            Place::Do => self.watch_acts(),
            Place::Wait => {
                let (children, cgroup) = (self.wait(SUPERVISOR), self.watch.cgroup);
                self.judge.watch_evidence = Some(children);
                self.tell_watch(WatchInput::Waited(Evidence { children, cgroup }));
                Place::Act
            }
            Place::Rest => {
                self.watch.idle += 1;
                let spins = self.watch.machine.next_deadline() <= self.kernel.now;
                if self.watch.idle > 100 && spins {
                    self.judge.spins = Some("watch");
                }
                Place::Sleep
            }
            Place::Send => {
                while !self.watch.closed && self.orders.len() < self.case.socket {
                    let Some(order) = self.watch.unsent.pop_front() else { break };
                    // Nobody may be there to read it.
                    if !self.reports_closed {
                        self.orders.push_back(order);
                    }
                }
                Place::Rest
            }
            Place::Sleep => {
                self.watch.done = 0;
                Place::Asks
            }
            Place::Over => Place::Over,
        };
    }

    fn watch_reads_reports(&mut self) -> Place {
        while !self.watch.closed {
            match self.reports.pop_front() {
                Some(Message::Report(report)) => {
                    self.watch.idle = 0;
                    self.watch.started |= matches!(report, Report::Started(_));
                    self.tell_watch(WatchInput::Report(report));
                }
                Some(Message::Reset) if self.flaw == Some(Flaw::ResetIsTheEnd) => {
                    self.watch.closed = true;
                    self.tell_watch(WatchInput::Closed);
                }
                Some(Message::Reset) => {}
                None if self.reports_closed => {
                    self.watch.closed = true;
                    self.tell_watch(WatchInput::Closed);
                }
                None => break,
            }
        }
        if let Some((at, alive_at)) = self.beat.filter(|(at, _)| *at > self.watch.beat) {
            self.watch.beat = at;
            self.tell_watch(WatchInput::Beat { at, alive_at });
        }
        if let Some(at) = self.awake.filter(|at| *at > self.watch.awake) {
            self.watch.awake = at;
            self.tell_watch(WatchInput::Awake(at));
        }
        if self.watch_sees_the_end_of_cmd() {
            self.watch.cmd_over = true;
            self.tell_watch(WatchInput::CmdEnded(None));
        }
        if std::mem::take(&mut self.watch.ended) {
            self.watch.guard_over = true;
            self.watch.asked = false;
            self.tell_watch(WatchInput::GuardEnded);
            if let Some(exit) = self.inherited_exit().filter(|_| self.watch.started) {
                self.tell_watch(WatchInput::CmdEnded(Some(exit)));
            }
        } else if std::mem::take(&mut self.watch.asked) && !self.watch.guard_over {
            self.tell_watch(WatchInput::GuardRuns);
        }
        Place::Act
    }

    fn watch_polls(&mut self) -> Place {
        let Some(action) = self.watch.machine.poll(self.kernel.now) else { return Place::Send };
        self.watch.idle = 0;
        self.watch.done += 1;
        self.watch.action = Some(action);
        Place::Do
    }

    fn watch_acts(&mut self) -> Place {
        let Some(action) = self.watch.action.take() else { return Place::Act };
        self.tell_action("watch", &action);
        match action {
            WatchAction::Post(instants) => self.posted = instants,
            WatchAction::Send(order) => {
                self.watch.unsent.push_back(order);
                return Place::Send;
            }
            WatchAction::CloseChannel => {
                self.watch.closed = true;
                self.orders_closed = true;
            }
            WatchAction::KillGuard => {
                // It is not reaped before the pidfd says so.
                if !self.watch.guard_over {
                    self.kill_guard();
                }
            }
            WatchAction::AskGuard => {
                self.watch.asked = true;
                return Place::Pidfd;
            }
            WatchAction::KillCgroup => self.watch.hands.calls.push_back(Call::Cgroup),
            WatchAction::Look(depth) => {
                self.watch.hands.looks += 1;
                let partial = self.has(Kind::Partial);
                let reader = Reader::new(SUPERVISOR, depth, self.case.stride, partial);
                self.watch.hands.reader = Some(reader);
            }
            WatchAction::Signal { signal, targets } => self.watch.hands.signal(signal, &targets),
            WatchAction::Reap(pids) => {
                self.watch.hands.calls.extend(pids.into_iter().map(Call::Reap));
            }
            WatchAction::Wait => {
                self.watch.cgroup = self.cgroup();
                return Place::Wait;
            }
            WatchAction::Tell(event) => self.rest.events.push_back(event),
            WatchAction::End(outcome) => {
                self.judge_outcome(&outcome);
                self.watch.outcome = Some(outcome);
                return Place::Over;
            }
        }
        if self.watch.done >= MOST { Place::Send } else { Place::Act }
    }

    pub(super) fn kill_guard(&mut self) {
        if !self.guard_has_ended() {
            self.kernel.deliver(self.guard.hands.who, signal::KILL);
        }
    }

    /// What the kernel does once the supervisor is dead.
    pub(super) fn close_supervisor(&mut self) {
        self.orders_closed = true;
    }

    /// The supervisor ends.
    pub(super) fn supervisor_exits(&mut self) {
        self.kernel.exit(SUPERVISOR, Exit::Code(0));
    }
}
