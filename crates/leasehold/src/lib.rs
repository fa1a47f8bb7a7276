//! Leader election over any lock.
//!
//! **Guaranteed**, under stated bounds on clock rates ([`Timing::bounds`]): at most one candidate believes that
//! it leads, whatever is delayed, lost, repeated, frozen or killed; every term has a fencing token that grows
//! and never repeats; a release is sent only after the work is known to have stopped.
//!
//! **Not guaranteed**, by this or any other lease: that a process is not stopped between [`Term::check`] and its
//! effect, that clocks stay within the bound, that nobody deletes the record or clones the machine. Hand the
//! token to the resource and let it refuse smaller ones ([`Fence`]).
//!
//! # Work that runs while this process leads
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leasehold::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("file:{}", dir.path().join("nightly.lock").display());
//! use leasehold::Elector;
//!
//! let lock = leasehold::connect(&url).await?; // e.g. "file:/var/lock/nightly.lock"
//! let elector = Elector::builder(lock).identity("node-a").build()?;
//! # let stop = elector.clone();
//! elector
//!     .run(async |term| {
//!         println!("leading with token {}", term.token());
//! #       stop.shutdown();
//!         let reason = term.stopped().await; // clean up, then return: only then the lock is released
//!         println!("stopping: {reason:?}");
//!     })
//!     .await?; // until elector.shutdown()
//! # Ok(())
//! # }
//! ```
//!
//! # A job that runs once
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), leasehold::Error> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("file:{}", dir.path().join("nightly.lock").display());
//! use leasehold::{Elector, Finished};
//!
//! let elector = Elector::builder(leasehold::connect(&url).await?).build()?;
//! match elector.run_once(async |_term| 6 * 7).await? {
//!     Finished::Done(answer) => assert_eq!(answer, 42),
//!     Finished::Lost(why, _) => eprintln!("somebody else may have started: {why:?}"),
//!     Finished::Aborted => eprintln!("asked to stop"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # By hand
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let url = format!("file:{}", dir.path().join("nightly.lock").display());
//! use leasehold::Elector;
//!
//! let elector = Elector::builder(leasehold::connect(&url).await?).build()?;
//! let held = elector.campaign().await?; // dropping this future is safe
//! if let Ok(token) = held.check() {
//!     // before every side effect; no I/O
//!     println!("writing under token {token}");
//! }
//! let confirmed = held.resign().await?; // false: not confirmed, the lease runs out
//! assert!(confirmed);
//! # Ok(())
//! # }
//! ```
//!
//! # Who leads, with permission to read only
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let url = format!("file:{}", dir.path().join("nightly.lock").display());
//! # use leasehold::Elector;
//! # let elector = Elector::builder(leasehold::connect(&url).await?).identity("node-a").build()?;
//! # let _held = elector.campaign().await?;
//! use futures_util::StreamExt;
//! use leasehold::{Leader, Observer};
//!
//! let observer = Observer::new(leasehold::connect(&url).await?)?;
//! let mut changes = std::pin::pin!(observer.changes());
//! while let Some(status) = changes.next().await {
//!     if let Leader::Held(leading) = status.leader {
//!         println!("{} leads with token {:?}", leading.identity, leading.token);
//! #       assert_eq!(leading.identity, "node-a");
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The resource refuses a leader of yesterday
//! ```
//! use leasehold::Fence;
//!
//! let mut fence = Fence::new(41); // stored with the resource, in the same transaction as the effect
//! assert!(fence.admit(42).is_ok());
//! assert!(fence.admit(41).is_err(), "the old leader woke up: its write is refused");
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
#[cfg(feature = "etcd")]
pub mod etcd;
mod examine;
mod explain;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "kubernetes")]
pub mod k8s;
mod list;
mod scratch;
mod url;

use std::sync::Arc;

/// For tests of programs that use this: time that moves when it is told to, and with the feature `testing` ways to a
/// store that fail, candidates to freeze and kill, and a checker of what happened.
///
/// A failover, in virtual time:
#[cfg_attr(feature = "testing", doc = "```")]
#[cfg_attr(not(feature = "testing"), doc = "```ignore")]
/// use std::{sync::Arc, time::Duration};
/// use leasehold::{Elector, LockBackend, MemoryLock};
/// use leasehold::testing::{Link, in_virtual_time};
///
/// in_virtual_time(async |clock| {
///     let (lock, way) = (MemoryLock::new("jobs"), Link::alone("a", clock.clone()));
///     let elector = |lock: Arc<dyn LockBackend>| Elector::builder(lock).clock(clock.clone()).build().unwrap();
///     let (a, b) = (elector(way.over(Arc::new(lock.clone()))), elector(Arc::new(lock)));
///     let held = a.campaign().await.unwrap();
///     let _cut = way.cut();                              // from here on `a` cannot reach the store
///     clock.advance(Duration::from_secs(10)).await;
///     assert!(held.check().is_err());                    // it knows, all by itself
///     let (next, ()) = tokio::join!(b.campaign(), clock.advance(Duration::from_secs(6)));
///     assert!(next.unwrap().token() > held.token());
/// });
/// ```
pub mod testing {
    pub use leasehold_core::testing::*;
    #[cfg(feature = "testing")]
    pub use leasehold_testing::candidate::{Candidate, Lead, Setup, Stop};
    #[cfg(feature = "testing")]
    pub use leasehold_testing::link::{Fault, Guard, Latency, Ledger, Link, Outage, Requests};
    #[cfg(feature = "testing")]
    pub use leasehold_testing::{clock, history, judge, timeline};
}

