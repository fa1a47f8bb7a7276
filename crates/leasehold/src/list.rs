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

/// The locks in the place that `url` names, by name: `file:DIRECTORY`. Reads each once, and writes nothing.
///
/// # Errors
/// `Invalid`: the store cannot list, or the URL is wrong. Others: a read failed.
pub async fn list(url: &str) -> Result<Vec<Listed>, Error> {
    let url = LockUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "file")]
        "file" => crate::file::list(&url).await,
        "mem" | "etcd" | "etcds" => {
            let why = format!("{}: locks cannot be listed; file:DIRECTORY can", url.scheme());
            Err(url::invalid(why))
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
