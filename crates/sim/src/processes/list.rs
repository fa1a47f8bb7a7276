//! How a process reads what there is: slowly, while the tree changes.

use leasehold_guard::{Depth, Listing, Process, Seen};

use super::kernel::{Kernel, Pid, State};
use crate::draw::Draws;

/// How often a reading of the children that met a change is repeated.
const READINGS: u32 = 3;

/// A list that is being read.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    who: Pid,
    depth: Depth,
    /// How many processes are read in one step.
    stride: usize,
    /// What is read in a part counts for nothing.
    partial: bool,
    state: Reading,
    complete: bool,
    listed: Vec<Process>,
    next: usize,
}

#[derive(Clone, Debug)]
enum Reading {
    Children { last: Option<Vec<Pid>>, again: u32 },
    Ask(Vec<Pid>),
    Descend,
    Group,
}

impl Reader {
    pub(super) fn new(who: Pid, depth: Depth, stride: usize, partial: bool) -> Self {
        let state = Reading::Children { last: None, again: 0 };
        let (complete, listed) = (false, Vec::new());
        Self { who, depth, stride, partial, state, complete, listed, next: 0 }
    }

    /// The next step. The list once it is whole.
    pub(super) fn step(&mut self, kernel: &Kernel, draws: &mut Draws) -> Option<Listing> {
        match &mut self.state {
            Reading::Children { last, again } => {
                let mut now = kernel.children(self.who);
                let same = last.as_ref() == Some(&now);
                *again += 1;
                if !same && *again <= READINGS {
                    *last = Some(now);
                    return None;
                }
                self.complete = same && !self.partial;
                // Of a list that is not complete anybody may be missing.
                if !self.complete {
                    now.retain(|_| draws.chance(60));
                }
                self.state = Reading::Ask(now);
                None
            }
            Reading::Ask(pids) => {
                let to = pids.len().min(self.next + self.stride);
                for pid in &pids[self.next..to] {
                    let child = kernel.find(*pid).filter(|p| p.parent == self.who);
                    if let Some(child) = child {
                        let (ended, root) = (!child.lives(), Some(*pid));
                        self.listed.push(Process { pid: *pid, root, ended, seen: None });
                    }
                }
                self.next = to;
                if to < pids.len() {
                    return None;
                }
                self.next = 0;
                if self.depth == Depth::Children {
                    return Some(self.finish());
                }
                self.state = Reading::Descend;
                None
            }
            Reading::Descend => {
                for _ in 0..self.stride {
                    if self.next >= self.listed.len() {
                        self.state = Reading::Group;
                        break;
                    }
                    self.descend(kernel);
                    self.next += 1;
                }
                None
            }
            Reading::Group => {
                for member in kernel.processes.iter().filter(|p| p.in_cgroup && p.lives()) {
                    if self.listed.iter().all(|listed| listed.pid != member.pid) {
                        let seen = seen(kernel, member.pid).map(|(seen, _)| seen);
                        self.listed.push(Process {
                            pid: member.pid,
                            root: None,
                            ended: false,
                            seen,
                        });
                    }
                }
                Some(self.finish())
            }
        }
    }

    /// Reads one process and its children.
    fn descend(&mut self, kernel: &Kernel) {
        let process = &mut self.listed[self.next];
        if let Some((seen, over)) = seen(kernel, process.pid) {
            if !process.is_child() {
                process.ended = over;
            }
            process.seen = Some(seen);
        }
        let hidden = kernel.find(process.pid).is_none_or(|process| process.hidden);
        if process.ended || hidden {
            return;
        }
        let (pid, root) = (process.pid, process.root);
        for pid in kernel.children(pid) {
            if self.listed.iter().all(|listed| listed.pid != pid) {
                self.listed.push(Process { pid, root, ended: false, seen: None });
            }
        }
    }

    fn finish(&mut self) -> Listing {
        let processes = std::mem::take(&mut self.listed);
        Listing { depth: self.depth, processes, complete: self.complete }
    }
}

/// What `/proc` shows of a process, and whether it has ended.
pub(super) fn seen(kernel: &Kernel, pid: Pid) -> Option<(Seen, bool)> {
    let process = kernel.find(pid).filter(|process| !process.hidden)?;
    let state = match process.state {
        _ if process.stuck => 'D',
        State::Runs => 'R',
        State::Stopped => 'T',
        State::Dying => 'S',
        State::Zombie => 'Z',
    };
    let seen = Seen {
        start: process.start,
        group: process.group,
        session: process.session,
        state,
        name: format!("p{}", process.serial),
        user: None,
    };
    Some((seen, !process.lives()))
}
