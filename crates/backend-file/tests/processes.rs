//! The register and the liveness files among several processes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

#[path = "common/child.rs"]
mod child;

mod common;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use child::{Process, grab, told, until};
use common::{LEASE, adopt, beside, change, directory, the, written};
use leasehold_core::{
    BootClock, Clock, Expiry, Incarnation, Intent, LockBackend, Outcome, Version,
};
use leasehold_file::FileLock;
use rustix::process::Signal;

fn text(version: &Version) -> String {
    version
        .as_bytes()
        .map_or("absent".to_owned(), |bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

/// Every acknowledged write of all processes must be a link of one chain from absent to the
/// present.
fn assert_one_chain(logs: &[String], now: &Version) -> usize {
    let mut next = HashMap::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        let (from, to) = line.split_once(' ').unwrap();
        let other = next.insert(from.to_owned(), to.to_owned());
        assert_eq!(other, None, "two writers replaced {from}");
    }
    let (mut at, mut length) = ("absent".to_owned(), 0);
    while let Some(to) = next.remove(&at) {
        at = to;
        length += 1;
    }
    assert!(next.is_empty(), "acknowledged writes that nobody built on: {next:?}");
    assert_eq!(at, text(now));
    length
}

async fn write_logged(
    lock: &FileLock,
    from: &Version,
    holder: u128,
    log: &mut fs::File,
) -> Version {
    let change = change(Intent::Take, Some(holder), 1);
    if let Ok(Outcome::Written(seen)) = lock.write(from, &change).await {
        writeln!(log, "{} {}", text(from), text(&seen.version)).unwrap();
        return seen.version;
    }
    lock.read().await.unwrap().version
}

fn log_at(path: &Path) -> fs::File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// A role of `racing_processes_write_one_chain`: does nothing unless a test starts it in a process
/// of its own.
#[tokio::test]
async fn role_racer() {
    let Some((lock, log)) = told() else { return };
    let holder = u128::from(std::process::id());
    let mut log = log_at(log.as_ref());
    let mut version = Version::absent();
    for _ in 0..100 {
        version = write_logged(&lock, &version, holder, &mut log).await;
    }
}

#[tokio::test]
async fn racing_processes_write_one_chain() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let logs: Vec<_> = (0..4).map(|n| dir.path().join(format!("log{n}"))).collect();
    let racers: Vec<Process> =
        logs.iter().map(|log| Process::start("role_racer", &path, log.to_str().unwrap())).collect();
    for mut racer in racers {
        assert!(racer.0.wait().unwrap().success());
    }
    let logs: Vec<_> = logs.iter().map(|log| fs::read_to_string(log).unwrap()).collect();
    let seen = FileLock::open(&path).unwrap().read().await.unwrap();
    let writes = assert_one_chain(&logs, &seen.version);
    println!("{writes} of 400 writes won");
    assert_eq!(seen.expiry, Expiry::Passed, "all of them have ended");
}

/// A role of `a_process_frozen_anywhere_blocks_nobody`: does nothing unless a test starts it in a
/// process of its own.
#[tokio::test]
async fn role_renewer() {
    let Some((lock, argument)) = told() else {
        return;
    };
    let (pause, log) = argument.split_once(' ').unwrap();
    let pause = Duration::from_millis(pause.parse().unwrap());
    let mut log = log_at(log.as_ref());
    let mut version = Version::absent();
    loop {
        version = write_logged(&lock, &version, 7, &mut log).await;
        tokio::time::sleep(pause).await;
    }
}

