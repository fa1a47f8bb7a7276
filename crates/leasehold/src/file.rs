//! The lock in a local file.

pub use leasehold_file::*;

use std::ffi::OsStr;
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
        if entry.file_type().map_err(failed)?.is_file() && may_be_lock(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let (name, observed) = match FileLock::open(&path) {
            Ok(lock) => (lock.name().to_owned(), lock.read().await),
            Err(error) => (format!("file:{}", path.display()), Err(error)),
        };
        found.push(Listed { name, observed });
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

/// Removes the files of a scratch lock: its own, and those whose names go on with a dot. No other lock is called so, since
/// its name holds a random number.
pub(crate) fn remove_scratch(path: &Path) -> Result<(), Error> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let here = directory.as_os_str().is_empty();
    let directory = if here { Path::new(".") } else { directory };
    let failed = |error: io::Error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
        Error::new(kind, "remove the scratch lock", error)
    };
    let entries = match std::fs::read_dir(directory) {
        // Without its directory nothing was made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let found = entry.file_name();
        let rest = found.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")) {
            match std::fs::remove_file(entry.path()) {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(failed)?,
            }
        }
    }
    Ok(())
}
