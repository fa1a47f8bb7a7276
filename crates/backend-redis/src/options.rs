//! How a store is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use leasehold_backend::tls::TlsMaterial;
use leasehold_backend::{Login, check_endpoint};
use leasehold_core::{Error, ErrorKind};

use crate::connection::How;
use crate::dial::{Address, Dialer};
use crate::lock::RedisLock;
use crate::name::LockName;
use crate::node::Target;
use crate::node::sentinel::Sentinels;
use crate::reader::Reader;
use crate::reader::way::Way;
use crate::rules::{Cas, Rules};

const OPEN: &str = "open the lock";

/// A server, a primary with its replicas, or a cluster. Its locks share their connections.
#[derive(Clone)]
pub struct Redis {
    way: Arc<Way>,
    rules: Rules,
    /// For people: where it is.
    name: Arc<str>,
    /// Locks take turns in choosing their connections.
    lanes: Arc<AtomicUsize>,
}

/// How a [`Redis`] is reached.
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    place: Place,
    login: Option<Login>,
    sentinel_login: Option<Login>,
    tls: Option<TlsMaterial>,
    rules: Rules,
}

#[derive(Clone)]
enum Place {
    Host(String),
    Socket(PathBuf),
    Sentinels { hosts: Vec<String>, master: String },
    Cluster { hosts: Vec<String> },
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Hosts were not looked at yet: one may hold a login by mistake.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Redis {
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// A server at `host:port`.
    pub fn at(host: impl Into<String>) -> RedisOptions {
        RedisOptions::of(Place::Host(host.into()))
    }

    /// A server of this host, at this socket.
    pub fn socket(path: impl Into<PathBuf>) -> RedisOptions {
        RedisOptions::of(Place::Socket(path.into()))
    }

    /// The primary that these Sentinels, `host:port` each, know by this name.
    pub fn sentinels<H: Into<String>>(
        hosts: impl IntoIterator<Item = H>,
        master: impl Into<String>,
    ) -> RedisOptions {
        let hosts = hosts.into_iter().map(Into::into).collect();
        RedisOptions::of(Place::Sentinels { hosts, master: master.into() })
    }

    /// A cluster of which these are nodes, `host:port` each.
    pub fn cluster<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> RedisOptions {
        RedisOptions::of(Place::Cluster { hosts: hosts.into_iter().map(Into::into).collect() })
    }

    /// The lock of that name. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: the name cannot be a lock's; the text says why.
    pub fn lock(&self, name: &str) -> Result<RedisLock, Error> {
        let parsed = LockName::parse(name);
        let name = parsed.map_err(|(why, cure)| invalid(why).with_cure(cure))?;
        let shown = format!("{}/{name}", self.name);
        let reader = Reader {
            name,
            way: self.way.clone(),
            rules: self.rules,
            token_floor: None,
            lane: self.lanes.fetch_add(1, Ordering::Relaxed),
            route: Arc::new(Mutex::default()),
            can_write: Arc::default(),
        };
        Ok(RedisLock::new(shown, reader))
    }
}

impl RedisOptions {
    fn of(place: Place) -> Self {
        let (login, sentinel_login, tls) = (None, None, None);
        Self { place, login, sentinel_login, tls, rules: Rules::default() }
    }

    /// Log in as this user. Without it, the server's default user is asked for nothing.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login(Login::new(name, password))
    }

    /// The same, from wherever a lock URL says that the password is.
    pub fn login(self, login: Login) -> Self {
        Self { login: Some(login), ..self }
    }

    /// Log in to the Sentinels. They do not share users with the servers.
    pub fn sentinel_login(self, login: Login) -> Self {
        Self { sentinel_login: Some(login), ..self }
    }

