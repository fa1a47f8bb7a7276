//! What answers mean: who is spared, who is killed, and when a death is proved.

use std::collections::BTreeSet;

use super::{CmdOver, LastLook, OTHERS_FIRST, Watch};
use crate::messages::signal;
use crate::{
    Children, Defect, Depth, Event, Evidence, Exit, Listing, Order, Process, Targets, Time,
    WatchAction,
};

/// The number of the signal that cannot be caught.
const SIGKILL: u8 = 9;

impl Watch {
    /// Those listed while the guard ran are not CMD's, for what CMD starts has the guard as its
    /// parent until that ends.
    pub(super) fn spare(&mut self, now: Time) {
        self.asked = None;
        if self.last_look == LastLook::Confirm {
            self.last_look = LastLook::Done;
        }
        let Some(listed) = self.candidates.take().filter(|_| !self.guard_over) else { return };
        let (ended, living): (Vec<Process>, Vec<Process>) =
            listed.into_iter().partition(|process| process.ended);
        // Whoever is reaped must be out of it before: then its pid may be anybody's.
        self.spared = living.into_iter().map(|process| process.pid).collect();
        let seen = std::mem::take(&mut self.zombies);
        let first = |pid: i32| seen.get(&pid).copied().unwrap_or(now);
        self.zombies = ended.into_iter().map(|process| (process.pid, first(process.pid))).collect();
        let old = |since: &Time| now >= *since + OTHERS_FIRST;
        let ripe = self.zombies.extract_if(.., |_, since| old(since));
        let ripe: Vec<i32> = ripe.map(|(pid, _)| pid).collect();
        if !ripe.is_empty() {
            self.agenda.push_back(WatchAction::Reap(ripe));
        }
        if let Some(next) = self.zombies.values().min() {
            self.orphans = self.orphans.max(1);
            self.orphans_at = self.orphans_at.max(*next + OTHERS_FIRST);
        }
    }

    /// The kernel says that CMD's main process has ended. The guard is to say so, too, and to see
    /// to what is left; if it died before, how CMD ended is told here.
    pub(super) fn cmd_ended(&mut self, now: Time, exit: Option<Exit>) {
        if self.exit.is_some() {
            return;
        }
        let nobody_asked = !self.stop && !self.sweep.is_killing();
        let early = now < self.instants.stop_at.min(self.kill_from);
        let noticed = CmdOver { at: now, by_itself: nobody_asked && early };
        let CmdOver { by_itself, at: noticed_at } = *self.cmd_over.get_or_insert(noticed);
        if let Some(exit) = exit {
            // CMD dies with its guard, by the kernel's SIGKILL: that is not an end of its own.
            if exit == Exit::Signal(SIGKILL) && now < noticed_at + OTHERS_FIRST {
                return;
            }
            self.exit = Some(exit);
            return self.tell(Event::Exited { exit, by_itself });
        }
        self.send(Order::Look);
        self.unanswered = self.unanswered.min(now);
    }

    pub(super) fn listed(&mut self, now: Time, listing: Option<Listing>) {
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
        self.kill_listed(now, depth, &living, &ended);
        if none && self.is_death(complete) {
            return self.end(now, true);
        }
        if depth == Depth::All {
            self.sweep.left = living;
            self.name_what_is_left();
        }
    }

    /// A complete list without a child that is not spared is a death, if the control group does not
    /// contradict. (Without spared children `wait` alone says it.)
    pub(super) fn is_death(&mut self, complete: bool) -> bool {
        self.empty_lists += 1;
        let allowed = self.evidence.is_some_and(Evidence::allows_death);
        let complete = complete || self.defects.is(Defect::PartIsWhole);
        let listed = complete && !self.spared.is_empty() && allowed;
        listed || self.defects.is(Defect::EmptyListsAreDeath) && self.empty_lists >= 2
    }

    pub(super) fn kill_listed(
        &mut self,
        now: Time,
        depth: Depth,
        living: &[Process],
        ended: &[Process],
    ) {
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
        let kept = self.sweep.keeps(living.len(), ended.len(), now);
        if !ended.is_empty() && !kept {
            self.agenda.push_back(WatchAction::Reap(ended));
        }
        let populated = self.evidence.is_some_and(Evidence::is_life);
        if depth == Depth::Children && (!living.is_empty() || populated) {
            self.agenda.push_back(WatchAction::Look(Depth::All));
        } else if all_ended && !std::mem::replace(&mut self.again, true) {
            self.agenda.push_back(WatchAction::Wait);
        }
    }

    pub(super) fn listed_below_guard(
        &mut self,
        depth: Depth,
        mut processes: Vec<Process>,
        complete: bool,
    ) {
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

    pub(super) fn name_what_is_left(&mut self) {
        if self.stopped_renewing && !self.named && !self.sweep.left.is_empty() {
            self.named = true;
            self.tell(Event::Left(self.sweep.left.clone()));
        }
    }

    pub(super) fn waited(&mut self, now: Time, evidence: Evidence) {
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
}
