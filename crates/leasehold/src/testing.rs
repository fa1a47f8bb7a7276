//! For tests of programs that use this: a lock in memory, time that moves when it is told to, and
//! with the feature `testing` connections to a store that fail, candidates to freeze and kill, and
//! a checker of what happened.
//!
//! A failover, in virtual time:
#![cfg_attr(feature = "testing", doc = "```")]
#![cfg_attr(not(feature = "testing"), doc = "```ignore")]
//! use std::{sync::Arc, time::Duration};
//! use leasehold::Elector;
//! use leasehold::backend::LockBackend;
//! use leasehold::testing::{Link, MemoryLock, in_virtual_time};
//!
//! in_virtual_time(async |clock| {
//!     let (lock, way) = (MemoryLock::new("jobs"), Link::alone("a", clock.clone()));
//!     let elector = |lock: Arc<dyn LockBackend>| {
//!         Elector::builder(lock).clock(clock.clone()).build().unwrap()
//!     };
//!     let (a, b) = (elector(way.over(Arc::new(lock.clone()))), elector(Arc::new(lock)));
//!     let held = a.campaign().await.unwrap();
//!     let _cut = way.cut(); // from here on `a` cannot reach the store
//!     clock.advance(Duration::from_secs(10)).await;
//!     assert!(held.check().is_err()); // it knows, all by itself
//!     let (next, ()) = tokio::join!(b.campaign(), clock.advance(Duration::from_secs(6)));
//!     assert!(next.unwrap().token() > held.token());
//! });
//! ```

pub use leasehold_core::testing::{VirtualClock, in_virtual_time};
pub use leasehold_core::{MemoryBuilder, MemoryLock};
#[cfg(feature = "testing")]
pub use leasehold_testing::candidate::{Candidate, Lead, Setup, Stop};
#[cfg(feature = "testing")]
pub use leasehold_testing::link::{Fault, Guard, Latency, Ledger, Link, Outage, Requests};
#[cfg(feature = "testing")]
pub use leasehold_testing::{clock, history, judge, timeline};
