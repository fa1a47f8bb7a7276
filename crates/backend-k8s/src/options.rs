//! How a cluster is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use leasehold_core::{Error, ErrorKind};

use crate::form::Form;
use crate::lock::{Api, KubernetesLock};
use crate::name::Place;

const OPEN: &str = "open the lock";

/// How long a connection may take, and how long a request may take to be sent.
const CONNECT: Duration = Duration::from_secs(3);

/// Where the environment of a pod says that the API server is.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// A cluster. Its locks share one pool of connections.
#[derive(Clone)]
pub struct Kubernetes {
    pub(crate) access: Arc<Access>,
}

/// The client, and how another one is made.
pub(crate) struct Access {
    client: RwLock<Client>,
    /// `None`: the caller made the client.
    options: Option<KubernetesOptions>,
    /// The API server knows these credentials no more.
    is_stale: AtomicBool,
}

impl Access {
    fn new(client: Client, options: Option<KubernetesOptions>) -> Arc<Self> {
        Arc::new(Self { client: RwLock::new(client), options, is_stale: AtomicBool::new(false) })
    }

    /// The client. After [`refused`](Self::refused) it comes with the credentials that the files hold then.
    pub(crate) async fn client(&self) -> Client {
        if self.is_stale.swap(false, Ordering::Relaxed)
            && let Some(options) = &self.options
        {
            match options.client().await {
                Ok(client) => *self.client.write().unwrap_or_else(PoisonError::into_inner) = client,
                Err(error) => tracing::warn!(%error, "no other credentials"),
            }
        }
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever rotates a token replaces a file, of which the client looks at its own pace only.
    pub(crate) fn refused(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }
}

/// How a [`Kubernetes`] is reached. Without any of it: as the pod's own service account, or else as the current context
/// of the kubeconfig says.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct KubernetesOptions {
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace();
        f.debug_struct("Kubernetes").field("namespace", &namespace).finish_non_exhaustive()
    }
}

impl KubernetesOptions {
    /// Use this kubeconfig, not `KUBECONFIG` or `~/.kube/config`, nor the pod's service account.
    pub fn kubeconfig(mut self, file: impl Into<PathBuf>) -> Self {
        self.kubeconfig = Some(file.into());
        self
    }

    /// Use this context of the kubeconfig, not the current one, nor the pod's service account.
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.context = Some(name.into());
        self
    }

    /// The cluster. Contacts nobody, a credential plugin of the kubeconfig aside. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: there is no configuration, or it cannot be used; the text says why.
    pub async fn build(self) -> Result<Kubernetes, Error> {
        let client = self.client().await?;
        Ok(Kubernetes { access: Access::new(client, Some(self)) })
    }

    async fn client(&self) -> Result<Client, Error> {
        let mut config = self.config().await?;
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT);
        config.write_timeout = Some(CONNECT);
        // A watch is silent for as long as nothing changes; the election notices what is too long.
        config.read_timeout = None;
        let agent = concat!("leasehold/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        Client::try_from(config).map_err(|error| invalid(told(&error)))
    }

    async fn config(&self) -> Result<Config, Error> {
        let chosen = self.kubeconfig.is_some() || self.context.is_some();
        if !chosen && std::env::var_os(IN_CLUSTER).is_some() {
            return Config::incluster().map_err(|error| {
                invalid(format!(
                    "{IN_CLUSTER} is set, and the pod's service account cannot be used: {}",
                    told(&error)
                ))
            });
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = match &self.kubeconfig {
            Some(file) => match Kubeconfig::read_from(file) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            },
            None => Config::from_kubeconfig(&options).await,
        };
        config.map_err(|error| {
            invalid(format!(
                "no kubeconfig can be used: {}; this is not in a pod either: set KUBECONFIG, or name a file by kubeconfig=",
                told(&error)
            ))
        })
    }
}

impl Kubernetes {
    /// How to reach a cluster.
    pub fn options() -> KubernetesOptions {
        KubernetesOptions::default()
    }

    /// A cluster over a client that the caller made. Let it not retry (`Config::default_retry`): the election does.
    #[must_use]
    pub fn from_client(client: Client) -> Self {
        Self { access: Access::new(client, None) }
    }

    fn namespace(&self) -> String {
        let client = self.access.client.read().unwrap_or_else(PoisonError::into_inner);
        client.default_namespace().to_owned()
    }

    /// The lock of that name, in this namespace or in the client's own. Contacts nobody.
    ///
    /// # Errors
    /// `Invalid`: no object can have such a name; the text says why.
    pub fn lock(
        &self,
        form: Form,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<KubernetesLock, Error> {
        let place = self.place(namespace, name)?;
        if form == Form::Endpoints {
            tracing::warn!(
                lock = %place,
                "the API server deprecates Endpoints since Kubernetes 1.33: move to a Lease once no older client is left"
            );
        }
        Ok(KubernetesLock::new(form, place, self.access.clone()))
    }

    /// The way to all objects of a namespace.
    pub(crate) fn api(&self, form: Form, namespace: Option<&str>) -> Result<Api, Error> {
        let any = self.place(namespace, "any")?;
        Ok(Api::new(form, any, self.access.clone()))
    }

    fn place(&self, namespace: Option<&str>, name: &str) -> Result<Place, Error> {
        let own = self.namespace();
        Place::new(namespace.unwrap_or(&own), name).map_err(invalid)
    }
}

/// What an error says, and its sources, once each.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, OPEN, why.into())
}

#[cfg(test)]
mod tests {
    use leasehold_core::LockBackend;

    use super::*;

    const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: mine}}
- {name: two, context: {cluster: c, user: u}}
clusters:
- {name: c, cluster: {server: 'http://127.0.0.1:1'}}
users:
- {name: u, user: {token: s3cret}}
";

    #[tokio::test]
    async fn a_kubeconfig_names_cluster_and_namespace() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config");
        std::fs::write(&file, KUBECONFIG).unwrap();
        let cluster = Kubernetes::options().kubeconfig(&file).build().await.unwrap();
        let lock = cluster.lock(Form::Lease, None, "nightly").unwrap();
        assert_eq!(lock.name(), "k8s://mine/nightly");
        let other = Kubernetes::options().kubeconfig(&file).context("two").build().await.unwrap();
        let lock = other.lock(Form::Endpoints, None, "nightly").unwrap();
        assert_eq!(lock.name(), "k8s+endpoints://default/nightly");
        assert!(!format!("{cluster:?}{lock:?}{}", lock.name()).contains("s3cret"));
        for (options, says) in [
            (Kubernetes::options().kubeconfig("/no/such/file"), "/no/such/file"),
            (Kubernetes::options().kubeconfig(&file).context("three"), "three"),
        ] {
            let error = options.build().await.unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
