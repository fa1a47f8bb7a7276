//! A real etcd cluster of three members.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold::etcd::etcd_client::{self, Client};
use leasehold::etcd::etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};
use leasehold::{Clock, Error, LockBackend, Token};

use super::url::escape;
use super::{Guarded, Target};
use crate::fixture::etcd::{Etcd, Options};
use crate::fixture::{Failure, Fixture, Wish};

/// Locks in a cluster that goes with this value.
#[derive(Debug)]
pub struct EtcdTarget {
    cluster: Etcd,
}

impl EtcdTarget {
    /// Starts three members on loopback.
    ///
    /// # Errors
    /// A program is missing, or the cluster does not start.
    pub fn start() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        let cluster = runtime.block_on(Etcd::start(Options::default()))?;
        Ok(Self { cluster })
    }

    fn lock_url(&self, lock: &str) -> String {
        self.cluster.url(&self.cluster.endpoints(), &escape(lock))
    }

    async fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        self.cluster.etcdctl(arguments).await.map_err(|failure| failure.to_string())
    }
}

#[async_trait]
impl Target for EtcdTarget {
    fn backend(&self) -> &str {
        "etcd"
    }

    fn by_server(&self) -> bool {
        true
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        leasehold::connect(&self.lock_url(lock)).await
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(self.lock_url(lock))
    }

    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.etcdctl(&["del", "--prefix", &format!("{lock}/")]).await.map(drop)
    }

    async fn forget_history(&self, lock: &str) -> Result<(), String> {
        let get = async {
            let mut client = Client::connect(self.cluster.endpoints(), None).await?;
            let got = client.get(format!("{lock}/"), None).await?;
            let revision = got.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(revision, None).await
        };
        get.await.map(drop).map_err(|error: etcd_client::Error| error.to_string())
    }

    /// Without a lease, as a program that knows nothing of elections does.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        self.delete(lock).await?;
        let put = async {
            let mut client = Client::connect(self.cluster.endpoints(), None).await?;
            client.put(format!("{lock}/foreign"), bytes, None).await
        };
        put.await.map(drop).map_err(|error: etcd_client::Error| error.to_string())
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let get = async {
            let mut client = Client::connect(self.cluster.endpoints(), None).await?;
            let options = etcd_client::GetOptions::new().with_prefix();
            client.get(format!("{lock}/"), Some(options)).await
        };
        let got = get.await.map_err(|error: etcd_client::Error| error.to_string())?;
        let first = got.kvs().first().ok_or("there is nothing")?;
        Ok(String::from_utf8_lossy(first.value()).into_owned())
    }

    fn has_servers(&self) -> bool {
        true
    }

    async fn servers(&self, wish: Wish) -> Result<Box<dyn Fixture>, String> {
        let options = Options { members: wish.members, tls: wish.tls, ..Options::default() };
        let cluster = Etcd::start(options).await.map_err(|failure| failure.to_string())?;
        Ok(Box::new(cluster))
    }

    async fn guarded(&self, lock: &str, token: Token) -> Result<Box<dyn Guarded>, String> {
        let (prefix, data) = (format!("{lock}/"), format!("{lock}-data"));
        let created = i64::try_from(token).map_err(|error| error.to_string())?;
        let find = async {
            let mut client = Client::connect(self.cluster.endpoints(), None).await?;
            let got = client.get(prefix.as_str(), Some(GetOptions::new().with_prefix())).await?;
            let key = got.kvs().iter().find(|pair| pair.create_revision() == created);
            Ok((key.map(|pair| pair.key().to_vec()), client))
        };
        let (key, client) = find.await.map_err(|error: etcd_client::Error| error.to_string())?;
        let key = key.ok_or_else(|| format!("no key of {lock} was created at {created}"))?;
        Ok(Box::new(Transaction { client, prefix, key, created, data }))
    }
}

/// The guard of docs/ETCD.md: this key, created at this revision, is there and is the oldest.
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
