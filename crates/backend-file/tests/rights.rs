//! A candidate that may not take learns so at once, and leaves nothing behind. Needs root, to have
//! several users.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use child::{AS_STRANGER, Process, STRANGER, WITH_MOUNTS, sh, told};
use common::{adopt, change, directory, the};
use leasehold_backend::{Diagnose, Level};
use leasehold_core::{Error, ErrorKind, Holder, Intent, LockBackend, Outcome, Timing, Version};
use leasehold_file::FileLock;

/// Names of everything in the directory of the lock.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

async fn tried(lock: &FileLock) -> Error {
    let seen = lock.read().await.unwrap();
    let intent = if seen.version.is_absent() { Intent::Adopt } else { Intent::Take };
    let holder = (intent == Intent::Take).then_some(7);
    lock.write(&seen.version, &change(intent, holder, 1)).await.unwrap_err()
}

/// Refused before and by the try, with the reason; nothing is left.
async fn assert_refused(lock: &FileLock, path: &Path, says: &str) {
    let before = names(path);
    let refused = lock.may_take(&Holder::of_this_process()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    assert!(refused.to_string().contains(says), "{refused}");
    assert!(refused.to_string().contains("; "), "a cure: {refused}");
    for _ in 0..5 {
        let error = tried(lock).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert_eq!(names(path), before, "after {error}");
    }
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_refused() {
    let Some((lock, says)) = told() else { return };
    let path = std::env::var_os("LOCK").unwrap();
    assert_refused(&lock, Path::new(&path), &says).await;
    let findings = lock.diagnose(&Timing::default()).await;
    let found = findings.iter().find(|finding| finding.is_problem()).unwrap();
    assert!(matches!(found.subject, "permission" | "directory"), "{found:?}");
    assert_eq!(found.level, Level::Problem(ErrorKind::Denied), "{found:?}");
    assert!(found.cure.is_some(), "{found:?}");
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_admitted() {
    let Some((lock, _)) = told() else { return };
    lock.may_take(&Holder::of_this_process()).await.unwrap();
    if lock.read().await.unwrap().version.is_absent() {
        adopt(&lock).await;
        lock.may_take(&Holder::of_this_process()).await.unwrap();
    }
    child::grab(&lock, 7).await;
    lock.may_take(&Holder::of_this_process()).await.unwrap();
}

/// A lock that root made, in a directory with this mode.
async fn made(mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = directory();
    set_mode(dir.path(), mode);
    let path = dir.path().join("jobs");
    adopt(&FileLock::open(&path).unwrap()).await;
    (dir, path)
}

#[tokio::test]
async fn a_lock_of_another_user_in_a_sticky_directory_can_never_be_taken() {
    let (_dir, path) = made(0o1777).await;
    let says = "belongs to user 0, and ";
    Process::run_through(&AS_STRANGER, "role_refused", &path, says);
    FileLock::open(&path).unwrap().may_take(&Holder::of_this_process()).await.unwrap();
}

#[tokio::test]
async fn ones_own_lock_in_a_sticky_directory_can_be_taken() {
    let dir = directory();
    set_mode(dir.path(), 0o1777);
    Process::run_through(&AS_STRANGER, "role_admitted", &dir.path().join("jobs"), "");
}

/// Only the baton matters: it is what a take renames.
#[tokio::test]
async fn in_a_sticky_directory_the_owner_of_the_directory_may_take_what_is_anothers() {
    let (dir, path) = made(0o1777).await;
    chown(dir.path(), Some(STRANGER), None).unwrap();
    Process::run_through(&AS_STRANGER, "role_admitted", &path, "");
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_named_with_its_owner_and_mode() {
    let (_dir, path) = made(0o755).await;
    let says = "user 54321 may not create files in ";
    Process::run_through(&AS_STRANGER, "role_refused", &path, says);
    Process::run_through(&AS_STRANGER, "role_refused", &path, "(user 0, group 0, mode 755)");
    fs::remove_file(&path).unwrap();
    Process::run_through(&AS_STRANGER, "role_refused", &path, says);
}

#[tokio::test]
async fn a_lock_of_another_user_in_a_shared_directory_can_be_taken() {
    let (dir, path) = made(0o2770).await;
    chown(dir.path(), None, Some(STRANGER)).unwrap();
    Process::run_through(&AS_STRANGER, "role_admitted", &path, "");
}

#[tokio::test]
async fn attributes_of_files_and_directories_are_rights_too() {
    let (dir, path) = made(0o755).await;
    let lock = FileLock::open(&path).unwrap();
    let set = |attributes: &str, path: &Path| {
        sh(&format!("chattr {attributes} '{}'", path.display()));
    };
    let baton = the(&path, ".baton");
    for (attribute, of, says) in [
        ("i", baton.as_path(), "immutable or append-only"),
        ("a", baton.as_path(), "immutable or append-only"),
        ("i", dir.path(), "is immutable"),
        ("a", dir.path(), "is append-only"),
    ] {
        set(&format!("+{attribute}"), of);
        // Undone before anything may fail.
        let (before, may) = (names(&path), lock.may_take(&Holder::of_this_process()).await);
        let wrote = tried(&lock).await;
        let after = names(&path);
        set(&format!("-{attribute}"), of);
        let refused = may.unwrap_err();
        assert_eq!((refused.kind(), wrote.kind()), (ErrorKind::Denied, ErrorKind::Denied));
        assert!(refused.to_string().contains(says), "{says}: {refused}");
        assert_eq!(after, before, "{says}");
        lock.may_take(&Holder::of_this_process()).await.unwrap();
    }
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_read_only() {
    let Some((lock, argument)) = told() else { return };
    let path = std::env::var_os("LOCK").unwrap();
    sh(&argument);
    assert_refused(&lock, Path::new(&path), "mounted writable").await;
}

#[tokio::test]
async fn a_read_only_file_system_is_a_refusal() {
    let (dir, path) = made(0o755).await;
    let dir = dir.path().display();
    let script = format!("mount --bind '{dir}' '{dir}'; mount -o remount,bind,ro '{dir}'");
    Process::run_through(&WITH_MOUNTS, "role_read_only", &path, &script);
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_full() {
    let Some((_, options)) = told() else { return };
    let outer = std::env::var_os("LOCK").unwrap();
    let dir = Path::new(&outer).parent().unwrap();
    sh(&format!("mount -t tmpfs -o {options} tmpfs '{}'", dir.display()));
    let path = dir.join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let seen = adopt(&lock).await;
    let fill = |name: String| fs::write(dir.join(name), [0; 4096]).is_ok();
    let filled = (0..).take_while(|n| fill(format!("fill{n}"))).count();
    assert!(filled > 0, "it was full before");
    lock.may_take(&Holder::of_this_process()).await.unwrap();
    let before = names(&path);
    for _ in 0..3 {
        let take = change(Intent::Take, Some(7), 1);
        let error = lock.write(&seen.version, &take).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("make room"), "{error}");
        assert_eq!(names(&path), before, "after {error}");
    }
    let other = FileLock::open(dir.join("others")).unwrap();
    let adopt = change(Intent::Adopt, None, 0);
    assert!(other.write(&Version::absent(), &adopt).await.is_err());
    assert_eq!(names(&path), before);
    for n in 0..filled {
        fs::remove_file(dir.join(format!("fill{n}"))).unwrap();
    }
    let take = change(Intent::Take, Some(7), 1);
    assert!(matches!(lock.write(&seen.version, &take).await, Ok(Outcome::Written(_))));
}

#[tokio::test]
async fn a_full_file_system_is_an_outage_that_leaves_nothing() {
    let dir = directory();
    for options in ["size=64k", "nr_inodes=12"] {
        Process::run_through(&WITH_MOUNTS, "role_full", &dir.path().join("jobs"), options);
    }
}
