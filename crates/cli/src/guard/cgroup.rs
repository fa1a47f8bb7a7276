//! A control group of its own for CMD, where this process may make one: then everything in it is
//! killed with one write, however fast it forks.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use leasehold::status::printable;
use leasehold_guard::Cgroup;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tracing::warn;

use crate::boot::now;

/// The deepest that CMD's own groups are removed with this one.
const DEEPEST: u32 = 16;

/// How the names of our groups begin.
const PREFIX: &str = "leasehold-";

/// How often, and after what pauses, it is looked whether what was killed in an abandoned group is
/// dead.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(2);

/// How often a group that another run took for abandoned, before it could be marked as used, is
/// made again.
const ATTEMPTS: u64 = 3;

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
    /// Open from the start: at the end there may be no descriptor left.
    files: Arc<Files>,
}

#[derive(Debug, Default)]
struct Files {
    events: Option<File>,
    kill: Option<File>,
    /// The directory, locked: whoever uses a group keeps others from removing it.
    _used: Option<File>,
}

impl Files {
    fn open(directory: &Path) -> Self {
        let used = File::open(directory).ok();
        let used = used.filter(|used| flock(used, FlockOperation::NonBlockingLockShared).is_ok());
        Self {
            events: File::open(directory.join("cgroup.events")).ok(),
            kill: OpenOptions::new().write(true).open(directory.join("cgroup.kill")).ok(),
            _used: used,
        }
    }
}

impl Group {
    /// A new group below the one that this process is in.
    ///
    /// # Errors
    /// No control groups of version 2 here, this user may not make one, or the kernel cannot kill
    /// one (before 5.14).
    pub fn create() -> io::Result<Self> {
        let own = own_directory()?;
        remove_abandoned(&own);
        for attempt in 0..ATTEMPTS {
            let name = format!("{PREFIX}{}-{:x}", std::process::id(), now().0 + attempt);
            let directory = own.join(name);
            fs::create_dir(&directory)?;
            let group = Self::open(directory);
            let usable = ["cgroup.kill", "cgroup.events", "cgroup.procs"]
                .iter()
                .try_for_each(|file| fs::metadata(group.directory.join(file)).map(drop));
            match usable {
                Ok(()) => return Ok(group),
                // Removed by another run before it was marked as used.
                Err(_) if fs::metadata(&group.directory).is_err() => {}
                Err(error) => {
                    group.remove();
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("the group is removed as soon as it is made"))
    }

    /// The group that another process made.
    #[must_use]
    pub fn open(directory: PathBuf) -> Self {
        let files = Arc::new(Files::open(&directory));
        Self { directory, files }
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
        let kept = self.files.kill.as_ref();
        if kept.is_none_or(|kill| kill.write_at(b"1", 0).is_err()) {
            let _ = fs::write(self.directory.join("cgroup.kill"), "1");
        }
    }

    /// Whether anything lives in it.
    #[must_use]
    pub fn state(&self) -> Cgroup {
        let mut bytes = [0; 256];
        let text = match &self.files.events {
            Some(events) => events
                .read_at(&mut bytes, 0)
                .map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned()),
            None => fs::read_to_string(self.directory.join("cgroup.events")),
        };
        match text {
            Ok(text) if text.lines().any(|line| line == "populated 0") => Cgroup::Empty,
            Ok(text) if text.lines().any(|line| line == "populated 1") => Cgroup::Populated,
            // Only an empty one can be removed.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) =>
            {
                Cgroup::Empty
            }
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

/// Removes groups that killed runs left behind, which are those that no run has locked. What lives
/// in one has outlived its supervisor and its guard, which were both killed: it should be dead, and
/// nobody else is left to kill it.
fn remove_abandoned(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let unused =
                |group: &File| flock(group, FlockOperation::NonBlockingLockExclusive).is_ok();
            // Held until it is gone.
            if let Some(_unused) = File::open(entry.path()).ok().filter(unused) {
                kill_left(&entry.path());
                remove(&entry.path(), DEEPEST);
            }
        }
    }
}

fn kill_left(directory: &Path) {
    let lives = || {
        let events = fs::read_to_string(directory.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    };
    if !lives() {
        return;
    }
    warn!(
        group = %printable(&directory.to_string_lossy()),
        "supervisor and guard of an earlier run were killed before its CMD was dead: killing what \
         it left"
    );
    let _ = fs::write(directory.join("cgroup.kill"), "1");
    for _ in 0..LOOKS {
        if !lives() {
            return;
        }
        thread::sleep(LOOK);
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
    use rustix::fs::{Access, access};

    use super::*;

    /// A group; as root, and where control groups of version 2 can be written, it must be there.
    fn where_one_can_be_made() -> Option<Group> {
        let error = match Group::create() {
            Ok(group) => return Some(group),
            Err(error) => error,
        };
        let root = rustix::process::geteuid().is_root();
        let writable = |own: &PathBuf| access(own, Access::WRITE_OK).is_ok();
        assert!(!root || !own_directory().is_ok_and(|own| writable(&own)), "as root: {error}");
        println!("not run here, since no control group can be made: {error}");
        None
    }

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

    #[test]
    fn what_lives_in_an_abandoned_group_is_killed_by_the_next_run_and_not_while_it_is_in_use() {
        let Some(used) = where_one_can_be_made() else { return };
        let mut left = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(used.directory.join("cgroup.procs"), left.id().to_string()).unwrap();
        Group::create().unwrap().remove();
        assert!(left.try_wait().unwrap().is_none(), "it was killed while its run had it");
        let place = used.directory.clone();
        drop(used);
        // Another test may start a process, which has a copy of the lock until it runs.
        for _ in 0..100 {
            Group::create().unwrap().remove();
            if left.try_wait().unwrap().is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let ended = left.try_wait().unwrap();
        let _ = left.kill();
        left.wait().unwrap();
        assert!(ended.is_some(), "it lives on");
        Group::create().unwrap().remove();
        assert!(!place.exists());
    }

    #[test]
    fn a_group_that_nobody_uses_any_more_is_removed_by_the_next_run_and_one_in_use_is_not() {
        let Some(used) = where_one_can_be_made() else { return };
        let abandoned = Group::create().unwrap();
        let (place, inner) = (abandoned.directory.clone(), abandoned.directory.join("inner"));
        fs::create_dir(inner).unwrap();
        let guards = Group::open(place.clone());
        drop(abandoned);
        Group::create().unwrap().remove();
        assert!(place.exists(), "the guard uses it");
        drop(guards);
        // Another test may start a process, which has a copy of the lock until it runs.
        for _ in 0..100 {
            Group::create().unwrap().remove();
            if !place.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!place.exists());
        assert_eq!(used.state(), Cgroup::Empty);
        used.remove();
        assert!(!used.directory.exists());
        assert_eq!(used.state(), Cgroup::Empty);
    }
}
