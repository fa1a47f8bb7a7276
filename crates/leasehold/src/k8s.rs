//! The lock behind a Kubernetes API server.

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{Capabilities, Error, LockBackend, Token};
pub use leasehold_k8s::*;

use crate::lock_url::{LockUrl, for_one_lock, invalid};
use crate::opened::{Listed, Opened, StoreUrl};

const PARAMETERS: &[&str] = &["context", "kubeconfig", "token_floor", "peer_lease_duration"];

/// A `k8s:` or `k8s+endpoints:` URL, parsed: `k8s://namespace/name`, or `k8s:///name` in the
/// namespace of the service account or of the kubeconfig's context.
///
/// | parameter | |
/// |---|---|
/// | `context` | this context of the kubeconfig, not the current one |
/// | `kubeconfig` | this file, not `KUBECONFIG` or `~/.kube/config` |
/// | `token_floor` | tokens up to this may have been used; they are minted above |
/// | `peer_lease_duration` | the seconds that peers wait whose client-go is 0.26 or older |
///
/// Without `context`, `kubeconfig` and `KUBECONFIG` a pod uses its service account.
#[derive(Clone, Debug)]
pub struct KubernetesUrl {
    scheme: String,
    form: Form,
    namespace: Option<String>,
    name: String,
    cluster: KubernetesOptions,
    token_floor: Option<Token>,
    peer_lease_duration: Option<Duration>,
}

impl TryFrom<&LockUrl> for KubernetesUrl {
    type Error = Error;

    /// Fails with `Invalid` for an unknown or malformed parameter, or a host.
    fn try_from(url: &LockUrl) -> Result<Self, Error> {
        url.allow_parameters(PARAMETERS)?;
        let mut cluster = Kubernetes::options();
        if let Some(file) = url.parameter("kubeconfig") {
            cluster = cluster.kubeconfig(file);
        }
        if let Some(context) = url.parameter("context") {
            cluster = cluster.context(context);
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            form: if url.scheme() == "k8s+endpoints" { Form::Endpoints } else { Form::Lease },
            namespace: namespace(url)?.map(str::to_owned),
            name: url.name()?,
            cluster,
            token_floor: url.token_floor()?,
            peer_lease_duration: url.parameter("peer_lease_duration").map(seconds).transpose()?,
        })
    }
}

impl KubernetesUrl {
    /// Opens the lock. Contacts nobody, and runs no credential plugin: the first request does. Call
    /// it inside a tokio runtime.
    ///
    /// # Errors
    /// `Invalid`: no object can have such a name, or there is no configuration that can be used.
    pub async fn lock(self) -> Result<KubernetesLock, Error> {
        let cluster = self.cluster.clone().build().await?;
        self.lock_in(&cluster)
    }

    fn lock_in(self, cluster: &Kubernetes) -> Result<KubernetesLock, Error> {
        let mut lock = cluster.lock(self.form, self.namespace.as_deref(), &self.name)?;
        if let Some(floor) = self.token_floor {
            lock = lock.token_floor(floor)?;
        }
        if let Some(duration) = self.peer_lease_duration {
            lock = lock.peer_lease_duration(duration);
        }
        Ok(lock)
    }
}

#[async_trait]
impl StoreUrl for KubernetesUrl {
    async fn open(self: Box<Self>) -> Result<Opened, Error> {
        Ok(Opened::new(self.lock().await?))
    }

    /// As in no cluster at all: needs no configuration.
    async fn imagined(self: Box<Self>) -> Result<(String, Capabilities), Error> {
        // Only the configuration knows the namespace of a URL that names none.
        let own = self.namespace.is_none().then(|| format!("{}:///{}", self.scheme, self.name));
        let nowhere = kube::Config::new("http://localhost".parse().expect("this is a URL"));
        let client = kube::Client::try_from(nowhere).map_err(|error| invalid(error.to_string()))?;
        let lock = self.lock_in(&Kubernetes::from_client(client))?;
        Ok((own.unwrap_or_else(|| lock.name().to_owned()), lock.capabilities()))
    }

