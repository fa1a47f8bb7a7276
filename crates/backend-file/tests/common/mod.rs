//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "only tests are here")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_core::{
    Change, Holder, Incarnation, Intent, LockBackend, Nonce, Observed, Outcome, Record, Token,
    Version, Wall,
};
use leasehold_file::FileLock;

pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// A directory on the file system that the build is on, or on tmpfs where there is one.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn record(holder: Option<u128>, token: Token) -> Record {
    Record {
        holder: holder.map(|incarnation| Holder {
            identity: format!("node-{incarnation}"),
            incarnation: Some(Incarnation(incarnation)),
            advertise: None,
        }),
        token,
        lease_duration: LEASE,
        nonce: Nonce(u128::from(getrandom::u64().unwrap())),
        acquired: Wall(1),
        renewed: Wall(2),
        extra: Default::default(),
    }
}

pub(crate) fn change(intent: Intent, holder: Option<u128>, token: Token) -> Change {
    Change { intent, record: record(holder, token) }
}

pub(crate) async fn adopt(lock: &FileLock) -> Observed {
    written(lock.write(&Version::absent(), &change(Intent::Adopt, None, 0)).await.unwrap())
}

pub(crate) async fn take(
    lock: &FileLock,
    expected: &Version,
    holder: u128,
    token: Token,
) -> Observed {
    written(lock.write(expected, &change(Intent::Take, Some(holder), token)).await.unwrap())
}

pub(crate) fn written(outcome: Outcome) -> Observed {
    match outcome {
        Outcome::Written(seen) => seen,
        Outcome::Conflict => panic!("a conflict where nobody else writes"),
    }
}

/// The names beside the lock's, sorted.
pub(crate) fn beside(path: &Path) -> Vec<String> {
    let own = path.file_name().unwrap().to_str().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != own && name.starts_with(own))
        .collect();
    names.sort();
    names
}

/// The one file beside the lock's whose name ends like this.
pub(crate) fn the(path: &Path, suffix: &str) -> PathBuf {
    let names: Vec<String> =
        beside(path).into_iter().filter(|name| name.ends_with(suffix)).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    path.with_file_name(&names[0])
}