/// Freezes a writer at random moments. Whatever it was doing, the very next write of another must
/// succeed at the first attempt; and what the frozen one does when it goes on must fit in.
async fn freeze_and_succeed(rounds: u32, pause: u64) {
    let dir = directory();
    let path = dir.path().join("jobs");
    let logs = [dir.path().join("log0"), dir.path().join("log1")];
    let lock = FileLock::open(&path).unwrap();
    let renewer = Process::start("role_renewer", &path, &format!("{pause} {}", logs[0].display()));
    until("the renewer's first write", || async { path.exists() }).await;
    let mut log = log_at(&logs[1]);
    let (mut slowest, mut inside) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let moment = getrandom::u64().unwrap() % (4000 + pause * 1000);
        tokio::time::sleep(Duration::from_micros(moment)).await;
        renewer.freeze();
        inside +=
            u32::from(beside(&path).iter().filter(|name| name.ends_with(".record")).count() > 1);
        let start = Instant::now();
        let seen = lock.read().await.unwrap();
        assert_eq!(seen.expiry, Expiry::ByObserver, "round {round}: frozen is not gone");
        let take = change(Intent::Take, Some(8), 1);
        let taken = written(lock.write(&seen.version, &take).await.unwrap());
        slowest = slowest.max(start.elapsed());
        writeln!(log, "{} {}", text(&seen.version), text(&taken.version)).unwrap();
        assert_eq!(lock.read().await.unwrap(), taken, "round {round}");
        renewer.signal(Signal::CONT);
    }
    // Its last write may have been applied without it having said so: let it stop by itself first.
    renewer.freeze();
    let before = lock.read().await.unwrap();
    let last =
        written(lock.write(&before.version, &change(Intent::Take, Some(8), 1)).await.unwrap());
    writeln!(log, "{} {}", text(&before.version), text(&last.version)).unwrap();
    renewer.signal(Signal::CONT);
    let taken_again = || async { lock.read().await.unwrap().version != last.version };
    until("the frozen one goes on", taken_again).await;
    drop(renewer);
    let mut logs = logs.map(|log| fs::read_to_string(log).unwrap());
    // Killed between being acknowledged and saying so, at most once.
    let now = lock.read().await.unwrap().version;
    let said = logs[0].lines().any(|line| line.ends_with(&text(&now)));
    if !said {
        let known: Vec<_> = logs.iter().flat_map(|log| log.lines()).map(str::to_owned).collect();
        let ends = known.iter().filter_map(|line| line.split_once(' ').map(|(_, to)| to));
        let open: Vec<_> = ends
            .filter(|to| !known.iter().any(|line| line.starts_with(&format!("{to} "))))
            .collect();
        let line = format!("{} {}\n", open.last().unwrap(), text(&now));
        logs[0].push_str(&line);
    }
    let writes = assert_one_chain(&logs, &now);
    println!(
        "{rounds} rounds, {inside} inside a write, {writes} writes, slowest successor {slowest:?}"
    );
}

#[tokio::test]
async fn a_process_frozen_anywhere_blocks_nobody() {
    freeze_and_succeed(300, 0).await;
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

/// Starts a holder and waits until it has the lock.
async fn hold(lock: &FileLock, path: &Path, incarnation: u128) -> Process {
    let process = Process::start("role_holder", path, &incarnation.to_string());
    until("the holder takes the lock", || async {
        let seen = lock.read().await.unwrap();
        let holder = seen.record().and_then(|record| record.holder.clone());
        holder.is_some_and(|holder| holder.incarnation == Some(Incarnation(incarnation)))
    })
    .await;
    process
}

#[tokio::test]
async fn killed_is_passed_and_frozen_is_not() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let mut holder = hold(&lock, &path, 7).await;
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver);
    holder.freeze();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver);
    holder.kill();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::Passed);
    fs::remove_file(the(&path, ".alive")).unwrap();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver, "missing proves nothing");
}

#[tokio::test]
async fn a_frozen_former_holder_that_dies_does_not_free_its_successors_lock() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let mut first = hold(&lock, &path, 7).await;
    first.freeze();
    let mut second = hold(&lock, &path, 8).await;
    first.kill();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver);
    second.kill();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::Passed);
}