pub use examine::{Examination, examine};
pub use explain::{Explanation, MONTH, NotExplained, explain};
pub use leasehold_backend::{Diagnose, Finding, Level, Race, race};
pub use leasehold_core::*;
pub use list::{Listed, list};
#[doc(hidden)]
pub use scratch::Scratch;
pub use url::LockUrl;

/// The schemes of this build.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "etcd")]
    "etcd",
    #[cfg(feature = "etcd")]
    "etcds",
    #[cfg(feature = "file")]
    "file",
    #[cfg(feature = "kubernetes")]
    "k8s",
    #[cfg(feature = "kubernetes")]
    "k8s+endpoints",
    "mem",
];

/// Schemes, and the feature that brings each.
const FEATURES: &[(&str, &str)] = &[
    ("etcd", "etcd"),
    ("etcds", "etcd"),
    ("file", "file"),
    ("k8s", "kubernetes"),
    ("k8s+endpoints", "kubernetes"),
];

/// Schemes of stores that are still to come.
const TO_COME: &[&str] = &["az", "gs", "redis", "redis+sentinel", "rediss", "s3"];

/// Opens the lock that `url` names.
///
/// | URL | feature | what |
/// |---|---|---|
/// | `file:/path`, `file:path` | `file` (default) | one small file on this host |
/// | `etcd://h1:2379,h2:2379/name`, `etcds://…` | `etcd` | an election of etcd, over TLS with `etcds` |
/// | `k8s://ns/name`, `k8s+endpoints://…` | `kubernetes` | a Lease, or the annotation of an Endpoints object, beside client-go |
/// | `mem:name` | – | a new lock in this process at every call; the name is for logs; for tests |
///
/// # Errors
/// `Invalid`: the URL, its scheme or a parameter is unknown or malformed. Nothing is contacted or written.
pub async fn connect(url: &str) -> Result<Arc<dyn LockBackend>, Error> {
    let url = LockUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "etcd")]
        "etcd" | "etcds" => Ok(Arc::new(etcd::open(&url).await?)),
        #[cfg(feature = "file")]
        "file" => Ok(Arc::new(file::open(&url)?)),
        #[cfg(feature = "kubernetes")]
        "k8s" | "k8s+endpoints" => Ok(Arc::new(k8s::open(&url).await?)),
        "mem" => Ok(Arc::new(memory(&url)?)),
        scheme => Err(url::invalid(unknown(scheme))),
    }
}

fn memory(url: &LockUrl) -> Result<MemoryLock, Error> {
    url.allow_parameters(&[])?;
    Ok(MemoryLock::new(url.path().display().to_string()))
}

fn unknown(scheme: &str) -> String {
    let have = SCHEMES.join(", ");
    match FEATURES.iter().find(|(known, _)| *known == scheme) {
        Some((_, feature)) => format!(
            "this build has no {scheme}: locks (it has {have}); build it with the feature {feature:?}: cargo add leasehold --features {feature}, or cargo install leasehold-cli --features {feature}"
        ),
        None if TO_COME.contains(&scheme) => {
            format!("there are no {scheme}: locks in this version yet; this build has {have}")
        }
        None => format!("unknown scheme {scheme:?}; this build has {have}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_scheme_lists_what_is_there() {
        let error = connect("zk://host/lock").await.unwrap_err();
        assert!(error.to_string().contains("unknown scheme \"zk\""), "{error}");
        assert!(error.to_string().contains("mem"), "{error}");
        assert!(unknown("file").contains("--features file"));
        let error = connect("redis://host/lock").await.unwrap_err().to_string();
        assert!(error.contains("no redis: locks in this version"), "{error}");
    }

    #[tokio::test]
    async fn an_unknown_parameter_is_an_error() {
        for url in ["mem:a?x=1", "file:/tmp/a?ttl=3"] {
            assert!(connect(url).await.unwrap_err().to_string().contains("unknown parameter"));
        }
    }

    #[cfg(feature = "file")]
    #[tokio::test]
    async fn a_file_url_names_a_file_and_no_host() {
        for url in ["file:", "file://host/tmp/a"] {
            assert_eq!(connect(url).await.unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
