//! Processes under test: watched by pid, and ended with the test whatever happens.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its share")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes, on a slow machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The user without rights.
const NOBODY: u32 = 65_534;

/// What a command said, without the warning that the tests' own directory lies in a container's own
/// layer.
pub fn without_caveat(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("lock-not-shared"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A directory for one test. Every process of the test carries its path in `LEASEHOLD_TEST_MARK`;
/// those still alive at the end are killed, by pid and only if they carry it.
pub struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The pids that processes of the test wrote to the file `$PIDS`, one a line.
    pub fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.path("pids")).unwrap_or_default();
        text.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Waits until so many wrote their pid, and returns these.
    pub fn wait_for_pids(&self, count: usize) -> Vec<i32> {
        eventually("pids were written", || self.pids().len() >= count);
        self.pids()
    }

    pub fn envs(&self) -> [(&'static str, PathBuf); 2] {
        [("LEASEHOLD_TEST_MARK", self.dir().to_path_buf()), ("PIDS", self.path("pids"))]
    }

    /// A file for what a process says, in which no panic may be at the end.
    pub fn log(&self, name: &str) -> fs::File {
        // Aside, where no command lists it.
        fs::create_dir_all(self.path("logs")).unwrap();
        fs::File::create(self.path(&format!("logs/{name}.log"))).unwrap()
    }

    /// Every living process of this test.
    pub fn living(&self) -> Vec<i32> {
        let mark = format!("LEASEHOLD_TEST_MARK={}", self.dir().display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environ.split(|&b| b == 0).any(|var| var == mark.as_bytes()) && alive(pid) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for _ in 0..50 {
            let living = self.living();
            if living.is_empty() {
                break;
            }
            for pid in living {
                signal(pid, Signal::KILL);
            }
            thread::sleep(Duration::from_millis(20));
        }
        if thread::panicking() {
            return;
        }
        let logs = fs::read_dir(self.path("logs")).into_iter().flatten();
        for entry in fs::read_dir(self.dir()).unwrap().chain(logs).flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "log") {
                no_panic(&fs::read(&path).unwrap());
            }
        }
    }
}

/// No process under test may panic, whatever becomes of it.
pub fn no_panic(errors: &[u8]) {
    let errors = String::from_utf8_lossy(errors);
    let words = ["panicked at", "RUST_BACKTRACE", "stack backtrace", "has overflowed its stack"];
    assert!(!words.iter().any(|word| errors.contains(word)), "a panic: {errors}");
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    no_panic(&output.stderr);
    output
}

/// The command, as a user who may not write this directory; where the test is root, as nobody.
pub fn denied(scene: &Scene, directory: &Path) -> Command {
    fs::set_permissions(directory, Permissions::from_mode(0o555)).unwrap();
    let original = Path::new(env!("CARGO_BIN_EXE_leasehold"));
    if !rustix::process::geteuid().is_root() {
        return command(original, scene);
    }
    // Nobody must be able to start it.
    let program = scene.path("leasehold");
    fs::copy(original, &program).unwrap();
    fs::set_permissions(scene.dir(), Permissions::from_mode(0o755)).unwrap();
    let mut command = command(&program, scene);
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// The program in the scene, with nothing from the environment of the tests, and the signal
/// dispositions of an interactive shell.
pub fn command(program: &Path, scene: &Scene) -> Command {
    default_dispositions();
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEASEHOLD_") {
            command.env_remove(name);
        }
    }
    command.envs(scene.envs()).current_dir(scene.dir()).stdin(Stdio::null());
    command
}

/// Children of this process start with the default for the signals that `leasehold run` handles,
/// even if this one was started with some of them ignored, as a shell does for a background job
/// (`cargo test &`, `nohup`). A signal that is handled here is handled by default after an exec,
/// and nothing else undoes "ignored" without `unsafe`. What was not ignored stays as it is, so that
/// Ctrl-C still ends the tests.
pub fn default_dispositions() {
    use tokio::signal::unix::{SignalKind, signal};
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(mask.trim(), 16).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        for number in [1, 2, 3, 10, 12, 15, 28] {
            if ignored & 1 << (number - 1) != 0 {
                drop(signal(SignalKind::from_raw(number)).unwrap());
            }
        }
    });
}

/// Whether this process runs; a zombie does not.
pub fn alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

/// Stops a process and waits until it is stopped.
pub fn freeze(pid: i32) {
    signal(pid, Signal::STOP);
    eventually("it is frozen", || state(pid) == Some('T'));
}

pub fn thaw(pid: i32) {
    signal(pid, Signal::CONT);
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
