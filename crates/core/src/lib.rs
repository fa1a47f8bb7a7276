//! Leader election over any compare-and-swap register.
//!
//! **What is guaranteed.** Under stated bounds on clock rates ([`Timing::bounds`]) at most one
//! candidate believes that it leads, whatever requests, replies and processes are delayed, lost,
//! repeated or killed: belief ends, and the work is killed, before the lease can pass on. Every
//! term has a fencing token that grows and never repeats. A release is sent only after the work is
//! known to have stopped.
//!
//! **What is not.** Nothing here stops a process between its [`check`](Term::check) and its effect,
//! two clocks whose rates differ beyond the bound, an administrator who deletes the record, or a
//! cloned machine. Only the resource can, by refusing a smaller token ([`Fence`]).
//!
//! The election itself ([`Election`]) is a pure state machine; [`Elector`] drives it over a
//! [`LockBackend`].

mod answer;
mod backend;
mod clock;
mod election;
mod error;
mod fence;
mod fit;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;
mod record;
#[cfg(feature = "driver")]
mod runtime;
mod small_file;
mod text;
mod time;
mod timing;

pub use backend::{
    BoxStream, Capabilities, Change, Contents, Expiry, Intent, LeaseClock, LockBackend, Observed,
    Outcome, Push, Version,
};
pub use clock::{BoxFuture, Clock};
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub use election::Mutant;
pub use election::{Action, CandidateConfig, Election, Halt, Input, Leadership, Loss, View};
pub use error::{Error, ErrorKind};
pub use fence::{Fence, Stale};
pub use record::{Holder, Incarnation, MAX_TOKEN, Nonce, RECORD_VERSION, Record, Token};
#[cfg(feature = "driver")]
pub use runtime::{
    BootClock, Builder, Counters, Deadlines, Elector, Finished, Held, Leader, LeaderInfo,
    MemoryBuilder, MemoryLock, Observer, Role, Status, StopReason, Term, host_name, testing,
};
pub use small_file::read_small_file;
pub use text::{Printable, is_hidden, printable, redacted};
pub use time::{Time, Wall};
pub use timing::{
    Bounds, InvalidTiming, Leaderless, MAX_LEASE_DURATION, RequestRate, StoreTraits, Timing,
    TimingSettings, slower_by_percent,
};
