//! A real etcd cluster of three members.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::stores::etcd::etcd_client::{self, Client};
use leasehold::stores::etcd::etcd_client::{
    Certificate, Compare, CompareOp, ConnectOptions, GetOptions, Identity, Permission, PutOptions,
    TlsOptions, Txn, TxnOp, UserAddOptions,
};
use leasehold::timing::Clock;
use leasehold::url::LockUrl;
use leasehold::{Error, ErrorKind, Token};

use super::fixture::{self, Etcd, Options};
use super::wire::on_the_wire;
use crate::fixture::certificates::Validity;
use crate::fixture::{Access, Failure, Fixture, Login, Tls, User, Users, Wish};
use crate::link::Network;
use crate::proxy::Protocol;
use crate::stores::parts::{
    Administrator, Bytes, Compaction, Guard, Guarded, Networks, Servers, WatchHistory,
};
use crate::stores::target::Target;

/// Locks in a cluster that goes with this value.
#[derive(Debug)]
pub struct EtcdTarget {
    cluster: Etcd,
    /// Everybody is somebody who may use one lock and nothing else.
    least: Option<Least>,
}

/// Elections that are there before the first case, each with a user whose role has read-write on
/// exactly its keys: a change of anybody's rights fails what others have in flight. A certificate
/// names the user.
#[derive(Debug)]
struct Least {
    logins: Vec<Login>,
    /// Which election stands for a lock of that name.
    known: Mutex<HashMap<String, usize>>,
}

/// More locks than a run of the fast tier opens.
const ELECTIONS: usize = 250;

impl EtcdTarget {
    /// Starts three members on loopback.
    ///
    /// # Errors
    /// A program is missing, or the cluster does not start.
    pub fn start() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        let cluster = runtime.block_on(Etcd::start(Options::default()))?;
        Ok(Self { cluster, least: None })
    }

    /// The same, where nobody may do more than a candidate must.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_least() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        runtime.block_on(async {
            let cluster = Etcd::start(Options { tls: Tls::Mutual, ..Options::default() }).await?;
            // From then on strangers may do nothing.
            let nobody = User { name: "nobody".to_owned(), password: "of-a-test".to_owned() };
            cluster.grant(&nobody, "nothing", Access::Read).await?;
            let mut target = Self { cluster, least: None };
            let logins = target.logins().await?;
            target.least = Some(Least { logins, known: Mutex::default() });
            Ok(target)
        })
    }

    async fn logins(&self) -> Result<Vec<Login>, Failure> {
        let failed = |error: etcd_client::Error| Failure::new(format!("no users: {error}"));
        let admin = self.admin().await.map_err(failed)?;
        let mut logins = Vec::new();
        for number in 0..ELECTIONS {
            let user = format!("user{number}");
            grant(&admin, &user, &named(number)).await.map_err(failed)?;
            let pair = Some(self.cluster.issue(&user, Validity::Valid)?);
            logins.push(Login { pair, ..self.cluster.login() });
        }
        Ok(logins)
    }

    /// The election of a lock, and who may use it.
    fn election(&self, lock: &str) -> Result<(String, Login), String> {
        let Some(least) = &self.least else { return Ok((lock.to_owned(), self.cluster.login())) };
        let mut known = least.known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.len();
        let number = *known.entry(lock.to_owned()).or_insert(next);
        let login = least.logins.get(number).cloned();
        Ok((named(number), login.ok_or_else(|| format!("there are {ELECTIONS} elections"))?))
    }

    fn lock_url(&self, lock: &str) -> Result<String, String> {
        let (election, login) = self.election(lock)?;
        self.cluster
            .url_as(&LockUrl::escape(&election), &login)
            .map_err(|failure| failure.to_string())
    }

    /// What begins the keys of a lock.
    fn prefix(&self, lock: &str) -> Result<String, String> {
        Ok(format!("{}/", self.election(lock)?.0))
    }

    /// The administrator's own client.
    async fn admin(&self) -> Result<Client, etcd_client::Error> {
        let login = self.cluster.login();
        let read = |path: &Path| fs::read(path).map_err(etcd_client::Error::IoError);
        let scheme = if login.tls { "https" } else { "http" };
        let endpoints = self.cluster.endpoints();
        let endpoints: Vec<String> =
            endpoints.iter().map(|one| format!("{scheme}://{one}")).collect();
        let (Some(ca), Some(pair)) = (&login.ca, &login.pair) else {
            return Client::connect(endpoints, None).await;
        };
        let identity = Identity::from_pem(read(&pair.certificate)?, read(&pair.key)?);
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
        let options = ConnectOptions::new().with_tls(tls.identity(identity));
        Client::connect(endpoints, Some(options)).await
    }

    async fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        self.cluster.etcdctl(arguments).await.map_err(|failure| failure.to_string())
    }
}

