//! The lock in a local file.

pub use leasehold_file::*;

use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Listed, LockBackend, LockUrl, url::invalid};

/// Opens the lock that a `file:` URL names: `file:/absolute/path`, `file:relative/path`, and the parameter
/// `token_floor=N`.
///
/// # Errors
/// `Invalid`: an unknown parameter, a host, no path, or a file system that cannot keep a lock.
pub fn open(url: &LockUrl) -> Result<FileLock, Error> {
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
        if entry.file_type().map_err(failed)?.is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let lock = FileLock::open(&path)?;
        let observed = lock.read().await?;
        if observed.record().is_some() {
            found.push(Listed { name: lock.name().to_owned(), observed });
        }
    }
    Ok(found)
}

/// Removes the files in a directory whose names begin as `path` does: what is left of scratch locks. How many.
///
/// # Errors
/// The directory cannot be read, or a file not be removed.
pub fn remove_named(path: &Path) -> io::Result<usize> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(0) };
    let here = directory.as_os_str().is_empty();
    let directory = if here { Path::new(".") } else { directory };
    let mut removed = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            match std::fs::remove_file(entry.path()) {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => removed += 1,
            }
        }
    }
    Ok(removed)
}
