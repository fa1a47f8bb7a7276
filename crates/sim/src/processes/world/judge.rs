//! The invariants, judged by who really lives.

use std::time::Duration;

use leasehold_guard::{Children, KILL_GRACE, Listing, Outcome, SILENT, Time};

use super::World;
use crate::processes::case::Finale;
use crate::processes::kernel::{Kin, Pid, SUPERVISOR, State};
use crate::processes::{Broken, Ending, Rule};

/// So much time is enough to find and kill everything that can be killed, for one who has it.
const NEED: Duration = Duration::from_millis(110);

/// So much longer than its own promises may anything take that has the processor.
const SLACK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Judge {
    pub(super) broken: Option<Broken>,
    /// When the lease may pass to another, by the last acknowledged renewal.
    pub(super) lease_end: Time,
    pub(super) kill_at: Time,
    /// Since when each has the processor, its descriptors and truthful system calls.
    guard_able: Option<Time>,
    watch_able: Option<Time>,
    pub(super) guard_dead_at: Time,
    pub(super) guard_closed_at: Time,
    /// When something of CMD last lived.
    last_alive: Time,
    /// When CMD's main process ended.
    main_ended_at: Option<Time>,
    /// When something that could not be killed last became killable.
    pub(super) freed_at: Time,
    /// Something could not be killed at some time.
    pub(super) immune: bool,
    /// When everything should have begun to be killed.
    kill_due: Time,
    pub(super) spins: Option<&'static str>,
    pub(super) guard_news: u32,
    pub(super) watch_news: u32,
    pub(super) guard_evidence: Option<Children>,
    pub(super) watch_evidence: Option<Children>,
    /// The last list of the watch was complete and showed none but spared children.
    only_spared: bool,
    spared: Vec<Pid>,
    passed: bool,
    released: bool,
}

impl Judge {
    pub(super) fn new(lease_end: Time, kill_at: Time) -> Self {
        Self {
            broken: None,
            lease_end,
            kill_at,
            guard_able: Some(Time(0)),
            watch_able: Some(Time(0)),
            guard_dead_at: Time::NEVER,
            guard_closed_at: Time::NEVER,
            last_alive: Time(0),
            main_ended_at: None,
            freed_at: Time(0),
            immune: false,
            kill_due: Time::NEVER,
            spins: None,
            guard_news: 0,
            watch_news: 0,
            guard_evidence: None,
            watch_evidence: None,
            only_spared: false,
            spared: Vec::new(),
            passed: false,
            released: false,
        }
    }

    /// Everything is to be killed from this moment on.
    pub(super) fn kill_due(&mut self, at: Time) {
        self.kill_due = self.kill_due.min(at);
    }

    pub(super) fn watch_listed(&mut self, listing: &Listing, guard: Pid) {
        let children = listing.processes.iter().filter(|process| process.is_child());
        let pids: Vec<Pid> = children.map(|process| process.pid).collect();
        if listing.complete && pids.contains(&guard) {
            self.spared.extend(pids.iter().filter(|pid| **pid != guard));
        }
        self.only_spared = listing.complete && pids.iter().all(|pid| self.spared.contains(pid));
    }

    pub(super) fn sparing(&mut self, spared: &[Pid]) {
        self.spared = spared.to_vec();
    }
}

impl World {
    pub(super) fn break_rule(&mut self, rule: Rule, what: String) {
        if self.judge.broken.is_none() {
            if self.story.on() {
                self.story.line(self.kernel.now, format!("BROKEN {rule:?}: {what}"));
            }
            self.judge.broken = Some(Broken { rule, at: self.kernel.now, what });
        }
    }

