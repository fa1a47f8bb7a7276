//! The lock that `--lock` names.

use std::ffi::OsString;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use leasehold::backend::Incarnation;
use leasehold::backend::LockBackend;
use leasehold::url::{LockUrl, Opened};
use leasehold::{Error, ErrorKind};

/// A lock, and what the guard may hold for it.
#[derive(Debug)]
pub struct Lock {
    url: LockUrl,
    opened: Opened,
}

impl Lock {
    /// Opens the lock.
    ///
    /// # Errors
    /// `Invalid` if the URL is wrong; others as the backend has them.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let url = LockUrl::parse(url)?;
        let opened = url.open().await?;
        if opened.is_in_process() {
            let why = format!(
                "{}: is a lock inside one process, for tests of programs; here every process \
                 would lead. Use file:/path",
                url.scheme()
            );
            return Err(Error::new(ErrorKind::Invalid, "use the lock URL", why));
        }
        Ok(Self { url, opened })
    }

    /// The lock for an elector.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn LockBackend> {
        self.opened.lock()
    }

    /// The variable that holds the password, if the URL names one. CMD must not see it.
    #[must_use]
    pub fn secret(&self) -> Option<OsString> {
        self.url.parameter("password_env").map(OsString::from)
    }

    /// The descriptor that keeps this incarnation alive in the eyes of others on this host: see
    /// [`Opened::liveness`].
    ///
    /// # Errors
    /// There is none although the store sees deaths: CMD must not run, since others could lead the
    /// moment this process is killed.
    #[cfg(target_os = "linux")]
    pub fn liveness(&self, incarnation: Incarnation) -> Result<Option<OwnedFd>, Error> {
        self.opened.liveness(incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_of_one_process_is_refused() {
        let error = Lock::connect("mem:jobs").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("every process would lead"), "{error}");
    }

    #[cfg(feature = "etcd")]
    #[tokio::test]
    async fn the_variable_of_a_password_is_named() {
        // A variable that every process has.
        let url = "etcd://127.0.0.1:1/jobs?user=u&password_env=PATH";
        assert_eq!(Lock::connect(url).await.unwrap().secret(), Some("PATH".into()));
    }
}
