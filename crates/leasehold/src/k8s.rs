//! The lock behind a Kubernetes API server.

use std::time::Duration;

pub use leasehold_k8s::*;

use crate::url::invalid;
use crate::{Error, Listed, LockUrl};

const OF_CLUSTER: &[&str] = &["context", "kubeconfig"];
const PARAMETERS: &[&str] = &["context", "kubeconfig", "token_floor", "peer_lease_duration"];

/// Opens the lock that a `k8s:` or `k8s+endpoints:` URL names: `k8s://namespace/name`, or `k8s:///name` in the namespace
/// of the service account or of the kubeconfig's context.
///
/// | parameter | |
/// |---|---|
/// | `context` | this context of the kubeconfig, not the current one |
/// | `kubeconfig` | this file, not `KUBECONFIG` or `~/.kube/config` |
/// | `token_floor` | tokens up to this may have been used; they are minted above |
/// | `peer_lease_duration` | the seconds that peers wait whose client-go is 0.26 or older |
///
/// Without `context`, `kubeconfig` and `KUBECONFIG` a pod uses its service account. Call it inside a tokio runtime.
///
/// # Errors
/// `Invalid`: an unknown parameter, no name or one that no object can have, or no configuration that can be used.
/// Contacts nobody, and runs no credential plugin: the first request does.
pub async fn open(url: &LockUrl) -> Result<KubernetesLock, Error> {
    url.allow_parameters(PARAMETERS)?;
    lock_of(&cluster(url).await?, url)
}

/// The lock that the URL names in no cluster at all, to ask it what such a lock is like: needs no configuration.
pub(crate) fn imagined(url: &LockUrl) -> Result<KubernetesLock, Error> {
    url.allow_parameters(PARAMETERS)?;
    let nowhere = kube::Config::new("http://localhost".parse().expect("this is a URL"));
    let client = kube::Client::try_from(nowhere).map_err(|error| invalid(error.to_string()))?;
    lock_of(&Kubernetes::from_client(client), url)
}

fn lock_of(cluster: &Kubernetes, url: &LockUrl) -> Result<KubernetesLock, Error> {
    let mut lock = cluster.lock(form(url), namespace(url)?, &url.name()?)?;
    if let Some(floor) = url.token_floor()? {
        lock = lock.token_floor(floor)?;
    }
    if let Some(duration) = url.parameter("peer_lease_duration") {
        lock = lock.peer_lease_duration(seconds(duration)?);
    }
    Ok(lock)
}

/// The locks of the namespace that the URL names.
pub(crate) async fn list(url: &LockUrl) -> Result<Vec<Listed>, Error> {
    url.allow_parameters(OF_CLUSTER)?;
    let namespace = namespace(url)?;
    if !matches!(url.path().as_os_str().as_encoded_bytes(), b"" | b"/") {
        return Err(invalid(format!(
            "it names one lock: write {}://namespace/ to list, or use status",
            url.scheme()
        )));
    }
    let found = cluster(url).await?.locks(form(url), namespace).await?;
    Ok(found.into_iter().map(|(name, observed)| Listed { name, observed: Ok(observed) }).collect())
}

fn form(url: &LockUrl) -> Form {
    if url.scheme() == "k8s+endpoints" { Form::Endpoints } else { Form::Lease }
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
            "it names a namespace and no host or user: the kubeconfig, or the pod's service account, says where and who"
                .to_owned(),
        ));
    }
    Ok((!namespace.is_empty()).then_some(namespace))
}

async fn cluster(url: &LockUrl) -> Result<Kubernetes, Error> {
    let mut options = Kubernetes::options();
    if let Some(file) = url.parameter("kubeconfig") {
        options = options.kubeconfig(file);
    }
    if let Some(context) = url.parameter("context") {
        options = options.context(context);
    }
    options.build().await
}

/// `15` or `15s`.
fn seconds(text: &str) -> Result<Duration, Error> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(invalid(format!("peer_lease_duration={text:?} is no number of seconds above 0"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::LockBackend;

    use super::*;

    async fn opened(url: &str) -> Result<KubernetesLock, Error> {
        open(&LockUrl::parse(url).unwrap()).await
    }

    fn kubeconfig(directory: &std::path::Path) -> String {
        let file = directory.join("config");
        let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u, namespace: mine}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: s3cret}}]\n";
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
            ("k8s://a/b?peer_lease_duration=0", "no number of seconds above 0"),
            ("k8s+endpoints://a/b?peer_lease_duration=x", "no number of seconds"),
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
