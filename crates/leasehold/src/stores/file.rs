//! The lock in a local file.

#[cfg(not(target_os = "linux"))]
mod elsewhere;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::*;
#[cfg(target_os = "linux")]
pub use leasehold_file::*;

use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use leasehold_backend::doctor::is_scratch_name;
#[cfg(target_os = "linux")]
use leasehold_core::Incarnation;
use leasehold_core::{Contents, Error, ErrorKind, LockBackend, Token};

use crate::lock_url::{LockUrl, for_one_lock, invalid};
#[cfg(target_os = "linux")]
use crate::opened::Liveness;
use crate::opened::{Listed, Opened, StoreUrl};

/// A `file:` URL, parsed: `file:/absolute/path` or `file:relative/path`, with the parameter
/// `token_floor=N`.
#[derive(Clone, Debug)]
pub struct FileUrl {
    path: PathBuf,
    token_floor: Option<Token>,
}

impl TryFrom<&LockUrl> for FileUrl {
    type Error = Error;

    /// Fails with `Invalid` for an unknown parameter, a host, or no path.
    fn try_from(url: &LockUrl) -> Result<Self, Error> {
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
        Ok(Self { path, token_floor: url.token_floor()? })
    }
}

impl FileUrl {
    /// Opens the lock.
    ///
    /// # Errors
    /// `Invalid`: the file system cannot keep a lock, or the path cannot be a lock's.
    pub fn lock(self) -> Result<FileLock, Error> {
        let options = match self.token_floor {
            Some(floor) => FileLock::options().token_floor(floor),
            None => FileLock::options(),
        };
        options.open(self.path)
    }
}

#[async_trait]
impl StoreUrl for FileUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(opened(self.lock()?))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        for_one_lock("token_floor", self.token_floor.is_some())?;
        let failed = |error| Error::new(ErrorKind::Invalid, "list the directory", error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // One that has just gone is not a lock.
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_file && may_be_lock(&entry.file_name()) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        let mut found = Vec::new();
        for path in paths {
            let (name, observed) = match FileLock::open(&path) {
                Ok(lock) => (lock.name().to_owned(), lock.read().await),
                // A file that cannot be a lock is not a broken one.
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

    async fn remove_scratch(self: Box<Self>) -> Result<(), Error> {
        let failed = |error: io::Error| {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unavailable };
            Error::new(kind, "remove the scratch lock", error)
        };
        match remove_scratch(&self.path) {
            // Nothing was made where no lock can be.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(()),
            removed => removed.map_err(failed)?,
        };
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            Err(_) | Ok(()) => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
fn opened(lock: FileLock) -> Opened {
    let caveat = lock.caveat();
    Opened::that_sees_deaths(std::sync::Arc::new(lock), caveat)
}

#[cfg(not(target_os = "linux"))]
fn opened(lock: FileLock) -> Opened {
    Opened::new(lock)
}

#[cfg(target_os = "linux")]
impl Liveness for FileLock {
    fn liveness(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Error> {
        FileLock::liveness(self, incarnation)
    }
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
    !name.starts_with('.') && !belongs && !is_scratch_name(&name)
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
        let url = Box::new(FileUrl::try_from(&url).unwrap());
        let found = url.list().await.unwrap();
        let names: Vec<&str> = found.iter().map(|listed| listed.name.as_str()).collect();
        let readable: Vec<bool> = found
            .iter()
            .map(|listed| listed.observed.as_ref().is_ok_and(|seen| seen.record().is_some()))
            .collect();
        assert_eq!(readable, [true, false, false, true], "{names:?}");
        assert!(names[0].ends_with("/a") && names[3].ends_with("/z"), "{names:?}");
    }
}
