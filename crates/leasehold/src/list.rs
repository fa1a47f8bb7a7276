//! The locks in a place.

use crate::{Error, LockUrl, Observed, url};

/// A lock that was found: see [`list`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The lock, for people: its URL without secrets.
    pub name: String,
    /// What one read of it showed.
    pub observed: Observed,
}

/// The locks in the place that `url` names, by name. Reads each once, and writes nothing.
///
/// | URL | what is listed |
/// |---|---|
/// | `file:DIRECTORY` | the files in it that are locks |
/// | `etcd://h1:2379,h2:2379/jobs` | the elections whose names begin with `jobs/`, and `jobs` itself; without a path all |
/// | `k8s://namespace/`, `k8s+endpoints://namespace/` | every Lease, or the Endpoints with an election |
///
/// Elections of others are listed too: of Go's, etcdctl's and client-go's candidates. This may need a right that no
/// candidate needs: to read every key under the prefix, or the verb `list`.
///
/// # Errors
/// `Invalid`: the store cannot list, or the URL is wrong. `Denied`: what must be granted is named. Others: a read failed.
pub async fn list(url: &str) -> Result<Vec<Listed>, Error> {
    let url = LockUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "file")]
        "file" => crate::file::list(&url).await,
        #[cfg(feature = "etcd")]
        "etcd" | "etcds" => crate::etcd::list(&url).await,
        #[cfg(feature = "kubernetes")]
        "k8s" | "k8s+endpoints" => crate::k8s::list(&url).await,
        "mem" => {
            let why = "mem: is a lock inside one process, so there is nothing to list; file:DIRECTORY can be listed";
            Err(url::invalid(why.to_owned()))
        }
        scheme => Err(url::invalid(crate::unknown(scheme))),
    }
}

#[cfg(all(test, feature = "file"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_lock_is_not_listed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let lock = crate::connect(&format!("file:{}", path("b").display())).await.unwrap();
        let elector = crate::Elector::builder(lock).identity("node-a").build().unwrap();
        let _held = elector.campaign().await.unwrap();
        std::fs::write(path("readme"), "nothing").unwrap();
        std::fs::create_dir(path("more")).unwrap();
        let found = list(&format!("file:{}", directory.path().display())).await.unwrap();
        let names: Vec<&str> = found.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(names[0].ends_with("/b"), "{names:?}");
        let holder = found[0].observed.record().unwrap().holder.clone().unwrap();
        assert_eq!(holder.identity, "node-a");
        assert!(list("mem:x").await.is_err());
        assert!(list("file:/no/such/directory").await.is_err());
    }
}
