//! Lists of processes, and how to signal and reap them without hitting another.
//!
//! Children come from `/proc/self/task/*/children`, which shows hidden ones too, and each is asked
//! for by its pid (`waitid`), which until it is reaped belongs to nobody else. Nothing here
//! concludes that somebody is dead from what `/proc` does not show.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::Duration;

use leasehold_guard::{Children, Depth, Listing, Process, Seen, Target, Targets};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, kill_process,
    kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};

use super::Exit;
use super::cgroup::Group;
use crate::boot::now;

/// `__WALL`: children of every kind, also those that were cloned without SIGCHLD.
const ALL_KINDS: u32 = 0x4000_0000;

/// The most processes that are read one by one for one list, and the longest time for it: killing
/// must go on.
const MOST: usize = 1_000;
const LONGEST: Duration = Duration::from_millis(50);

/// How often a reading of the children that met a change is repeated.
const READINGS: u32 = 3;

/// What waits are asked with.
fn ended() -> WaitIdOptions {
    WaitIdOptions::EXITED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT
        | WaitIdOptions::from_bits_retain(ALL_KINDS)
}

/// What `wait` says about all children, without reaping anybody.
#[must_use]
pub fn children() -> Children {
    loop {
        return match waitid(WaitId::All, ended()) {
            Ok(_) => Children::Some,
            Err(Errno::CHILD) => Children::None,
            Err(Errno::INTR) => continue,
            Err(_) => Children::Unknown,
        };
    }
}

/// Whether this process may ask so at all.
///
/// # Errors
/// The kernel, or a filter of the container engine, refuses.
pub fn can_wait() -> io::Result<()> {
    match waitid(WaitId::All, ended()) {
        Ok(_) | Err(Errno::CHILD | Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What `waitid` says about one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, or is stopped.
    Runs,
    /// It has ended, and is not reaped.
    Ended(Exit),
    /// There is no such child.
    NoChild,
}

/// Asks for one child by its pid.
#[must_use]
pub fn state(pid: Pid) -> State {
    match waitid(WaitId::Pid(pid), ended()) {
        Ok(Some(status)) => State::Ended(how(&status)),
        Err(Errno::CHILD) => State::NoChild,
        // What cannot be asked is not known to have ended.
        Ok(None) | Err(_) => State::Runs,
    }
}

/// How the process of this descriptor ended; `None` if it runs, is reaped, or is no child.
#[must_use]
pub fn exit_of(pidfd: &OwnedFd) -> Option<Exit> {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), ended()).ok().flatten();
    status.as_ref().map(how)
}

fn how(status: &WaitIdStatus) -> Exit {
    let code = status.exit_status().map(|code| Exit::Code(low_byte(code)));
    let signal = status.terminating_signal().map(|n| Exit::Signal(low_byte(n)));
    code.or(signal).unwrap_or(Exit::Code(0))
}

/// The lists of children of this process's first thread, to which orphans go, and of the one that
/// called [`keep`].
static KEPT: OnceLock<Vec<File>> = OnceLock::new();

/// Keeps open what a list needs at least: there may be no descriptor left when everything must be
/// killed.
///
/// # Errors
/// It cannot be opened.
pub fn keep() -> io::Result<()> {
    let first = rustix::process::getpid().as_raw_pid();
    let own = rustix::thread::gettid().as_raw_pid();
    let mut threads = vec![first, own];
    threads.dedup();
    let open = |thread: i32| File::open(format!("/proc/self/task/{thread}/children"));
    let files = threads.into_iter().map(open).collect::<io::Result<Vec<File>>>()?;
    // Of an earlier term, and of a thread that is no more, perhaps: the first is what counts.
    let _ = KEPT.set(files);
    Ok(())
}

/// Children as far as the files that are kept show them. For killing; no evidence.
fn kept_children() -> Option<Vec<i32>> {
    let mut pids = Vec::new();
    for file in KEPT.get()? {
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = file.read_at(&mut bytes, u64::try_from(text.len()).ok()?) {
            text.extend_from_slice(&bytes[..length]);
        }
        pids.extend(numbers(&text));
    }
    Some(pids)
}

