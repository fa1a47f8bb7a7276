//! Supervisors of one lock as real processes, with work that notices any overlap.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod measure;
mod processes;
pub(crate) mod rounds;
pub(crate) mod world;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

pub(crate) use measure::{Canary, Dice, spread, wall};
use processes::{all_pids, children_of, is_supervisor};
pub(crate) use processes::{guard_of, is_alive, parent_of, signal, try_signal};
use world::World;

/// Longer than anything takes, on a slow machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The variable by which a fleet knows its processes.
const MARK: &str = "LEASEHOLD_TEST_MARK";

/// Of each log in a message; the files keep everything.
const MOST_LINES: usize = 200;

const WORKER: &str = include_str!("worker.sh");
pub(crate) const ACTOR: &str = include_str!("actor.pl");

/// Tests of real processes run one at a time: they measure.
pub(crate) fn serially() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Fleet {
    dir: tempfile::TempDir,
    supervisors: Vec<Supervisor>,
    flags: Vec<String>,
    work: Work,
    world: World,
    /// What the candidates are started by, within their world.
    prefix: Vec<String>,
}

/// What CMD is.
#[derive(Clone, Debug)]
enum Work {
    /// `worker.sh`.
    Family,
    /// `actor.pl` in one of its shapes.
    Shape(Vec<String>),
}

pub(crate) struct Supervisor {
    pub(crate) identity: String,
    child: Child,
    /// `None` until it is known.
    pid: Option<i32>,
    /// What made its world outlives it.
    has_init: bool,
}

/// A line that a worker wrote when it started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) token: u64,
    pub(crate) identity: String,
    pub(crate) pid: i32,
    /// By the wall clock.
    pub(crate) at: Duration,
}

impl Fleet {
    pub(crate) fn new(timing: &[&str]) -> Self {
        Self::with(World::Here, timing, Work::Family)
    }

    /// CMD is `actor.pl` in this shape (with its argument, if it has one).
    pub(crate) fn acting(world: World, flags: &[&str], shape: &[&str]) -> Self {
        let shape = shape.iter().map(|text| (*text).to_owned()).collect();
        Self::with(world, flags, Work::Shape(shape))
    }

