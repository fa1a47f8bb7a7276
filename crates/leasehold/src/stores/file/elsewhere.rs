//! `file:` on another system than Linux: no lock, and an error that says why.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use leasehold_backend::{Diagnose, Finding};
use leasehold_core::{
    Capabilities, Change, Clock, Error, ErrorKind, LockBackend, Observed, Outcome, Timing, Token,
    Version,
};

const WHY: &str = "a lock in a local file needs Linux: it rests on locks of open files that \
    end with their process, on notifications of a directory, and on file systems that are known \
    to be local";

/// A lock in a local file. There is none on this system: every way to open one fails.
#[derive(Clone, Debug)]
pub struct FileLock(Infallible);

/// How a [`FileLock`] is opened.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileLockOptions(());

impl FileLock {
    /// Fails.
    ///
    /// # Errors
    /// `Invalid`: this system is not Linux.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().open(path)
    }

    /// Options that change nothing here.
    pub fn options() -> FileLockOptions {
        FileLockOptions(())
    }

    /// Why other processes of this host may have another lock under the same path.
    #[must_use]
    pub fn caveat(&self) -> Option<String> {
        match self.0 {}
    }
}

impl FileLockOptions {
    /// The clock to use.
    pub fn clock(self, _: Arc<dyn Clock>) -> Self {
        self
    }

    /// Tokens at or below this may have been used.
    pub fn token_floor(self, _: Token) -> Self {
        self
    }

    /// Fails.
    ///
    /// # Errors
    /// `Invalid`: this system is not Linux.
    pub fn open(self, _: impl AsRef<Path>) -> Result<FileLock, Error> {
        let error = Error::new(ErrorKind::Invalid, "open the lock", WHY);
        Err(error.with_cure("use a lock in a store on the network, such as etcd:// or k8s://"))
    }
}

#[async_trait]
impl LockBackend for FileLock {
    fn name(&self) -> &str {
        match self.0 {}
    }

    fn capabilities(&self) -> Capabilities {
        match self.0 {}
    }

    async fn read(&self) -> Result<Observed, Error> {
        match self.0 {}
    }

    async fn write(&self, _: &Version, _: &Change) -> Result<Outcome, Error> {
        match self.0 {}
    }
}

#[async_trait]
impl Diagnose for FileLock {
    async fn diagnose(&self, _: &Timing) -> Vec<Finding> {
        match self.0 {}
    }
}

/// Removes nothing: there is nothing.
pub(crate) fn remove_scratch(_: impl AsRef<Path>) -> io::Result<usize> {
    Ok(0)
}
