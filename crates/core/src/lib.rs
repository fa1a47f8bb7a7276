//! Leader election over any compare-and-swap register.
//!
//! **What is guaranteed.** Under stated bounds on clock rates ([`Timing::bounds`]) at most one candidate
//! believes that it leads, whatever requests, replies and processes are delayed, lost, repeated or killed:
//! belief ends, and the work is killed, before the lease can pass on. Every term has a fencing token that
//! grows and never repeats. A release is sent only after the work is known to have stopped.
//!
//! **What is not.** Nothing here stops a process between its [`check`](Term::check) and its effect, two clocks
//! whose rates differ beyond the bound, an administrator who deletes the record, or a cloned machine. Only the
//! resource can, by refusing a smaller token ([`Fence`]).
//!
//! The election itself ([`Election`]) is a pure state machine; [`Elector`] drives it over a [`LockBackend`].

mod backend;
/// What the cell is made of; tests that explore interleavings put their own in this place.
#[cfg(all(feature = "driver", not(test)))]
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
}
#[cfg(all(feature = "driver", test))]
#[path = "handle_tests/atomic.rs"]
mod atomic;
#[cfg(feature = "driver")]
mod cell;
#[cfg(all(test, feature = "driver"))]
mod cell_tests;
mod clock;
mod diagnose;
#[cfg(feature = "driver")]
mod driver;
#[cfg(all(test, feature = "driver"))]
mod driver_tests;
mod election;
#[cfg(feature = "driver")]
mod elector;
mod error;
mod fence;
#[cfg(all(test, feature = "driver"))]
mod handle_tests;
#[cfg(feature = "driver")]
mod memory;
#[cfg(feature = "driver")]
mod memory_diagnose;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "driver")]
mod race;
mod record;
mod small_file;
#[cfg(feature = "driver")]
mod status;
#[cfg(feature = "driver")]
mod term;
#[cfg(feature = "driver")]
pub mod testing;
mod text;
mod time;
mod timing;

pub use backend::{
    BoxStream, Capabilities, Change, Contents, Expiry, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Version,
};
#[cfg(feature = "driver")]
pub use clock::BootClock;
pub use clock::{BoxFuture, Clock};
pub use diagnose::{Diagnose, Finding, Level};
#[cfg(feature = "mutants")]
pub use election::Mutant;
pub use election::{Action, Candidate, Election, Failure, Input, Leadership, Loss, View};
#[cfg(feature = "driver")]
pub use elector::{Builder, Elector, Finished, Observer};
pub use error::{Error, ErrorKind};
pub use fence::{Fence, Stale};
#[cfg(feature = "driver")]
pub use memory::{MemoryBuilder, MemoryLock};
#[cfg(feature = "driver")]
pub use race::{Race, race};
pub use record::{Holder, Incarnation, MAX_TOKEN, Nonce, RECORD_VERSION, Record, Token};
pub use small_file::read_small_file;
#[cfg(feature = "driver")]
pub use status::{Counters, Leader, Leading, Role, Status};
#[cfg(feature = "driver")]
pub use term::{Deadlines, Held, StopReason, Term};
pub use text::{Printable, is_hidden, printable, redacted};
pub use time::{Time, Wall};
pub use timing::{
    Bounds, InvalidTiming, Leaderless, MAX_LEASE_DURATION, RequestRate, StoreTraits, Timing,
    TimingSettings, slower_by_percent,
};