/// The descendants of this process. `None` if its children cannot be read.
#[must_use]
pub fn list(depth: Depth, group: Option<&Group>) -> Option<Listing> {
    let (pids, complete) = own_children().or_else(|| kept_children().map(|pids| (pids, false)))?;
    let mut processes = Vec::new();
    for pid in pids {
        let ended = match Pid::from_raw(pid).map_or(State::NoChild, state) {
            State::Runs => false,
            State::Ended(_) => true,
            State::NoChild => continue,
        };
        processes.push(Process { pid, root: Some(pid), ended, seen: None });
    }
    if depth == Depth::All {
        descend(&mut processes, group);
    }
    Some(Listing { depth, processes, complete })
}

/// Reads what `/proc` shows of these, adds what descends from them, and who else is in the group.
fn descend(processes: &mut Vec<Process>, group: Option<&Group>) {
    let until = now() + LONGEST;
    let own = rustix::process::getpid().as_raw_pid();
    // Of whom each was said to be a child.
    let mut parents = vec![own; processes.len()];
    let mut known: BTreeSet<i32> = processes.iter().map(|process| process.pid).collect();
    let mut next = 0;
    while next < processes.len().min(MOST) && now() < until {
        let process = &mut processes[next];
        if let Ok((seen, over, parent)) = read_with_parent(process.pid) {
            // Its parent has died since, or it has and its pid is another's: that may be anybody.
            // What is CMD's is found where it is now, in the next list.
            if !process.is_child() && parent != parents[next] && parent != own {
                known.remove(&process.pid);
                processes.remove(next);
                parents.remove(next);
                continue;
            }
            // Of a child `waitid` knows better: a leader whose threads live on looks ended.
            if !process.is_child() {
                process.ended = over;
            }
            process.seen = Some(seen);
        }
        next += 1;
        if process.ended {
            continue;
        }
        let (root, parent) = (process.root, process.pid);
        for pid in children_of(parent) {
            if known.insert(pid) {
                parents.push(parent);
                processes.push(Process { pid, root, ended: false, seen: None });
            }
        }
    }
    for pid in group.map(Group::members).unwrap_or_default() {
        if known.insert(pid) {
            let seen = read(pid).ok();
            let ended = seen.as_ref().is_some_and(|(_, over)| *over);
            let seen = seen.map(|(seen, _)| seen);
            processes.push(Process { pid, root: None, ended, seen });
        }
    }
}

/// The pids of all children of this process, whichever thread is their parent, and whether none can
/// be missing: two readings that agree. The kernel promises that only while none of them is reaped
/// in between.
fn own_children() -> Option<(Vec<i32>, bool)> {
    let read = || -> io::Result<(Vec<String>, Vec<i32>)> {
        let (mut threads, mut pids) = (Vec::new(), Vec::new());
        for thread in fs::read_dir("/proc/self/task")? {
            let name = thread?.file_name().to_string_lossy().into_owned();
            match fs::read(format!("/proc/self/task/{name}/children")) {
                Ok(text) => pids.extend(numbers(&text)),
                // The thread has ended, and what it had is another's.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
            threads.push(name);
        }
        Ok((threads, pids))
    };
    let mut last = read().ok()?;
    for _ in 0..READINGS {
        let again = read().ok()?;
        if again == last {
            return Some((again.1, true));
        }
        last = again;
    }
    Some((last.1, false))
}

/// The children of another process, as far as they may be read.
fn children_of(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return found };
    for thread in threads.flatten() {
        if let Ok(text) = fs::read(thread.path().join("children")) {
            found.extend(numbers(&text));
        }
    }
    found
}

fn numbers(text: &[u8]) -> impl Iterator<Item = i32> {
    let words = text.split(u8::is_ascii_whitespace);
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

/// The process is not there any more, or was never shown.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::SRCH].map(|errno| Some(errno.raw_os_error()));
    gone.contains(&error.raw_os_error())
}

