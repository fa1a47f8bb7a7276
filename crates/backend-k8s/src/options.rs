//! How a cluster is reached.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;
use leasehold_core::{Error, ErrorKind};

use crate::access::Access;
use crate::config::Choice;
use crate::form::Form;
use crate::lock::KubernetesLock;
use crate::name::Place;
use crate::reader::Reader;
use crate::shared::Watches;

const OPEN: &str = "open the lock";

/// A cluster. Its locks share one pool of connections, and those of a namespace one watch, if the
/// whole namespace may be watched.
#[derive(Clone)]
pub struct Kubernetes {
    access: Arc<Access>,
    watches: Arc<Watches>,
}

/// How a [`Kubernetes`] is reached. Without any of it: as the current context of `KUBECONFIG` says,
/// else as the pod's own service account, else as `~/.kube/config` says.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct KubernetesOptions {
    choice: Choice,
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
        self.choice.kubeconfig = Some(file.into());
        self
    }

    /// Use this context of the kubeconfig, not the current one, nor the pod's service account.
    pub fn context(mut self, name: impl Into<String>) -> Self {
        self.choice.context = Some(name.into());
        self
    }

    /// The cluster. Contacts nobody and runs nothing: a credential plugin of the kubeconfig is run
    /// when the first request needs it. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: there is no configuration, or it cannot be used; the text says why, and nothing
    /// of what was read. `Unavailable`: its files could not be read in time.
    pub async fn build(self) -> Result<Kubernetes, Error> {
        let access = Access::found(self.choice).await.map_err(|failure| match failure.kind {
            ErrorKind::Invalid => {
                let why = failure.text;
                invalid(format!("no configuration of Kubernetes can be used: {why}"))
                    .with_cure("set KUBECONFIG, or name a file by kubeconfig=")
            }
            _ => failure.during(OPEN),
        })?;
        Ok(Kubernetes { access, watches: Arc::default() })
    }
}

impl Kubernetes {
    /// How to reach a cluster.
    pub fn options() -> KubernetesOptions {
        KubernetesOptions::default()
    }

    /// A cluster over a client that the caller made. Let it not retry (`Config::default_retry`):
    /// the election does.
    #[must_use]
    pub fn from_client(client: Client) -> Self {
        Self { access: Access::given(client), watches: Arc::default() }
    }

    fn namespace(&self) -> &str {
        self.access.namespace()
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
                "the API server deprecates Endpoints since Kubernetes 1.33: move to a Lease once \
                 no older client is left"
            );
        }
        let reader = Reader::new(form, place, self.access.clone());
        Ok(KubernetesLock::new(reader, self.watches.clone()))
    }

    /// The way to all objects of a namespace.
    pub(crate) fn reader(&self, form: Form, namespace: Option<&str>) -> Result<Reader, Error> {
        let any = self.place(namespace, "any")?;
        Ok(Reader::new(form, any, self.access.clone()))
    }

    fn place(&self, namespace: Option<&str>, name: &str) -> Result<Place, Error> {
        let own = self.namespace();
        Place::new(namespace.unwrap_or(own), name).map_err(invalid)
    }
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
