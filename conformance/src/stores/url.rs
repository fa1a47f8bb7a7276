//! Any store that a URL names: a user's own, or the servers of a fixture.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::{LockBackend, Push};
use leasehold::doctor::Scratch;
use leasehold::timing::Clock;
use leasehold::url::LockUrl;
use leasehold::{Error, ErrorKind};

use super::parts::WatchHistory;
use super::target::Target;

const REMOVE: &str = "remove a scratch lock";

/// How long removing one may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A lock's name that is no case's.
const PROBE: &str = "probe";

/// Locks beside the one that a URL names: `scheme:path.RUN.CASE?parameters`, with a RUN that no
/// other run has.
pub struct UrlTarget {
    backend: String,
    scratch: Scratch,
    /// Its watches go on where they ended.
    resumes: bool,
    command: Option<PathBuf>,
}

impl UrlTarget {
    /// Locks beside this one. Opens it once, to learn what the store is.
    ///
    /// # Errors
    /// The URL is wrong, its store is not in this build, or it cannot be opened.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let scheme = LockUrl::parse(url)?.scheme().to_owned();
        if scheme == "mem" {
            let why = "mem: is a lock of one process; leasehold-conformance memory tests it";
            return Err(Error::new(ErrorKind::Invalid, "open the store", why));
        }
        // It must name a lock, beside which the scratch ones are.
        drop(leasehold::connect(url).await?);
        let scratch = Scratch::beside(url, "conformance");
        let lock = leasehold::connect(&scratch.lock(PROBE)).await?;
        lock.read().await?;
        let resumes = lock.capabilities().push == Push::Resumable;
        let backend = backend(&scheme).to_owned();
        Ok(Self { backend, scratch, resumes, command: None })
    }

    /// With this command for cases about processes, if it is known.
    #[must_use]
    pub fn with_command(self, command: Option<PathBuf>) -> Self {
        Self { command, ..self }
    }

    /// What every lock of this run has in its name.
    #[must_use]
    pub fn run(&self) -> &str {
        self.scratch.run()
    }

    /// Removes the locks of this run where a store keeps what was released.
    ///
    /// # Errors
    /// One cannot be removed; the others are.
    pub async fn remove(&self) -> Result<(), Error> {
        let mut removed = Ok(());
        for url in self.scratch.locks() {
            let limit = self.scratch.remove(&url);
            let one = tokio::time::timeout(LIMIT, limit).await.unwrap_or_else(|_late| {
                Err(Error::new(ErrorKind::Unavailable, REMOVE, format!("no answer in {LIMIT:?}")))
            });
            let is_away = one.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
            removed = removed.and(one);
            if is_away {
                break;
            }
        }
        removed
    }
}

/// The backend that a scheme belongs to.
fn backend(scheme: &str) -> &str {
    match scheme {
        "etcd" | "etcds" => "etcd",
        other if other.starts_with("redis") => "redis",
        "s3" | "gs" | "az" => "objectstore",
        other => other,
    }
}

#[async_trait]
impl Target for UrlTarget {
    fn backend(&self) -> &str {
        &self.backend
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        leasehold::connect(&self.scratch.lock(lock)).await
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(self.scratch.lock(lock))
    }

    fn watch_history(&self) -> WatchHistory<'_> {
        match self.resumes {
            true => WatchHistory::Kept("nothing here compacts a store of yours"),
            false => WatchHistory::Short,
        }
    }

    fn command(&self) -> Option<PathBuf> {
        self.command.clone().or_else(crate::process::command_under_test)
    }
}

/// The URL may hold a password.
impl std::fmt::Debug for UrlTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UrlTarget").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_goes_before_the_parameters() {
        assert_eq!(LockUrl::beside("etcd://h/a/b?ca=x", "Q1 é"), "etcd://h/a/b.Q1%20%C3%A9?ca=x");
        assert_eq!(LockUrl::beside("file:/tmp/a", "q1"), "file:/tmp/a.q1");
    }
    #[tokio::test]
    async fn two_runs_share_no_lock_and_remove_what_they_made() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().join("a").display());
        let [first, second] =
            [UrlTarget::open(&url).await.unwrap(), UrlTarget::open(&url).await.unwrap()];
        assert_ne!(first.url("Q1"), second.url("Q1"));
        let made = || std::fs::read_dir(directory.path()).unwrap().count();
        for target in [&first, &second] {
            let url = target.url("Q1").unwrap();
            let lock = leasehold::connect(&url).await.unwrap();
            let elector = leasehold::Elector::builder(lock).build().unwrap();
            elector.campaign().await.unwrap().resign().await.unwrap();
            // A case may leave what is not a lock.
            let other = LockUrl::parse(&target.url("Q2").unwrap()).unwrap().path();
            std::fs::write(other, "x").unwrap();
        }
        let both = made();
        first.remove().await.unwrap();
        assert_eq!(made(), both / 2);
        second.remove().await.unwrap();
        assert_eq!(made(), 0);
    }

    #[tokio::test]
    async fn a_lock_of_one_process_is_refused() {
        assert!(UrlTarget::open("mem:x").await.is_err());
    }
}
