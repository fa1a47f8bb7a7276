//! Leader election over any lock: a file, etcd, Kubernetes, Redis, or a store of your own.
//!
//! **Guaranteed**, under stated bounds on clock rates ([`Timing::bounds`](timing::Timing::bounds)):
//! at most one candidate believes that it leads, whatever is delayed, lost, repeated, frozen or
//! killed; every term has a fencing token that grows and never repeats; a release is sent only
//! after the work is known to have stopped.
//!
//! **Not guaranteed**, by this or any other lease: that a process is not stopped between
//! [`Term::check`] and its effect, that clocks stay within the bound, that nobody deletes the
//! record or clones the machine. Give the token to the resource and let it refuse smaller ones
//! ([`Fence`]).
//!
//! | to | see |
//! |---|---|
//! | lead | [`Elector`], or [`blocking::Elector`] without async |
//! | see who leads, with permission to read only | [`Observer`], [`status`] |
//! | protect the resource | [`Fence`] |
//! | choose durations | [`TimingSettings`], [`timing::explain`] |
//! | learn whether a store can be relied on | [`doctor::examine`] |
//! | test your program | [`testing`] |
//! | write a store | [`backend`] |
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
//!         let reason = term.stopped().await;
//!         println!("stopping: {reason:?}"); // clean up, then return: that releases the lock
//!     })
//!     .await?; // until elector.shutdown()
//! # Ok(())
//! # }
//! ```
//! [`connect`] lists the URLs of all stores. Without `identity` a candidate is called after its
//! host and process. The lease duration is 15 s (21 s on Kubernetes); [`Builder::timing`] changes
//! it, and [`timing::explain`] computes what follows.
//!
//! # A service of which every instance answers
//! The elector runs in a task of its own, and handlers look at its [`status`](Elector::status).
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use leasehold::status::{Leader, Role};
//! use leasehold::{Elector, Term};
//! use tokio::signal::unix::{SignalKind, signal};
//!
//! let lock = leasehold::connect("etcd://10.0.0.1:2379,10.0.0.2:2379/reports").await?;
//! let elector = Elector::builder(lock).advertise("http://10.0.0.7:8080").build()?;
//! let who = elector.clone();
//! let who = async move || match who.status().leader {
//!     Leader::Held(leader) => format!("{} leads, at {:?}", leader.identity, leader.advertise),
//!     Leader::Nobody => "nobody leads".to_owned(),
//!     Leader::Unknown => "unknown who leads".to_owned(),
//! };
//! let ready = elector.clone();
//! let ready = async move || matches!(ready.status().role, Role::Leader(_)).to_string();
//! let candidate = elector.clone();
//! let mut work = tokio::spawn(async move {
//!     candidate
//!         .run(|term: Term| async move {
//!             while term.check().is_ok() {
//!                 // one round of work, with term.token() in every write
//!                 tokio::select! {
//!                     _ = term.stopped() => return,
//!                     () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
//!                 }
//!             }
//!         })
//!         .await
//! });
//! let routes = Router::new().route("/", get(who)).route("/leads", get(ready));
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
//! let stop = async move {
//!     // systemd and Kubernetes send SIGTERM.
//!     let mut terminate = signal(SignalKind::terminate()).expect("the handler is installed");
//!     tokio::select! {
//!         _ = terminate.recv() => {}
//!         _ = tokio::signal::ctrl_c() => {}
//!     }
//!     elector.shutdown(); // the work stops, then the lock is released
//! };
//! let server = axum::serve(listener, routes).with_graceful_shutdown(stop).into_future();
//! tokio::select! {
//!     served = server => served?,
//!     // It ends by itself only by an error or a panic: such an instance never leads again.
//!     ended = &mut work => return Ok(ended??),
//! }
//! work.await??;
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
//!     Finished::NeverLed => eprintln!("asked to stop before it led"),
//!     Finished::Unfinished => eprintln!("asked to stop, and tasks of the job may still run"),
//!     other => eprintln!("{other:?}"),
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
//! // Stored with the resource, in the same transaction as the effect.
//! let mut fence = Fence::new(41);
//! assert!(fence.admit(42).is_ok());
//! assert!(fence.admit(41).is_err(), "the old leader woke up: its write is refused");
//! ```

