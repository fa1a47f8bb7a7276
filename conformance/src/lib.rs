//! The conformance suite: the same named cases for every backend, with faults, over real servers.
//!
//! A [`Target`](stores::Target) gives candidates for a lock; a [`cases`] function drives them
//! through faults of their [`link`]; one clock stamps what happens ([`history`]); the [`judge`]
//! checks every history for what must always hold; the [`runner`] compares each verdict with what
//! is [`expected`] of the backend.
//!
//! What it does not show: that something never happens. A pass says that it did not happen in these
//! schedules.

mod canary;
pub mod cases;
pub mod cgroup;
pub mod command;
pub mod distribution;
pub mod expected;
pub mod failed;
#[cfg(feature = "servers")]
pub mod fixture;
pub mod hand;
pub mod link;
pub mod mortal;
pub mod options;
pub mod own;
pub mod process;
pub mod proxy;
mod pulse;
pub mod report;
pub mod runner;
pub mod stop;
pub mod stores;
pub mod told;
pub mod verdict;
pub mod world;

pub use leasehold_testing::{candidate, clock, history, judge, timeline};
