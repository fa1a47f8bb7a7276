//! Who may only read the files of a lock delays nothing. Needs root, to have several users.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use child::{AS_STRANGER, Process, grab, told, until};
use common::{directory, the};
use leasehold_core::{Expiry, Incarnation, LockBackend};
use leasehold_file::FileLock;
use rustix::fs::{FlockOperation, flock};

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
async fn role_holder() {
    let Some((lock, incarnation)) = told() else { return };
    grab(&lock, incarnation.parse().unwrap()).await;
    std::future::pending().await
}

/// A role: locks every liveness file in every way that a reader has, and waits for what it does not
/// get.
#[test]
fn role_reader() {
    let Some((_, ready)) = told() else { return };
    let path = std::env::var_os("LOCK").unwrap();
    let mut known = std::collections::BTreeSet::new();
    loop {
        for entry in fs::read_dir(Path::new(&path).parent().unwrap()).unwrap() {
            let file = entry.unwrap().path();
            let of_interest = file.extension().is_some_and(|kind| kind == "alive");
            if !of_interest || !known.insert(file.clone()) {
                continue;
            }
            assert!(fs::OpenOptions::new().write(true).open(&file).is_err(), "may only read");
            for how in [FlockOperation::LockExclusive, FlockOperation::LockShared] {
                let Ok(file) = fs::File::open(&file) else { continue };
                std::thread::spawn(move || {
                    let _ = flock(&file, how);
                    std::thread::sleep(Duration::from_secs(1000));
                });
            }
            fs::write(&ready, known.len().to_string()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_reader_that_locks_every_liveness_file_hides_no_death() {
    let (dir, ready) = (directory(), directory());
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(ready.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let path = dir.path().join("jobs");
    let told = ready.path().join("ready");
    let lock = FileLock::open(&path).unwrap();
    let _reader =
        Process::start_through(&AS_STRANGER, "role_reader", &path, told.to_str().unwrap());
    for round in 1..=5_u128 {
        let mut holder = Process::start("role_holder", &path, &round.to_string());
        until("it leads", || async {
            let seen = lock.read().await.unwrap();
            let holder = seen.record().and_then(|record| record.holder.clone());
            holder.is_some_and(|holder| holder.incarnation == Some(Incarnation(round)))
        })
        .await;
        until("the reader waits", || async {
            fs::read_to_string(&told).is_ok_and(|count| count == round.to_string())
        })
        .await;
        std::thread::sleep(Duration::from_millis(20)); // it tells before it waits
        assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver, "it lives");
        holder.kill();
        until("the death is seen", || async {
            lock.read().await.unwrap().expiry == Expiry::Passed
        })
        .await;
    }
}

#[tokio::test]
async fn a_reader_cannot_lock_the_liveness_file_of_a_holder() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    grab(&lock, 7).await;
    let file = fs::File::open(the(&path, ".alive")).unwrap();
    assert!(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err());
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver);
}