#[async_trait]
impl Target for EtcdTarget {
    fn backend(&self) -> &str {
        if self.least.is_some() { "etcd-least" } else { "etcd" }
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        let plain = self.cluster.url(&self.cluster.endpoints(), &LockUrl::escape(lock));
        // What is no name of a lock is refused before anybody is asked.
        leasehold::connect(&plain).await?;
        let refused = |why| Error::new(ErrorKind::Unavailable, "find its user", why);
        let url = self.lock_url(lock).map_err(refused)?;
        leasehold::connect(&url).await
    }

    async fn open_many(
        &self,
        locks: &[String],
        clock: &Arc<dyn Clock>,
    ) -> Result<Vec<Arc<dyn LockBackend>>, Error> {
        let mut opened: Vec<Arc<dyn LockBackend>> = Vec::new();
        let shared = leasehold::stores::etcd::Etcd::options(self.cluster.endpoints()).build()?;
        for lock in locks {
            opened.push(match self.least {
                Some(_) => self.open(lock, clock).await?,
                None => Arc::new(shared.lock(lock)?),
            });
        }
        Ok(opened)
    }

    fn url(&self, lock: &str) -> Option<String> {
        self.lock_url(lock).ok()
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }

    fn watch_history(&self) -> WatchHistory<'_> {
        WatchHistory::Compacted(self)
    }

    fn guard(&self) -> Option<&dyn Guard> {
        Some(self)
    }

    /// The proxies read no TLS, which everybody speaks who may use one lock only.
    fn networks(&self) -> Option<&dyn Networks> {
        self.least.is_none().then_some(self as &dyn Networks)
    }

    fn servers(&self) -> Option<&dyn Servers> {
        Some(self)
    }
}

#[async_trait]
impl Administrator for EtcdTarget {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.etcdctl(&["del", "--prefix", &self.prefix(lock)?]).await.map(drop)
    }
}

#[async_trait]
impl Bytes for EtcdTarget {
    /// Without a lease, as a program that knows nothing of elections does.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        self.delete(lock).await?;
        let prefix = self.prefix(lock)?;
        let put = async {
            let mut client = self.admin().await?;
            client.put(format!("{prefix}foreign"), bytes, None).await
        };
        put.await.map(drop).map_err(|error: etcd_client::Error| error.to_string())
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let prefix = self.prefix(lock)?;
        let get = async {
            let mut client = self.admin().await?;
            let options = etcd_client::GetOptions::new().with_prefix();
            client.get(prefix.as_str(), Some(options)).await
        };
        let got = get.await.map_err(|error: etcd_client::Error| error.to_string())?;
        let first = got.kvs().first().ok_or("there is nothing")?;
        Ok(String::from_utf8_lossy(first.value()).into_owned())
    }
}

#[async_trait]
impl Compaction for EtcdTarget {
    async fn compact(&self, lock: &str) -> Result<(), String> {
        let prefix = self.prefix(lock)?;
        let get = async {
            let mut client = self.admin().await?;
            let got = client.get(prefix.as_str(), None).await?;
            let revision = got.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(revision, None).await
        };
        get.await.map(drop).map_err(|error: etcd_client::Error| error.to_string())
    }
}

#[async_trait]
impl Networks for EtcdTarget {
    async fn open_apart(
        &self,
        lock: &str,
        _: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn LockBackend>, Network), Error> {
        let servers: Vec<SocketAddr> =
            self.cluster.endpoints().iter().filter_map(|one| one.parse().ok()).collect();
        let network = Network::start(&servers, Protocol::Http2, on_the_wire);
        let network = network.map_err(|error| Error::new(ErrorKind::Unavailable, OPEN, error))?;
        let endpoints: Vec<String> = network.addresses().map(|one| one.to_string()).collect();
        let lock =
            leasehold::connect(&self.cluster.url(&endpoints, &LockUrl::escape(lock))).await?;
        Ok((lock, network))
    }

