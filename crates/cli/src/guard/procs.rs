//! Processes as `/proc` shows them: who descends from whom, and how to signal them without hitting another.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal,
};

use super::Exit;

/// One process at the moment of a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: Pid,
    /// Its parent's pid; `None` for those the kernel started, or from outside the pid namespace.
    pub parent: Option<Pid>,
    /// Its process group.
    pub group: Option<Pid>,
    /// Ended, but not yet reaped.
    pub zombie: bool,
    /// When it started, in clock ticks since boot. With the pid it names one process for ever.
    pub start: u64,
}

impl Process {
    /// The process with this pid.
    ///
    /// # Errors
    /// There is none, or `/proc` cannot be read.
    pub fn read(pid: Pid) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_pid()))?;
        parse(pid, &stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Sends a signal to this very process; one that took over its pid is left alone.
    pub fn signal(&self, signal: Signal) {
        let pidfd = pidfd_open(self.pid, PidfdFlags::empty());
        if !Self::read(self.pid).is_ok_and(|now| now.start == self.start) {
            return;
        }
        // What cannot be signalled is met again in the next round.
        let _ = match pidfd {
            Ok(pidfd) => pidfd_send_signal(pidfd, signal),
            Err(Errno::SRCH) => return,
            // No descriptor is left: by pid, which was this process's a moment ago.
            Err(_) => kill_process(self.pid, signal),
        };
    }
}

/// The fields of `/proc/PID/stat`. The name in parentheses may itself contain anything.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start = fields.nth(16)?.parse().ok()?;
    Some(Process {
        pid,
        parent: Pid::from_raw(parent),
        group: Pid::from_raw(group),
        zombie: matches!(state, "Z" | "X"),
        start,
    })
}

/// All processes, read one after the other: whoever is in it existed, but others may have come since.
#[derive(Debug)]
pub struct Snapshot {
    processes: Vec<Process>,
}

impl Snapshot {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// `/proc` is not there or cannot be read.
    pub fn take() -> io::Result<Self> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            // One that ended since is none.
            processes.extend(pid.and_then(|pid| Process::read(pid).ok()));
        }
        Ok(Self { processes })
    }

    /// The children of `parent`.
    pub fn children(&self, parent: Pid) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.parent == Some(parent))
    }

    /// Who lives in this process group beside `member` and the processes it descends from.
    pub fn companions(&self, group: Pid, member: Pid) -> impl Iterator<Item = &Process> {
        let mut line = HashSet::from([member]);
        let mut child = member;
        let parent_of = |child| self.processes.iter().find(|process| process.pid == child)?.parent;
        while let Some(parent) = parent_of(child) {
            if !line.insert(parent) {
                break;
            }
            child = parent;
        }
        let living = self.processes.iter().filter(|process| !process.zombie);
        living.filter(move |process| process.group == Some(group) && !line.contains(&process.pid))
    }

    /// Everything below `root`, without the children of `root` that are spared and what is below them.
    #[must_use]
    pub fn descendants(&self, root: Pid, spared: impl Fn(&Process) -> bool) -> Vec<Process> {
        let mut by_parent: HashMap<Pid, Vec<Process>> = HashMap::new();
        for process in &self.processes {
            if let Some(parent) = process.parent {
                by_parent.entry(parent).or_default().push(*process);
            }
        }
        let first = by_parent.remove(&root).unwrap_or_default();
        let mut found: Vec<Process> = first.into_iter().filter(|p| !spared(p)).collect();
        let mut next = 0;
        while let Some(process) = found.get(next) {
            // Removed, so that a loop from pids reused during the reading ends.
            let below = by_parent.remove(&process.pid).unwrap_or_default();
            found.extend(below);
            next += 1;
        }
        found
    }

    /// Signals each of `victims`, and first each process group that has no other member: a group is
    /// signalled at once, so that no member can slip away by forking.
    pub fn signal(&self, victims: &[Process], signal: Signal) {
        let pids: HashSet<Pid> = victims.iter().map(|process| process.pid).collect();
        let others: HashSet<Pid> = self
            .processes
            .iter()
            .filter(|process| !process.zombie && !pids.contains(&process.pid))
            .filter_map(|process| process.group)
            .collect();
        let groups: HashSet<Pid> =
            victims.iter().filter(|p| !p.zombie).filter_map(|p| p.group).collect();
        for group in groups.difference(&others) {
            let _ = kill_process_group(*group, signal);
        }
        if signal == Signal::KILL {
            for process in victims {
                process.signal(signal);
            }
        } else {
            for process in victims.iter().filter(|p| p.group.is_none_or(|g| others.contains(&g))) {
                process.signal(signal);
            }
        }
    }
}

/// Reaps one child that has ended.
///
/// `Ok(None)`: there are children, none has ended.
///
/// # Errors
/// [`Errno::CHILD`]: there are no children, and so no descendants. The kernel's word.
pub fn reap_any() -> Result<Option<(Pid, Exit)>, Errno> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let code = status.exit_status().map(|code| Exit::Code(low_byte(code)));
                let signal = status.terminating_signal().map(|n| Exit::Signal(low_byte(n)));
                if let Some(exit) = code.or(signal) {
                    return Ok(Some((pid, exit)));
                }
            }
            Ok(None) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps this child if it has ended.
#[must_use]
pub fn reap(pid: Pid) -> bool {
    matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)))
}

/// Exit codes and signal numbers fit a byte.
pub(super) fn low_byte(number: i32) -> u8 {
    u8::try_from(number & 0xff).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        let raw = |n| Pid::from_raw(n);
        Process {
            pid: raw(pid).unwrap(),
            parent: raw(parent),
            group: raw(group),
            zombie: false,
            start: 1,
        }
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_field() {
        let stat = b"7 (a) R (b) c) S 3 5 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3\n";
        let parsed = parse(Pid::from_raw(7).unwrap(), stat).unwrap();
        assert_eq!(parsed, Process { start: 9876, ..process(7, 3, 5) });
    }

    #[test]
    fn this_process_is_there_and_descends_from_its_parent() {
        let me = rustix::process::getpid();
        let snapshot = Snapshot::take().unwrap();
        let parent = rustix::process::getppid().unwrap();
        assert!(snapshot.descendants(parent, |_| false).iter().any(|p| p.pid == me));
        assert!(snapshot.descendants(parent, |p| p.pid == me).iter().all(|p| p.pid != me));
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_a_loop_ends() {
        let processes = vec![
            process(2, 1, 2),
            process(9, 2, 2),
            process(3, 9, 3),
            process(4, 1, 4),
            process(5, 4, 4),
            process(6, 7, 6),
            process(7, 6, 7),
            process(8, 8, 8),
        ];
        let snapshot = Snapshot { processes };
        let root = Pid::from_raw(1).unwrap();
        let found = snapshot.descendants(root, |p| p.pid.as_raw_pid() == 4);
        let pids: Vec<_> = found.iter().map(|p| p.pid.as_raw_pid()).collect();
        assert_eq!(pids, [2, 9, 3]);
    }
}
