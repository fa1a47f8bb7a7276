//! Hosts that lack something: refused before the lock is contended for, with a reason; never a
//! panic.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod fleet;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet::rounds::{HASTY, side_by_side};
use fleet::world::{World, new_user};
use fleet::{ACTOR, Fleet, PATIENCE, is_alive, serially, tells_of_a_panic, wall};

const NOT_THERE: i32 = 38;
/// What a filter of an old container engine answers.
const NOT_PERMITTED: i32 = 1;

/// System calls, by their numbers on x86-64 and on ARM64.
const CALLS: [(&str, u32, u32); 14] = [
    ("pidfd_open", 434, 434),
    ("pidfd_send_signal", 424, 424),
    ("memfd_create", 319, 279),
    ("timerfd_create", 283, 85),
    ("timerfd_settime", 286, 86),
    ("eventfd2", 290, 19),
    ("signalfd4", 289, 74),
    ("epoll_create1", 291, 20),
    ("inotify_init1", 294, 26),
    ("prctl", 157, 167),
    ("waitid", 247, 95),
    ("socketpair", 53, 199),
    ("setpriority", 141, 140),
    ("getrandom", 318, 278),
];

struct Host {
    dir: tempfile::TempDir,
}

struct Answer {
    code: Option<i32>,
    text: String,
}

impl Host {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("actor.pl"), ACTOR).unwrap();
        fs::create_dir(dir.path().join("lock")).unwrap();
        for path in [dir.path().to_owned(), dir.path().join("lock")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        Self { dir }
    }

    fn lock(&self) -> PathBuf {
        self.dir.path().join("lock").join("main.lock")
    }

    fn is_untouched(&self) -> bool {
        let mut entries = fs::read_dir(self.dir.path().join("lock")).unwrap();
        !entries.any(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name == "main.lock" || name.ends_with(".record")
        })
    }

    /// `leasehold run` in a world, by way of a prefix; CMD exits with 5.
    fn run(&self, world: &World, prefix: &[&str]) -> Answer {
        let prefix: Vec<String> = prefix.iter().map(|word| (*word).to_owned()).collect();
        let log = self.dir.path().join("log");
        let mut command = world.command(&prefix, self.dir.path());
        command.args(["run", "--lock", &format!("file:{}", self.lock().display())]);
        command.args(["--timeout", "5s", "--", "sh", "-c", "exit 5"]);
        command.env("RUST_BACKTRACE", "1").current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if start.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{prefix:?} does not end: {}", fs::read_to_string(&log).unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Answer { code, text: String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned() }
    }

    fn lacking(&self, errno: i32, call: u32) -> Answer {
        let actor = self.dir.path().join("actor.pl").display().to_string();
        let (errno, call) = (errno.to_string(), call.to_string());
        self.run(&World::Here, &["perl", &actor, "lacking", &errno, &call])
    }
}

