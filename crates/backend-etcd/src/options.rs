//! How a cluster is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use leasehold_core::{Error, ErrorKind};

use crate::election::ElectionName;
use crate::lock::EtcdLock;
use crate::pool::{How, Pool};
use crate::tls::Tls;

const OPEN: &str = "open the lock";

/// HTTP/2 pings on a connection that has a stream, and how long an answer may take. The server refuses pings that
/// come more often than every 5 s, or on a connection without streams.
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(2));

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// The end of every request, for callers that set no earlier one.
const DEADLINE: Duration = Duration::from_secs(5);

/// A cluster. Its locks share one connection to each member.
#[derive(Clone, Debug)]
pub struct Etcd {
    pool: Arc<Pool>,
    /// For people: where it is.
    name: Arc<str>,
}

/// How an [`Etcd`] is reached.
#[derive(Clone)]
#[must_use]
pub struct EtcdOptions {
    endpoints: Vec<String>,
    login: Option<(String, Password)>,
    tls: Option<Tls>,
}

/// Asked for at every login.
type Password = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl Etcd {
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How to reach the members at these addresses, `host:port` each.
    pub fn options<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> EtcdOptions {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        EtcdOptions { endpoints, login: None, tls: None }
    }

    /// A cluster over clients that the caller made, best one for each member: a client with several endpoints keeps
    /// sending to a dead one.
    ///
    /// # Errors
    /// `Invalid`: no client was given.
    pub fn from_clients(clients: impl IntoIterator<Item = Client>) -> Result<Self, Error> {
        let clients: Vec<Client> = clients.into_iter().collect();
        if clients.is_empty() {
            return Err(invalid("no client was given"));
        }
        Ok(Self { pool: Arc::new(Pool::of(clients, DEADLINE)), name: "etcd:".into() })
    }

    /// The lock of that name. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: the name cannot be an election's; the text says why.
    pub fn lock(&self, election: &str) -> Result<EtcdLock, Error> {
        let election = ElectionName::parse(election).map_err(invalid)?;
        let name = format!("{}/{election}", self.name);
        Ok(EtcdLock::new(name, election, self.pool.clone()))
    }
}

impl EtcdOptions {
    /// Log in as this user. Without it, a client certificate names the user, or nobody does.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        let password = password.into();
        self.user_with(name, move || Ok(password.clone()))
    }

    /// The same, with a password that is asked for at every login, since it may change meanwhile. An error is a text
    /// without it.
    pub fn user_with(
        mut self,
        name: impl Into<String>,
        password: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.login = Some((name.into(), Arc::new(password)));
        self
    }

    /// Speak TLS, and trust what the system trusts.
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Speak TLS, and trust only what these certificates (PEM) signed.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().ca = Some(pem.into());
        self
    }

    /// Speak TLS, and show this certificate (PEM) with this key (PEM).
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().identity = Some((certificate.into(), key.into()));
        self
    }

    /// The cluster. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: there is no endpoint, or one is not `host:port`; or the certificates or the key cannot be used.
    pub fn build(self) -> Result<Etcd, Error> {
        if let Some(tls) = &self.tls {
            tls.check().map_err(invalid)?;
        }
        if self.endpoints.is_empty() {
            return Err(invalid("no endpoint was given; write etcd://host:2379/name"));
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut urls = Vec::new();
        for endpoint in &self.endpoints {
            check(endpoint)?;
            urls.push(format!("{scheme}://{endpoint}"));
        }
        let word = if self.tls.is_some() { "etcds" } else { "etcd" };
        let name = format!("{word}://{}", self.endpoints.join(","));
        let tls = self.tls.clone();
        let how = How { options: Arc::new(move || self.how()), tls };
        Ok(Etcd { pool: Arc::new(Pool::new(urls, &how, DEADLINE)), name: name.into() })
    }

    fn how(&self) -> Result<ConnectOptions, String> {
        let mut how = ConnectOptions::new()
            .with_keep_alive(PING.0, PING.1)
            .with_keep_alive_while_idle(false)
            .with_connect_timeout(CONNECT)
            // A member that has lost its cluster says so instead of waiting for it.
            .with_require_leader(true);
        if let Some((user, password)) = &self.login {
            how = how.with_user(user, password()?).with_auto_token_refresh(true);
        }
        let Some(tls) = &self.tls else { return Ok(how) };
        let options = TlsOptions::new().timeout(CONNECT);
        let mut options = match &tls.ca {
            Some(pem) => options.ca_certificate(Certificate::from_pem(pem)),
            None => options.with_native_roots(),
        };
        if let Some((certificate, key)) = &tls.identity {
            options = options.identity(Identity::from_pem(certificate, key));
        }
        Ok(how.with_tls(options))
    }
}

fn check(endpoint: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let port = endpoint.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(1..))) && endpoint.chars().all(plain) && !endpoint.starts_with(':') {
        return Ok(());
    }
    Err(invalid(format!("{endpoint:?} is no endpoint; write host:port, such as 10.0.0.1:2379")))
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OPEN, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for good in ["h:2379", "10.0.0.1:1", "[::1]:2379", "a-b.c_d:65535"] {
            assert!(Etcd::options([good]).build().is_ok(), "{good}");
        }
        for bad in ["h", "h:", ":2379", "h:0", "h:65536", "u@h:1", "h:1/x", "h:1?x", "http://h:1"] {
            let error = Etcd::options([bad]).build().unwrap_err();
            assert!(error.to_string().contains("host:port"), "{bad}: {error}");
        }
        assert!(Etcd::options(Vec::<String>::new()).build().is_err());
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        let options = Etcd::options(["h:1"]).user("me", "s3cret");
        let with_key = options.clone().identity("c3rt", "k3y");
        let error = format!("{:?}", with_key.clone().build().unwrap_err());
        let etcd = options.build().unwrap();
        let lock = etcd.lock("jobs").unwrap();
        for shown in [format!("{with_key:?}"), error, format!("{etcd:?}"), format!("{lock:?}")] {
            for secret in ["s3cret", "k3y", "c3rt"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}
