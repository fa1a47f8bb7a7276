//! The register as one process sees it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "only tests are here")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use common::{adopt, beside, change, directory, record, take, the, written};
use leasehold_core::{
    Clock, Contents, ErrorKind, Expiry, Intent, LockBackend, MAX_TOKEN, Observed, Outcome, Time,
    Version, Wall,
};
use leasehold_file::FileLock;

fn unreadable(seen: &Observed) -> &str {
    match &seen.contents {
        Contents::Unreadable(why) => why,
        other => panic!("readable: {other:?}"),
    }
}

#[tokio::test]
async fn a_life_of_a_lock() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let absent = lock.read().await.unwrap();
    assert!(absent.version.is_absent() && absent.contents == Contents::Absent);
    assert!(beside(&path).is_empty() && !path.exists(), "reading has no side effects");

    let adopted = adopt(&lock).await;
    assert_eq!(lock.read().await.unwrap(), adopted);
    let floor = adopted.token_floor.unwrap();
    assert!(floor > 1_700_000_000_000, "the wall clock in ms");

    let taken = take(&lock, &adopted.version, 7, floor + 1).await;
    assert_eq!(lock.read().await.unwrap(), taken, "alive: {:?}", taken.expiry);
    assert!(the(&path, ".alive").ends_with(format!("jobs.{:032x}.alive", 7)));

    let mut renewal = change(Intent::Renew, Some(7), floor + 1);
    renewal.record.extra.insert("ask".into(), true.into());
    let renewed = written(lock.write(&taken.version, &renewal).await.unwrap());
    assert_eq!(renewed.token_floor, Some(floor), "carried");
    assert_eq!(lock.read().await.unwrap(), renewed);
    assert!(fs::read_to_string(&path).unwrap().contains("\"ask\":true"), "`cat` shows the record");

    for stale in [&absent, &adopted, &taken] {
        let late = lock.write(&stale.version, &change(Intent::Renew, Some(7), 9)).await.unwrap();
        assert_eq!(late, Outcome::Conflict);
    }
    assert_eq!(lock.read().await.unwrap(), renewed);

    let release = change(Intent::Release, None, floor + 1);
    let released = written(lock.write(&renewed.version, &release).await.unwrap());
    assert_eq!(lock.read().await.unwrap(), released);
    assert_eq!(beside(&path).len(), 2, "a record and a baton: {:?}", beside(&path));
}

