//! What tools that make locks of their own leave behind.

use crate::{Error, LockUrl, url};

/// Removes a scratch lock that its maker needs no more, whatever is stored there. **Never for a lock that anybody uses:**
/// who holds it would go on for up to a lease, beside the next.
///
/// In etcd and in memory nothing stays of a lock that nobody holds, and this does nothing. Nor does it for files.
///
/// # Errors
/// `Invalid`: the URL is wrong. Others: the store refused, or did not answer.
pub async fn remove_scratch(url: &str) -> Result<(), Error> {
    let url = LockUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "kubernetes")]
        "k8s" | "k8s+endpoints" => crate::k8s::open(&url).await?.remove_scratch().await,
        scheme if crate::SCHEMES.contains(&scheme) => Ok(()),
        scheme => Err(url::invalid(crate::unknown(scheme))),
    }
}