    async fn list(self: Box<Self>) -> Result<Vec<Listed>, Error> {
        for_one_lock("token_floor", self.token_floor.is_some())?;
        for_one_lock("peer_lease_duration", self.peer_lease_duration.is_some())?;
        if !self.name.is_empty() {
            return Err(invalid(format!(
                "it names one lock: write {}://namespace/ to list, or use status",
                self.scheme
            )));
        }
        let cluster = self.cluster.build().await?;
        let found = cluster.locks(self.form, self.namespace.as_deref()).await?;
        let listed = |(name, observed)| Listed { name, observed: Ok(observed) };
        Ok(found.into_iter().map(listed).collect())
    }

    async fn remove_scratch(self: Box<Self>) -> Result<(), Error> {
        self.lock().await?.remove_scratch().await
    }
}

/// `None`: that of the kubeconfig's context, or of the pod.
fn namespace(url: &LockUrl) -> Result<Option<&str>, Error> {
    let Some(namespace) = url.authority() else {
        return Err(invalid(format!(
            "write {}://namespace/name, or three slashes for the namespace of your own",
            url.scheme()
        )));
    };
    if namespace.contains(['@', ':']) {
        return Err(invalid(
            "it names a namespace and no host or user: the kubeconfig, or the pod's service \
             account, says where and who"
                .to_owned(),
        ));
    }
    Ok((!namespace.is_empty()).then_some(namespace))
}

/// `15` or `15s`.
fn seconds(text: &str) -> Result<Duration, Error> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        // What is not a number may be a secret that was put in the wrong place.
        _ => Err(invalid(
            "peer_lease_duration is not a number of seconds above 0: write 15 or 15s".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn opened(url: &str) -> Result<KubernetesLock, Error> {
        KubernetesUrl::try_from(&LockUrl::parse(url).unwrap())?.lock().await
    }

    fn kubeconfig(directory: &std::path::Path) -> String {
        let file = directory.join("config");
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, \
                    context: {cluster: c, user: u, namespace: mine}}]\nclusters: [{name: c, \
                    cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: \
                    s3cret}}]\n";
        std::fs::write(&file, text).unwrap();
        format!("kubeconfig={}", file.display())
    }

    #[tokio::test]
    async fn a_url_names_a_namespace_and_an_object() {
        let directory = tempfile::tempdir().unwrap();
        let config = kubeconfig(directory.path());
        for (url, name) in [
            ("k8s://kube-system/jobs", "k8s://kube-system/jobs"),
            ("k8s:///jobs", "k8s://mine/jobs"),
            ("k8s+endpoints://a/jobs", "k8s+endpoints://a/jobs"),
        ] {
            let lock = opened(&format!("{url}?{config}&token_floor=7")).await.unwrap();
            assert_eq!(lock.name(), name);
            assert!(!format!("{lock:?}").contains("s3cret"));
        }
        for scheme in ["k8s", "k8s+endpoints"] {
            let old = format!("{scheme}://a/jobs?{config}&peer_lease_duration=15s");
            assert!(opened(&old).await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_scratch_lock_beside_the_longest_name_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let config = kubeconfig(directory.path());
        for name in [
            "a".repeat(253),
            "a".repeat(230),
            format!("{}.{}", "a".repeat(229), "-".repeat(20) + "b"),
        ] {
            let url =
                LockUrl::beside(&format!("k8s://a/{name}?{config}"), "bench-0123456789abcdef");
            let lock = opened(&url).await.unwrap();
            assert!(lock.name().ends_with(".bench-0123456789abcdef"), "{}", lock.name());
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let config = kubeconfig(directory.path());
        for (url, says) in [
            ("k8s:jobs", "k8s://namespace/name"),
            ("k8s://a", "names no object"),
            ("k8s://a/b/c", "no name of an object"),
            ("k8s://A/b", "no namespace"),
            ("k8s://host:6443/b", "no host"),
            ("k8s://u:p@h/b", "no host or user"),
            ("k8s://a/b?ttl=3", "unknown parameter \"ttl\""),
            ("k8s://a/b?peer_lease_duration=0", "not a number of seconds above 0"),
            ("k8s+endpoints://a/b?peer_lease_duration=x", "not a number of seconds"),
            ("k8s://a/b?token_floor=x", "token_floor"),
            ("k8s://a/b?token_floor=9223372036854775808", "leaves no token"),
            ("k8s://a/b?context=other", "other"),
        ] {
            let mark = if url.contains('?') { '&' } else { '?' };
            let error = opened(&format!("{url}{mark}{config}")).await.unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
        let error = opened("k8s://a/b?kubeconfig=/no/such/file").await.unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