#[tokio::test]
async fn our_own_bytes_already_stored_are_a_conflict() {
    let dir = directory();
    let lock = FileLock::open(dir.path().join("jobs")).unwrap();
    let adopted = adopt(&lock).await;
    let again = change(Intent::Take, Some(7), 1);
    written(lock.write(&adopted.version, &again).await.unwrap());
    assert_eq!(lock.write(&adopted.version, &again).await.unwrap(), Outcome::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_writers_one_wins_each_round() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let locks: Vec<Arc<FileLock>> =
        (0..8).map(|_| Arc::new(FileLock::open(&path).unwrap())).collect();
    for round in 0..40 {
        if round % 8 == 0 && path.exists() {
            fs::remove_file(&path).unwrap();
        }
        let expected = locks[0].read().await.unwrap().version;
        assert_eq!(expected.is_absent(), round % 8 == 0);
        let writes = locks.iter().enumerate().map(|(n, lock)| {
            let (lock, expected) = (lock.clone(), expected.clone());
            tokio::spawn(async move {
                let change = change(Intent::Take, Some(n as u128 + 1), round);
                (lock.write(&expected, &change).await.unwrap(), change)
            })
        });
        let mut winners = Vec::new();
        for write in writes.collect::<Vec<_>>() {
            if let (Outcome::Written(seen), change) = write.await.unwrap() {
                winners.push((seen, change));
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(winners[0].0, locks[1].read().await.unwrap());
        assert_eq!(winners[0].0.record(), Some(&winners[0].1.record));
    }
    let left = beside(&path).into_iter().filter(|name| name.ends_with(".record")).count();
    assert!(left <= 1 + 40 / 8, "losers leave nothing behind: {:?}", beside(&path));
}

#[tokio::test]
async fn removing_the_file_ends_the_lock_and_late_writes_with_it() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let old = adopt(&lock).await;
    fs::remove_file(&path).unwrap();
    assert_eq!(lock.read().await.unwrap().contents, Contents::Absent);
    let late = change(Intent::Take, Some(7), 1);
    assert_eq!(lock.write(&old.version, &late).await.unwrap(), Outcome::Conflict);
    assert!(!path.exists());

    let new = adopt(&lock).await;
    assert!(new.token_floor >= old.token_floor);
    assert_eq!(lock.write(&old.version, &late).await.unwrap(), Outcome::Conflict);
    assert_eq!(lock.read().await.unwrap(), new);
}

#[tokio::test]
async fn a_leader_asserts_itself_over_absent_with_a_new_floor() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::options().clock(Arc::new(Stopped(5_000))).open(&path).unwrap();
    let renewal = change(Intent::Renew, Some(7), 3);
    let seen = written(lock.write(&Version::absent(), &renewal).await.unwrap());
    assert_eq!(seen.token_floor, Some(5_000));
    assert_eq!(lock.read().await.unwrap(), seen);
}

#[tokio::test]
async fn an_operator_can_raise_the_floor() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let low = FileLock::options().clock(Arc::new(Stopped(5_000))).open(&path).unwrap();
    let adopted = adopt(&low).await;
    let high = FileLock::options().token_floor(9_000).open(&path).unwrap();
    assert_eq!(high.read().await.unwrap().token_floor, Some(9_000));
    assert_eq!(take(&high, &adopted.version, 7, 9_001).await.token_floor, Some(9_000));
    assert_eq!(low.read().await.unwrap().token_floor, Some(5_000), "only that candidate was told");
    let error = FileLock::options().token_floor(MAX_TOKEN).open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_cannot_be_read_is_never_overwritten() {
    let dir = directory();
    for (n, bytes) in [
        &b""[..],
        b"\0\0\0\0\0\0\0\0",
        b"not a lock",
        b"{\"leasehold_file\":{\"layout\":1,\"lock\":\"00000",
        b"{\"leasehold_file\":{\"layout\":2,\"lock\":\"0000000000000001\",\"x\":1}}",
        b"{\"v\":2}",
        &record(None, 1).to_json(),
        &vec![b' '; 2 << 20],
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("jobs{n}"));
        fs::write(&path, bytes).unwrap();
        let lock = FileLock::open(&path).unwrap();
        let seen = lock.read().await.unwrap();
        assert!(unreadable(&seen).contains(path.to_str().unwrap()), "{}", unreadable(&seen));
        for expected in [&Version::absent(), &seen.version] {
            let outcome = lock.write(expected, &change(Intent::Adopt, None, 0)).await;
            assert!(!matches!(outcome, Ok(Outcome::Written(_))));
        }
        let refused = lock.write(&seen.version, &change(Intent::Take, Some(7), 1)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_damaged_state_is_unreadable_and_stays() {
    let dir = directory();
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("truncated", |path| {
            fs::write(the(path, ".record"), &fs::read(path).unwrap()[..200]).unwrap()
        }),
        ("emptied", |path| fs::write(the(path, ".record"), b"").unwrap()),
        ("record gone", |path| fs::remove_file(the(path, ".record")).unwrap()),
        ("baton gone", |path| fs::remove_file(the(path, ".baton")).unwrap()),
    ];
    for (what, damage) in damages {
        let path = dir.path().join(what);
        let lock = FileLock::open(&path).unwrap();
        let adopted = adopt(&lock).await;
        let seen = take(&lock, &adopted.version, 7, 1).await;
        damage(&path);
        let before = beside(&path);
        let broken = lock.read().await.unwrap();
        assert!(unreadable(&broken).contains("move"), "{}", unreadable(&broken));
        let renewal = change(Intent::Renew, Some(7), 1);
        assert_eq!(lock.write(&seen.version, &renewal).await.unwrap(), Outcome::Conflict);
        assert_eq!(before, beside(&path), "{what}");
        fs::rename(&path, dir.path().join("saved")).unwrap();
        adopt(&lock).await;
    }
}

#[tokio::test]
async fn the_copy_for_people_decides_nothing() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let first = adopt(&lock).await;
    let stale = fs::read(&path).unwrap();
    let seen = take(&lock, &first.version, 7, 1).await;
    for copy in [stale.clone(), stale[..60].to_vec(), [&stale[..60], &[b'x'; 300]].concat()] {
        fs::write(&path, copy).unwrap();
        assert_eq!(lock.read().await.unwrap(), seen);
    }
    take(&lock, &seen.version, 7, 2).await;
    assert!(fs::read_to_string(&path).unwrap().contains("\"token\":2"), "mended by the next write");
}

#[tokio::test]
async fn odd_names_are_names() {
    let dir = directory();
    for name in ["-v", "two words", "zwölf\n", "..x", "a.0000000000000001", "%s", "*"] {
        let lock = FileLock::open(dir.path().join(name)).unwrap();
        let adopted = adopt(&lock).await;
        let taken = take(&lock, &adopted.version, 7, 1).await;
        assert_eq!(lock.read().await.unwrap(), taken, "{name:?}");
    }
    let long = "x".repeat(193);
    adopt(&FileLock::open(dir.path().join(&long)).unwrap()).await;
    let error = FileLock::open(dir.path().join(long + "x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn what_cannot_be_opened_says_why_and_what_to_do() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), b"x").unwrap();
    fs::create_dir(at("dir")).unwrap();
    symlink(at("file"), at("link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    for (path, says) in [
        (at("dir"), "is a directory"),
        (at("pipe"), "a pipe"),
        (at("link"), "not a symbolic link"),
        (at("none/jobs"), "create it first"),
        (at("file/jobs"), "below directories"),
        ("/proc/jobs".into(), "a file system proc"),
        ("".into(), "is empty"),
    ] {
        let error = FileLock::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_directory_that_is_removed_is_an_outage() {
    let dir = directory();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let lock = FileLock::open(inner.join("jobs")).unwrap();
    let adopted = adopt(&lock).await;
    fs::remove_dir_all(&inner).unwrap();
    assert_eq!(lock.read().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let write = lock.write(&adopted.version, &change(Intent::Take, Some(7), 1)).await;
    assert_eq!(write.unwrap_err().kind(), ErrorKind::Unavailable);
    fs::create_dir(&inner).unwrap();
    assert_eq!(lock.read().await.unwrap().contents, Contents::Absent);
}

#[tokio::test]
async fn a_taker_clears_away_what_others_left() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let seen = adopt(&lock).await;
    let baton = the(&path, ".baton").to_str().unwrap().to_owned();
    // One was about to replace it, the other is about to replace the next.
    let beaten = baton.replace(".1.", ".2.").replace(".baton", ".record");
    let ahead = baton.replace(".1.", ".3.").replace(".baton", ".record");
    let dead = dir.path().join(format!("jobs.{:032x}.alive", 99));
    for file in [beaten.as_ref(), ahead.as_ref(), dead.as_path()] {
        fs::write(file, b"").unwrap();
    }
    let other = FileLock::open(&path).unwrap();
    let taken = take(&other, &seen.version, 8, 1).await;
    assert!(!fs::exists(&beaten).unwrap() && !dead.exists());
    assert!(fs::exists(&ahead).unwrap(), "may still be used");
    assert!(the(&path, ".alive").exists(), "its own");
    assert_eq!(lock.read().await.unwrap().expiry, Expiry::ByObserver);
    assert_eq!(other.read().await.unwrap(), taken);
}

#[derive(Debug)]
struct Stopped(u64);

impl Clock for Stopped {
    fn now(&self) -> Time {
        Time(self.0)
    }

    fn wall(&self) -> Wall {
        Wall(self.0)
    }

    fn sleep_until(&self, _: Time) -> leasehold_core::BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}
