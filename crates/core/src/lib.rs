//! Leader election over any compare-and-swap register.

mod backend;
mod clock;
mod election;
mod error;
mod record;
mod time;
mod timing;

pub use backend::{
    BoxStream, Capabilities, Change, Contents, Expiry, Intent, LockBackend, Observed, Outcome,
    Push, Version,
};
#[cfg(feature = "driver")]
pub use clock::BootClock;
pub use clock::{BoxFuture, Clock};
#[cfg(feature = "mutants")]
pub use election::Mutant;
pub use election::{Action, Candidate, Election, Failure, Input, Leadership, Loss, View};
pub use error::{Error, ErrorKind};
pub use record::{Holder, Incarnation, MAX_TOKEN, Nonce, RECORD_VERSION, Record, Token};
pub use time::{Time, Wall};
pub use timing::{Bounds, InvalidTiming, MAX_LEASE_DURATION, Timing, TimingSettings};
