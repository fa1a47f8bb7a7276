//! Other processes: the test binary runs itself again in a role.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leasehold_core::{Intent, LockBackend, Outcome, Version};
use leasehold_file::FileLock;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A process that is killed when the test ends, however it ends.
pub(crate) struct Process(pub(crate) Child, Option<tempfile::TempDir>);

impl Process {
    /// Runs the test `role` of this binary, which does nothing otherwise.
    pub(crate) fn start(role: &str, path: &Path, argument: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", role, "--nocapture", "--test-threads=1"])
            .env("LOCK", path)
            .env("ARGUMENT", argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child, None)
    }

    /// Runs the role through another command, which begins with `through`: as another user, in
    /// another namespace. Its messages are in the test's.
    pub(crate) fn start_through(through: &[&str], role: &str, path: &Path, argument: &str) -> Self {
        let (command, arguments) = through.split_first().unwrap();
        let binary = reachable();
        let child = Command::new(command)
            .args(arguments)
            .arg(binary.path().join("test"))
            .args(["--exact", role, "--nocapture", "--test-threads=1"])
            .env("LOCK", path)
            .env("ARGUMENT", argument)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command} is needed for this test: {error}"));
        Self(child, Some(binary))
    }

    /// As [`start_through`](Self::start_through), to its end, which must be a success.
    pub(crate) fn run_through(through: &[&str], role: &str, path: &Path, argument: &str) {
        let ended = Self::start_through(through, role, path, argument).0.wait().unwrap();
        assert!(
            ended.success(),
            "{role} failed ({ended}); this test needs root, for {}",
            through.join(" ")
        );
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it and waits until it has stopped.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        let stopped = waitid(WaitId::Pid(self.pid()), WaitIdOptions::STOPPED).unwrap().unwrap();
        assert!(stopped.stopped());
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An ordinary user, who owns nothing.
pub(crate) const STRANGER: u32 = 54_321;

/// Runs a command as [`STRANGER`].
pub(crate) const AS_STRANGER: [&str; 6] =
    ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=-all", "--"];

/// Runs a command where mounts are its own.
pub(crate) const WITH_MOUNTS: [&str; 4] = ["unshare", "--mount", "--propagation=private", "--"];

/// This binary as `test`, where every user can run it.
fn reachable() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("leasehold-file-test-").tempdir().unwrap();
    let open = |path: &Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    };
    let copy = dir.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    open(dir.path());
    open(&copy);
    dir
}

/// Runs a command to its end, which must be a success.
pub(crate) fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "this test needs root, and {script}: {said}");
}

/// What the parent told this process; nothing if this is no child but a run of all tests.
pub(crate) fn told() -> Option<(FileLock, String)> {
    let lock = FileLock::open(std::env::var_os("LOCK")?).unwrap();
    Some((lock, std::env::var("ARGUMENT").unwrap()))
}

/// Takes the lock, whatever its state.
pub(crate) async fn grab(lock: &FileLock, holder: u128) -> Version {
    loop {
        let seen = lock.read().await.unwrap();
        let change = crate::common::change(Intent::Take, Some(holder), 1);
        if let Ok(Outcome::Written(seen)) = lock.write(&seen.version, &change).await {
            return seen.version;
        }
    }
}

/// Waits for something that must come; the limit only ends a failing test.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut reached: impl FnMut() -> F) {
    let start = Instant::now();
    while !reached().await {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
