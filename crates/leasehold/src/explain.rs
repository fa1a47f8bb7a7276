//! What a timing comes to on a store.

use crate::{
    Bounds, Error, ErrorKind, InvalidTiming, Leaderless, LockUrl, Push, Requests, Store, Timing,
    TimingSettings,
};
use std::time::Duration;

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
    pub store: Store,
    /// What clocks and outages it tolerates.
    pub bounds: Bounds,
    /// The longest times without a leader.
    pub leaderless: Leaderless,
    /// A store that knows when the process of a holder is gone: a crash there frees the lock at once.
    pub sees_deaths: bool,
    /// Requests in an hour.
    pub hourly: Requests,
    /// Requests in a [`MONTH`].
    pub monthly: Requests,
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

/// What these settings come to on the lock that `url` names, or on one that pushes changes and leaves the clocks to its
/// candidates. Contacts nothing.
///
/// # Errors
/// The URL or the timing is wrong.
pub async fn explain(
    url: Option<&str>,
    settings: TimingSettings,
) -> Result<Explanation, NotExplained> {
    let Some(url) = url else {
        let timing = settings.build().map_err(NotExplained::Timing)?;
        let store = Store { push: true, by_server: false };
        return Ok(Explanation::of(None, timing, store, false));
    };
    let lock = crate::connect(url).await.map_err(NotExplained::Lock)?;
    let capabilities = lock.capabilities();
    // First without the store's granularity: this error carries the nearest valid set.
    settings.or(&capabilities.default_timing).build().map_err(NotExplained::Timing)?;
    let invalid = |why| NotExplained::Lock(Error::new(ErrorKind::Invalid, "fit the timing", why));
    let timing = settings.fit(lock.as_ref()).map_err(invalid)?;
    let scheme = LockUrl::parse(url).map_err(NotExplained::Lock)?.scheme().to_owned();
    let store = Store {
        push: capabilities.push != Push::None,
        by_server: matches!(scheme.as_str(), "etcd" | "etcds"),
    };
    let name = Some(lock.name().to_owned());
    Ok(Explanation::of(name, timing, store, scheme == "file"))
}

impl Explanation {
    fn of(name: Option<String>, timing: Timing, store: Store, sees_deaths: bool) -> Self {
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