    /// Judges what holds at every moment.
    pub(super) fn judge(&mut self) {
        let now = self.kernel.now;
        self.look_who_is_able(now);
        if self.kernel.living(Kin::Cmd).next().is_some() {
            self.judge.last_alive = now;
        }
        if self.judge.main_ended_at.is_none() && self.main_has_ended() {
            self.judge.main_ended_at = Some(now);
        }
        if let Some(stray) = self.strays.pop() {
            let what = format!("{:?} {} was hit by {:?}", stray.kin, stray.pid, stray.how);
            self.break_rule(Rule::Stray, what);
        }
        if let Some(who) = self.judge.spins.take() {
            let what = format!("the {who} is woken at once again and again with nothing to do");
            self.break_rule(Rule::Loop, what);
        }
        if now > self.judge.lease_end && !self.judge.passed {
            self.judge.passed = true;
            self.judge_the_passing(now);
        }
        if now <= self.judge.lease_end {
            self.judge.passed = false;
        }
        self.judge_the_report(now);
        self.judge_the_ends(now);
        self.judge_the_looks(now);
    }

    fn look_who_is_able(&mut self, now: Time) {
        use crate::processes::case::Kind::{
            Blind, FreezeGuard, FreezeSupervisor, Partial, StarveGuard, StarveSupervisor, WaitFails,
        };
        let cripples = [Blind, Partial, WaitFails].iter().any(|kind| self.has(*kind));
        let runs = |pid: Pid| {
            let process = self.kernel.find(pid).filter(|p| p.state == State::Runs);
            process.is_some_and(|p| matches!(p.kin, Kin::Guard | Kin::Supervisor))
        };
        let has =
            |kinds: [crate::processes::case::Kind; 2]| kinds.iter().any(|kind| self.has(*kind));
        let guard = runs(self.guard.hands.who) && !has([FreezeGuard, StarveGuard]) && !cripples;
        let watch = runs(SUPERVISOR) && !has([FreezeSupervisor, StarveSupervisor]) && !cripples;
        let judge = &mut self.judge;
        judge.guard_able = guard.then(|| judge.guard_able.unwrap_or(now));
        judge.watch_able = watch.then(|| judge.watch_able.unwrap_or(now));
    }

    /// Living processes of CMD that could have been killed by now.
    fn killable(&self, now: Time) -> Vec<Pid> {
        let freed = self.judge.freed_at + NEED > now && self.judge.immune;
        let living = self.kernel.living(Kin::Cmd);
        let reachable = |pid: Pid| {
            let (mut hidden, mut immune, mut pid) = (false, false, pid);
            while let Some(process) = self.kernel.find(pid).filter(|p| p.kin == Kin::Cmd) {
                hidden |= process.hidden;
                immune |= process.is_immune();
                pid = process.parent;
            }
            !(hidden && immune)
        };
        let killable = living.filter(|process| {
            let old = now.since(process.born) > NEED;
            old && !freed && !process.is_immune() && reachable(process.pid)
        });
        killable.map(|process| process.pid).collect()
    }

    /// The lease may pass to another now.
    fn judge_the_passing(&mut self, now: Time) {
        let killable = self.killable(now);
        if killable.is_empty() {
            return;
        }
        let (judge, margin) = (&self.judge, Duration::from_millis(self.case.margin_ms));
        let backstop = judge.kill_at + Duration::from_millis(250).min(margin / 4);
        let since = |from: Time| now.since(from) > NEED;
        let guard = judge.guard_able.is_some_and(|able| since(able.max(judge.kill_at)));
        let from = backstop.min(judge.guard_dead_at);
        let watch = judge.watch_able.is_some_and(|able| since(able.max(from)));
        let running = self.watch.outcome.is_none();
        if guard || watch && running {
            let who = if guard { "the guard" } else { "the supervisor" };
            let what = format!("the lease is over, {killable:?} live, and {who} had the time");
            self.break_rule(Rule::Passing, what);
        }
    }

