//! How a cluster is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use leasehold_backend::check_endpoint;
use leasehold_backend::tls::TlsMaterial;
use leasehold_core::{Error, ErrorKind, printable};

use crate::election::ElectionName;
use crate::lock::EtcdLock;
use crate::pool::{How, Login, Pool};

const OPEN: &str = "open the lock";

/// HTTP/2 pings on a connection that has a stream, and how long an answer may take. The server
/// refuses pings that come more often than every 5 s, or on a connection without streams.
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
    login: Option<leasehold_backend::Login>,
    tls: Option<TlsMaterial>,
}

/// Endpoints were not looked at yet: one may hold a login by mistake.
impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.endpoints.len();
        f.debug_struct("EtcdOptions").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

impl Etcd {
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// How to reach the members at these addresses, `host:port` each.
    pub fn options<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> EtcdOptions {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        EtcdOptions { endpoints, login: None, tls: None }
    }

    /// A cluster over clients that the caller made, best one for each member: a client with several
    /// endpoints keeps sending to a dead one.
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
        let shown = election.to_string();
        let name = format!("{}/{}", self.name, printable(&shown).at_most(usize::MAX));
        Ok(EtcdLock::new(name, election, self.pool.clone()))
    }
}

impl EtcdOptions {
    /// Log in as this user. Without it, a client certificate names the user, or nobody does.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.login(leasehold_backend::Login::new(name, password))
    }

    /// The same, with a password that is asked for at every login, since it may change meanwhile.
    /// An error is a text without it. It is asked on a thread of its own, and may block.
    pub fn user_with(
        self,
        name: impl Into<String>,
        password: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.login(leasehold_backend::Login::asking(name, password))
    }

    /// The same, from wherever a lock URL says that the password is.
    pub fn login(mut self, login: leasehold_backend::Login) -> Self {
        self.login = Some(login);
        self
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

    /// Speak TLS with these certificates.
    pub fn tls_with(mut self, material: TlsMaterial) -> Self {
        self.tls = Some(material);
        self
    }

    /// The cluster. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: there is no endpoint, or one is not `host:port`; or the certificates or the key
    /// cannot be used.
    pub fn build(self) -> Result<Etcd, Error> {
        if let Some(tls) = &self.tls {
            tls.check().map_err(|failure| failure.during(OPEN))?;
        }
        if self.endpoints.is_empty() {
            let error = invalid("no endpoint was given");
            return Err(error.with_cure("write etcd://host:2379/name"));
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut urls = Vec::new();
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            check_endpoint(endpoint).map_err(|why| no_endpoint(number + 1, why))?;
            urls.push(format!("{scheme}://{endpoint}"));
        }
        let word = if self.tls.is_some() { "etcds" } else { "etcd" };
        let name = format!("{word}://{}", self.endpoints.join(","));
        let options = connect_options(self.tls.as_ref());
        let how = How { options, login: self.login.map(Login::new), tls: self.tls };
        Ok(Etcd { pool: Arc::new(Pool::new(urls, &how, DEADLINE)), name: name.into() })
    }
}

/// Without a login.
fn connect_options(tls: Option<&TlsMaterial>) -> ConnectOptions {
    let how = ConnectOptions::new()
        .with_keep_alive(PING.0, PING.1)
        .with_keep_alive_while_idle(false)
        .with_connect_timeout(CONNECT)
        // A member that has lost its cluster says so instead of waiting for it.
        .with_require_leader(true);
    let Some(tls) = tls else { return how };
    let options = TlsOptions::new().timeout(CONNECT);
    let mut options = match tls.ca() {
        Some(pem) => options.ca_certificate(Certificate::from_pem(pem)),
        None => options.with_native_roots(),
    };
    if let Some((certificate, key)) = tls.identity() {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    how.with_tls(options)
}

/// Nothing of it is repeated: it may be a login whose '@' was written as %40, or was forgotten.
fn no_endpoint(number: usize, why: &str) -> Error {
    invalid(format!("endpoint {number} is not a valid endpoint: {why}")).with_cure(
        "write host:port, such as 10.0.0.1:2379 or [::1]:2379, and a login before the first host, \
         with a plain '@' after it",
    )
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
        for (bad, says) in [
            ("h", "no port"),
            ("h:", "not a number"),
            (":2379", "neither a name"),
            ("h:0", "not a number"),
            ("h:65536", "not a number"),
            ("h:+1", "not a number"),
            ("u@h:1", "neither a name"),
            ("h:1/x", "not a number"),
            ("h:1?x", "not a number"),
            ("http://h:1", "neither a name"),
            ("[::1", "no ']' closes"),
            ("[::1]", "has no port"),
            ("[::1:2379", "no ']' closes"),
            ("::1]:2379", "belongs in [ and ]"),
            ("::1:2379", "belongs in [ and ]"),
            ("[h]:1", "neither a name"),
        ] {
            let error = Etcd::options([bad]).build().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("host:port"), "{bad}: {error}");
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
        let shown = [format!("{with_key:?}"), error, format!("{etcd:?}"), format!("{lock:?}")];
        let mistaken = ["u:s3cret", "u:s3cret%40h", "s3cret%40h:1", "s3cret@h:1", "u:s3cret@h:1"];
        let mistaken = mistaken.into_iter().flat_map(|endpoint| {
            let options = Etcd::options(["h:1", endpoint]);
            let debug = format!("{options:?}");
            let error = options.build().unwrap_err();
            [debug, format!("{error} {error:?}")]
        });
        for shown in shown.into_iter().chain(mistaken) {
            for secret in ["s3cret", "k3y", "c3rt"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }

    proptest::proptest! {
        /// What is wrong with an endpoint is told without it.
        #[test]
        fn no_endpoint_is_repeated(
            secret in "[A-Z]{8}",
            before in "[a-z:@%/\\[\\]]{0,5}",
            after in "[a-z:@%/0-9]{0,5}",
        ) {
            let endpoint = format!("{before}{secret}{after}");
            if let Err(error) = Etcd::options([endpoint]).build() {
                let shown = format!("{error} {error:?}");
                proptest::prop_assert!(!shown.contains(&secret));
            }
        }

        /// What is taken can be connected to, and is spelled as given.
        #[test]
        fn any_endpoint_is_taken_or_refused(endpoint: String) {
            if let Ok(etcd) = Etcd::options([endpoint.as_str()]).build() {
                let uri = format!("http://{endpoint}").parse::<tonic::codegen::http::Uri>();
                let uri = uri.unwrap();
                proptest::prop_assert!(uri.port_u16().is_some_and(|port| port > 0));
                let shown = format!("{etcd:?}");
                proptest::prop_assert!(shown.contains(&endpoint));
            }
        }
    }
}
