//! What an examination of a lock's directory finds.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use leasehold_backend::doctor::{COMPARE_AND_SWAP, FAIL_OVER, scratch_name};
use leasehold_backend::{Diagnose, Finding, Race, race};
use leasehold_core::{Error, ErrorKind, Holder, LockBackend, Timing};

use crate::clear::remove_scratch;
use crate::disk::Directory;
use crate::failure::{self, shown};
use crate::fs_kind;
use crate::lock::FileLock;
use crate::private;

const OPERATION: &str = "examine the directory";

/// How often two candidates race.
const ROUNDS: u64 = 10;

/// Directories from which files vanish that were not written for some days.
const SWEPT: [&str; 2] = ["/tmp", "/var/tmp"];

#[async_trait]
impl Diagnose for FileLock {
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding> {
        let mut findings = vec![self.file_system().await];
        findings.extend(swept(&self.place().directory));
        let lock = match self.read().await {
            Ok(observed) => Finding::of_lock(&observed),
            Err(error) => Finding::of_error("lock", &error),
        };
        let is_blocked = lock.is_problem();
        findings.push(lock);
        // A scratch lock is this user's own, and says nothing of this one's files.
        let permission = match self.may_take(&Holder::of_this_process()).await {
            Ok(()) if is_blocked => None,
            Ok(()) => Some(Finding::good("permission", "this user may take the lock")),
            Err(error) => Some(Finding::of_error("permission", &error)),
        };
        match self.race().await {
            Ok(done) => {
                let directory = shown(&self.place().directory);
                findings.push(Finding::good("directory", format!("{directory} is writable")));
                findings.extend(permission);
                findings.push(done.finding("a scratch lock beside this one"));
                findings.push(Finding::of_latency("a write to the disk", &done.releases, timing));
            }
            Err(error) if error.kind() == ErrorKind::Invalid => {
                findings.extend(permission);
                findings.push(Finding::of_error(COMPARE_AND_SWAP, &error));
            }
            // It says why the lock may not be taken either.
            Err(error) => findings.push(Finding::of_error("directory", &error)),
        }
        // What nobody can read frees the lock for nobody.
        if !is_blocked {
            findings.push(fail_over(timing));
        }
        findings
    }
}

impl FileLock {
    async fn file_system(&self) -> Finding {
        const SUBJECT: &str = "file system";
        let place = self.place().clone();
        let looked = self.gate().blocking(OPERATION, move || {
            let magic = Directory::open(&place.directory)
                .and_then(|directory| directory.magic())
                .map_err(|errno| failure::io("look at", &place.directory, errno))?;
            Ok((fs_kind::judge(magic), private::examine(&place.directory)))
        });
        match looked.await {
            Ok((Ok(kind), Some(private))) => {
                Finding::warning(SUBJECT, format!("{kind}; {}", private.why), private.cure)
            }
            Ok((Ok(kind), None)) => Finding::good(SUBJECT, format!("{kind}, which is local")),
            Ok((Err(kind), _)) => Finding::problem(
                SUBJECT,
                ErrorKind::Invalid,
                format!("{kind}, which is not known to keep a lock"),
                "use a local file system, or for several hosts a store that all of them reach",
            ),
            Err(error) => Finding::of_error(SUBJECT, &error),
        }
    }

    /// Two candidates race for a scratch lock in the same directory. Its files are removed,
    /// whatever came of it.
    async fn race(&self) -> Result<Race, Error> {
        // Named by itself, since the lock's own name may be as long as names may be.
        let name =
            scratch_name(".leasehold-doctor").map_err(|failure| failure.during(OPERATION))?;
        let files = Scratch(self.place().directory.join(name));
        let open = || FileLock::options().open(&files.0);
        let candidates = [open()?, open()?];
        race(&[&candidates[0], &candidates[1]], ROUNDS).await
    }
}

/// The files of a scratch lock. Nobody else names them.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_scratch(&self.0); // what a refusal leaves here the race has reported
    }
}

fn swept(directory: &Path) -> Option<Finding> {
    let swept = SWEPT.iter().find(|swept| directory.starts_with(swept))?;
    Some(Finding::warning(
        "directory",
        format!(
            "{swept} is cleaned of files that nobody wrote for some days; a lock that is removed \
             is free"
        ),
        "put the lock below /run or /var/lib",
    ))
}

fn fail_over(timing: &Timing) -> Finding {
    let text = format!(
        "a release, and the end of the holder's process, free the lock at once; a holder that is \
         frozen, after {:?} at most",
        timing.bounds().crash
    );
    Finding::good(FAIL_OVER, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_race_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let lock = FileLock::open(directory.path().join("jobs")).unwrap();
        let done = lock.race().await.unwrap();
        assert_eq!((done.writes, done.releases.len()), (11, 10));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn directories_that_are_cleaned_are_named() {
        assert!(swept(Path::new("/tmp/x")).is_some());
        assert!(swept(Path::new("/var/tmp")).is_some());
        assert!(swept(Path::new("/tmpfs")).is_none());
    }
}
