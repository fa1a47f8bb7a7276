//! The watch: the supervisor's thread that keeps the guard informed, and stands in for it when it
//! fails.

mod deadlines;
mod evidence;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::defect::Defects;
use crate::sweep::Sweep;
use crate::{Defect, Depth, Evidence, Exit, Instants, Order, Process, Report, Time};
pub use types::{Event, Outcome, WatchAction, WatchInput};

/// How long beyond the second instant the guard may take, at most, before the supervisor kills in
/// its place: a quarter of what is left until the lease may pass on, and no more than this.
const LEAD: Duration = Duration::from_millis(250);

/// The least pause between two looks for children of others that have ended.
const ORPHANS: Duration = Duration::from_millis(20);

/// How long a child that ended is left to somebody else of this process who may have started it and
/// waits for it.
const OTHERS_FIRST: Duration = Duration::from_secs(1);

/// The watch over one guard, from its start to the end of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    own_session: i32,
    guard: i32,
    cgroup: bool,
    instants: Instants,
    grace: Duration,
    /// Children that are none of CMD's: a shell may have become this process and left its own
    /// behind.
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
    /// Those that were seen to have ended, and when first.
    zombies: BTreeMap<i32, Time>,
    /// When everything must be dead or dying, besides the second instant.
    kill_from: Time,
    beat: Time,
    /// When the guard was killed: it takes a moment to die, and longer without a processor.
    killed_guard: Option<Time>,
    guard_over: bool,
    guard_lost: bool,
    started: bool,
    /// Somebody asked for a stop.
    stop: bool,
    /// CMD's main process has ended, says the kernel.
    cmd_over: Option<CmdOver>,
    /// Since when the guard has made no turn although it had something to do.
    unanswered: Time,
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

/// The end of CMD's main process as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CmdOver {
    /// When it was noticed.
    at: Time,
    /// Before anybody told it to stop or killed it.
    by_itself: bool,
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
    /// The watch over this guard, which was just started and will be told `grace`. `spared` are the
    /// children that this process had before.
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
            zombies: BTreeMap::new(),
            kill_from: Time::NEVER,
            beat: Time(0),
            killed_guard: None,
            guard_over: false,
            guard_lost: false,
            started: false,
            stop: false,
            cmd_over: None,
            unanswered: now,
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
        let spared: BTreeSet<i32> = spared.into_iter().collect();
        // Some may have ended before, and nobody announces that again.
        Self { orphans: u32::from(!spared.is_empty()), spared, ..self }
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
                    self.unanswered = self.unanswered.min(now);
                }
            }
            WatchInput::Order(order) => {
                if order == Order::Kill {
                    self.kill_from = self.kill_from.min(now);
                }
                self.stop |= order == Order::Terminate;
                self.send(order);
            }
            WatchInput::Abandon => {
                self.kill_from = self.kill_from.min(now);
                self.out.push_back(WatchAction::CloseChannel);
            }
            WatchInput::Leave => self.leave = true,
            WatchInput::ChildEnded => {
                self.orphans = self.orphans.saturating_add(1);
                // A child that is reaped later does not keep those that end now waiting.
                self.orphans_at = self.orphans_at.min(now + ORPHANS);
                self.sweep.note_news();
            }
            WatchInput::Report(report) => self.reported(now, report),
            WatchInput::Beat { at, alive_at } => {
                self.beat = self.beat.max(at);
                self.sweep.note_life(alive_at);
            }
            WatchInput::Awake(at) => {
                if at >= self.unanswered {
                    self.unanswered = Time::NEVER;
                }
            }
            WatchInput::CmdEnded(exit) => {
                if !self.defects.is(Defect::TrustsSilentGuard) {
                    self.cmd_ended(now, exit);
                }
            }
            WatchInput::Closed => {
                if self.defects.is(Defect::ClosedIsDeath) {
                    self.end(now, true);
                }
            }
            WatchInput::GuardRuns => self.spare(now),
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
            Report::Started(pid) => {
                self.started = true;
                self.tell(Event::Started(pid));
            }
            Report::Exited { exit, by_itself } => {
                self.exit = Some(exit);
                // Otherwise the instants, or an order to kill, say when.
                if by_itself {
                    self.kill_from = self.kill_from.min(now + self.grace);
                }
                self.tell(Event::Exited { exit, by_itself });
            }
            Report::LeftBehind { count, one } => self.tell(Event::LeftBehind { count, one }),
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
        if now >= self.silent_at() {
            self.kill_from = self.kill_from.min(now);
            self.sweep.kill(now);
            self.killed_guard = Some(now);
            self.out.push_back(WatchAction::Tell(Event::GuardSilent));
            self.out.push_front(WatchAction::KillGuard);
        }
        if now >= self.backstop() {
            self.killed_guard = Some(now);
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
            self.sweep.begin(now);
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
}