/// What `/proc` shows of a process, and whether it has ended.
fn read(pid: i32) -> io::Result<(Seen, bool)> {
    read_with_parent(pid).map(|(seen, over, _)| (seen, over))
}

/// The same, and its parent.
fn read_with_parent(pid: i32) -> io::Result<(Seen, bool, i32)> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    parse(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// This process's group and session, 0 for one that began outside of its pid namespace: the calls
/// of our library take that for impossible.
///
/// # Errors
/// `/proc` cannot be read.
pub fn own_group_and_session() -> io::Result<(i32, i32)> {
    read(rustix::process::getpid().as_raw_pid()).map(|(seen, _)| (seen.group, seen.session))
}

/// The fields of `/proc/PID/stat`. The name in parentheses may itself contain anything.
fn parse(stat: &[u8]) -> Option<(Seen, bool, i32)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let name_start = stat.iter().position(|&byte| byte == b'(')?;
    let name = String::from_utf8_lossy(stat.get(name_start + 1..name_end)?).into_owned();
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let threads: u64 = fields.nth(13)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    // A thread-group leader that ended while other threads live on is no death.
    let over = matches!(state, 'Z' | 'X') && threads <= 1;
    Some((Seen { start, group, session, state, name, user: None }, over, parent))
}

/// The same process with its user, for people.
#[must_use]
pub fn with_user(mut process: Process) -> Process {
    let path = format!("/proc/{}/status", process.pid);
    let status = fs::read(path).unwrap_or_default();
    let user = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"));
    // Real, effective, saved, of the file system.
    let user = user.and_then(|text| numbers(text).nth(1)).map(i32::cast_unsigned);
    if let Some(seen) = &mut process.seen {
        seen.user = user;
    }
    process
}

/// Signals these, groups first.
pub fn signal(targets: &Targets, number: u8) {
    let Some(signal) = Signal::from_named_raw(number.into()) else { return };
    // 1 would be everybody, 0 this process's own.
    let groups = targets.groups.iter().filter(|group| **group > 1);
    for group in groups.filter_map(|group| Pid::from_raw(*group)) {
        let _ = kill_process_group(group, signal);
    }
    for target in &targets.processes {
        signal_one(*target, signal);
    }
}

/// Signals this very process; one that took over its pid is left alone.
fn signal_one(target: Target, signal: Signal) {
    let Some(pid) = Some(target.pid).filter(|pid| *pid > 1).and_then(Pid::from_raw) else { return };
    let Some(start) = target.start else {
        // A child that is not reaped.
        let _ = kill_process(pid, signal);
        return;
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty());
    if !read(target.pid).is_ok_and(|(seen, _)| seen.start == start) {
        return;
    }
    // What cannot be signalled is met again in the next round.
    let _ = match pidfd {
        Ok(pidfd) => pidfd_send_signal(pidfd, signal),
        Err(Errno::SRCH) => return,
        // No descriptor is left: by pid, which was this process's a moment ago.
        Err(_) => kill_process(pid, signal),
    };
}