    async fn left(&self, lock: &str) -> Result<Duration, String> {
        let prefix = self.prefix(lock)?;
        let left = async {
            let mut client = self.admin().await?;
            let options = GetOptions::new().with_prefix();
            let got = client.get(prefix.as_str(), Some(options)).await?;
            let lease = got.kvs().first().map_or(0, etcd_client::KeyValue::lease);
            Ok(client.lease_client().time_to_live(lease, None).await?.ttl())
        };
        let left = left.await.map_err(|error: etcd_client::Error| error.to_string())?;
        Ok(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

#[async_trait]
impl Servers for EtcdTarget {
    async fn start(&self, wish: Wish) -> Result<Box<dyn Fixture>, String> {
        let Wish { members, tls, can_cut, disk, quota, moves_clock, one_address: _, seats: _ } =
            wish;
        let extra = quota.map(fixture::quota).into_iter().collect();
        let options = Options { members, tls, can_cut, disk, moves_clock, extra };
        let cluster = Etcd::start(options).await.map_err(|failure| failure.to_string())?;
        Ok(Box::new(cluster))
    }
}

#[async_trait]
impl Guard for EtcdTarget {
    async fn guarded(&self, lock: &str, token: Token) -> Result<Box<dyn Guarded>, String> {
        let (prefix, data) = (self.prefix(lock)?, format!("{lock}-data"));
        let created = i64::try_from(token).map_err(|error| error.to_string())?;
        let find = async {
            let mut client = self.admin().await?;
            let got = client.get(prefix.as_str(), Some(GetOptions::new().with_prefix())).await?;
            let key = got.kvs().iter().find(|pair| pair.create_revision() == created);
            Ok((key.map(|pair| pair.key().to_vec()), client))
        };
        let (key, client) = find.await.map_err(|error: etcd_client::Error| error.to_string())?;
        let key = key.ok_or_else(|| format!("no key of {lock} was created at {created}"))?;
        Ok(Box::new(Transaction { client, prefix, key, created, data }))
    }
}

fn named(number: usize) -> String {
    format!("least/{number}")
}

/// What docs/ETCD.md says a candidate needs, and nothing else.
async fn grant(admin: &Client, user: &str, election: &str) -> Result<(), etcd_client::Error> {
    let mut admin = admin.auth_client();
    let keys = Permission::read_write(format!("{election}/")).with_prefix();
    admin.role_add(user).await?;
    admin.role_grant_permission(user, keys).await?;
    admin.user_add(user, "", Some(UserAddOptions::new().with_no_pwd())).await?;
    admin.user_grant_role(user, user).await.map(drop)
}

const OPEN: &str = "open the lock over proxies";

/// The guard that docs/ETCD.md tells of: this key, created at this revision, is there and is the
/// oldest.
struct Transaction {
    client: Client,
    prefix: String,
    key: Vec<u8>,
    created: i64,
    data: String,
}

#[async_trait]
impl Guarded for Transaction {
    async fn write(&self, value: &str) -> Result<bool, String> {
        let oldest =
            Compare::create_revision(self.prefix.as_str(), CompareOp::Greater, self.created - 1);
        let txn = Txn::new()
            .when([
                Compare::create_revision(self.key.as_slice(), CompareOp::Equal, self.created),
                oldest.with_prefix(),
            ])
            .and_then([TxnOp::put(self.data.as_str(), value, None::<PutOptions>)]);
        let answer = self.client.kv_client().txn(txn).await;
        answer.map(|answer| answer.succeeded()).map_err(|error| error.to_string())
    }

    async fn read(&self) -> Result<String, String> {
        let got = self.client.kv_client().get(self.data.as_str(), None).await;
        let got = got.map_err(|error| error.to_string())?;
        let first = got.kvs().first().ok_or("there is nothing")?;
        Ok(String::from_utf8_lossy(first.value()).into_owned())
    }
}
