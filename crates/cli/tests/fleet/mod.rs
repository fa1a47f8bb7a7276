//! Supervisors of one lock as real processes, with work that notices any overlap.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

/// Tests of real processes run one at a time: they measure.
pub(crate) fn serially() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Fleet {
    dir: tempfile::TempDir,
    supervisors: Vec<Supervisor>,
    timing: Vec<String>,
}

pub(crate) struct Supervisor {
    pub(crate) identity: String,
    child: Child,
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
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lock")).unwrap();
        let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/worker.sh");
        fs::copy(worker, dir.path().join("worker.sh")).unwrap();
        let timing = timing.iter().map(|text| (*text).to_owned()).collect();
        Self { dir, supervisors: Vec::new(), timing }
    }

    /// The directory of the lock's files.
    pub(crate) fn lock_dir(&self) -> PathBuf {
        self.dir.path().join("lock")
    }

    pub(crate) fn start(&mut self, identity: &str) -> usize {
        let dir = self.dir.path();
        let log = fs::File::create(dir.join(format!("log.{identity}"))).unwrap();
        let lock = format!("file:{}", self.lock_dir().join("main.lock").display());
        let child = Command::new(env!("CARGO_BIN_EXE_leasehold"))
            .args(["run", "--lock", &lock, "--identity", identity])
            .args(&self.timing)
            .args(["--", "sh"])
            .args([dir.join("worker.sh"), dir.to_owned()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.supervisors.push(Supervisor { identity: identity.to_owned(), child });
        self.supervisors.len() - 1
    }

    pub(crate) fn pid(&self, index: usize) -> i32 {
        i32::try_from(self.supervisors[index].child.id()).unwrap()
    }

    pub(crate) fn index_of(&self, identity: &str) -> usize {
        self.supervisors.iter().position(|one| one.identity == identity).unwrap()
    }

    /// Kills a supervisor and forgets it.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut gone = self.supervisors.swap_remove(index);
        gone.child.kill().unwrap();
        gone.child.wait().unwrap();
    }

    pub(crate) fn wait_exit(&mut self, index: usize, timeout: Duration) -> Option<i32> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.supervisors[index].child.try_wait().unwrap() {
                return status.code();
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

    /// The first start of work with a greater token, all three of its processes.
    pub(crate) fn wait_start(&self, after: u64, timeout: Duration) -> Start {
        let end = Instant::now() + timeout;
        loop {
            let newer =
                |role: &str| self.starts(role).into_iter().find(|start| start.token > after);
            if let (Some(start), Some(_), Some(_)) =
                (newer("child"), newer("plain"), newer("setsid"))
            {
                return start;
            }
            assert!(Instant::now() < end, "no work started: {}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Never two at once, and tokens strictly grow.
    pub(crate) fn assert_safe(&self) {
        let overlaps = fs::read_to_string(self.dir.path().join("overlaps")).unwrap_or_default();
        assert_eq!(overlaps, "", "{}", self.logs());
        let tokens: Vec<u64> = self.starts("child").iter().map(|start| start.token).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    }

    pub(crate) fn log_of(&self, identity: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("log.{identity}"))).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let logs = self.supervisors.iter().map(|one| {
            let log = self.log_of(&one.identity);
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            format!("\n{}: {}", one.identity, tail.join("\n    "))
        });
        logs.collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for gone in &mut self.supervisors {
            let pid = i32::try_from(gone.child.id()).expect("a process id");
            for frozen in [guard_of(pid), Some(pid)].into_iter().flatten() {
                try_signal(frozen, Signal::CONT);
            }
            // Whoever has exited already needs no killing.
            let _ = gone.child.kill();
            let _ = gone.child.wait();
        }
        // The guards kill what is left once their supervisors are gone.
        let end = Instant::now() + Duration::from_secs(5);
        while self.starts("child").last().is_some_and(|start| is_alive(start.pid))
            && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn try_signal(pid: i32, signal: Signal) {
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

/// The guard is the supervisor's only child.
pub(crate) fn guard_of(supervisor: i32) -> Option<i32> {
    let all = fs::read_dir("/proc").ok()?;
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid| parent_of(*pid) == Some(supervisor))
}

pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

/// Random enough to pick moments; the seed is printed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let seed = wall().subsec_nanos();
        println!("seed {seed}");
        Self(u64::from(seed) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How late a sleeping thread wakes on this host: what a bound must allow for.
pub(crate) struct Canary {
    worst: std::sync::Arc<Mutex<Duration>>,
    stop: std::sync::mpsc::Sender<()>,
}

impl Canary {
    pub(crate) fn start() -> Self {
        let worst = std::sync::Arc::new(Mutex::new(Duration::ZERO));
        let (stop, stopped) = std::sync::mpsc::channel();
        let seen = worst.clone();
        std::thread::spawn(move || {
            let nap = Duration::from_millis(10);
            let mut last = Instant::now();
            while stopped.recv_timeout(nap) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                let late = last.elapsed().saturating_sub(nap);
                let mut worst = seen.lock().unwrap();
                *worst = worst.max(late);
                last = Instant::now();
            }
        });
        Self { worst, stop }
    }

    pub(crate) fn worst(&self) -> Duration {
        *self.worst.lock().unwrap()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}

/// Median and maximum, for people.
pub(crate) fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
