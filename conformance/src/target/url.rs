//! Any store that a URL names: a user's own, or the servers of a fixture.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold::{Clock, Error, LockBackend, LockUrl};

use super::Target;

/// Locks beside the one that a URL names: `scheme:path.CASE?parameters`.
pub struct UrlTarget {
    backend: String,
    url: String,
    by_server: bool,
}

impl UrlTarget {
    /// Locks beside this one. Opens it once, to learn what the store is.
    ///
    /// # Errors
    /// The URL is wrong, its store is not in this build, or it cannot be opened.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let scheme = parse_url(url)?;
        let lock = leasehold::connect(&with_suffix(url, "probe")).await?;
        let by_server = lock.read().await?.expiry == leasehold::Expiry::ByServer;
        Ok(Self { backend: backend(&scheme).to_owned(), url: url.to_owned(), by_server })
    }
}

/// The URL's scheme.
///
/// # Errors
/// It is no URL of a lock.
pub fn parse_url(url: &str) -> Result<String, Error> {
    Ok(LockUrl::parse(url)?.scheme().to_owned())
}

/// The backend that a scheme belongs to.
fn backend(scheme: &str) -> &str {
    match scheme {
        "etcd" | "etcds" => "etcd",
        "redis" | "rediss" | "redis+sentinel" => "redis",
        "s3" | "gs" | "az" => "objectstore",
        "k8s" => "kubernetes",
        "k8s+endpoints" => "endpoints",
        other => other,
    }
}

/// The URL of a lock beside the one that is named.
#[must_use]
pub fn with_suffix(url: &str, suffix: &str) -> String {
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url, String::new()),
    };
    format!("{path}.{}{query}", escape(suffix))
}

/// A name as part of a URL's path.
pub(super) fn escape(name: &str) -> String {
    name.bytes().map(escaped).collect()
}

fn escaped(byte: u8) -> String {
    let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
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
        leasehold::connect(&with_suffix(&self.url, lock)).await
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(with_suffix(&self.url, lock))
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
        assert_eq!(with_suffix("etcd://h/a/b?ca=x", "Q1 é"), "etcd://h/a/b.Q1%20%C3%A9?ca=x");
        assert_eq!(with_suffix("file:/tmp/a", "q1"), "file:/tmp/a.q1");
    }
}