    /// What lives beyond the lease is told.
    fn judge_the_report(&mut self, now: Time) {
        let late = now > self.judge.lease_end + SLACK && self.judge.last_alive == now;
        let able = self.judge.watch_able.is_some_and(|able| able + SLACK < now);
        let due = self.watch.outcome.is_none() && !self.rest.overdue;
        if late && able && due {
            self.break_rule(Rule::Report, "the lease is over, and nobody says who lives".into());
        }
    }

    /// Everything ends.
    fn judge_the_ends(&mut self, now: Time) {
        let long = |able: Option<Time>, from: Time| {
            able.is_some_and(|able| now > able.max(from) + KILL_GRACE + SLACK * 2)
        };
        let last = self.judge.lease_end;
        // Who has to kill in the guard's place has the whole grace for it.
        let dead_at = Some(self.judge.guard_dead_at).filter(|at| *at != Time::NEVER);
        if long(self.judge.watch_able, last.max(dead_at.unwrap_or(last)))
            && self.watch.outcome.is_none()
        {
            self.break_rule(Rule::End, "the lease is over, and the watch goes on".into());
        }
        let closed = self.judge.guard_closed_at.max(last);
        if self.guard.closed && long(self.judge.guard_able, closed) {
            self.break_rule(Rule::End, "nobody waits for the guard, and it goes on".into());
        }
    }