    /// Speak TLS, and trust what the system trusts.
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Speak TLS, and trust only what these certificates (PEM) signed.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().set_ca(pem);
        self
    }

    /// Speak TLS, and show this certificate (PEM) with this key (PEM).
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().set_identity(certificate, key);
        self
    }

    /// Speak TLS with these certificates. Sentinels, too, are asked over TLS then.
    pub fn tls_with(self, material: TlsMaterial) -> Self {
        Self { tls: Some(material), ..self }
    }

    /// The number of replicas that exist, also of those that are down at times. A write counts once
    /// more than half of the nodes have it: `(replicas + 1) / 2` replicas, rounded down, and the
    /// primary.
    pub fn replicas(mut self, replicas: u64) -> Self {
        self.rules.replicas = Some(replicas);
        self
    }

    /// Let replicas follow without waiting for them. **A fail-over may give the lock to two leaders
    /// at once**, for as long as a lease: a write that a replica did not receive is lost.
    pub fn unsafe_async_failover(mut self) -> Self {
        self.rules.unsafe_async_failover = true;
        self
    }

    /// How a record is compared and replaced.
    pub fn cas(mut self, cas: Cas) -> Self {
        self.rules.cas = cas;
        self
    }

    /// The store. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: a host is not `host:port`, or there is none; the certificates or the key cannot
    /// be used; or options contradict each other.
    pub fn build(self) -> Result<Redis, Error> {
        if let Some(tls) = &self.tls {
            tls.check().map_err(|failure| failure.during(OPEN))?;
        }
        if self.rules.unsafe_async_failover && self.rules.replicas.is_some() {
            let error = invalid("replicas and unsafe_async_failover contradict each other");
            return Err(error.with_cure("leave out unsafe_async_failover"));
        }
        let dialer = Dialer::new(self.tls.clone());
        let how = How { dialer: dialer.clone(), login: self.login };
        let secure = if self.tls.is_some() { "rediss" } else { "redis" };
        let (way, name) = match self.place {
            Place::Host(host) => {
                let name = format!("{secure}://{host}");
                (Way::one(how, Target::Fixed(address(1, &host)?)), name)
            }
            Place::Socket(path) => {
                let name = format!("redis+unix:{}", path.display());
                let target = Target::Fixed(Address::Unix(Arc::new(path)));
                (Way::one(how, target), leasehold_core::printable(&name).to_string())
            }
            Place::Sentinels { hosts, master } => {
                let addresses = addresses(&hosts)?;
                if master.is_empty() || master.contains(char::is_control) {
                    return Err(invalid("it names no primary")
                        .with_cure("write redis+sentinel://HOSTS/MASTER/NAME"));
                }
                let name = format!("{secure}+sentinel://{}/{master}", hosts.join(","));
                let asked = How { dialer, login: self.sentinel_login };
                let sentinels = Sentinels::new(asked, addresses, master);
                (Way::one(how, Target::Sentinels(sentinels)), name)
            }
            Place::Cluster { hosts } => {
                let name = format!("{secure}+cluster://{}", hosts.join(","));
                (Way::cluster(how, addresses(&hosts)?), name)
            }
        };
        let (way, name, lanes) = (Arc::new(way), name.into(), Arc::default());
        Ok(Redis { way, rules: self.rules, name, lanes })
    }
}

fn addresses(hosts: &[String]) -> Result<Vec<Address>, Error> {
    if hosts.is_empty() {
        return Err(invalid("no host was given").with_cure("write host:port"));
    }
    hosts.iter().enumerate().map(|(at, host)| address(at + 1, host)).collect()
}

/// Nothing of it is repeated: it may be a login whose '@' was forgotten.
fn address(number: usize, host: &str) -> Result<Address, Error> {
    check_endpoint(host).map_err(|why| {
        invalid(format!("host {number} is not a valid host: {why}")).with_cure(
            "write host:port, such as 10.0.0.1:6379 or [::1]:6379, and a login before the first \
             host, with a plain '@' after it",
        )
    })?;
    Ok(Address::Tcp(host.into()))
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OPEN, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_host_and_port() {
        for good in ["h:6379", "10.0.0.1:1", "[::1]:6379", "a-b.c_d:65535"] {
            let redis = Redis::at(good).build().unwrap();
            let name = redis.lock("jobs").unwrap();
            let name = leasehold_core::LockBackend::name(&name).to_owned();
            assert_eq!(name, format!("redis://{good}/jobs"));
        }
        for bad in
            ["h", "h:", ":1", "h:0", "h:65536", "h:+1", "u@h:1", "h:1/x", "::1:6379", "[h]:1"]
        {
            let error = Redis::at(bad).build().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{bad}: {error}");
        }
        assert!(Redis::sentinels(Vec::<String>::new(), "m").build().is_err());
        assert!(Redis::sentinels(["h:1"], "").build().is_err());
        assert!(Redis::at("h:1").replicas(2).unsafe_async_failover().build().is_err());
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let options = Redis::at("h:1").user("me", "s3cret");
        let debug = format!("{options:?}");
        let redis = options.build().unwrap();
        let lock = redis.lock("jobs").unwrap();
        let mistaken = Redis::at("u:s3cret@h:1");
        let error = format!("{mistaken:?} {:?}", mistaken.clone().build().unwrap_err());
        for shown in [debug, error, format!("{redis:?} {lock:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
