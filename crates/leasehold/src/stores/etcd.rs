//! The lock in etcd.

use async_trait::async_trait;
use leasehold_backend::Login;
use leasehold_backend::tls::TlsFiles;
use leasehold_core::{Error, LockBackend, Token};
pub use leasehold_etcd::*;

use crate::authority::{Authority, USE, tls};
use crate::lock_url::{LockUrl, for_one_lock};
use crate::opened::{Listed, Opened, StoreUrl};

const PARAMETERS: &[&str] =
    &["user", "password_env", "password_file", "ca", "cert", "key", "token_floor"];

/// The port of an endpoint that names none.
const PORT: u16 = 2379;

/// An `etcd:` or `etcds:` URL, parsed: `etcd://h1:2379,h2:2379/jobs/nightly`.
///
/// The hosts are members of one cluster; name all of them, so that one may fail. The path without
/// its first slash is the name of the election, as `etcdctl elect` takes it (`etcd://h//jobs` for a
/// name that begins with a slash). `etcds:` uses TLS.
///
/// | parameter | |
/// |---|---|
/// | `user` | log in as this user (or `etcd://user@host/…`) |
/// | `password_env` | the environment variable with its password |
/// | `password_file` | the file with its password; a newline at its end is ignored; read at every login |
/// | `ca` | PEM file: trust only what it signed (else what the system trusts) |
/// | `cert`, `key` | PEM files: show this certificate |
/// | `token_floor` | tokens up to this may have been used; nobody contends before the store's revision is above it |
#[derive(Clone, Debug)]
pub struct EtcdUrl {
    members: Vec<String>,
    login: Option<Login>,
    tls: Option<TlsFiles>,
    name: String,
    token_floor: Option<Token>,
}

impl TryFrom<&LockUrl> for EtcdUrl {
    type Error = Error;

    /// Reads no file. Fails with `Invalid` for an unknown parameter, no host, or parameters that do
    /// not fit together.
    fn try_from(url: &LockUrl) -> Result<Self, Error> {
        url.allow_parameters(PARAMETERS)?;
        let authority = Authority::of(url, "etcd://host:2379/jobs/nightly", PORT)?;
        Ok(Self {
            login: authority.login(url, None)?,
            members: authority.hosts,
            tls: tls(url, url.scheme() == "etcds", ": write etcds://")?,
            name: url.name()?,
            token_floor: url.token_floor()?,
        })
    }
}

impl EtcdUrl {
    /// Opens the lock. Contacts nobody. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: the name cannot be an election's, a file or a variable that the URL names cannot
    /// be read, or an option is malformed. `Unavailable`: a file could not be read in time.
    pub async fn lock(self) -> Result<EtcdLock, Error> {
        let lock = self.cluster().await?.lock(&self.name)?;
        match self.token_floor {
            Some(floor) => lock.token_floor(floor),
            None => Ok(lock),
        }
    }

    async fn cluster(&self) -> Result<Etcd, Error> {
        let mut options = Etcd::options(self.members.iter().map(String::as_str));
        if let Some(login) = self.login.clone() {
            // It is read again at every login, and must be there now.
            login.password().await.map_err(|failure| failure.during(USE))?;
            options = options.login(login);
        }
        if let Some(files) = &self.tls {
            let material = files.read().await.map_err(|failure| failure.during(USE))?;
            options = options.tls_with(material);
        }
        options.build()
    }
}

#[async_trait]
impl StoreUrl for EtcdUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(Opened::new(self.lock().await?))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        for_one_lock("token_floor", self.token_floor.is_some())?;
        let mut found = Vec::new();
        for lock in self.cluster().await?.elections(&self.name).await? {
            found.push(Listed { name: lock.name().to_owned(), observed: lock.read().await });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(url: &str) -> Result<EtcdLock, Error> {
        EtcdUrl::try_from(&LockUrl::parse(url)?)?.lock().await
    }

    #[tokio::test]
    async fn a_url_names_members_and_an_election() {
        for (url, name) in [
            ("etcd://h1,h2:1/jobs/nightly", "etcd://h1:2379,h2:1/jobs/nightly"),
            ("etcd://[::1]/a", "etcd://[::1]:2379/a"),
            ("etcd://h//a?token_floor=7", "etcd://h:2379//a"),
            ("etcd://h/a%2Fb%20c", "etcd://h:2379/a/b c"),
        ] {
            assert_eq!(opened(url).await.unwrap().name(), name);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (url, says) in [
            ("etcd:jobs", "names no host"),
            ("etcd://h", "names no election"),
            ("etcd://h/registry/x", "Kubernetes"),
            ("etcd://h/a?ttl=3", "unknown parameter \"ttl\""),
            ("etcd://h/a?password=x", "unknown parameter \"password\""),
            ("etcd://h/a?ca=/x", "etcds://"),
            ("etcds://h/a?ca=/no/such/file", "/no/such/file"),
            ("etcds://h/a?cert=/dev/null", "go together"),
            ("etcd://u@h/a", "no password"),
            ("etcd://u@h/a?password_env=s3cret", "password_env names a variable that is not there"),
            ("etcd://u@h/a?password_file=s3cret", "that password_file names: No such file"),
            ("etcd://a:1,u:s3cret@h:1/x", "stands once, before the first host"),
            ("etcd://u:s3cret@a:1,u:s3cret@b:2/x", "stands once, before the first host"),
            ("etcds://h/a?ca=/dev/null", "ca: there is no certificate"),
            ("etcds://h/a?cert=/dev/null&key=/dev/null", "cert: there is no certificate"),
            ("etcd://h/a?password_file=/dev/null", "no user"),
            ("etcd://u:p@h/a?user=v", "twice"),
            ("etcd://u:p@h/a?password_file=/dev/null", "given twice"),
            ("etcd://h/a?token_floor=x", "token_floor"),
            ("etcd://h:0/a", "host:port"),
            (
                "etcd://[::1/x",
                "cannot open the lock: endpoint 1 is not a valid endpoint: no ']' closes",
            ),
            ("etcd://h,[::1:2379/x", "endpoint 2 is not a valid endpoint"),
            ("etcd://u:s3cret%40h/x", "is not HOST or HOST:PORT"),
            ("etcds://u:s3cret%40h:2379/x", "is not HOST or HOST:PORT"),
            ("etcd://h1,u:s3cret%40h/x", "is not HOST or HOST:PORT"),
            ("etcd://u:s3cret/x", "is not HOST or HOST:PORT"),
            ("etcd://s3cret%2Fh:1/x", "is not HOST or HOST:PORT"),
            ("etcd://u:s3cret,h:1/x", "is not HOST or HOST:PORT"),
        ] {
            let error = opened(url).await.unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{url}: {error}");
            let debug = format!("{:?}", opened(url).await.unwrap_err());
            assert!(!debug.contains("s3cret"), "{url}: {debug}");
        }
    }

    #[tokio::test]
    async fn a_password_is_read_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let url = format!("etcd://me@h/a?password_file={}", file.display());
        let lock = opened(&url).await.unwrap();
        assert!(!format!("{lock:?}{}", lock.name()).contains("s3cret"));
        let lock = opened("etcd://me:s3%40cret@h/a").await.unwrap();
        assert!(!format!("{lock:?}{}", lock.name()).contains("s3"));
    }
}
