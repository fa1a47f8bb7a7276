//! Processes as `/proc` shows them to the tests, which see everything.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub(crate) fn try_signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether the process runs (a dead one that nobody has reaped does not).
pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// The guard is a child of the supervisor, and says so in its arguments.
pub(crate) fn guard_of(supervisor: i32) -> Option<i32> {
    children_of(supervisor).into_iter().find(|pid| arguments_of(*pid).contains("\0__guard\0"))
}

/// It is `leasehold run`, whatever the file is called, and not a program that becomes it later.
pub(crate) fn is_supervisor(pid: i32) -> bool {
    arguments_of(pid).split('\0').nth(1) == Some("run")
}

pub(crate) fn arguments_of(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).into_owned()
}

/// Of all its threads.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let all: String = texts.collect();
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

pub(crate) fn all_pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
