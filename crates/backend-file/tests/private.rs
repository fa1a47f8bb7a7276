//! Directories that other processes do not see are named as such. Needs root, to mount.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::path::Path;

use child::{Process, WITH_MOUNTS, sh, told};
use common::directory;
use leasehold_backend::{Diagnose, Level};
use leasehold_core::{Holder, LockBackend, Timing};
use leasehold_file::FileLock;

/// The warning of an examination, if there is one about the file system, and what a candidate is
/// warned of.
async fn warned(path: &Path) -> Option<String> {
    let lock = FileLock::open(path).unwrap();
    let findings = lock.diagnose(&Timing::default()).await;
    let found = findings.iter().find(|finding| finding.subject == "file system").unwrap();
    let problems: Vec<_> = findings.iter().filter(|finding| finding.is_problem()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let caveat = lock.caveat();
    assert_eq!(caveat.is_some(), found.level == Level::Warning, "{found:?}");
    if let Some(caveat) = &caveat {
        let cure = found.cure.as_ref().unwrap();
        assert!(caveat.ends_with(cure.as_str()), "{caveat}");
    }
    lock.may_take(&Holder::of_this_process()).await.unwrap();
    caveat
}

/// A role: mounts by its argument's script, then expects what stands before it.
#[tokio::test]
async fn role_mounted() {
    let Some((_, argument)) = told() else { return };
    let (says, script) = argument.split_once('\n').unwrap();
    sh(script);
    let path = std::env::var_os("LOCK").unwrap();
    let warned = warned(Path::new(&path)).await.expect("a warning");
    assert!(warned.contains(says), "{warned}");
}

#[tokio::test]
async fn an_overlay_and_a_private_directory_are_warned_of() {
    let dir = directory();
    let base = dir.path().display();
    for inner in ["layers", "jobs", "tmp/systemd-private-0a-web.service-Xy/tmp", "other"] {
        std::fs::create_dir_all(dir.path().join(inner)).unwrap();
    }
    let layers = format!(
        "mount -t tmpfs tmpfs '{base}/layers'; cd '{base}/layers'; mkdir low up work; \
         mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work '{base}/jobs'"
    );
    let private =
        format!("mount --bind '{base}/tmp/systemd-private-0a-web.service-Xy/tmp' '{base}/jobs'");
    let other = format!("mount --bind '{base}/other' '{base}/jobs'");
    let memory = format!("mount -t tmpfs tmpfs '{base}/jobs'");
    for (says, script) in [
        ("is on an overlay", layers),
        ("PrivateTmp=", private),
        ("first process", other),
        ("first process", memory),
    ] {
        let path = dir.path().join("jobs/lock");
        let argument = format!("{says}\n{script}");
        Process::run_through(&WITH_MOUNTS, "role_mounted", &path, &argument);
    }
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_contained() {
    let Some((_, says)) = told() else { return };
    let path = std::env::var_os("LOCK").unwrap();
    let warned = warned(Path::new(&path)).await.expect("a warning");
    assert!(warned.contains(&says), "{warned}");
}

/// As container engines do it, over the host's own files.
#[tokio::test]
async fn the_root_of_a_container_is_warned_of() {
    let dir = directory();
    let base = dir.path().display();
    let script = format!(
        "mount -t tmpfs tmpfs '{base}'; cd '{base}'; mkdir up work root; \
         mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work root; \
         mount -t proc proc root/proc; cp \"$1\" root/test-of-leasehold; shift; \
         exec chroot root /test-of-leasehold \"$@\""
    );
    let through = [&WITH_MOUNTS[..], &["sh", "-ec", &script, "sh"]].concat();
    let path = Path::new("/var/jobs");
    Process::run_through(&through, "role_contained", path, "container's own layer");
}