    fn with(world: World, flags: &[&str], work: Work) -> Self {
        world.check();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lock")).unwrap();
        for (name, text) in [("worker.sh", WORKER), ("actor.pl", ACTOR)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        // Whoever the candidates are, these are theirs.
        for path in [dir.path(), &dir.path().join("lock")] {
            fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        }
        let flags = flags.iter().map(|text| (*text).to_owned()).collect();
        Self { dir, supervisors: Vec::new(), flags, work, world, prefix: Vec::new() }
    }

    /// Candidates are started by this command, which becomes each.
    pub(crate) fn behind(mut self, prefix: &[&str]) -> Self {
        self.prefix = prefix.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The directory of the lock's files.
    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("lock")
    }

    pub(crate) fn lock(&self) -> String {
        format!("file:{}", self.lock_dir().join("main.lock").display())
    }

    pub(crate) fn start(&mut self, identity: &str) -> usize {
        self.start_in(&self.world.clone(), identity)
    }

    /// Starts a candidate that sees another world than the rest of the fleet.
    pub(crate) fn start_in(&mut self, world: &World, identity: &str) -> usize {
        let index = self.launch(world, identity);
        if self.supervisors[index].pid.is_none() {
            self.supervisors[index].pid = Some(self.find_supervisor(index));
        }
        index
    }

    /// Starts a candidate that may be refused with this exit code; `None` if it is.
    pub(crate) fn start_or_refused(&mut self, identity: &str, code: i32) -> Option<usize> {
        let index = self.launch(&self.world.clone(), identity);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(ended) = self.ended(index) {
                assert_eq!(ended, Some(code), "{}", self.logs());
                self.forget(index);
                return None;
            }
            let log = self.log_of(identity);
            if ["waiting", "leading", "contending"].iter().any(|word| log.contains(word)) {
                self.supervisors[index].pid = Some(self.find_supervisor(index));
                return Some(index);
            }
            assert!(Instant::now() < end, "neither runs nor ends: {}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn launch(&mut self, world: &World, identity: &str) -> usize {
        let dir = self.dir.path();
        let log = fs::File::create(dir.join(format!("log.{identity}"))).unwrap();
        let mut command = world.command(&self.prefix, dir);
        command.args(["run", "--lock", &self.lock(), "--identity", identity]).args(&self.flags);
        match &self.work {
            Work::Family => command.args(["--", "sh"]).args([dir.join("worker.sh"), dir.into()]),
            Work::Shape(shape) => {
                let actor = dir.join("actor.pl");
                command.args(["--", "perl"]).args([&actor, Path::new("work"), dir]).args(shape)
            }
        };
        let child = command
            .env("RUST_BACKTRACE", "1")
            .env(MARK, dir)
            .env("CODE", dir.join(format!("code.{identity}")))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pid = i32::try_from(child.id()).unwrap();
        let pid = matches!(world, World::Here).then_some(pid);
        self.supervisors.push(Supervisor {
            identity: identity.to_owned(),
            child,
            pid,
            has_init: world.has_init(),
        });
        self.supervisors.len() - 1
    }

    /// The exit code, once the supervisor has ended; `None` in it for a signal.
    fn ended(&mut self, index: usize) -> Option<Option<i32>> {
        let one = &mut self.supervisors[index];
        if one.has_init {
            let code = self.dir.path().join(format!("code.{}", one.identity));
            let text = fs::read_to_string(code).ok()?;
            return text.ends_with('\n').then(|| text.trim().parse().ok());
        }
        one.child.try_wait().unwrap().map(|status| status.code())
    }

    /// The process behind those that made its world.
    fn find_supervisor(&mut self, index: usize) -> i32 {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut at = i32::try_from(self.supervisors[index].child.id()).ok();
            while let Some(pid) = at {
                if is_supervisor(pid) {
                    return pid;
                }
                at = children_of(pid).first().copied();
            }
            if let Some(status) = self.supervisors[index].child.try_wait().unwrap() {
                panic!("the world could not be made: {status}: {}", self.logs());
            }
            assert!(Instant::now() < end, "no supervisor came: {}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn pid(&self, index: usize) -> i32 {
        self.supervisors[index].pid.expect("it was found when it was started")
    }

    pub(crate) fn index_of(&self, identity: &str) -> usize {
        self.supervisors.iter().position(|one| one.identity == identity).unwrap()
    }

    /// Kills a supervisor and forgets it.
    pub(crate) fn kill(&mut self, index: usize) {
        try_signal(self.pid(index), Signal::KILL);
        self.forget(index);
    }

    /// Forgets a supervisor that has ended or was killed.
    pub(crate) fn forget(&mut self, index: usize) {
        let mut gone = self.supervisors.swap_remove(index);
        // What made its world may still be there, and goes now.
        let _ = gone.child.kill();
        gone.child.wait().unwrap();
    }

    /// The exit code; `None` for a signal.
    pub(crate) fn wait_exit(&mut self, index: usize, timeout: Duration) -> Option<i32> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(code) = self.ended(index) {
                return code;
            }
            assert!(Instant::now() < end, "it did not exit: {}", self.logs());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn starts(&self, role: &str) -> Vec<Start> {
        let text = fs::read_to_string(self.dir.path().join("starts")).unwrap_or_default();
        let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines
            .filter(|fields| fields.len() == 5 && fields[0] == role)
            .map(|fields| Start {
                token: fields[1].parse().unwrap(),
                identity: fields[2].to_owned(),
                pid: fields[3].parse().unwrap(),
                at: Duration::from_nanos(fields[4].parse().unwrap()),
            })
            .collect()
    }

    /// The first start of work with a greater token, with all that belongs to it.
    pub(crate) fn wait_start(&self, after: u64, timeout: Duration) -> Start {
        let roles: &[&str] = match &self.work {
            Work::Family => &["plain", "setsid"],
            Work::Shape(_) => &["ready"],
        };
        let end = Instant::now() + timeout;
        loop {
            let newer =
                |role: &str| self.starts(role).into_iter().find(|start| start.token > after);
            if let Some(start) = newer("child")
                && roles.iter().all(|role| newer(role).is_some())
            {
                return start;
            }
            assert!(Instant::now() < end, "no work started: {}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether anybody has written the lock.
    pub(crate) fn was_contended_for(&self) -> bool {
        self.lock_files().iter().any(|path| {
            path.extension().is_some_and(|it| it == "record") || path.ends_with("main.lock")
        })
    }

    /// What is stored, to see whether it changes.
    pub(crate) fn stored(&self) -> Vec<u8> {
        let mut files = self.lock_files();
        files.retain(|path| path.extension().is_some_and(|it| it == "record"));
        files.sort();
        files.iter().flat_map(|path| fs::read(path).unwrap_or_default()).collect()
    }

    fn lock_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.lock_dir()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The store is gone, for everybody: the directory of the lock is somewhere else.
    pub(crate) fn take_the_lock_away(&self) {
        fs::rename(self.lock_dir(), self.lock_dir().with_extension("away")).unwrap();
    }

    /// CMD's main process of this term ends by itself (only `actor.pl`).
    pub(crate) fn leave(&self, token: u64) {
        fs::write(self.dir().join(format!("leave.{token}")), "").unwrap();
    }

    /// Whether anything of a term lives at this moment: it would hold a witness.
    pub(crate) fn something_lives(&self) -> bool {
        ["witness", "witness.closed"].iter().any(|name| {
            let Ok(witness) = fs::File::open(self.dir().join(name)) else { return false };
            flock(&witness, FlockOperation::NonBlockingLockExclusive).is_err()
        })
    }

    pub(crate) fn wait_nothing_lives(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        while self.something_lives() {
            assert!(Instant::now() < end, "something lives on: {}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.supervisors.len()
    }

    pub(crate) fn overlaps(&self) -> String {
        fs::read_to_string(self.dir().join("overlaps")).unwrap_or_default()
    }

    /// Never two at once, and tokens strictly grow.
    pub(crate) fn assert_safe(&self) {
        assert_eq!(self.overlaps(), "", "{}", self.logs());
        let tokens: Vec<u64> = self.starts("child").iter().map(|start| start.token).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    }

    pub(crate) fn log_of(&self, identity: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("log.{identity}"))).unwrap_or_default()
    }

    /// Every log, also of those that are gone.
    pub(crate) fn logs(&self) -> String {
        let logs = self.log_files().into_iter().map(|(name, text)| {
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(MOST_LINES)..];
            format!("\n{name}:\n    {}", tail.join("\n    "))
        });
        logs.collect()
    }

    fn log_files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.dir()).into_iter().flatten().flatten();
        let mut logs: Vec<(String, String)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let text = fs::read(entry.path()).ok()?;
                name.starts_with("log.")
                    .then(|| (name, String::from_utf8_lossy(&text).into_owned()))
            })
            .collect();
        logs.sort();
        logs
    }

    /// Copies all that was logged to where it outlives the test.
    fn keep_logs(&self) -> PathBuf {
        let name = format!("failed-{}-{}", std::process::id(), wall().as_micros());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::create_dir_all(&kept);
        for (name, text) in self.log_files() {
            let _ = fs::write(kept.join(name), text);
        }
        for name in ["starts", "overlaps"] {
            let _ = fs::copy(self.dir().join(name), kept.join(name));
        }
        kept
    }

    /// Every process that carries this fleet's mark.
    pub(crate) fn marked(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.dir().display());
        all_pids()
            .filter(|pid| {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
            })
            .collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for gone in &mut self.supervisors {
            let pid = gone.pid.unwrap_or_else(|| i32::try_from(gone.child.id()).expect("a pid"));
            for frozen in [guard_of(pid), Some(pid)].into_iter().flatten() {
                try_signal(frozen, Signal::CONT);
            }
            // Whoever has exited already needs no killing.
            try_signal(pid, Signal::KILL);
        }
        // The guards kill what is left once their supervisors are gone; what they leave ends here.
        let end = Instant::now() + Duration::from_secs(5);
        while self.something_lives() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        for gone in &mut self.supervisors {
            let _ = gone.child.kill();
            let _ = gone.child.wait();
        }
        self.world.empty();
        for _ in 0..50 {
            let left = self.marked();
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(|pid| try_signal(pid, Signal::KILL));
            std::thread::sleep(Duration::from_millis(10));
        }
        let panicked = self.log_files().iter().any(|(_, log)| tells_of_a_panic(log));
        if std::thread::panicking() {
            println!("the logs are kept in {}", self.keep_logs().display());
        } else if panicked {
            let kept = self.keep_logs();
            panic!("a process panicked, kept in {}: {}", kept.display(), self.logs());
        }
    }
}

/// No process under test may panic, whatever becomes of it.
pub(crate) fn tells_of_a_panic(log: &str) -> bool {
    ["panicked at", "RUST_BACKTRACE", "stack backtrace"].iter().any(|word| log.contains(word))
}