    /// Looks are bounded: by what ended, and by the time.
    fn judge_the_looks(&mut self, now: Time) {
        let seconds = u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX);
        for (who, looks, news) in [
            ("guard", self.guard.hands.looks, self.judge.guard_news),
            ("watch", self.watch.hands.looks, self.judge.watch_news),
        ] {
            if looks > 500 + 40 * seconds + 4 * news {
                let what = format!("the {who} looked {looks} times after {news} news");
                self.break_rule(Rule::Loop, what);
            }
        }
    }

    /// A renewal leaves now.
    pub(super) fn judge_renewal(&mut self, now: Time) {
        let able = self.judge.watch_able.is_some_and(|able| able + SLACK < now);
        let due = now > self.judge.kill_due + KILL_GRACE + SLACK;
        // What is left has its grace, a guard that does nothing is told of at the next renewal, and
        // the kill has its own.
        let patience = Duration::from_millis(self.case.grace_ms + self.case.lease_ms / 7);
        let patience = patience + SILENT + KILL_GRACE + SLACK;
        let kept = self.judge.main_ended_at.zip(self.judge.watch_able);
        let kept = kept.is_some_and(|(ended, able)| now > ended.max(able) + patience);
        let what = if self.rest.stop_renewing {
            "it said that nothing is renewed, and renews"
        } else if kept {
            "CMD has ended, and the lease is renewed"
        } else if able && due && self.judge.last_alive == now {
            "something was not dead in time, and the lease is renewed"
        } else {
            return;
        };
        self.break_rule(Rule::Renewal, what.to_owned());
    }

    /// The watch says how it ended.
    pub(super) fn judge_outcome(&mut self, outcome: &Outcome) {
        let now = self.kernel.now;
        // The word of a guard that lies proves nothing, but it dates what nobody else saw.
        let lied =
            self.case.faults.iter().any(|fault| fault.kind == crate::processes::Kind::GuardLies);
        if self.story.on() {
            self.story.line(now, format!("watch: {outcome:?}"));
        }
        let lives: Vec<Pid> = self.kernel.living(Kin::Cmd).map(|process| process.pid).collect();
        if outcome.dead {
            if !lives.is_empty() {
                return self.break_rule(Rule::Release, format!("all dead, and {lives:?} live"));
            }
            let spared = !self.judge.spared.is_empty() && self.judge.only_spared;
            if self.judge.watch_evidence != Some(Children::None) && !spared {
                return self.break_rule(Rule::Evidence, "all dead, without evidence".into());
            }
            let last = self.judge.last_alive;
            // What a spared child left behind may have been killed as if it were CMD's.
            let later = outcome.alive_at > last && self.case.spared == 0;
            if (later || outcome.at < last) && !lied {
                let what = format!("dated {:?} to {:?}: {last:?}", outcome.alive_at, outcome.at);
                return self.break_rule(Rule::Dates, what);
            }
        } else if outcome.left.is_empty() {
            let able = self.judge.watch_able.is_some_and(|able| able + SLACK < now);
            let seen = self
                .kernel
                .living(Kin::Cmd)
                .any(|process| process.parent == SUPERVISOR && now.since(process.born) > SLACK);
            if able && seen {
                return self.break_rule(Rule::Report, "not dead, and no name".into());
            }
        }
        let able = self.judge.watch_able.is_some_and(|able| able + SLACK * 2 < now);
        let killable = self.killable(now);
        if !outcome.dead && able && !killable.is_empty() {
            let what = format!("{killable:?} are given up, and could be killed");
            return self.break_rule(Rule::Passing, what);
        }
        let late = self.judge.last_alive > outcome.dead_by;
        if late && !lied && outcome.overrun().is_none() {
            self.break_rule(Rule::Report, "it outlived the lease, and nothing is said".into());
        }
        self.judge_quiet(outcome);
    }

    /// What nothing disturbs ends well.
    fn judge_quiet(&mut self, outcome: &Outcome) {
        if !self.case.is_quiet() || self.judge.immune {
            return;
        }
        let lost = outcome.guard_lost && self.case.finale != Finale::KillGuard;
        let bad = if !outcome.dead {
            "not dead"
        } else if outcome.overrun().is_some() {
            "an overrun"
        } else if lost {
            "the guard is lost"
        } else if outcome.exit.is_none() && self.cmd.is_some() && !outcome.guard_lost {
            "no exit code"
        } else {
            return;
        };
        self.break_rule(Rule::Quiet, format!("nothing went wrong, and the end is: {bad}"));
    }

    /// The supervisor ends; with a release or without.
    pub(super) fn end_of_run(&mut self, release: bool) {
        self.judge.released = release;
        if self.story.on() {
            let what = if release { "released" } else { "ends without a release" };
            self.story.line(self.kernel.now, format!("supervisor: {what}"));
        }
        let lives = self.kernel.living(Kin::Cmd).next().is_some();
        if release && lives {
            self.break_rule(Rule::Release, "released while something lives".into());
        }
    }

    /// The guard frees the liveness lock: on `file:` the lock may pass on at once if the supervisor
    /// is gone.
    pub(super) fn judge_guards_end(&mut self, dead: bool) {
        let now = self.kernel.now;
        let lives: Vec<Pid> = self.kernel.living(Kin::Cmd).map(|process| process.pid).collect();
        if dead && !lives.is_empty() {
            return self.break_rule(Rule::Release, format!("the guard: dead, and {lives:?} live"));
        }
        if dead && self.judge.guard_evidence != Some(Children::None) && self.cmd.is_some() {
            return self.break_rule(Rule::Evidence, "the guard has no evidence".into());
        }
        // A renewal that nobody posted is none for the guard.
        if !dead && now < self.posted.dead_by {
            self.break_rule(Rule::Release, "the guard ends before the lease".into());
        }
    }

    /// Judges the whole run.
    pub(super) fn judge_the_whole(&mut self) {
        let supervisor = self.kernel.find(SUPERVISOR).is_some_and(|process| process.lives());
        if supervisor && self.judge.watch_able.is_some() {
            self.break_rule(Rule::End, "the run goes on for ever".into());
        }
    }

    /// How it went, for the counts.
    pub(super) fn ending(&self) -> Ending {
        match &self.watch.outcome {
            None => Ending::Killed,
            Some(outcome) if !outcome.dead => Ending::NotDead,
            Some(outcome) if outcome.overrun().is_some() => Ending::Late,
            Some(_) if self.judge.released => Ending::Released,
            Some(_) => Ending::Over,
        }
    }
}
