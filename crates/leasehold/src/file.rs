//! The lock in a local file.

pub use leasehold_file::*;

use std::io;
use std::path::Path;

use std::sync::Once;

use crate::{Error, ErrorKind, Listed, LockBackend, LockUrl, url::invalid};

/// One line of a log is enough for all locks of a process.
static WARNED: Once = Once::new();

/// Opens the lock that a `file:` URL names: `file:/absolute/path`, `file:relative/path`, and the parameter
/// `token_floor=N`. Warns once if other processes of this host may see another lock there (see [`FileLock::caveat`]).
///
/// # Errors
/// `Invalid`: an unknown parameter, a host, no path, or a file system that cannot keep a lock.
pub fn open(url: &LockUrl) -> Result<FileLock, Error> {
    let lock = opened(url)?;
    WARNED.call_once(|| {
        if let Some(caveat) = lock.caveat() {
            tracing::warn!(event = "lock-not-shared", lock = lock.name(), "{caveat}");
        }
    });
    Ok(lock)
}

/// Opens it and says nothing.
pub(crate) fn opened(url: &LockUrl) -> Result<FileLock, Error> {
    url.allow_parameters(&["token_floor"])?;
    if url.authority().is_some_and(|host| !host.is_empty()) {
        return Err(invalid(
            "a file: URL names no host; write file:/absolute/path or file:relative/path".into(),
        ));
    }
    let path = url.path();
    if path.as_os_str().is_empty() {
        return Err(invalid("the URL names no file; write file:/absolute/path".into()));
    }
    let options = match url.token_floor()? {
        Some(floor) => FileLock::options().token_floor(floor),
        None => FileLock::options(),
    };
    options.open(path)
}

/// The locks in the directory that the URL names.
pub(crate) async fn list(url: &LockUrl) -> Result<Vec<Listed>, Error> {
    url.allow_parameters(&[])?;
    let directory = url.path();
    let failed = |error| Error::new(ErrorKind::Invalid, "list the directory", error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // One that has just gone is not a lock.
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        // One file that cannot be a lock, or be read, hides no other.
        let lock = match FileLock::open(&path) {
            Ok(lock) => lock,
            Err(error) if is_of_one(&error) => continue,
            Err(error) => return Err(error),
        };
        let observed = match lock.read().await {
            Ok(observed) => observed,
            Err(error) if is_of_one(&error) => continue,
            Err(error) => return Err(error),
        };
        if observed.record().is_some() {
            found.push(Listed { name: lock.name().to_owned(), observed });
        }
    }
    Ok(found)
}

/// Whether the error is of this file, and not of its directory or of this process.
fn is_of_one(error: &Error) -> bool {
    let is_one = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Denied);
    if is_one {
        tracing::debug!(%error, "not listed");
    }
    is_one
}

/// Removes the files of exactly the lock at this path: see [`remove_scratch`].
///
/// # Errors
/// Those of [`remove_scratch`].
#[doc(hidden)]
pub fn remove_named(path: &Path) -> io::Result<usize> {
    remove_scratch(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that cannot be a lock's, and a directory that is full of other things.
    #[tokio::test]
    async fn one_odd_file_hides_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["a", "z"] {
            let url = format!("file:{}", path(name).display());
            let elector = crate::Elector::builder(crate::connect(&url).await.unwrap());
            let held = elector.build().unwrap().campaign().await.unwrap();
            held.resign().await.unwrap();
        }
        std::fs::write(path(&"b".repeat(255)), "").unwrap();
        std::fs::write(path("c\u{1b}[2J\n"), "{\"v\":1}").unwrap();
        let sparse = std::fs::File::create(path("d")).unwrap();
        sparse.set_len(10 << 30).unwrap();
        let url = LockUrl::parse(&format!("file:{}", directory.path().display())).unwrap();
        let found = list(&url).await.unwrap();
        let names: Vec<&str> = found.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].ends_with("/a") && names[1].ends_with("/z"), "{names:?}");
    }

    #[test]
    fn removal_touches_no_lock_whose_name_only_begins_alike() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["jobs2", "jobs.d", "jobs"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(remove_named(&directory.path().join("jobs")).unwrap(), 0, "none is a lock");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
