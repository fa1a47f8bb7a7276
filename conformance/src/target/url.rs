//! Any store that a URL names: a user's own, or the servers of a fixture.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use leasehold::{Clock, Error, ErrorKind, LockBackend, LockUrl, Push};

use super::Target;

const REMOVE: &str = "remove a scratch lock";

/// How long removing one may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A lock's name that is no case's.
const PROBE: &str = "probe";

/// Locks beside the one that a URL names: `scheme:path.RUN.CASE?parameters`, with a RUN that no other run has.
pub struct UrlTarget {
    backend: String,
    url: String,
    run: String,
    by_server: bool,
    /// Its watches go on where they ended.
    resumes: bool,
    command: Option<PathBuf>,
    /// The URLs of the locks that cases asked for.
    opened: Mutex<BTreeSet<String>>,
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
        // The standard library's only source of randomness.
        let run = format!("conformance-{:016x}", RandomState::new().build_hasher().finish());
        let lock = leasehold::connect(&LockUrl::beside(url, &format!("{run}.{PROBE}"))).await?;
        let by_server = lock.read().await?.expiry == leasehold::Expiry::ByServer;
        let resumes = lock.capabilities().push == Push::Resumable;
        let (backend, url) = (backend(&scheme).to_owned(), url.to_owned());
        Ok(Self { backend, url, run, by_server, resumes, command: None, opened: Mutex::default() })
    }

    /// With this command for cases about processes, if it is known.
    #[must_use]
    pub fn with_command(self, command: Option<PathBuf>) -> Self {
        Self { command, ..self }
    }

    /// A lock that no case uses, to see whether the store answers.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn probe(&self) -> Result<Arc<dyn LockBackend>, Error> {
        leasehold::connect(&self.beside(PROBE)).await
    }

    fn beside(&self, lock: &str) -> String {
        let url = LockUrl::beside(&self.url, &format!("{}.{lock}", self.run));
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone());
        url
    }

    /// What every lock of this run has in its name.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Removes the locks of this run where a store keeps what was released.
    ///
    /// # Errors
    /// One cannot be removed; the others are.
    pub async fn remove(&self) -> Result<(), Error> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut removed = Ok(());
        for url in opened {
            let parsed = LockUrl::parse(&url)?;
            if parsed.scheme() == "file" {
                let one = remove_files(&parsed.path());
                let one = one.map_err(|error| Error::new(ErrorKind::Denied, REMOVE, error));
                removed = removed.and(one);
                continue;
            }
            let limit = leasehold::remove_scratch(&url);
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
        "redis" | "rediss" | "redis+sentinel" => "redis",
        "s3" | "gs" | "az" => "objectstore",
        other => other,
    }
}

#[async_trait]
impl Target for UrlTarget {
    fn backend(&self) -> &str {
        &self.backend
    }

    fn knows_deaths(&self) -> bool {
        self.backend == "file"
    }

    fn by_server(&self) -> bool {
        self.by_server
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        leasehold::connect(&self.beside(lock)).await
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(self.beside(lock))
    }

    async fn forget_history(&self, _: &str) -> Result<(), String> {
        if self.resumes {
            return Err("nothing here compacts a store of yours".to_owned());
        }
        Ok(())
    }

    fn command(&self) -> Option<PathBuf> {
        self.command.clone().or_else(crate::process::command_under_test)
    }
}

/// The name has the run in it, so whatever a case wrote there is this run's.
fn remove_files(path: &Path) -> std::io::Result<()> {
    leasehold::file::remove_named(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
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
