//! What guard and supervisor do with their hands, one system call at a time.

use std::collections::VecDeque;

use leasehold_guard::{Target, Targets};

use super::kernel::{Kernel, Kin, Pid, SUPERVISOR};
use super::list::{Reader, seen};

/// One system call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Group(u8, Pid),
    One(u8, Target),
    Cgroup,
    Reap(Pid),
}

/// The hands of one of them.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) who: Pid,
    pub(super) calls: VecDeque<Call>,
    pub(super) reader: Option<Reader>,
    /// How many lists were begun.
    pub(super) looks: u32,
}

/// A signal that hit somebody whom it must not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) pid: Pid,
    pub(super) kin: Kin,
    pub(super) how: Call,
}

impl Hands {
    pub(super) fn new(who: Pid) -> Self {
        Self { who, calls: VecDeque::new(), reader: None, looks: 0 }
    }

    pub(super) fn signal(&mut self, number: u8, targets: &Targets) {
        self.calls.extend(targets.groups.iter().map(|group| Call::Group(number, *group)));
        self.calls.extend(targets.processes.iter().map(|target| Call::One(number, *target)));
    }

    /// The next call.
    pub(super) fn call(&mut self, kernel: &mut Kernel, strays: &mut Vec<Stray>) -> bool {
        let Some(call) = self.calls.pop_front() else { return false };
        match call {
            Call::Group(number, group) => {
                for pid in kernel.members(group) {
                    hit(kernel, pid, number, call, strays);
                }
            }
            Call::One(number, target) => {
                let is = match target.start {
                    None => kernel.find(target.pid).is_some(),
                    Some(start) => {
                        seen(kernel, target.pid).is_some_and(|(seen, _)| seen.start == start)
                    }
                };
                if is {
                    hit(kernel, target.pid, number, call, strays);
                }
            }
            Call::Cgroup => {
                let members = kernel.processes.iter().filter(|p| p.in_cgroup && p.lives());
                let members: Vec<Pid> = members.map(|process| process.pid).collect();
                for pid in members {
                    // The kernel kills them itself, whosever they are.
                    kernel.deliver(pid, leasehold_guard::signal::KILL);
                }
            }
            Call::Reap(pid) => {
                kernel.reap(self.who, pid);
            }
        }
        true
    }
}

fn hit(kernel: &mut Kernel, pid: Pid, number: u8, how: Call, strays: &mut Vec<Stray>) {
    let Some(process) = kernel.find(pid).filter(|process| process.lives()) else { return };
    let kin = process.kin;
    let spared =
        kin == Kin::Spared && kernel.root_below(pid, SUPERVISOR).is_some_and(|root| root.original);
    if matches!(kin, Kin::Other | Kin::Supervisor | Kin::Guard) || spared {
        strays.push(Stray { pid, kin, how });
    }
    if kernel.find(pid).is_some_and(|process| !process.foreign) {
        kernel.deliver(pid, number);
    }
}
