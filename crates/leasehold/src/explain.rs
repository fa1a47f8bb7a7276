//! What a timing comes to on a store.

use std::time::Duration;

use leasehold_core::{
    Bounds, Capabilities, Error, ErrorKind, InvalidTiming, Leaderless, RequestRate, StoreTraits,
    Timing, TimingSettings,
};

use crate::lock_url::LockUrl;

/// How long a month is where requests are paid for.
pub const MONTH: Duration = Duration::from_secs(730 * 3600);

/// What a timing comes to: see [`explain`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The lock, for people; `None` without one.
    pub name: Option<String>,
    /// The timing in force.
    pub timing: Timing,
    /// What the store does.
    pub store: StoreTraits,
    /// What clocks and outages it tolerates.
    pub bounds: Bounds,
    /// The longest times without a leader.
    pub leaderless: Leaderless,
    /// A store that knows when the process of a holder is gone: a crash there frees the lock at
    /// once.
    pub sees_deaths: bool,
    /// Requests in an hour.
    pub hourly: RequestRate,
    /// Requests in a [`MONTH`].
    pub monthly: RequestRate,
}

/// Why there is nothing to explain.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotExplained {
    /// The URL is wrong, or the store does not fit the timing.
    Lock(Error),
    /// The timing breaks a rule.
    Timing(InvalidTiming),
}

/// What these settings come to on the lock that `url` names, or on one that pushes changes and
/// leaves the clocks to its candidates. Contacts nothing.
///
/// # Errors
/// The URL or the timing is wrong.
pub async fn explain(
    url: Option<&str>,
    settings: TimingSettings,
) -> Result<Explanation, NotExplained> {
    let Some(url) = url else {
        let timing = settings.build().map_err(NotExplained::Timing)?;
        let store = StoreTraits { push: true, by_server: false };
        return Ok(Explanation::of(None, timing, store, false));
    };
    let (name, capabilities) = imagined(url).await.map_err(NotExplained::Lock)?;
    // First without the store's granularity: this error carries the nearest valid set.
    settings.or(&capabilities.default_timing).build().map_err(NotExplained::Timing)?;
    let invalid = |why| NotExplained::Lock(Error::new(ErrorKind::Invalid, "fit the timing", why));
    let timing = settings.fit(&capabilities).map_err(invalid)?;
    let (store, sees_deaths) = (capabilities.traits(), capabilities.sees_deaths);
    Ok(Explanation::of(Some(name), timing, store, sees_deaths))
}

async fn imagined(url: &str) -> Result<(String, Capabilities), Error> {
    LockUrl::parse(url)?.imagined().await
}

impl Explanation {
    fn of(name: Option<String>, timing: Timing, store: StoreTraits, sees_deaths: bool) -> Self {
        Self {
            name,
            timing,
            store,
            bounds: timing.bounds(),
            leaderless: timing.leaderless(store),
            sees_deaths,
            hourly: timing.requests(store, Duration::from_secs(3600)),
            monthly: timing.requests(store, MONTH),
        }
    }
}

#[cfg(all(test, feature = "k8s"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_of_kubernetes_is_explained_without_a_cluster() {
        let nowhere = "kubeconfig=/no/such/file&context=none";
        for (url, name) in [
            ("k8s://a/jobs", "k8s://a/jobs"),
            ("k8s+endpoints://a/jobs", "k8s+endpoints://a/jobs"),
            ("k8s:///jobs", "k8s:///jobs"),
        ] {
            let url = format!("{url}?{nowhere}");
            let found = explain(Some(&url), TimingSettings::default()).await.unwrap();
            assert_eq!(found.name.as_deref(), Some(name));
            assert_eq!(found.store, StoreTraits { push: true, by_server: false });
        }
        for url in ["k8s://A/b", "k8s://a", "k8s://a/b?ttl=3", "k8s://a/b?peer_lease_duration=0"] {
            let refused = explain(Some(url), TimingSettings::default()).await;
            let Err(NotExplained::Lock(error)) = refused else { panic!("{url}: {refused:?}") };
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        }
    }
}
