//! The lock in Redis or Valkey.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use leasehold_backend::tls::TlsFiles;
use leasehold_backend::{Login, LoginParts};
use leasehold_core::{Error, ErrorKind, LockBackend as _, Token};
pub use leasehold_redis::*;

use crate::authority::{Authority, USE, tls};
use crate::lock_url::{LockUrl, for_one_lock, invalid};
use crate::opened::{Listed, Opened, StoreUrl};

const PARAMETERS: &[&str] = &[
    "replicas",
    "unsafe_async_failover",
    "cas",
    "user",
    "password_env",
    "password_file",
    "sentinel_user",
    "sentinel_password_env",
    "sentinel_password_file",
    "ca",
    "cert",
    "key",
    "token_floor",
];

/// The ports of a server and of a Sentinel that are not named.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The user whose password a server asks for if no user is named.
const DEFAULT_USER: &str = "default";

/// A URL of a lock in Redis or Valkey, parsed: `redis://host:6379/jobs/nightly`.
///
/// | URL | |
/// |---|---|
/// | `redis://host:6379/NAME` | one server, or the primary of replicas that never take over by themselves |
/// | `redis+sentinel://h1,h2,h3/MASTER/NAME` | the primary that these Sentinels know as MASTER |
/// | `redis+cluster://h1,h2,h3/NAME` | a cluster, of which these are nodes |
/// | `redis+unix:/run/redis/redis.sock/NAME` | a server of this host; the NAME is the last part of the path |
///
/// `rediss:`, `rediss+sentinel:` and `rediss+cluster:` use TLS. The lock is the key
/// `leasehold:NAME` in database 0.
///
/// | parameter | |
/// |---|---|
/// | `replicas` | the number of replicas that exist: a write counts once a majority has it |
/// | `unsafe_async_failover` | `true`: let replicas follow without waiting for them; a fail-over may give the lock to two leaders |
/// | `cas` | `ifeq`: compare and replace by `SET … IFEQ` (Redis 8.4, Valkey 8.1) where scripts are forbidden; else `script` |
/// | `user` | log in as this user (or `redis://user@host/…`); without it `default`, if there is a password |
/// | `password_env` | the environment variable with its password |
/// | `password_file` | the file with its password; a newline at its end is ignored; read at every login |
/// | `sentinel_user`, `sentinel_password_env`, `sentinel_password_file` | the same for the Sentinels |
/// | `ca` | PEM file: trust only what it signed (else what the system trusts) |
/// | `cert`, `key` | PEM files: show this certificate |
/// | `token_floor` | tokens are minted above this |
#[derive(Clone, Debug)]
pub struct RedisUrl {
    place: Place,
    login: Option<Login>,
    sentinel_login: Option<Login>,
    tls: Option<TlsFiles>,
    replicas: Option<u64>,
    unsafe_async_failover: bool,
    cas: Cas,
    name: String,
    token_floor: Option<Token>,
}

#[derive(Clone, Debug)]
enum Place {
    Host(String),
    Socket(PathBuf),
    Sentinels { hosts: Vec<String>, master: String },
    Cluster(Vec<String>),
}

impl TryFrom<&LockUrl> for RedisUrl {
    type Error = Error;

    /// Reads no file. Fails with `Invalid` for an unknown parameter, no host, or parameters that do
    /// not fit together.
    fn try_from(url: &LockUrl) -> Result<Self, Error> {
        if url.parameter("db").is_some() {
            return Err(invalid(
                "locks are in database 0, which replicas, Sentinels and clusters share: leave out \
                 db="
                .to_owned(),
            ));
        }
        url.allow_parameters(PARAMETERS)?;
        let (secure, kind) = match url.scheme().split_once('+') {
            Some((secure, kind)) => (secure, kind),
            None => (url.scheme(), ""),
        };
        let is_secure = secure == "rediss";
        let (place, authority, name) = match kind {
            "unix" => socket(url)?,
            kind => hosts(url, kind)?,
        };
        let is_sentinel = matches!(place, Place::Sentinels { .. });
        Ok(Self {
            login: authority.login(url, Some(DEFAULT_USER))?,
            sentinel_login: sentinel_credentials(url, is_sentinel)?,
            tls: tls(url, is_secure, &of_tls(url))?,
            replicas: number(url, "replicas")?,
            unsafe_async_failover: switch(url, "unsafe_async_failover")?,
            cas: cas(url)?,
            token_floor: url.token_floor()?,
            place,
            name,
        })
    }
}

impl RedisUrl {
    /// Opens the lock. Contacts nobody. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: the name cannot be a lock's, a file or a variable that the URL names cannot be
    /// read, or an option is malformed. `Unavailable`: a file could not be read in time.
    pub async fn lock(self) -> Result<RedisLock, Error> {
        let lock = self.store().await?.lock(&self.name)?;
        match self.token_floor {
            Some(floor) => lock.token_floor(floor),
            None => Ok(lock),
        }
    }

