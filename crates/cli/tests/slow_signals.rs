//! Signals that end work by default reach work that is stopped, and a supervisor whose parent
//! blocked them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use fleet::rounds::HASTY;
use fleet::world::{World, program};
use fleet::{Fleet, PATIENCE, is_alive, serially, signal, try_signal};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a request may take to be obeyed.
const SOON: Duration = Duration::from_secs(15);

fn fleet() -> Fleet {
    Fleet::acting(World::Here, HASTY, &["plain"])
}

fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn what_ends_work_by_default_ends_stopped_work() {
    let _one = serially();
    for (ending, code) in
        [(Signal::HUP, 129), (Signal::QUIT, 131), (Signal::TERM, 143), (Signal::INT, 130)]
    {
        let mut fleet = fleet();
        fleet.start("a");
        let work = fleet.wait_start(0, PATIENCE).pid;
        kill_process_group(Pid::from_raw(work).unwrap(), Signal::STOP).unwrap();
        while state(work) != Some('T') {
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(fleet.pid(0), ending);
        let got = fleet.wait_exit(0, SOON);
        assert_eq!(got, Some(code), "{ending:?}: {}", fleet.logs());
        assert!(!fleet.something_lives(), "{ending:?}: {}", fleet.logs());
    }
}

#[test]
fn a_supervisor_whose_parent_blocked_or_ignored_signals_hears_them() {
    let _one = serially();
    let dispositions = [
        "--block-signal=TERM",
        "--block-signal",
        "--ignore-signal=TERM",
        "--block-signal=CHLD",
        "--ignore-signal=CHLD",
        "--block-signal=TERM,INT,HUP,QUIT,CHLD,USR1",
    ];
    for disposition in dispositions {
        let mut fleet = fleet().behind(&["env", disposition]);
        fleet.start("a");
        fleet.wait_start(0, PATIENCE);
        // One that waits, too.
        let waiting = fleet.start("b");
        std::thread::sleep(Duration::from_millis(300));
        signal(fleet.pid(waiting), Signal::TERM);
        let code = fleet.wait_exit(waiting, SOON);
        assert_eq!(code, Some(143), "waiting, {disposition}: {}", fleet.logs());
        signal(fleet.pid(0), Signal::TERM);
        let code = fleet.wait_exit(0, SOON);
        assert_eq!(code, Some(143), "leading, {disposition}: {}", fleet.logs());
        assert!(!fleet.something_lives(), "{disposition}: {}", fleet.logs());
    }
}

/// And so does CMD, which is given no signal blocked.
#[test]
fn work_hears_what_a_parent_of_the_supervisor_blocked() {
    let _one = serially();
    let mut fleet = fleet().behind(&["env", "--block-signal=HUP,QUIT,USR1"]);
    fleet.start("a");
    fleet.wait_start(0, PATIENCE);
    signal(fleet.pid(0), Signal::HUP);
    assert_eq!(fleet.wait_exit(0, SOON), Some(129), "{}", fleet.logs());
}

/// `leasehold run -- cat &`, and the terminal is closed: the job was stopped for reading, and holds
/// nothing now.
#[test]
fn a_stopped_job_of_a_closed_terminal_holds_no_lock() {
    let _one = serially();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let tmux = |arguments: &[&str]| -> Output {
        let mut command = Command::new("tmux");
        command.args(["-S", &path("tmux"), "-f", "/dev/null"]).args(arguments);
        command.env_remove("TMUX").output().unwrap()
    };
    let shell = ["new-session", "-d", "-x", "150", "bash", "--norc", "--noprofile", "-i"];
    let opened = tmux(&shell);
    assert!(opened.status.success(), "this test needs tmux: {opened:?}");
    let script = format!("echo $$ >{}; exec cat", path("cat"));
    let run = program();
    let line = format!(
        "{} run --lock file:{} -- sh -c '{script}' 2>{} &",
        run.display(),
        path("lock"),
        path("log")
    );
    tmux(&["send-keys", "-l", &line]);
    tmux(&["send-keys", "Enter"]);
    let end = Instant::now() + PATIENCE;
    let log = || fs::read_to_string(path("log")).unwrap_or_default();
    let cat = loop {
        let pid = fs::read_to_string(path("cat")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.filter(|pid| state(*pid) == Some('T')) {
            break pid;
        }
        assert!(Instant::now() < end, "it was not stopped: {}", log());
        std::thread::sleep(Duration::from_millis(5));
    };
    let guard = fleet::parent_of(cat).unwrap();
    let supervisor = fleet::parent_of(guard).unwrap();
    tmux(&["kill-server"]);
    let end = Instant::now() + SOON;
    let left =
        || [cat, guard, supervisor].into_iter().filter(|pid| is_alive(*pid)).collect::<Vec<_>>();
    while !left().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stayed = left();
    for pid in &stayed {
        try_signal(*pid, Signal::KILL);
    }
    assert!(stayed.is_empty(), "of {cat}, {guard}, {supervisor} stay {stayed:?}: {}", log());
}
