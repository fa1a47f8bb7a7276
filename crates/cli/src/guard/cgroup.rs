//! A control group of its own for CMD, where this process may make one: then everything in it is killed with one
//! write, however fast it forks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_guard::Cgroup;

use crate::boot::now;

/// The deepest that CMD's own groups are removed with this one.
const DEEPEST: u32 = 16;

/// How the names of our groups begin.
const PREFIX: &str = "leasehold-";

/// How old an empty group is that nobody uses any more. A run puts CMD into its own within milliseconds.
const ABANDONED: Duration = Duration::from_secs(600);

/// Whether CMD gets a control group of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// If this process may make one.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always: without one nothing runs.
    Require,
}

/// The group that was made for CMD.
#[derive(Clone, Debug)]
pub struct Group {
    directory: PathBuf,
}

impl Group {
    /// A new group below the one that this process is in.
    ///
    /// # Errors
    /// No control groups of version 2 here, this user may not make one, or the kernel cannot kill one (before 5.14).
    pub fn create() -> io::Result<Self> {
        let own = own_directory()?;
        remove_abandoned(&own);
        let name = format!("{PREFIX}{}-{:x}", std::process::id(), now().0);
        let group = Self { directory: own.join(name) };
        fs::create_dir(&group.directory)?;
        let usable = ["cgroup.kill", "cgroup.events", "cgroup.procs"]
            .iter()
            .try_for_each(|file| fs::metadata(group.directory.join(file)).map(drop));
        if let Err(error) = usable {
            group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// The group that another process made.
    #[must_use]
    pub fn open(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes this process in, and what it starts from now on.
    ///
    /// # Errors
    /// This user may not.
    pub fn join(&self) -> io::Result<()> {
        fs::write(self.directory.join("cgroup.procs"), "0")
    }

    /// Kills everything in it and below it.
    pub fn kill(&self) {
        let _ = fs::write(self.directory.join("cgroup.kill"), "1");
    }

    /// Whether anything lives in it.
    #[must_use]
    pub fn state(&self) -> Cgroup {
        match fs::read_to_string(self.directory.join("cgroup.events")) {
            Ok(text) if text.lines().any(|line| line == "populated 0") => Cgroup::Empty,
            Ok(text) if text.lines().any(|line| line == "populated 1") => Cgroup::Populated,
            // Only an empty one can be removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Cgroup::Empty,
            Ok(_) | Err(_) => Cgroup::Unknown,
        }
    }

    /// The pids in it, not of those in groups below it.
    #[must_use]
    pub fn members(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Removes it, with what CMD made below it. Nothing must live in it.
    pub fn remove(&self) {
        remove(&self.directory, DEEPEST);
    }
}

/// Removes empty groups that killed runs left behind. One that was just made is empty, too.
fn remove_abandoned(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let made = entry.metadata().and_then(|metadata| metadata.modified());
        let age = made.map(|made| made.elapsed().unwrap_or_default());
        if name.to_string_lossy().starts_with(PREFIX) && age.is_ok_and(|age| age > ABANDONED) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn remove(directory: &Path, depth: u32) {
    if depth > 0 && fs::remove_dir(directory).is_err() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path(), depth - 1);
            }
        }
        let _ = fs::remove_dir(directory);
    }
}

/// The directory of the group that this process is in.
fn own_directory() -> io::Result<PathBuf> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "no control groups of version 2 here");
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(missing)?;
    let (root, point) = mounts.lines().find_map(mount).ok_or_else(missing)?;
    // A part of the tree may be mounted alone; outside it we have no directory.
    let below = Path::new(group).strip_prefix(root).map_err(|_outside| missing())?;
    Ok(point.join(below))
}

/// The root and the place of a mount of control groups, if the line is of one.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (fields, kind) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let plain = |field: &str| (!field.contains('\\')).then(|| PathBuf::from(field));
    let (root, point) = (plain(fields.next()?)?, plain(fields.next()?)?);
    (kind.split(' ').next() == Some("cgroup2")).then_some((root, point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_2_is_found_and_others_are_not() {
        let line = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(mount(line), Some(("/".into(), "/sys/fs/cgroup/unified".into())));
        let part = "41 31 0:38 /a/b /mnt rw shared:3 - cgroup2 x rw,nsdelegate";
        assert_eq!(mount(part), Some(("/a/b".into(), "/mnt".into())));
        assert_eq!(mount("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(mount("41 31 0:38 / /with\\040space rw - cgroup2 x rw"), None);
        assert_eq!(mount(""), None);
    }
}
