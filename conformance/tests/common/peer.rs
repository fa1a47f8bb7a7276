//! Candidates of etcd's own elections, as processes.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use leasehold_conformance::fixture::Fixture;
use leasehold_conformance::fixture::etcd::Etcd;
use rustix::process::{Pid, Signal, kill_process};

/// A process that is killed when the test ends, however it ends.
pub(crate) struct Peer {
    child: Child,
    lines: Receiver<String>,
}

/// What a Go candidate said.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// By the boot clock, in nanoseconds.
    pub(crate) at: u64,
    pub(crate) detail: String,
}

impl Peer {
    /// A candidate of Go's `concurrency.Election`.
    pub(crate) fn go(etcd: &Etcd, election: &str, identity: &str, seconds: u64) -> Self {
        let mut command = Command::new(Etcd::go_candidate().unwrap());
        command.args(["-endpoints", &etcd.endpoints().join(","), "-election", election]);
        command.args(["-identity", identity, "-ttl", &seconds.to_string()]);
        Self::start(command)
    }

    /// `etcdctl elect`, which has a lease of 60 s.
    pub(crate) fn etcdctl(etcd: &Etcd, election: &str, identity: &str) -> Self {
        let mut command = Command::new(Etcd::program("etcdctl").unwrap());
        command.args(["--endpoints", &etcd.endpoints().join(","), "elect", election, identity]);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line it prints, if one comes in time. Waits without a runtime.
    pub(crate) fn line(&self, patience: Duration) -> Option<String> {
        tokio::task::block_in_place(|| self.lines.recv_timeout(patience).ok())
    }

    /// The next event of a Go candidate, which must be this one.
    pub(crate) fn event(&self, name: &str) -> Event {
        let line = self.line(super::PATIENCE).unwrap_or_else(|| panic!("never {name}"));
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], name, "{line}");
        let detail = words.get(2).copied().unwrap_or_default().to_owned();
        Event { at: words[1].parse().unwrap(), detail }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
