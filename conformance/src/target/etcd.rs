//! A real etcd cluster of three members.

use std::sync::Arc;

use async_trait::async_trait;
use leasehold::etcd::etcd_client::{self, Client};
use leasehold::{Clock, Error, LockBackend};

use super::Target;
use super::url::escape;
use crate::fixture::etcd::{Etcd, Options};
use crate::fixture::{Failure, Fixture};

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
}
