//! A real etcd cluster of three members.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use leasehold::etcd::etcd_client::{
    self, Certificate, Client, ConnectOptions, Identity, TlsOptions,
};
use leasehold::{Clock, Error, ErrorKind, LockBackend};
use tokio::sync::Mutex;

use super::Target;
use super::url::escape;
use crate::fixture::certificates::{Pair, Validity};
use crate::fixture::etcd::{Etcd, Options, Tls};
use crate::fixture::{Access, Failure, Fixture, User};

/// Who contends with the least permission.
const CANDIDATE: &str = "candidate";

/// Locks in a cluster that goes with this value.
#[derive(Debug)]
pub struct EtcdTarget {
    cluster: Etcd,
    least: Option<Least>,
}

/// A user who may read and write exactly the prefixes of the elections that cases use. A certificate is its login: a
/// password would be void after every grant.
#[derive(Debug)]
struct Least {
    login: Pair,
    administrator: Pair,
    granted: Mutex<BTreeSet<String>>,
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
        Ok(Self { cluster, least: None })
    }

    /// The same, where candidates have no more permission than they need.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_least_permission() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the kernel gives an event queue");
        runtime.block_on(async {
            let extra = vec!["--bcrypt-cost=4".to_owned()];
            let options = Options { tls: Tls::Mutual, extra, ..Options::default() };
            let mut cluster = Etcd::start(options).await?;
            let user = User { name: CANDIDATE.to_owned(), password: "unused".to_owned() };
            cluster.grant(&user, "of-no-case", Access::ReadWrite).await?.required()?;
            let authority = cluster.authority().expect("it speaks TLS");
            let [login, administrator] =
                [CANDIDATE, "root"].map(|name| authority.client(name, Validity::Valid));
            let (login, administrator) = (login?, administrator?);
            let granted = Mutex::default();
            Ok(Self { cluster, least: Some(Least { login, administrator, granted }) })
        })
    }

    fn lock_url(&self, lock: &str) -> String {
        let Some(least) = &self.least else {
            return self.cluster.url(&self.cluster.endpoints(), &escape(lock));
        };
        format!(
            "etcds://{}/{}?ca={}&cert={}&key={}",
            self.cluster.endpoints().join(","),
            escape(lock),
            self.authority(),
            least.login.certificate.display(),
            least.login.key.display()
        )
    }

    fn authority(&self) -> std::path::Display<'_> {
        self.cluster.authority().expect("it speaks TLS").certificate().display()
    }

    /// Lets the candidates of this lock read and write its prefix, and nothing else.
    async fn grant(&self, lock: &str) -> Result<(), String> {
        let Some(least) = &self.least else { return Ok(()) };
        let mut granted = least.granted.lock().await;
        if !granted.contains(lock) {
            let (role, prefix) = (format!("{CANDIDATE}-role"), format!("{lock}/"));
            let words = ["role", "grant-permission", &role, "readwrite", &prefix, "--prefix=true"];
            self.etcdctl(&words).await?;
            granted.insert(lock.to_owned());
        }
        Ok(())
    }

    /// A client that may do everything.
    async fn administrator(&self) -> Result<Client, etcd_client::Error> {
        let how = self.least.as_ref().map(|least| {
            let pem = |path: &std::path::Path| fs::read(path).expect("it was written at the start");
            let authority = self.cluster.authority().expect("it speaks TLS");
            let Pair { certificate, key } = &least.administrator;
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(pem(authority.certificate())))
                .identity(Identity::from_pem(pem(certificate), pem(key)));
            ConnectOptions::new().with_tls(tls)
        });
        let scheme = if how.is_some() { "https" } else { "http" };
        let endpoints = self.cluster.endpoints();
        let endpoints: Vec<String> =
            endpoints.iter().map(|endpoint| format!("{scheme}://{endpoint}")).collect();
        Client::connect(endpoints, how).await
    }

    async fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        patiently(|| async {
            self.cluster.etcdctl(arguments).await.map_err(|failure| failure.to_string())
        })
        .await
    }

    /// Asks as somebody who may do everything.
    async fn ask<T, F>(&self, request: impl Fn(Client) -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let asking = || async { request(self.administrator().await?).await };
        patiently(|| async { asking().await.map_err(|error| error.to_string()) }).await
    }
}

/// Whoever is under way while a permission is granted is refused, and asks again.
async fn patiently<T, F>(request: impl Fn() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let mut answer = request().await;
    for _ in 0..20 {
        match &answer {
            Err(why) if why.contains("revision of auth store is old") => answer = request().await,
            _ => break,
        }
    }
    answer
}

#[async_trait]
impl Target for EtcdTarget {
    fn backend(&self) -> &str {
        if self.least.is_some() { "etcd-least" } else { "etcd" }
    }

    fn by_server(&self) -> bool {
        true
    }

    async fn open(&self, lock: &str, _: &Arc<dyn Clock>) -> Result<Arc<dyn LockBackend>, Error> {
        let opened = leasehold::connect(&self.lock_url(lock)).await?;
        self.grant(lock)
            .await
            .map_err(|why| Error::new(ErrorKind::Unavailable, "grant permission", why))?;
        Ok(opened)
    }

    fn url(&self, lock: &str) -> Option<String> {
        // Nobody can wait here, and a runtime may be running.
        std::thread::scope(|scope| {
            let granting = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("the kernel gives an event queue").block_on(self.grant(lock))
            });
            granting.join().expect("it does not panic").ok()
        })?;
        Some(self.lock_url(lock))
    }

    async fn delete(&self, lock: &str) -> Result<(), String> {
        self.etcdctl(&["del", "--prefix", &format!("{lock}/")]).await.map(drop)
    }

    async fn forget_history(&self, lock: &str) -> Result<(), String> {
        let forget = |mut client: Client| async move {
            let got = client.get(format!("{lock}/"), None).await?;
            let revision = got.header().map_or(0, etcd_client::ResponseHeader::revision);
            client.compact(revision, None).await
        };
        self.ask(forget).await.map(drop)
    }

    /// Without a lease, as a program that knows nothing of elections does.
    async fn overwrite(&self, lock: &str, bytes: &[u8]) -> Result<(), String> {
        self.delete(lock).await?;
        let put = |mut client: Client| async move {
            client.put(format!("{lock}/foreign"), bytes, None).await
        };
        self.ask(put).await.map(drop)
    }

    async fn show(&self, lock: &str) -> Result<String, String> {
        let get = |mut client: Client| async move {
            let options = etcd_client::GetOptions::new().with_prefix();
            client.get(format!("{lock}/"), Some(options)).await
        };
        let got = self.ask(get).await?;
        let first = got.kvs().first().ok_or("there is nothing")?;
        Ok(String::from_utf8_lossy(first.value()).into_owned())
    }
}
