//! What CMD's processes do: whatever makes it hard to find, to kill and to count them.

use std::time::Duration;

use leasehold_guard::{Exit, Time};

use super::World;
use crate::draw::{Draws, Purpose};
use crate::processes::case::ms;
use crate::processes::kernel::{Kin, Pid, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Fork,
    DoubleFork,
    Sibling,
    QuietFork,
    Session,
    Group,
    JoinGroup,
    Subreaper,
    Namespace,
    Hide,
    AnotherUser,
    Stick,
    StickAWhile,
    Ignore,
    Stop,
    LeaveCgroup,
    LeaveTree,
    Storm,
    Reaps,
    Exit,
}

impl Deed {
    const ALL: [Self; 20] = [
        Self::Fork,
        Self::DoubleFork,
        Self::Sibling,
        Self::QuietFork,
        Self::Session,
        Self::Group,
        Self::JoinGroup,
        Self::Subreaper,
        Self::Namespace,
        Self::Hide,
        Self::AnotherUser,
        Self::Stick,
        Self::StickAWhile,
        Self::Ignore,
        Self::Stop,
        Self::LeaveCgroup,
        Self::LeaveTree,
        Self::Storm,
        Self::Reaps,
        Self::Exit,
    ];
}

impl World {
    /// The next step of a process of CMD, or of a child that the supervisor had before.
    pub(super) fn process_turn(&mut self, pid: Pid) {
        let now = self.kernel.now;
        let Some(process) = self.kernel.get(pid) else { return };
        let (serial, step, storm) = (process.serial, process.step, process.storm);
        let (kin, stuck) = (process.kin, process.stuck);
        process.step += 1;
        let node = serial * 1_000_000 + usize::try_from(step).unwrap_or(0);
        let mut draws = Draws::new(self.case.seed, node, Purpose::Process);
        let pace = self.case.pace_us.max(1);
        // Busy at first and near the end, so that not all the time goes into what nobody looks at.
        let near =
            |at: Time, for_ms: u64| now >= at && now.since(at) < Duration::from_millis(for_ms);
        let finale = near(ms(self.case.finale_ms), 300);
        let busy = storm || finale || near(self.judge.kill_at, self.case.margin_ms);
        let calm = if busy { 1 } else { 1 + step / 4 };
        let pause = draws.between(pace, 4 * pace) * if storm { 1 } else { calm + draws.below(8) };
        process.next = now + Duration::from_micros(pause);
        if stuck {
            // What it waits for came.
            return self.wake(pid);
        }
        if storm {
            return self.storm(pid);
        }
        let deed = *draws.pick(&Deed::ALL);
        let enabled = self.case.deeds >> (deed as u32) & 1 == 1;
        let always = deed == Deed::Fork;
        let tame = kin == Kin::Spared
            && !matches!(deed, Deed::Fork | Deed::DoubleFork | Deed::Exit | Deed::Storm);
        if (enabled || always) && !tame {
            self.deed(pid, deed, &mut draws);
        }
    }

    fn wake(&mut self, pid: Pid) {
        if self.story.on() {
            self.story.line(self.kernel.now, format!("{pid} leaves its uninterruptible sleep"));
        }
        self.judge.freed_at = self.kernel.now;
        self.kernel.wake(pid);
    }

    fn storm(&mut self, pid: Pid) {
        // Where there is no room it waits for some.
        if self.child(pid, false).is_some() || self.forks == 0 {
            self.kernel.exit(pid, Exit::Code(0));
        }
    }

    /// A child, if the machine allows one more.
    fn child(&mut self, pid: Pid, sibling: bool) -> Option<Pid> {
        let kin = self.kernel.find(pid)?.kin;
        let alive = self.kernel.living(Kin::Cmd).count() + self.kernel.living(Kin::Spared).count();
        if self.forks == 0 || alive > self.case.alive {
            return None;
        }
        let child = self.kernel.fork(pid, kin, sibling)?;
        self.forks -= 1;
        Some(child)
    }

    fn deed(&mut self, pid: Pid, deed: Deed, draws: &mut Draws) {
        let mut told = None;
        match deed {
            Deed::Fork => told = self.child(pid, false),
            Deed::DoubleFork => {
                if let Some(child) = self.child(pid, false) {
                    told = self.child(child, false);
                    self.kernel.exit(child, Exit::Code(0));
                }
            }
            // Not the init of a namespace, whose parent is outside.
            Deed::Sibling if self.kernel.find(pid).is_some_and(|process| !process.ns_init) => {
                told = self.child(pid, true);
            }
            Deed::QuietFork => {
                told = self.child(pid, false);
                if let Some(child) = told.and_then(|child| self.kernel.get(child)) {
                    child.quiet = true;
                }
            }
            Deed::Session => told = self.kernel.setsid(pid).then_some(0),
            Deed::Group => told = self.kernel.setpgid(pid, pid).then_some(pid),
            Deed::JoinGroup => {
                let all = &self.kernel.processes;
                let group = all[draws.index(all.len())].group;
                told = self.kernel.setpgid(pid, group).then_some(group);
            }
            Deed::Namespace => {
                let outer = self.kernel.find(pid).is_some_and(|process| process.namespace == 0);
                if outer {
                    told = self.child(pid, false);
                    told.iter().for_each(|child| self.kernel.unshare(*child));
                }
            }
            Deed::Exit => {
                // CMD's main process lives until the end that the schedule has for it, mostly.
                if self.main() != Some(pid) || draws.chance(20) {
                    told = Some(0);
                    self.kernel.exit(pid, Exit::Code(4));
                }
            }
            _ => {
                if self.change(pid, deed, draws) {
                    told = Some(0);
                }
            }
        }
        if let Some(of) = told.filter(|_| self.story.on()) {
            self.story.line(self.kernel.now, format!("{pid} does {deed:?} ({of})"));
        }
    }

    fn change(&mut self, pid: Pid, deed: Deed, draws: &mut Draws) -> bool {
        let (cgroup, main) = (self.case.cgroup, self.main());
        let leaves = self.case.deeds >> (Deed::LeaveTree as u32) & 1 == 1;
        let now = self.kernel.now;
        let Some(process) = self.kernel.get(pid) else { return false };
        match deed {
            Deed::Subreaper => process.subreaper = true,
            Deed::Hide => process.hidden = true,
            Deed::AnotherUser => (process.foreign, process.hidden) = (true, draws.chance(50)),
            Deed::Stick => (process.stuck, process.next) = (true, Time::NEVER),
            Deed::StickAWhile => {
                process.stuck = true;
                let most = *draws.pick(&[50, 500, 5_000]);
                process.next = now + Duration::from_millis(draws.between(1, most));
            }
            Deed::Ignore => process.ignores_term = true,
            Deed::Stop => process.state = State::Stopped,
            // Who leaves tree and group has escaped: docs/RUN.md names it.
            Deed::LeaveCgroup if cgroup && !leaves => process.in_cgroup = false,
            Deed::LeaveTree if cgroup && process.in_cgroup => {
                // A process outside was asked to start it.
                if main == Some(pid) {
                    return false;
                }
                process.parent = crate::processes::kernel::INIT;
            }
            Deed::Storm => process.storm = true,
            Deed::Reaps => process.reaps = true,
            _ => return false,
        }
        if self.kernel.find(pid).is_some_and(|process| process.is_immune()) {
            self.judge.immune = true;
        }
        true
    }
}
