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
//!     other => eprintln!("asked to stop: {other:?}"),
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
//! use leasehold::{Observer, status::Leader};
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
#[cfg(feature = "k8s")]
pub mod k8s;
mod list;
mod lock_url;
mod memory;
mod opened;
mod schemes;
mod scratch;
mod scratch_name;

use std::sync::Arc;

pub use leasehold_core::{
    Builder, Elector, Error, ErrorKind, Fence, Finished, Held, Loss, Observer, Stale, StopReason,
    Term, TimingSettings, Token,
};

/// The contract between the election and a store, for those who write a store of their own.
///
/// A store is a value that implements [`LockBackend`]: four methods over one compare-and-swap
/// register. The page of the trait says what each must keep.
pub mod backend {
    pub use async_trait::async_trait;
    pub use leasehold_core::{
        BoxStream, Capabilities, Change, Contents, Expiry, Holder, Incarnation, Intent, LeaseClock,
        LockBackend, MAX_TOKEN, Nonce, Observed, Outcome, Push, RECORD_VERSION, Record, Version,
    };
}

/// Looks at locks and their stores from outside, without contending: which locks there are, and
/// whether one can be relied on. `leasehold list` and `leasehold doctor` print what these return.
pub mod doctor {
    pub use leasehold_core::{Diagnose, Finding, Level, Race, race};

    pub use crate::examine::{Examination, examine};
    pub use crate::list::list;
    pub use crate::opened::Listed;
    pub use crate::schemes::listable;
    #[doc(hidden)]
    pub use crate::scratch::Scratch;
}

/// The knowledge of an elector or an observer, and [`printable`](status::printable) to show it: an
/// identity is text of others.
pub mod status {
    pub use leasehold_core::{
        Counters, Leader, Leading, Printable, Role, Status, is_hidden, printable, redacted,
    };
}

/// Durations, clocks, and the bounds that follow from them.
///
/// A program chooses [`TimingSettings`](crate::TimingSettings), usually the lease duration alone.
/// [`explain`] computes what follows from them on a store, as `leasehold explain` prints it.
pub mod timing {
    pub use leasehold_core::{
        BootClock, Bounds, BoxFuture, Clock, Deadlines, InvalidTiming, Leaderless,
        MAX_LEASE_DURATION, RequestRate, StoreTraits, Time, Timing, Wall, slower_by_percent,
    };

    pub use crate::explain::{Explanation, MONTH, NotExplained, explain};
}

/// Lock URLs, parsed: `scheme:path?parameter=value`.
///
/// [`connect`](crate::connect) does what most programs need. A program that looks at a URL first,
/// or guards child processes with the descriptor of a [`Opened::liveness`], parses it here.
pub mod url {
    pub use crate::lock_url::LockUrl;
    pub use crate::opened::Opened;
    pub use crate::schemes::schemes;
}

/// For tests of programs that use this: time that moves when it is told to, and with the feature `testing` ways to a
/// store that fail, candidates to freeze and kill, and a checker of what happened.
///
/// A failover, in virtual time:
#[cfg_attr(feature = "testing", doc = "```")]
#[cfg_attr(not(feature = "testing"), doc = "```ignore")]
/// use std::{sync::Arc, time::Duration};
/// use leasehold::Elector;
/// use leasehold::backend::LockBackend;
/// use leasehold::testing::{Link, MemoryLock, in_virtual_time};
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
    pub use leasehold_core::testing::{VirtualClock, in_virtual_time};
    pub use leasehold_core::{MemoryBuilder, MemoryLock};
    #[cfg(feature = "testing")]
    pub use leasehold_testing::candidate::{Candidate, Lead, Setup, Stop};
    #[cfg(feature = "testing")]
    pub use leasehold_testing::link::{Fault, Guard, Latency, Ledger, Link, Outage, Requests};
    #[cfg(feature = "testing")]
    pub use leasehold_testing::{clock, history, judge, timeline};
}

#[doc(hidden)]
pub use doctor::*;
#[doc(hidden)]
pub use leasehold_core::*;
#[doc(hidden)]
pub use timing::*;
#[doc(hidden)]
pub use url::*;

/// Opens the lock that `url` names.
///
/// | URL | feature | what |
/// |---|---|---|
/// | `file:/path`, `file:path` | `file` (default) | one small file on this host |
/// | `etcd://h1:2379,h2:2379/name`, `etcds://…` | `etcd` | an election of etcd, over TLS with `etcds` |
/// | `k8s://ns/name`, `k8s+endpoints://…` | `k8s` | a Lease, or the annotation of an Endpoints object, next to client-go |
/// | `mem:name` | – | a new lock in this process at every call; the name is for logs; for tests |
///
/// The parameters of each are listed at [`file::FileUrl`], [`etcd::EtcdUrl`] and
/// [`k8s::KubernetesUrl`].
///
/// # Errors
/// `Invalid`: the URL, its scheme or a parameter is unknown or malformed. Nothing is contacted or written.
pub async fn connect(url: &str) -> Result<Arc<dyn backend::LockBackend>, Error> {
    Ok(url::LockUrl::parse(url)?.open().await?.lock())
}
