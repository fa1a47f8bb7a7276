//! Locks in local files, in a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::stores::file::FileLock;
use leasehold::timing::Clock;
use leasehold::{Error, ErrorKind};

#[cfg(feature = "servers")]
use super::parts::Disks;
use super::parts::{Administrator, Backups, Bytes, Restore};
use super::target::Target;
use super::{Store, started};
#[cfg(feature = "servers")]
use crate::fixture::Disk;

pub(super) const STORES: &[Store] = &[Store {
    backend: "file",
    names: &["file"],
    by_default: true,
    expected: include_str!("expected.toml"),
    leaves_out: None,
    start: || started(FileTarget::new(), "no temporary directory"),
}];

/// Locks in a directory that goes with this value.
#[derive(Debug)]
pub struct FileTarget {
    directory: tempfile::TempDir,
}

impl FileTarget {
    /// Locks in a new temporary directory.
    ///
    /// # Errors
    /// There is no room for one.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { directory: tempfile::Builder::new().prefix("leasehold-conformance-").tempdir()? })
    }

    fn path(&self, lock: &str) -> PathBuf {
        self.directory.path().join(lock)
    }

    /// The lock's own file and those beside it.
    fn files(&self, lock: &str) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(lock));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }
}

#[async_trait]
impl Target for FileTarget {
    fn backend(&self) -> &str {
        "file"
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        Ok(Arc::new(FileLock::open(self.path(lock))?))
    }

    /// Each in a directory of its own, as README.md advises: whoever watches a directory is woken
    /// by every change in it.
    async fn open_many(
        &self,
        locks: &[String],
        _: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn LockBackend>>, Error> {
        let failed = |error| Error::new(ErrorKind::Unavailable, "make a directory", error);
        let mut opened: Vec<Arc<dyn LockBackend>> = Vec::new();
        for lock in locks {
            let own = self.path(&format!("{lock}.own"));
            fs::create_dir_all(&own).map_err(failed)?;
            opened.push(Arc::new(FileLock::open(own.join("lock"))?));
        }
        Ok(opened)
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(format!("file:{}", self.path(lock).display()))
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }

    fn backups(&self) -> Option<&dyn Backups> {
        Some(self)
    }

    #[cfg(feature = "servers")]
    fn disks(&self) -> Option<&dyn Disks> {
        Some(self)
    }
}

#[async_trait]
impl Administrator for FileTarget {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        fs::remove_file(self.path(lock)).map_err(said)
    }
}

#[async_trait]
impl Bytes for FileTarget {
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        for file in self.files(lock).map_err(said)? {
            fs::remove_file(file).map_err(said)?;
        }
        fs::write(self.path(lock), bytes).map_err(said)
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        fs::read_to_string(self.path(lock)).map_err(said)
    }
}

#[async_trait]
impl Backups for FileTarget {
    async fn back_up(&self, lock: &str) -> Result<Restore, String> {
        let mut kept: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for file in self.files(lock).map_err(said)? {
            let bytes = fs::read(&file).map_err(said)?;
            kept.push((file, bytes));
        }
        let directory = self.directory.path().to_owned();
        let lock = lock.to_owned();
        Ok(Box::new(move || put_back(&directory, &lock, &kept)))
    }
}

#[cfg(feature = "servers")]
impl Disks for FileTarget {
    fn on_disk(&self, lock: &str) -> Result<(Disk, String), String> {
        let at = self.directory.path().join(format!("{lock}.disk"));
        fs::create_dir(&at).map_err(said)?;
        let disk = Disk::start(&at, 32).map_err(|failure| failure.to_string())?;
        let url = format!("file:{}", disk.path().join(lock).display());
        Ok((disk, url))
    }
}

/// Removes every file of the lock, and writes those that were kept.
fn put_back(directory: &Path, lock: &str, kept: &[(PathBuf, Vec<u8>)]) -> Result<(), String> {
    for entry in fs::read_dir(directory).map_err(said)? {
        let entry = entry.map_err(said)?;
        if entry.file_name().to_string_lossy().starts_with(lock) {
            fs::remove_file(entry.path()).map_err(said)?;
        }
    }
    for (file, bytes) in kept {
        fs::write(file, bytes).map_err(said)?;
    }
    Ok(())
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}
