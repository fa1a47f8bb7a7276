//! A control group of the kernel, which stops and starves what is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the kernel shows its groups.
const ROOT: &str = "/sys/fs/cgroup";

/// The time of which a quota is a part, in microseconds.
const PERIOD: u64 = 100_000;

/// A group of processes. Dropping it lets them go on, and removes it.
#[derive(Debug)]
pub struct Cgroup {
    /// Of the group that freezes, and of the one with a quota: the same in version 2.
    freezer: PathBuf,
    processor: PathBuf,
    version: u8,
}

impl Cgroup {
    /// A new group without a process.
    ///
    /// # Errors
    /// The kernel shows none here, or this user may make none.
    pub fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leasehold-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = Path::new(ROOT);
        let version = if root.join("cgroup.controllers").exists() { 2 } else { 1 };
        let [freezer, processor] = match version {
            2 => [root.join(&name), root.join(&name)],
            _ => [root.join("freezer").join(&name), root.join("cpu").join(&name)],
        };
        let group = Self { freezer, processor, version };
        for directory in [&group.freezer, &group.processor] {
            fs::create_dir_all(directory)?;
        }
        Ok(group)
    }

    /// Takes a process in.
    ///
    /// # Errors
    /// It is gone, or this user may not.
    pub fn take_in(&self, process: u32) -> io::Result<()> {
        fs::write(self.freezer.join("cgroup.procs"), process.to_string())?;
        fs::write(self.processor.join("cgroup.procs"), process.to_string())
    }

    /// Stops all of it, as a paused container is, or lets it go on.
    ///
    /// # Errors
    /// This user may not.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        match (self.version, frozen) {
            (1, true) => fs::write(self.freezer.join("freezer.state"), "FROZEN"),
            (1, false) => fs::write(self.freezer.join("freezer.state"), "THAWED"),
            _ => fs::write(self.freezer.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
        }
    }

    /// Gives all of it together so many percent of one processor, or as much as there is.
    ///
    /// # Errors
    /// This user may not, or the group is not given the controller.
    pub fn quota(&self, percent: Option<u64>) -> io::Result<()> {
        let share = percent.map(|percent| (PERIOD * percent / 100).to_string());
        if self.version == 1 {
            let share = share.unwrap_or_else(|| "-1".to_owned());
            return fs::write(self.processor.join("cpu.cfs_quota_us"), share);
        }
        let share = share.unwrap_or_else(|| "max".to_owned());
        fs::write(self.processor.join("cpu.max"), format!("{share} {PERIOD}"))
    }

    /// How often its quota was used up.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn times_throttled(&self) -> io::Result<usize> {
        let told = fs::read_to_string(self.processor.join("cpu.stat"))?;
        let count = told.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| io::Error::other("cpu.stat without nr_throttled"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.freeze(false);
        for directory in [&self.freezer, &self.processor] {
            let within = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            let parent = directory.parent().unwrap_or(Path::new(ROOT)).join("cgroup.procs");
            for process in within.lines() {
                // Only what is gone already cannot be moved.
                let _ = fs::write(&parent, process);
            }
            let _ = fs::remove_dir(directory);
        }
    }
}