/// Reaps one child that has ended.
///
/// `Ok(None)`: there are children, none has ended.
///
/// # Errors
/// [`Errno::CHILD`]: there are no children, and so no descendants. The kernel's word.
pub fn reap_any() -> Result<Option<(Pid, Exit)>, Errno> {
    loop {
        match rustix::process::wait(reaping()) {
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

/// Reaps these children if they have ended.
pub fn reap(pids: &[i32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = rustix::process::waitpid(Some(pid), reaping());
    }
}

fn reaping() -> WaitOptions {
    WaitOptions::NOHANG | WaitOptions::from_bits_retain(ALL_KINDS)
}

/// The pids of the children of this process.
///
/// # Errors
/// They cannot be read.
pub fn own_pids() -> io::Result<Vec<i32>> {
    let unreadable = || io::Error::other("/proc/self/task/*/children cannot be read");
    own_children().map(|(pids, _)| pids).ok_or_else(unreadable)
}

/// Whether a process group has no living member but this process and those it descends from. What
/// is not shown does not count, since only the terminal depends on it.
#[must_use]
pub fn is_alone_in(group: i32) -> bool {
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let rest = stat.get(stat.iter().rposition(|&byte| byte == b')')? + 1..)?;
        std::str::from_utf8(rest).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let mut line = BTreeSet::new();
    let mut next = VecDeque::from([rustix::process::getpid().as_raw_pid()]);
    while let Some(pid) = next.pop_front().filter(|pid| line.insert(*pid)) {
        next.extend(parent(pid));
    }
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut others = pids.filter(|pid| !line.contains(pid));
    !others.any(|pid| read(pid).is_ok_and(|(seen, over)| seen.group == group && !over))
}

/// Exit codes and signal numbers fit a byte.
pub(super) fn low_byte(number: i32) -> u8 {
    u8::try_from(number & 0xff).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_field() {
        let stat = b"7 (a) R (b) c) S 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3\n";
        let (seen, over, parent) = parse(stat).unwrap();
        let name = "a) R (b) c".to_owned();
        let expected = Seen { start: 9876, group: 5, session: 6, state: 'S', name, user: None };
        assert_eq!((seen, over, parent), (expected, false, 3));
    }

    #[test]
    fn a_group_of_0_or_less_is_read_and_never_signalled() {
        for number in [-1, 0, 1] {
            // So reads one that is just being reaped, or whose group began outside of our pid
            // namespace.
            let line =
                format!("7 (x) X 0 {number} {number} 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 9876 1");
            let (seen, over, _) = parse(line.as_bytes()).unwrap();
            assert_eq!((seen.group, seen.session, over), (number, number, true));
            // To none at all: this process would be hit, too.
            let targets = Targets { groups: vec![number], processes: Vec::new() };
            signal(&targets, Signal::WINCH.as_raw().unsigned_abs().try_into().unwrap());
            let target = Target { pid: number.min(0), start: None };
            signal(&Targets { groups: Vec::new(), processes: vec![target] }, 9);
        }
    }

    #[test]
    fn a_leader_that_ended_before_its_threads_is_not_over() {
        let of = |threads: u8| {
            let line = format!("7 (x) Z 3 5 6 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 9 1\n");
            parse(line.as_bytes()).unwrap().1
        };
        assert!(of(1) && !of(2));
    }

    #[test]
    fn a_child_is_listed_asked_for_and_reaped_by_its_pid() {
        let mut child = Command::new("true").spawn().unwrap();
        let raw = i32::try_from(child.id()).unwrap();
        let pid = Pid::from_raw(raw).unwrap();
        while state(pid) == State::Runs {
            std::thread::yield_now();
        }
        assert_eq!(state(pid), State::Ended(Exit::Code(0)));
        let listed = list(Depth::All, None).unwrap();
        let found = listed.processes.iter().find(|process| process.pid == raw).unwrap();
        assert!(found.ended && found.is_child());
        reap(&[raw]);
        assert_eq!(state(pid), State::NoChild);
        child.wait().unwrap_err();
    }

    #[test]
    fn grandchildren_are_found_and_a_child_of_another_is_no_child() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 100 & echo; wait"]);
        let mut child = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let raw = i32::try_from(child.id()).unwrap();
        let listed = list(Depth::All, None).unwrap();
        let below = listed.processes.iter().filter(|p| p.root == Some(raw) && p.pid != raw);
        let below: Vec<_> = below.collect();
        assert_eq!(below.len(), 1, "{listed:?}");
        assert_eq!(state(Pid::from_raw(below[0].pid).unwrap()), State::NoChild);
        let start = below[0].seen.as_ref().map(|seen| seen.start);
        let target = Target { pid: below[0].pid, start: start.map(|start| start + 1) };
        // Another one of this pid: it is left alone.
        signal(&Targets { groups: Vec::new(), processes: vec![target] }, 9);
        assert!(read(below[0].pid).is_ok_and(|(_, over)| !over));
        let target = Target { start, ..target };
        signal(&Targets { groups: Vec::new(), processes: vec![target] }, 9);
        child.wait().unwrap();
    }
}
