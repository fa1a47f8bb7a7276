//! The rest of the supervisor: it renews, listens to signals, and gives the lock back.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold_guard::{Event, Exit, Order, Time, WatchInput};

use super::World;
use crate::processes::case::{Finale, ms};
use crate::processes::kernel::SUPERVISOR;

#[derive(Debug)]
pub(super) struct Rest {
    pub(super) events: VecDeque<Event>,
    /// The last acknowledged renewal.
    pub(super) renewed: Time,
    /// A renewal that is under way: when it left, and when its answer comes.
    flying: Option<(Time, Time)>,
    next_renewal: Time,
    /// Nothing is renewed any more.
    pub(super) over: bool,
    pub(super) stop_renewing: bool,
    pub(super) overdue: bool,
    pub(super) exited: Option<Exit>,
    finale: bool,
    kill_at: Time,
    leave: bool,
    pub(super) next: Time,
}

impl Rest {
    pub(super) fn new() -> Self {
        Self {
            events: VecDeque::new(),
            renewed: Time(0),
            flying: None,
            next_renewal: ms(20),
            over: false,
            stop_renewing: false,
            overdue: false,
            exited: None,
            finale: false,
            kill_at: Time::NEVER,
            leave: false,
            next: Time(0),
        }
    }
}

impl World {
    pub(super) fn rest_next(&self) -> Time {
        let rest = &self.rest;
        let news = self.kernel.find(SUPERVISOR).is_some_and(|process| process.news > 0);
        if news || !rest.events.is_empty() || self.watch.outcome.is_some() {
            return rest.next;
        }
        let renewal = if rest.over { Time::NEVER } else { rest.next_renewal };
        let answer = rest.flying.map_or(renewal, |(_, at)| at);
        let finale = if rest.finale { Time::NEVER } else { ms(self.case.finale_ms) };
        answer.min(finale).min(rest.kill_at).max(rest.next)
    }

    pub(super) fn rest_turn(&mut self) {
        let now = self.kernel.now;
        if let Some(supervisor) = self.kernel.get(SUPERVISOR) {
            let news = std::mem::take(&mut supervisor.news);
            self.judge.watch_news += news;
            self.watch.asks.extend((0..news).map(|_| WatchInput::ChildEnded));
        }
        while let Some(event) = self.rest.events.pop_front() {
            self.note(event);
        }
        if let Some(outcome) = &self.watch.outcome {
            let may = outcome.may_release() && !self.rest.over;
            self.end_of_run(may);
            return self.supervisor_exits();
        }
        self.renew(now);
        if now >= self.rest.kill_at {
            self.rest.kill_at = Time::NEVER;
            self.kill(now);
        }
        if now >= ms(self.case.finale_ms) && !std::mem::replace(&mut self.rest.finale, true) {
            self.finale(now);
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::StopRenewing => {
                self.rest.stop_renewing = true;
                self.rest.over = true;
                self.leave();
            }
            Event::Overdue => self.rest.overdue = true,
            Event::Exited { exit, by_itself } => {
                self.rest.exited = Some(exit);
                if by_itself {
                    let grace = Duration::from_millis(self.case.grace_ms);
                    self.judge.kill_due(self.kernel.now + grace);
                }
            }
            Event::GuardLost | Event::GuardSilent => self.judge.kill_due(self.kernel.now),
            Event::Started(_) | Event::Stopped(_) | Event::LeftBehind { .. } | Event::Left(_) => {}
        }
    }

    /// A second SIGTERM, in every third run.
    fn leave(&mut self) {
        if self.case.seed.is_multiple_of(3) && !std::mem::replace(&mut self.rest.leave, true) {
            self.watch.asks.push_back(WatchInput::Leave);
        }
    }

    fn kill(&mut self, now: Time) {
        self.judge.kill_due(now);
        self.watch.asks.push_back(WatchInput::Order(Order::Kill));
    }

    fn renew(&mut self, now: Time) {
        if let Some((sent, at)) = self.rest.flying.filter(|(_, at)| now >= *at) {
            self.rest.flying = None;
            let refused = self.case.finale == Finale::Refused && at >= ms(self.case.finale_ms);
            let late = now >= self.case.instants(self.rest.renewed).stop_at;
            // Late is late, however it was answered.
            if !refused && !late && !self.rest.over {
                self.rest.renewed = sent;
                let instants = self.case.instants(sent);
                self.judge.lease_end = self.judge.lease_end.max(instants.dead_by);
                self.judge.kill_at = instants.kill_at;
                self.watch.asks.push_back(WatchInput::Extend(instants));
            }
            self.rest.over |= late;
        }
        if now >= self.case.instants(self.rest.renewed).stop_at {
            self.rest.over = true;
        }
        if now >= self.rest.next_renewal && !self.rest.over && self.rest.flying.is_none() {
            self.judge_renewal(now);
            let answer = now + Duration::from_millis(self.draws.between(1, 30));
            self.rest.flying = Some((now, answer));
            self.rest.next_renewal = now + Duration::from_millis(self.case.lease_ms / 7);
        }
    }

    fn finale(&mut self, now: Time) {
        if self.story.on() {
            self.story.line(now, format!("finale: {:?}", self.case.finale));
        }
        match self.case.finale {
            Finale::Terminate => {
                self.watch.asks.push_back(WatchInput::Order(Order::Terminate));
                let most = *self.draws.pick(&[5, 100, 1_000]);
                self.rest.kill_at = now + Duration::from_millis(self.draws.between(1, most));
            }
            Finale::Superseded => {
                self.rest.over = true;
                self.kill(now);
            }
            Finale::Abandon => {
                self.rest.over = true;
                self.judge.kill_due(now);
                self.watch.asks.push_back(WatchInput::Abandon);
            }
            Finale::Exits => {
                if let Some(cmd) = self.main() {
                    self.kernel.exit(cmd, Exit::Code(3));
                } else {
                    self.rest.kill_at = now + Duration::from_millis(300);
                }
            }
            Finale::KillSupervisor => self.supervisor_exits(),
            Finale::KillGuard => self.kill_guard(),
            Finale::Refused => {}
        }
    }
}
