//! What the clock demands, and when.

use std::time::Duration;

use super::{CmdOver, LEAD, LastLook, Watch};
use crate::sweep::{KILL_GRACE, KILL_NOW, SILENT, STARTING};
use crate::{Defect, Instants, Time};

impl Watch {
    /// When everything is killed, by whomever.
    pub(super) fn kill_at(&self) -> Time {
        self.instants.kill_at.min(self.kill_from)
    }

    /// When a guard that does nothing is given up, although nothing is to be killed: CMD has ended
    /// and it does not say so, or it does not start CMD. One that is busy otherwise is waited for.
    pub(super) fn silent_at(&self) -> Time {
        let over = self.guard_over || self.killed_guard.is_some();
        if over || self.exit.is_some() || self.failed.is_some() || self.gone.is_some() {
            return Time::NEVER;
        }
        match self.cmd_over {
            _ if self.unanswered == Time::NEVER => Time::NEVER,
            Some(CmdOver { at, .. }) => self.unanswered.max(at) + SILENT,
            None if !self.started => self.unanswered + STARTING,
            None => Time::NEVER,
        }
    }

    /// When the guard is no longer trusted to kill.
    pub(super) fn backstop(&self) -> Time {
        if self.guard_over || self.killed_guard.is_some() || self.defects.is(Defect::WaitsForGuard)
        {
            return Time::NEVER;
        }
        let Instants { kill_at, dead_by, .. } = self.instants;
        let instant = kill_at + LEAD.min(dead_by.since(kill_at) / 4);
        instant.min(self.kill_from + KILL_NOW).max(self.works_until())
    }

    /// Until when a guard that kills and says so is left to it: it does what could be done in its
    /// place. But one that falls silent while the lease ends must leave time to do it.
    fn works_until(&self) -> Time {
        if self.beat == Time(0) {
            return self.beat;
        }
        let Instants { kill_at, dead_by, .. } = self.instants;
        let margin = dead_by.since(kill_at);
        let works = self.beat + KILL_NOW;
        // What is left after the kill's grace cannot be killed by anybody.
        let late = self.beat >= dead_by || self.beat >= self.sweep.grace_over();
        if late || self.defects.is(Defect::BeatOutlastsLease) {
            return works;
        }
        let latest = (kill_at + margin / 2).max(self.beat + KILL_NOW.min(margin / 4));
        works.min(latest)
    }

    /// When renewals must stop, if they did not.
    pub(super) fn stop_renewing_at(&self) -> Time {
        if self.stopped_renewing || self.defects.is(Defect::RenewsWhileKilling) {
            return Time::NEVER;
        }
        self.sweep.grace_over()
    }

    /// When the end is told although something lives: the lease is over; or the user does not want
    /// to wait, and the guard is there to keep the liveness lock until then.
    pub(super) fn end_at(&self) -> Time {
        if self.defects.is(Defect::ReleasesWithLeft) {
            return self.sweep.grace_over();
        }
        if self.defects.is(Defect::NeverGivesUp) {
            return Time::NEVER;
        }
        let leaves = self.leave && self.stopped_renewing && !self.guard_over;
        let over = if leaves { Time(0) } else { self.instants.dead_by };
        let tried = match self.killed_guard {
            _ if self.guard_over => self.sweep.gives_up_at(),
            Some(killed) => self.sweep.grace_over().max(killed + KILL_GRACE),
            None => self.sweep.grace_over(),
        };
        tried.max(over)
    }

    /// When `poll` has something to do, if nothing is told before. A moment that has passed: at
    /// once.
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
        let guard = self.backstop().min(self.silent_at());
        kill_at.min(overdue).min(asking).min(guard).min(self.stop_renewing_at())
    }
}
