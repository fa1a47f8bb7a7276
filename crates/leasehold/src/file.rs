//! The lock in a local file.

#[cfg(not(target_os = "linux"))]
mod elsewhere;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::*;
#[cfg(target_os = "linux")]
pub use leasehold_file::*;

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use std::sync::Once;

use crate::{Contents, Error, ErrorKind, Listed, LockBackend, LockUrl, url::invalid};

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
        if entry.file_type().is_ok_and(|kind| kind.is_file()) && may_be_lock(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let (name, observed) = match FileLock::open(&path) {
            Ok(lock) => (lock.name().to_owned(), lock.read().await),
            // What cannot be a lock is none that is broken.
            Err(error) if error.kind() == ErrorKind::Invalid => continue,
            Err(error) => (format!("file:{}", path.display()), Err(error)),
        };
        // One that has just gone is not a lock.
        if !observed.as_ref().is_ok_and(|seen| seen.contents == Contents::Absent) {
            found.push(Listed { name, observed });
        }
    }
    Ok(found)
}

/// Not hidden, and no file that belongs to a lock or to a tool.
fn may_be_lock(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut parts = name.rsplit('.');
    let (kind, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let belongs = match kind {
        "alive" => hex(id, 32),
        "record" | "baton" | "tmp" => hex(id, 16),
        _ => false,
    };
    !name.starts_with('.') && !belongs && !crate::scratch::is_scratch(&name)
}

/// Removes a scratch lock, whatever a case or a probe stored there: the name has the run in it, which nobody else has.
pub(crate) fn remove_made(path: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
        Error::new(kind, "remove the scratch lock", error)
    };
    match remove_scratch(path) {
        // Nothing was made where no lock can be.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
        removed => removed.map_err(failed)?,
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        Err(_) | Ok(()) => Ok(()),
    }
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
        let readable: Vec<bool> = found
            .iter()
            .map(|listed| listed.observed.as_ref().is_ok_and(|seen| seen.record().is_some()))
            .collect();
        assert_eq!(readable, [true, false, false, true], "{names:?}");
        assert!(names[0].ends_with("/a") && names[3].ends_with("/z"), "{names:?}");
    }
}
