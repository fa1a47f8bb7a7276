//! The words between the supervisor and the thread that watches its guard.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use leasehold_guard::{Event, Instants, Order, Outcome};

use super::cgroup::Mode;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Our own binary: `/proc/self/exe`, which is the same file even after an upgrade replaced it.
    pub program: PathBuf,
    /// CMD and its arguments.
    pub command: Vec<OsString>,
    /// Variables to set for CMD.
    pub env: Vec<(OsString, OsString)>,
    /// Variables to remove for CMD.
    pub env_remove: Vec<OsString>,
    /// How long what CMD leaves behind may take to stop.
    pub grace: Duration,
    /// Whether CMD gets a control group of its own.
    pub cgroup: Mode,
}

/// What happens to CMD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something happened, and more will.
    Event(Event),
    /// The end. The last of the news.
    Ended(Outcome),
}

/// What the rest of the supervisor wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Extend(Instants),
    Order(Order),
    /// The user asks to end without waiting for what cannot be killed.
    Leave,
    /// Nobody waits for the outcome any more.
    Abandon,
}