    async fn store(&self) -> Result<Redis, Error> {
        let mut options = match self.place.clone() {
            Place::Host(host) => Redis::at(host),
            Place::Socket(path) => Redis::socket(path),
            Place::Sentinels { hosts, master } => Redis::sentinels(hosts, master),
            Place::Cluster(hosts) => Redis::cluster(hosts),
        };
        // They are read again at every login, and must be there now.
        for login in [&self.login, &self.sentinel_login].into_iter().flatten() {
            login.password().await.map_err(|failure| failure.during(USE))?;
        }
        if let Some(login) = self.login.clone() {
            options = options.login(login);
        }
        if let Some(login) = self.sentinel_login.clone() {
            options = options.sentinel_login(login);
        }
        if let Some(files) = &self.tls {
            let material = files.read().await.map_err(|failure| failure.during(USE))?;
            options = options.tls_with(material);
        }
        if let Some(replicas) = self.replicas {
            options = options.replicas(replicas);
        }
        if self.unsafe_async_failover {
            options = options.unsafe_async_failover();
        }
        options.cas(self.cas).build()
    }
}

#[async_trait]
impl StoreUrl for RedisUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(Opened::new(self.lock().await?))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        for_one_lock("token_floor", self.token_floor.is_some())?;
        let mut found = Vec::new();
        for lock in self.store().await?.locks(&self.name).await? {
            found.push(Listed { name: lock.name().to_owned(), observed: lock.read().await });
        }
        Ok(found)
    }

    async fn remove_scratch(self: Box<Self>) -> Result<(), Error> {
        match self.lock().await {
            Ok(lock) => lock.remove_scratch().await,
            // Under a name that is not a lock's nothing was ever made.
            Err(error) if error.kind() == ErrorKind::Invalid => Ok(()),
            Err(error) => Err(error),
        }
    }
}

type Parts<'a> = (Place, Authority<'a>, String);

/// What to do with files for TLS where there is none.
fn of_tls(url: &LockUrl) -> String {
    match url.scheme() {
        "redis+unix" => ", which a socket of this host does not need: leave them out".to_owned(),
        scheme => format!(": write {}://", scheme.replacen("redis", "rediss", 1)),
    }
}

/// A socket and a name: the last part of the path.
fn socket(url: &LockUrl) -> Result<Parts<'_>, Error> {
    const FORM: &str = "write redis+unix:/run/redis/redis.sock/NAME";
    if url.authority().is_some_and(|authority| !authority.is_empty()) {
        return Err(invalid(format!("it names a host: {FORM}")));
    }
    let path = url.path();
    let path = path.to_str().ok_or_else(|| invalid("the path is not UTF-8".to_owned()))?;
    match path.rsplit_once('/') {
        Some((socket, name)) if socket.starts_with('/') => {
            let place = Place::Socket(Path::new(socket).to_owned());
            Ok((place, Authority::default(), name.to_owned()))
        }
        _ => Err(invalid(format!("it names no socket: {FORM}"))),
    }
}

/// Hosts, the login before them, and the name.
fn hosts<'a>(url: &'a LockUrl, kind: &str) -> Result<Parts<'a>, Error> {
    let form = match kind {
        "sentinel" => "redis+sentinel://h1,h2,h3/MASTER/NAME",
        "cluster" => "redis+cluster://h1,h2,h3/NAME",
        _ => "redis://host:6379/NAME",
    };
    let port = if kind == "sentinel" { SENTINEL_PORT } else { PORT };
    let mut authority = Authority::of(url, form, port)?;
    let mut hosts = std::mem::take(&mut authority.hosts);
    let name = url.name()?;
    let place = match kind {
        "sentinel" => {
            let Some((master, name)) = name.split_once('/') else {
                return Err(invalid(format!("it names a primary and no lock: write {form}")));
            };
            let master = master.to_owned();
            return Ok((Place::Sentinels { hosts, master }, authority, name.to_owned()));
        }
        "cluster" => Place::Cluster(hosts),
        _ => match (hosts.pop(), hosts.pop()) {
            (Some(host), None) => Place::Host(host),
            _ => {
                return Err(invalid(
                    "redis:// takes one host; for several write \
                     redis+sentinel://h1,h2,h3/MASTER/NAME or redis+cluster://h1,h2,h3/NAME"
                        .to_owned(),
                ));
            }
        },
    };
    Ok((place, authority, name))
}