#[test]
fn a_system_call_that_is_not_there_is_named_before_the_lock_is_contended_for() {
    let _one = serially();
    let mut wrong = Vec::new();
    for (name, x86_64, arm64) in CALLS {
        let number = if cfg!(target_arch = "aarch64") { arm64 } else { x86_64 };
        for errno in [NOT_THERE, NOT_PERMITTED] {
            let host = Host::new();
            let Answer { code, text } = host.lacking(errno, number);
            println!(
                "without {name} (errno {errno}): {code:?} {}",
                text.lines().next().unwrap_or("")
            );
            let works = code == Some(5);
            let refused = code == Some(78) && text.contains(name) && host.is_untouched();
            if !(works || refused) || tells_of_a_panic(&text) {
                let touched = if host.is_untouched() { "untouched" } else { "taken" };
                wrong.push(format!(
                    "{name}, errno {errno}: {code:?}, the lock is {touched}: {text}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ends, with a code of the table and a sentence, or works.
fn assert_civil(what: &str, answer: &Answer, wrong: &mut Vec<String>) {
    let Answer { code, text } = answer;
    let last = text.lines().next().unwrap_or_default();
    println!("{what}: {code:?} {last}");
    // Not even the loader, or the command before, may open what it needs.
    let never_began =
        *code == Some(127) || text.starts_with("setpriv:") || text.starts_with("prlimit:");
    let documented = [5, 69, 75, 76, 77, 78, 79, 80].map(Some).contains(code);
    let silent = *code != Some(5) && text.trim().is_empty();
    if !never_began && (!documented || silent || tells_of_a_panic(text)) {
        wrong.push(format!("{what}: {code:?}: {text}"));
    }
}

#[test]
fn without_descriptors_it_ends_with_a_sentence() {
    let _one = serially();
    let mut wrong = Vec::new();
    for limit in 3..32 {
        let limit = format!("--nofile={limit}:{limit}");
        let answer = Host::new().run(&World::Here, &["prlimit", &limit]);
        assert_civil(&limit, &answer, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_threads_or_processes_it_ends_with_a_sentence() {
    let _one = serially();
    let mut wrong = Vec::new();
    for limit in 1..10 {
        let limit = format!("--nproc={limit}:{limit}");
        let answer = Host::new().run(&World::User(new_user()), &["prlimit", &limit]);
        assert_civil(&limit, &answer, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The other commands read a lock with as little.
#[test]
fn status_without_descriptors_or_threads_ends_with_a_sentence() {
    let _one = serially();
    let mut wrong = Vec::new();
    let host = Host::new();
    let lock = format!("file:{}", host.lock().display());
    for limit in (3..16)
        .map(|n| format!("--nofile={n}:{n}"))
        .chain((1..4).map(|n| format!("--nproc={n}:{n}")))
    {
        let world = if limit.contains("nproc") { World::User(new_user()) } else { World::Here };
        let prefix = ["prlimit".to_owned(), limit.clone()];
        let mut command: Command = world.command(&prefix, host.dir.path());
        command.args(["status", "--lock", &lock]).stdin(Stdio::null()).env("RUST_BACKTRACE", "1");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
        assert_civil(&limit, &Answer { code: output.status.code(), text }, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `ulimit -s 64`: the command finds room, and CMD has what its user set.
#[test]
fn a_small_stack_is_enough_for_the_command_and_for_its_guard() {
    let _one = serially();
    let host = Host::new();
    for bytes in ["65536", "131072", "393216"] {
        let limit = format!("--stack={bytes}:{bytes}");
        let answer = host.run(&World::Here, &["prlimit", &limit]);
        assert_eq!(answer.code, Some(5), "{bytes}: {}", answer.text);
        for arguments in [["--version"].as_slice(), &["run", "--help"], &["status", "--nothing"]] {
            let mut command =
                World::Here.command(&["prlimit".to_owned(), limit.clone()], host.dir.path());
            let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
            let code = if arguments.contains(&"--nothing") { 64 } else { 0 };
            assert_eq!(output.status.code(), Some(code), "{bytes}: {arguments:?}: {output:?}");
        }
    }
    let lock = format!("file:{}", host.lock().display());
    let prefix = ["prlimit".to_owned(), "--stack=65536:65536".to_owned()];
    let mut command = World::Here.command(&prefix, host.dir.path());
    command.args(["run", "--lock", &lock, "--", "sh", "-c", "ulimit -s"]).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "64\n", "{output:?}");
}

/// A leader whose descriptors and processes run out while it leads: nothing outlives the lease,
/// nobody panics, and it leads again once there are some.
#[test]
fn a_leader_without_descriptors_keeps_its_promise_and_leads_again() {
    let _one = serially();
    let limits = ["--nofile=4:4096", "--nofile=9:4096", "--nofile=14:4096"];
    side_by_side(&limits, limits.len(), |limit| (*limit).to_owned(), |limit| vec![starved(limit)]);
}

/// How long until it works again.
fn starved(limit: &str) -> Duration {
    let flags = [HASTY, &["--lease-duration", "3s"]].concat();
    let mut fleet = Fleet::acting(World::Here, &flags, &["daemon"]);
    let index = fleet.start("a");
    let first = fleet.wait_start(0, PATIENCE);
    let pid = fleet.pid(index).to_string();
    let limited = |limit: &str| {
        let set = Command::new("prlimit").args(["--pid", &pid, limit]).status().unwrap();
        assert!(set.success());
    };
    limited(limit);
    std::thread::sleep(Duration::from_secs(7));
    assert!(is_alive(fleet.pid(index)), "{limit}: {}", fleet.logs());
    limited("--nofile=4096:4096");
    let again = wall();
    std::thread::sleep(Duration::from_secs(1));
    fleet.start("b");
    // It lost the lock and leads again, or never lost it.
    if fleet.starts("child").len() == 1 && fleet.something_lives() {
        fleet.leave(first.token);
    }
    let next = fleet.wait_start(first.token, PATIENCE);
    fleet.assert_safe();
    next.at.saturating_sub(again)
}
