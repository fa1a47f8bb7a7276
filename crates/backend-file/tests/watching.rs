//! The watch.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use child::{Process, grab, told};
use common::{adopt, change, directory, take, written};
use futures_util::{FutureExt, StreamExt};
use leasehold_core::{
    BoxStream, Contents, Error, ErrorKind, Expiry, Intent, LockBackend, Observed,
};
use leasehold_file::FileLock;

type Watch = BoxStream<'static, Result<Observed, Error>>;

async fn next(watch: &mut Watch) -> Observed {
    let limit = Duration::from_secs(20); // only ends a failing test
    tokio::time::timeout(limit, watch.next()).await.expect("an event").expect("not over").unwrap()
}

async fn open(path: &Path) -> (FileLock, Observed, Watch) {
    let lock = FileLock::open(path).unwrap();
    let seen = lock.read().await.unwrap();
    let mut watch = lock.watch(&seen);
    assert_eq!(next(&mut watch).await, seen, "reads once after it subscribed");
    (lock, seen, watch)
}

#[tokio::test]
async fn every_write_is_seen_once() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let (lock, absent, mut watch) = open(&path).await;
    assert_eq!(absent.contents, Contents::Absent);
    let mut seen = adopt(&lock).await;
    assert_eq!(next(&mut watch).await, seen);
    for token in 1..20 {
        seen = take(&lock, &seen.version, 7, token).await;
        assert_eq!(next(&mut watch).await, seen);
        assert!(watch.next().now_or_never().is_none());
    }
    fs::write(dir.path().join("jobs.x"), b"").unwrap();
    fs::write(dir.path().join("other"), b"").unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), watch.next()).await.is_err());
    fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut watch).await.contents, Contents::Absent);
}

#[tokio::test]
async fn a_burst_is_seen_at_its_end() {
    let dir = directory();
    let (lock, _, mut watch) = open(&dir.path().join("jobs")).await;
    let mut seen = adopt(&lock).await;
    for token in 1..50 {
        let renewal = change(Intent::Renew, Some(7), token);
        seen = written(lock.write(&seen.version, &renewal).await.unwrap());
    }
    let mut yields = 0;
    while next(&mut watch).await != seen {
        yields += 1;
    }
    assert!(yields < 50, "never more than one for each write");
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_holder() {
    let Some((lock, incarnation)) = told() else {
        return;
    };
    grab(&lock, incarnation.parse().unwrap()).await;
    std::future::pending().await
}

#[tokio::test]
async fn the_death_of_the_holder_is_seen_at_once() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let (lock, _, mut watch) = open(&path).await;
    let mut slowest = Duration::ZERO;
    for incarnation in 1..=20 {
        let mut process = Process::start("role_holder", &path, &incarnation.to_string());
        let seen = next(&mut watch).await;
        assert_eq!(seen.expiry, Expiry::ByObserver);
        let start = Instant::now();
        process.0.kill().unwrap();
        let passed = next(&mut watch).await;
        slowest = slowest.max(start.elapsed());
        assert_eq!((passed.expiry, &passed.version), (Expiry::Passed, &seen.version));
        process.kill();
    }
    println!("slowest of 20: {slowest:?} from the signal to the observation");
    drop(lock);
}

#[tokio::test]
async fn a_watch_of_a_removed_directory_ends_with_an_error() {
    let dir = directory();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let (_lock, _, mut watch) = open(&inner.join("jobs")).await;
    fs::remove_dir(&inner).unwrap();
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_dropped_watch_leaves_no_descriptor() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let ino = std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.path()).unwrap());
    let watched = format!(" ino:{ino:x} ");
    let watches = || {
        let open = fs::read_dir("/proc/self/fdinfo").unwrap();
        open.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
            .filter(|info| info.contains("inotify") && info.contains(&watched))
            .count()
    };
    let (_lock, _, watch) = open(&path).await;
    assert_eq!(watches(), 1);
    drop(watch);
    assert_eq!(watches(), 0);
}
