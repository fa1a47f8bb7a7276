//! Locks that tools make for themselves next to a lock that somebody uses.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use leasehold_core::Error;

use crate::lock_url::{LockUrl, invalid};

/// Scratch locks of one run of a tool, for the project's own tools. It removes what it has named
/// itself and nothing else: a lock that anybody uses is never deleted, since its holder would lead
/// on next to the next one.
#[doc(hidden)]
pub struct Scratch {
    url: String,
    run: String,
    named: Mutex<BTreeSet<String>>,
}

impl Scratch {
    /// For scratch locks next to the lock that `url` names, which is not touched. Contacts nobody.
    #[must_use]
    pub fn beside(url: &str, tool: &str) -> Self {
        // The standard library's only source of randomness, which cannot fail.
        let number = RandomState::new().build_hasher().finish();
        Self { url: url.to_owned(), run: format!("{tool}-{number:016x}"), named: Mutex::default() }
    }

    /// What every lock of this run has in its name.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The URL of the scratch lock with this name.
    pub fn lock(&self, name: &str) -> String {
        let url = LockUrl::beside(&self.url, &format!("{}.{name}", self.run));
        self.named.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone());
        url
    }

    /// The URLs that were given out.
    pub fn locks(&self) -> Vec<String> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Removes one of them, whatever is stored there. In etcd nothing stays of a lock that nobody
    /// holds, and this does nothing.
    ///
    /// # Errors
    /// `Invalid`: it is none of these. Others: the store refused, or did not answer.
    pub async fn remove(&self, url: &str) -> Result<(), Error> {
        if !self.named.lock().unwrap_or_else(PoisonError::into_inner).contains(url) {
            return Err(invalid("it is not a scratch lock of this run".to_owned()));
        }
        LockUrl::parse(url)?.remove_scratch().await
    }
}

/// The URL may hold a password.
impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("run", &self.run).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "file"))]
mod tests {
    use leasehold_backend::doctor::is_scratch_name;

    use super::*;

    #[tokio::test]
    async fn nothing_but_what_it_named_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let url = format!("file:{}", path("jobs").display());
        let scratch = Scratch::beside(&url, "bench");
        let made = scratch.lock("x");
        let name = |rest: &str| format!("jobs.{}.x{rest}", scratch.run());
        const RECORD: &str = ".0000000000000001.2.0000000000000003.record";
        let others = ["jobs", &format!("jobs{RECORD}"), "jobs.x", "jobs2"];
        for name in others.into_iter().chain([&*name(""), &name(RECORD)]) {
            std::fs::write(path(name), "").unwrap();
        }
        for other in [&url, &format!("{url}2"), &Scratch::beside(&url, "bench").lock("x")] {
            assert!(scratch.remove(other).await.is_err(), "{other}");
        }
        scratch.remove(&made).await.unwrap();
        scratch.remove(&made).await.unwrap();
        let mut left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, others);
        assert!(is_scratch_name(&name("")) && !is_scratch_name("jobs.x"));
    }
}
