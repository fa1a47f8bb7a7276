//! A real API server, and one of the two objects that a lock may be kept in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leasehold::backend::LockBackend;
use leasehold::stores::k8s::Form;
use leasehold::timing::Clock;
use leasehold::url::LockUrl;
use leasehold::{Error, ErrorKind};
use serde_json::{Value, json};

use super::fixture::{Admin, Kubernetes, NAMESPACE, Options};
use crate::fixture::{Failure, Fixture, Tls, Wish};
use crate::link::Network;
use crate::proxy::Protocol;
use crate::stores::parts::{Administrator, Bytes, Coordinator, Networks, Servers, WatchHistory};
use crate::stores::target::Target;

const OPEN: &str = "open the lock over proxies";

/// Where our own data stands in an object.
const ANNOTATION: &str = "leasehold/record";

/// The API server takes no more than 256 KiB of annotations.
const MOST: usize = 200_000;

/// How many MiB an API server stores of its own, with room for what it stores later.
const OWN: u32 = 8;

/// Locks behind an API server that goes with this value.
#[derive(Debug)]
pub struct KubernetesTarget {
    cluster: Kubernetes,
    form: Form,
}

impl KubernetesTarget {
    /// Starts an API server and its etcd on loopback.
    ///
    /// # Errors
    /// A program is missing, or one does not start.
    pub fn start(form: Form) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        let options = Options { form, ..Options::default() };
        let cluster = runtime.block_on(Kubernetes::start(options))?;
        Ok(Self { cluster, form })
    }

    fn lock_url(&self, lock: &str) -> String {
        self.cluster.url(&self.cluster.endpoints(), &LockUrl::escape(lock))
    }

    async fn admin(&self) -> Result<Admin, String> {
        self.cluster.admin().await.map_err(|failure| failure.to_string())
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let answer = self.admin().await?.do_it(method, path, body).await;
        answer.map_err(|failure| failure.to_string())
    }

    fn objects(&self) -> String {
        match self.form {
            Form::Lease => format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"),
            Form::Endpoints => format!("/api/v1/namespaces/{NAMESPACE}/endpoints"),
        }
    }

    fn object(&self, lock: &str) -> String {
        format!("{}/{lock}", self.objects())
    }
}

#[async_trait]
impl Target for KubernetesTarget {
    fn backend(&self) -> &str {
        match self.form {
            Form::Lease => "k8s",
            Form::Endpoints => "k8s+endpoints",
        }
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        leasehold::connect(&self.lock_url(lock)).await
    }

    fn url(&self, lock: &str) -> Option<String> {
        Some(self.lock_url(lock))
    }

    fn admin(&self) -> Option<&dyn Administrator> {
        Some(self)
    }

    fn bytes(&self) -> Option<&dyn Bytes> {
        Some(self)
    }

    fn watch_history(&self) -> WatchHistory<'_> {
        WatchHistory::UntilRestart
    }

    /// Only a Lease can be coordinated.
    fn coordinator(&self) -> Option<&dyn Coordinator> {
        (self.form == Form::Lease).then_some(self as &dyn Coordinator)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(self)
    }

    fn servers(&self) -> Option<&dyn Servers> {
        Some(self)
    }
}

#[async_trait]
impl Administrator for KubernetesTarget {
    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.ask("DELETE", &self.object(lock), None).await.map(drop)
    }
}

#[async_trait]
impl Bytes for KubernetesTarget {
    /// In the place of our own data, beside a claim that says nothing.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        let bytes = &bytes[..bytes.len().min(MOST)];
        let annotations = json!({ANNOTATION: String::from_utf8_lossy(bytes)});
        let admin = self.admin().await?;
        let got = admin.ask("GET", &self.object(lock), None).await;
        let wrote = match got.map_err(|failure| failure.to_string())? {
            (200, mut object) => {
                object["metadata"]["annotations"] = annotations;
                admin.do_it("PUT", &self.object(lock), Some(&object)).await
            }
            _ => {
                let object = json!({"metadata": {"name": lock, "annotations": annotations}});
                admin.do_it("POST", &self.objects(), Some(&object)).await
            }
        };
        wrote.map(drop).map_err(|failure| failure.to_string())
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let object = self.ask("GET", &self.object(lock), None).await?;
        let text = object["metadata"]["annotations"][ANNOTATION].as_str();
        text.map(str::to_owned).ok_or_else(|| "there is nothing of ours".to_owned())
    }
}

#[async_trait]
impl Coordinator for KubernetesTarget {
    async fn coordinate(&self, lock: &str) -> Result<(), String> {
        let mut object = self.ask("GET", &self.object(lock), None).await?;
        object["spec"]["strategy"] = "OldestEmulationVersion".into();
        let stored = self.ask("PUT", &self.object(lock), Some(&object)).await?;
        match stored["spec"]["strategy"].as_str() {
            Some(_) => Ok(()),
            None => Err("this API server has no coordinator: its feature is off".to_owned()),
        }
    }
}

#[async_trait]
impl Networks for KubernetesTarget {
    async fn open_apart(
        &self,
        lock: &str,
        _: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn LockBackend>, Network), Error> {
        let refused = |error: String| Error::new(ErrorKind::Unavailable, OPEN, error);
        let server = &self.cluster.endpoints()[0];
        let server: SocketAddr = server.parse().map_err(|_no| refused(server.clone()))?;
        // What a request is for cannot be read from outside: it is encrypted.
        let network = Network::start(&[server], Protocol::Bytes, |_| None);
        let network = network.map_err(|error| refused(error.to_string()))?;
        let through: Vec<String> = network.addresses().map(|one| one.to_string()).collect();
        let lock = leasehold::connect(&self.cluster.url(&through, &LockUrl::escape(lock))).await?;
        Ok((lock, network))
    }

    /// By what the record says: the store counts nothing, and holder and suite have one wall clock.
    async fn left(&self, lock: &str) -> Result<Duration, String> {
        let ours: Value =
            serde_json::from_str(&self.show(lock).await?).map_err(|error| error.to_string())?;
        let of = |name: &str| ours["record"][name].as_u64().ok_or_else(|| format!("no {name}"));
        let end = of("renewed_ms")? + of("lease_duration_ms")?;
        let now = leasehold::timing::BootClock::new().wall();
        Ok(Duration::from_millis(end.saturating_sub(now.0)))
    }
}

#[async_trait]
impl Servers for KubernetesTarget {
    /// One API server, however many are wished, unless these are to stand for one another: clients
    /// know one address.
    async fn start(&self, wish: Wish) -> Result<Box<dyn Fixture>, String> {
        let Wish { members, tls, can_cut, disk, quota, moves_clock, one_address, seats } = wish;
        let servers = if can_cut || one_address { members } else { 1 };
        let options = Options {
            servers,
            // Two members are no more than one: without either nothing is stored.
            etcd_members: if servers > 2 { servers } else { 1 },
            can_cut,
            disk,
            quota: quota.map(|mib| mib + OWN),
            moves_clock,
            seats,
            tls,
            form: self.form,
            strangers: tls == Tls::Off,
        };
        let cluster = Kubernetes::start(options).await.map_err(|failure| failure.to_string())?;
        Ok(Box::new(cluster))
    }
}
