//! What a path or the directory may hold: each is a clear error or works, and nothing waits.
#![allow(clippy::unwrap_used, reason = "only tests are here")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{adopt, change, directory, take, the};
use leasehold_core::{
    Contents, ErrorKind, Expiry, Holder, Intent, LockBackend, Observed, Outcome, Version,
};
use leasehold_file::FileLock;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Only ends a failing test.
const LIMIT: Duration = Duration::from_secs(20);

async fn read(lock: &FileLock) -> Result<Observed, leasehold_core::Error> {
    tokio::time::timeout(LIMIT, lock.read()).await.expect("it waits for ever")
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Everything that is not a regular file.
fn odd(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let at = |name: &str| dir.join(name);
    fs::create_dir(at("dir")).unwrap();
    pipe(&at("pipe"));
    drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
    fs::write(at("target"), "x").unwrap();
    symlink(at("target"), at("link")).unwrap();
    symlink(at("nothing"), at("dangling")).unwrap();
    symlink(at("loop"), at("loop")).unwrap();
    symlink(at("pipe"), at("to-pipe")).unwrap();
    let odd = [
        ("dir", "is a directory"),
        ("pipe", "a pipe"),
        ("socket", "a device"),
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("loop", "symbolic link"),
        ("to-pipe", "symbolic link"),
        ("loop/jobs", "symbolic link"),
    ];
    let mut all: Vec<_> = odd.into_iter().map(|(name, says)| (at(name), says)).collect();
    let zero = mknodat(CWD, at("zero"), FileType::CharacterDevice, Mode::RUSR, (1 << 8) | 5);
    zero.expect("this test needs root, to make a device");
    all.push((at("zero"), "a device"));
    all
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_at_once_and_stays() {
    let dir = directory();
    for (path, says) in odd(dir.path()) {
        let error = FileLock::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert!(!dir.path().join("nothing").exists(), "nobody made what a link points to");
}

/// It was a lock when it was opened.
#[tokio::test]
async fn what_takes_a_locks_place_later_is_refused_too() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    for (odd, _) in odd(dir.path()).iter().filter(|(odd, _)| odd.parent() == Some(dir.path())) {
        fs::rename(odd, &path).unwrap();
        assert_eq!(read(&lock).await.unwrap_err().kind(), ErrorKind::Invalid, "{odd:?}");
        let adopt = change(Intent::Adopt, None, 0);
        let refused = lock.write(&Version::absent(), &adopt).await;
        assert!(!matches!(refused, Ok(Outcome::Written(_))), "{odd:?}: {refused:?}");
        assert!(lock.may_take(&Holder::of_this_process()).await.is_err(), "{odd:?}");
        fs::rename(&path, odd).unwrap();
    }
    adopt(&lock).await;
}

#[tokio::test]
async fn pipes_in_the_place_of_a_locks_other_files_stop_nobody() {
    for suffix in [".record", ".alive"] {
        let dir = directory();
        let path = dir.path().join("jobs");
        let lock = FileLock::open(&path).unwrap();
        let adopted = adopt(&lock).await;
        take(&lock, &adopted.version, 7, 1).await;
        let file = the(&path, suffix);
        fs::remove_file(&file).unwrap();
        pipe(&file);
        let seen = read(&lock).await;
        assert!(
            seen.as_ref().is_ok_and(|seen| seen.expiry == Expiry::ByObserver)
                || seen.as_ref().is_err_and(|error| error.kind() == ErrorKind::Invalid),
            "{suffix}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_huge_file_is_not_read() {
    let dir = directory();
    let path = dir.path().join("jobs");
    File::create(&path).unwrap().set_len(10 << 30).unwrap();
    let lock = FileLock::open(&path).unwrap();
    let seen = read(&lock).await.unwrap();
    assert!(matches!(&seen.contents, Contents::Unreadable(why) if why.contains("too long")));
    // As a record, too.
    let path = dir.path().join("others");
    let lock = FileLock::open(&path).unwrap();
    adopt(&lock).await;
    fs::remove_file(the(&path, ".record")).unwrap();
    let state = the(&path, ".baton").with_extension("record");
    File::create(state).unwrap().set_len(10 << 30).unwrap();
    assert!(matches!(read(&lock).await.unwrap().contents, Contents::Unreadable(_)));
}

#[tokio::test]
async fn what_is_written_can_be_read() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let adopted = adopt(&lock).await;
    let before = common::beside(&path);
    let mut long = change(Intent::Take, Some(7), 1);
    long.record.holder.as_mut().unwrap().identity = "x".repeat(70_000);
    let error = lock.write(&adopted.version, &long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("shorter identity"), "{error}");
    assert_eq!(common::beside(&path), before);
    long.record.holder.as_mut().unwrap().identity = "x".repeat(60_000);
    assert!(matches!(lock.write(&adopted.version, &long).await, Ok(Outcome::Written(_))));
    assert_eq!(read(&lock).await.unwrap().record(), Some(&long.record));
}

#[test]
fn names_and_paths_that_do_not_fit_are_refused_when_the_lock_is_opened() {
    let dir = directory();
    for length in [194, 255, 256, 5000] {
        let error = FileLock::open(dir.path().join("x".repeat(length))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("choose a shorter one"), "{error}");
        assert!(error.to_string().len() < 2_000, "{error}");
    }
    let deep = dir.path().join("y/".repeat(3000)).join("jobs");
    let error = FileLock::open(deep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("shorter"), "{error}");
    for directory in ["", "/", "/..", "/."] {
        let mut path = dir.path().as_os_str().to_owned();
        path.push(directory);
        let error = FileLock::open(&path).unwrap_err();
        assert!(error.to_string().contains("directory"), "{path:?}: {error}");
    }
}

#[tokio::test]
async fn names_of_any_bytes_are_shown_on_one_line() {
    let dir = directory();
    fs::create_dir(dir.path().join("a")).unwrap();
    let names: [&[u8]; 5] =
        [b"\xff\xfe", b"a\x1b[2Jb", b"a\nINFO leading", b"a/../b", "\u{202e}x".as_bytes()];
    for name in names {
        let path = dir.path().join(OsStr::from_bytes(name));
        let lock = FileLock::open(&path).unwrap();
        let adopted = adopt(&lock).await;
        take(&lock, &adopted.version, 7, 1).await;
        assert!(!lock.name().contains(['\u{1b}', '\n', '\u{202e}']), "{:?}", lock.name());
        fs::write(&path, "\u{1b}[2J").unwrap();
        let Contents::Unreadable(why) = read(&lock).await.unwrap().contents else { panic!() };
        assert!(!why.contains(['\u{1b}', '\n', '\u{202e}']), "{why:?}");
    }
}

/// Editors and `sed -i` put another file in the place of the one they change.
#[tokio::test]
async fn a_file_that_was_replaced_by_its_copy_is_the_same_lock() {
    let dir = directory();
    let path = dir.path().join("jobs");
    let lock = FileLock::open(&path).unwrap();
    let adopted = adopt(&lock).await;
    let seen = take(&lock, &adopted.version, 7, 1).await;
    fs::copy(&path, dir.path().join("copy")).unwrap();
    fs::rename(dir.path().join("copy"), &path).unwrap();
    assert_eq!(read(&lock).await.unwrap(), seen);
    take(&lock, &seen.version, 7, 2).await;
}

#[tokio::test]
async fn a_file_that_was_replaced_by_another_locks_is_unreadable_and_stays() {
    let dir = directory();
    let (path, other) = (dir.path().join("jobs"), dir.path().join("others"));
    let lock = FileLock::open(&path).unwrap();
    let seen = adopt(&lock).await;
    adopt(&FileLock::open(&other).unwrap()).await;
    fs::copy(&other, &path).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(read(&lock).await.unwrap().contents, Contents::Unreadable(_)));
    let late = lock.write(&seen.version, &change(Intent::Take, Some(7), 1)).await;
    assert!(!matches!(late, Ok(Outcome::Written(_))), "{late:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_second_name_of_a_lock_is_not_a_second_lock() {
    let dir = directory();
    let (path, second) = (dir.path().join("jobs"), dir.path().join("second"));
    let lock = FileLock::open(&path).unwrap();
    let adopted = adopt(&lock).await;
    fs::hard_link(&path, &second).unwrap();
    let seen = take(&lock, &adopted.version, 7, 1).await;
    assert_eq!(read(&lock).await.unwrap(), seen);
    let other = FileLock::open(&second).unwrap();
    let broken = read(&other).await.unwrap();
    assert!(matches!(broken.contents, Contents::Unreadable(_)), "{broken:?}");
    let refused = other.write(&broken.version, &change(Intent::Take, Some(8), 1)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(read(&lock).await.unwrap(), seen);
}
