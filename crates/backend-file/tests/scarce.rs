//! Threads, descriptors and notifications run out, and come back. Needs root, to have a user with
//! limits of its own.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use child::{AS_STRANGER, Process, told};
use common::{adopt, change, directory};
use futures_util::StreamExt;
use leasehold_core::{Elector, Error, ErrorKind, Holder, Intent, LockBackend, Outcome};
use leasehold_file::FileLock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets the limit that counts; the highest that may be set stays.
fn limit(resource: Resource, current: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: current.or(maximum), maximum }).unwrap();
}

fn assert_scarce(error: &Error, says: &str) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_without_threads() {
    let Some((lock, _)) = told() else { return };
    limit(Resource::Nproc, Some(1));
    for _ in 0..3 {
        assert_scarce(&lock.read().await.unwrap_err(), "ulimit -u");
    }
    let adopted = change(Intent::Adopt, None, 0);
    let absent = leasehold_core::Version::absent();
    assert_scarce(&lock.write(&absent, &adopted).await.unwrap_err(), "start a thread");
    assert_scarce(&lock.may_take(&Holder::of_this_process()).await.unwrap_err(), "TasksMax");
    limit(Resource::Nproc, None);
    adopt(&lock).await;
    // The thread that came to be stays.
    limit(Resource::Nproc, Some(1));
    lock.read().await.unwrap();
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_candidate_without_threads() {
    let Some((lock, _)) = told() else { return };
    // A clock may need a thread of its own, which is not this test's.
    let elector = Elector::builder(Arc::new(lock)).identity("a").build().unwrap();
    limit(Resource::Nproc, Some(1));
    let campaign = elector.campaign();
    tokio::pin!(campaign);
    let soon = tokio::time::timeout(Duration::from_secs(1), &mut campaign).await;
    assert!(soon.is_err(), "it stands on: {soon:?}");
    limit(Resource::Nproc, None);
    let held = tokio::time::timeout(Duration::from_secs(60), campaign).await.unwrap().unwrap();
    held.check().unwrap();
    limit(Resource::Nproc, Some(1));
    assert!(held.resign().await.unwrap(), "its thread is still there");
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_without_descriptors() {
    let Some((lock, _)) = told() else { return };
    let seen = adopt(&lock).await;
    let taken: Vec<File> = {
        limit(Resource::Nofile, Some(64));
        std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
    };
    assert_scarce(&lock.read().await.unwrap_err(), "open files");
    let take = change(Intent::Take, Some(7), 1);
    assert_scarce(&lock.write(&seen.version, &take).await.unwrap_err(), "open files");
    assert_scarce(&lock.watch(&seen).next().await.unwrap().unwrap_err(), "open files");
    let path = std::env::var_os("LOCK").unwrap();
    assert_scarce(&FileLock::open(path).unwrap_err(), "open files");
    // One is enough to read, and too few to write: whatever is refused then is not half done.
    let mut taken = taken;
    for _ in 0..12 {
        taken.pop();
        match lock.write(&seen.version, &take).await {
            Ok(Outcome::Written(_)) => return,
            Ok(Outcome::Conflict) => panic!("a refused write was applied"),
            Err(error) => assert_scarce(&error, "open files"),
        }
    }
    panic!("twelve descriptors are too few for a write");
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_without_notifications() {
    let Some((lock, _)) = told() else { return };
    let seen = adopt(&lock).await;
    let flags = rustix::fs::inotify::CreateFlags::CLOEXEC;
    let all: Vec<_> = std::iter::from_fn(|| rustix::fs::inotify::init(flags).ok()).collect();
    assert!(!all.is_empty());
    let mut watch = lock.watch(&seen);
    assert_scarce(&watch.next().await.unwrap().unwrap_err(), "max_user_instances");
    assert!(watch.next().await.is_none());
    assert_eq!(lock.read().await.unwrap(), seen, "it can be polled");
    drop(all);
    assert_eq!(lock.watch(&seen).next().await.unwrap().unwrap(), seen);
}

#[test]
fn what_the_system_refuses_is_named_and_used_once_it_is_there() {
    let dir = directory();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    for role in [
        "role_without_threads",
        "role_candidate_without_threads",
        "role_without_descriptors",
        "role_without_notifications",
    ] {
        Process::run_through(&AS_STRANGER, role, &dir.path().join(role), "");
    }
}