/// A role: does nothing unless a test starts it in a process of its own.
#[tokio::test]
#[expect(clippy::zombie_processes, reason = "this process is killed first")]
async fn role_supervisor() {
    let Some((lock, pid_file)) = told() else {
        return;
    };
    grab(&lock, 7).await;
    let handed = lock.liveness(Incarnation(7)).unwrap().unwrap();
    assert!(lock.liveness(Incarnation(8)).unwrap().is_none());
    let guard = Command::new("sleep").arg("1000").stdin(Stdio::from(handed)).spawn().unwrap();
    fs::write(&pid_file, b"").unwrap();
    fs::write(pid_file + ".ready", guard.id().to_string()).unwrap();
    std::future::pending().await
}

#[tokio::test]
async fn a_guard_with_the_descriptor_keeps_the_lock_when_its_supervisor_is_killed() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let pid_file = dir.path().join("pid");
    let mut supervisor = Process::start("role_supervisor", &path, pid_file.to_str().unwrap());
    let pid = || fs::read_to_string(dir.path().join("pid.ready")).unwrap_or_default();
    until("the guard runs", || async { !pid().is_empty() }).await;
    let guard = rustix::process::Pid::from_raw(pid().parse().unwrap()).unwrap();
    supervisor.kill();
    let lock = FileLock::open(&path).unwrap();
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver, "the guard lives");
    rustix::process::kill_process(guard, Signal::KILL).unwrap();
    until("the kernel frees the lock", || async {
        lock.read().await.unwrap().expiry == Expiry::Passed
    })
    .await;
}

#[tokio::test]
async fn dropped_without_a_release_it_stays_alive_for_the_lease() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let (lock, other) = (FileLock::open(&path).unwrap(), FileLock::open(&path).unwrap());
    let adopted = adopt(&lock).await;
    let mut take = change(Intent::Take, Some(7), 1);
    take.record.lease_duration = Duration::from_millis(300);
    let clock = BootClock::new();
    let sent = clock.now();
    written(lock.write(&adopted.version, &take).await.unwrap());
    drop(lock);
    until("the lease is over", || async { other.read().await.unwrap().expiry == Expiry::Passed })
        .await;
    assert!(clock.now() >= sent + take.record.lease_duration);
    assert!(take.record.lease_duration < LEASE);
}

#[tokio::test]
async fn dropped_after_a_lost_race_it_leaves_nothing() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    adopt(&lock).await;
    let take = change(Intent::Take, Some(7), 1);
    assert_eq!(lock.write(&Version::absent(), &take).await.unwrap(), Outcome::Conflict);
    assert!(the(&path, ".alive").exists());
    drop(lock);
    assert_eq!(beside(&path).len(), 2, "{:?}", beside(&path));
}

#[tokio::test]
async fn a_request_to_a_holder_leaves_its_liveness_alone() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let mut holder = hold(&lock, &path, 7).await;
    let seen = lock.read().await.unwrap();
    let mut record = seen.record().unwrap().clone();
    record.extra.insert("ask".into(), "step down".into());
    let request = leasehold_core::Change { intent: Intent::Renew, record };
    written(lock.write(&seen.version, &request).await.unwrap());
    drop(lock);
    let other = FileLock::open(&path).unwrap();
    assert_eq!(other.read().await.unwrap().expiry, Expiry::ByObserver, "the holder lives");
    holder.kill();
    assert_eq!(other.read().await.unwrap().expiry, Expiry::Passed);
}

#[tokio::test]
async fn an_abandoned_write_happens_wholly_or_not_at_all() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let mut seen = adopt(&lock).await;
    for round in 0..100_u64 {
        let abandoned = change(Intent::Take, Some(7), 1000 + round);
        let limit = Duration::from_micros(getrandom::u64().unwrap() % 1500);
        let _ = tokio::time::timeout(limit, lock.write(&seen.version, &abandoned)).await;
        let change = change(Intent::Take, Some(8), round);
        match lock.write(&seen.version, &change).await.unwrap() {
            Outcome::Written(now) => seen = now,
            Outcome::Conflict => {
                seen = lock.read().await.unwrap();
                assert_eq!(seen.record(), Some(&abandoned.record));
            }
        }
    }
    assert_eq!(lock.read().await.unwrap(), seen);
}
