//! The locks in a place.

use leasehold_core::Error;

use crate::lock_url::LockUrl;
use crate::opened::Listed;

/// The locks in the place that `url` names, by name. Reads each once, and writes nothing.
///
/// | URL | what is listed |
/// |---|---|
/// | `file:DIRECTORY` | the files in it, also those that hold no record that can be read |
/// | `etcd://h1:2379,h2:2379/jobs` | the elections whose names begin with `jobs/`, and `jobs` itself; without a path all |
/// | `k8s://namespace/`, `k8s+endpoints://namespace/` | every Lease, or the Endpoints with an election |
/// | `redis://host:6379/jobs` and the like | the locks whose names begin with `jobs/`, and `jobs` itself; without a path all |
///
/// Of the files in a directory those are left out whose names begin with a dot, and those that
/// belong to a lock or to a tool of this project.
///
/// Elections of others are listed too: of Go's, etcdctl's and client-go's candidates. This may need
/// a right that no candidate needs: to read every key under the prefix, or the verb `list`.
///
/// # Errors
/// `Invalid`: the store cannot list, or the URL is wrong. `Denied`: what must be granted is named.
/// Others: a read failed.
pub async fn list(url: &str) -> Result<Vec<Listed>, Error> {
    LockUrl::parse(url)?.list().await
}

#[cfg(all(test, feature = "file"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broken_lock_hides_no_other_and_is_not_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let lock = crate::connect(&format!("file:{}", path("b").display())).await.unwrap();
        let elector = crate::Elector::builder(lock).identity("node-a").build().unwrap();
        let _held = elector.campaign().await.unwrap();
        for (name, text) in [
            ("a-garbage", "nothing"),
            ("c-empty", ""),
            ("d-braces", "{}"),
            ("e\u{1b}[2J\nf", "null"),
            (".hidden", "nothing"),
            ("b.bench-0123456789abcdef.lock", "nothing"),
            ("gone.00000000000000000000000000000007.alive", ""),
            ("gone.0000000000000001.2.0000000000000003.record", ""),
        ] {
            std::fs::write(path(name), text).unwrap();
        }
        std::fs::create_dir(path("more")).unwrap();
        let found = list(&format!("file:{}", directory.path().display())).await.unwrap();
        let names: Vec<&str> =
            found.iter().map(|listed| listed.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a-garbage", "b", "c-empty", "d-braces", r"e\u{1b}[2J\nf"]);
        let observed = |at: usize| found[at].observed.as_ref().unwrap();
        let holder = observed(1).record().unwrap().holder.clone().unwrap();
        assert_eq!(holder.identity, "node-a");
        for broken in [0, 2, 3, 4] {
            assert!(matches!(observed(broken).contents, leasehold_core::Contents::Unreadable(_)));
        }
        assert!(list("mem:x").await.is_err());
        assert!(list("file:/no/such/directory").await.is_err());
    }
}