/// Sentinels know other users than the servers that they watch.
fn sentinel_credentials(url: &LockUrl, is_sentinel: bool) -> Result<Option<Login>, Error> {
    let parts = LoginParts {
        user: url.parameter("sentinel_user"),
        password_env: url.parameter("sentinel_password_env"),
        password_file: url.parameter("sentinel_password_file"),
        default_user: Some(DEFAULT_USER),
        ..LoginParts::default()
    };
    let given = parts.user.or(parts.password_env).or(parts.password_file).is_some();
    if given && !is_sentinel {
        return Err(invalid(
            "sentinel_user and sentinel_password_… are for redis+sentinel://".to_owned(),
        ));
    }
    Login::of_url(parts).map_err(|failure| failure.during(USE))
}

fn number(url: &LockUrl, parameter: &str) -> Result<Option<u64>, Error> {
    let Some(value) = url.parameter(parameter) else { return Ok(None) };
    // It may be a secret that was put in the wrong place.
    match value.parse() {
        Ok(number @ 0..=1000) => Ok(Some(number)),
        _ => Err(invalid(format!("{parameter} is not a whole number of at most 1000"))),
    }
}

fn switch(url: &LockUrl, parameter: &str) -> Result<bool, Error> {
    match url.parameter(parameter) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid(format!("{parameter} is neither true nor false"))),
    }
}

fn cas(url: &LockUrl) -> Result<Cas, Error> {
    match url.parameter("cas") {
        None | Some("script") => Ok(Cas::Script),
        Some("ifeq") => Ok(Cas::IfEq),
        Some(_) => Err(invalid("cas is neither script nor ifeq".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(url: &str) -> Result<RedisLock, Error> {
        RedisUrl::try_from(&LockUrl::parse(url)?)?.lock().await
    }

    #[tokio::test]
    async fn a_url_names_a_server_and_a_lock() {
        for (url, name) in [
            ("redis://h/jobs/nightly", "redis://h:6379/jobs/nightly"),
            ("redis://[::1]:1/a?token_floor=7", "redis://[::1]:1/a"),
            ("rediss://h/a%20b", "rediss://h:6379/a b"),
            ("redis+unix:/run/redis.sock/jobs", "redis+unix:/run/redis.sock/jobs"),
            ("redis+unix:///run/redis.sock/jobs", "redis+unix:/run/redis.sock/jobs"),
            ("redis+sentinel://a,b:1/m/jobs/x?replicas=2", "redis+sentinel://a:26379,b:1/m/jobs/x"),
            ("rediss+cluster://a,b/jobs", "rediss+cluster://a:6379,b:6379/jobs"),
            ("redis://h/a?unsafe_async_failover=true", "redis://h:6379/a"),
        ] {
            assert_eq!(opened(url).await.unwrap().name(), name);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (url, says) in [
            ("redis:jobs", "names no host"),
            ("redis://h", "names no lock"),
            ("redis://h/0", "is a number"),
            ("redis://h/a?db=1", "database 0"),
            ("redis://h/a%7B", "has { in it"),
            ("redis://a,b/x", "takes one host"),
            ("redis+sentinel://h/m", "names a primary and no lock"),
            ("redis+sentinel://h//x", "names no primary"),
            ("redis+unix:run.sock/x", "names no socket"),
            ("redis+unix:/run.sock", "names no socket"),
            ("redis+unix://h/run.sock/x", "names a host"),
            ("redis://h/a?ttl=3", "unknown parameter \"ttl\""),
            ("redis://h/a?ca=/x", "write rediss://"),
            ("redis+sentinel://h/m/a?ca=/x", "write rediss+sentinel://"),
            ("redis+unix:/s/a?ca=/x", "leave them out"),
            ("rediss://h/a?ca=/no/such/file", "/no/such/file"),
            ("rediss://h/a?cert=/dev/null", "go together"),
            ("redis://u@h/a", "no password"),
            ("redis://u@h/a?password_env=s3cret", "names a variable that is not there"),
            ("redis://u:p@h/a?user=v", "twice"),
            ("redis://u:s3cret%40h/x", "is not HOST or HOST:PORT"),
            ("redis://h/a?replicas=s3cret", "replicas is not a whole number"),
            ("redis://h/a?unsafe_async_failover=s3cret", "neither true nor false"),
            ("redis://h/a?replicas=2&unsafe_async_failover=true", "contradict"),
            ("redis://h/a?sentinel_user=x", "are for redis+sentinel://"),
            ("redis://h/a?cas=s3cret", "neither script nor ifeq"),
            ("redis://h/a?token_floor=x", "token_floor"),
            ("redis://h:0/a", "host:port"),
        ] {
            let error = opened(url).await.unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn a_password_alone_is_the_default_users() {
        for url in ["redis://:s3cret@h/a", "redis://me:s3%40cret@h/a"] {
            let lock = opened(url).await.unwrap();
            assert!(!format!("{lock:?}{}", lock.name()).contains("s3"));
        }
    }
}