//! # Log events
//! An elector reports with [tracing](https://docs.rs/tracing). Each line has the field `event`, one
//! of these, and the field `lock`, the lock's name:
//!
//! | `event` | level | meaning | other fields |
//! |---|---|---|---|
//! | `leading` | info | a term began | `token` |
//! | `term-lost` | warn | a term ended without being asked to | `token`, `loss` |
//! | `term-over` | debug | a term was given back | `token`, `loss` |
//! | `record-gone` | warn | somebody deleted or erased the record of a running term; it is written again | `token` |
//! | `store-failed`, `store-back` | warn, info | a request failed, the first after one that succeeded; requests succeed again | `error` |
//! | `watch-lost`, `watch-ended` | warn, debug | the store reports no changes for now, so that candidates poll | `error` |
//! | `standby-denied`, `standby-permitted` | warn, info | this candidate could not take the lock if it were free; it could again | `error` |
//! | `copied` | error | a copy of this process holds the lock, or an old copy of the record was put back | `incarnation` |
//! | `panicked` | error | the task that renews the lock panicked; its term is over | |
//! | `lock-not-shared` | warn | the lock excludes nobody outside this container | |
//!
//! The libraries of the stores log lines of their own, without `event`.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "etcd", feature = "redis"))]
mod authority;
pub mod backend;
pub mod blocking;
mod examine;
mod explain;
mod list;
mod lock_url;
mod memory;
mod opened;
mod schemes;
mod scratch;
pub mod stores;
pub mod testing;

use std::sync::Arc;

pub use leasehold_core::{
    Builder, Elector, Error, ErrorKind, Fence, Finished, Held, Loss, Observer, Stale, StopReason,
    Term, TimingSettings, Token,
};

pub mod doctor {
    //! Looks at locks and their stores from outside, without contending: which locks there are, and
    //! whether one can be relied on. `leasehold list` and `leasehold doctor` print what these
    //! return.

    pub use leasehold_backend::{Diagnose, Finding, Level, Race, race};

    pub use crate::examine::{Examination, examine};
    pub use crate::list::list;
    pub use crate::opened::Listed;
    pub use crate::schemes::listable;
    #[doc(hidden)]
    pub use crate::scratch::Scratch;
}

pub mod status {
    //! The knowledge of an elector or an observer, and [`printable`] to show it: an
    //! identity is text of others.

    pub use leasehold_core::{
        Counters, Leader, LeaderInfo, Printable, Role, Status, is_hidden, printable, redacted,
    };
}

pub mod timing {
    //! Durations, clocks, and the bounds that follow from them.
    //!
    //! A program chooses [`TimingSettings`](crate::TimingSettings), usually the lease duration
    //! alone. [`explain`] computes what follows from them on a store, as `leasehold explain` prints
    //! it.

    pub use leasehold_core::{
        BootClock, Bounds, BoxFuture, Clock, Deadlines, InvalidTiming, Leaderless,
        MAX_LEASE_DURATION, RequestRate, StoreTraits, Time, Timing, Wall, slower_by_percent,
    };

    pub use crate::explain::{Explanation, MONTH, NotExplained, explain};
}

pub mod url {
    //! Lock URLs, parsed: `scheme:path?parameter=value`.
    //!
    //! [`connect`](crate::connect) does what most programs need. A program that looks at a URL
    //! first, or guards child processes with the descriptor of an [`Opened`], parses it here.

    pub use crate::lock_url::LockUrl;
    pub use crate::opened::Opened;
    pub use crate::schemes::schemes;
}

/// Opens the lock that `url` names.
///
/// | URL | feature | what |
/// |---|---|---|
/// | `file:/path`, `file:path` | `file` (default) | one small file on this host |
/// | `etcd://h1:2379,h2:2379/name`, `etcds://…` | `etcd` | an election of etcd, over TLS with `etcds` |
/// | `k8s://ns/name`, `k8s+endpoints://…` | `k8s` | a Lease, or the annotation of an Endpoints object, next to client-go |
/// | `redis://h:6379/name`, `rediss://…`, `redis+sentinel://h1,h2,h3/master/name`, `redis+cluster://…`, `redis+unix:/path/name` | `redis` | one key of Redis or Valkey |
/// | `mem:name` | – | a new lock in this process at every call; the name is for logs; for tests |
///
/// The parameters of each are listed at [`stores::file::FileUrl`], [`stores::etcd::EtcdUrl`],
/// [`stores::k8s::KubernetesUrl`] and [`stores::redis::RedisUrl`].
///
/// # Errors
/// `Invalid`: the URL, its scheme or a parameter is unknown or malformed. Nothing is contacted or
/// written.
pub async fn connect(url: &str) -> Result<Arc<dyn backend::LockBackend>, Error> {
    Ok(url::LockUrl::parse(url)?.open().await?.lock())
}
