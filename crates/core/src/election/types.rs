//! What goes into an election and what comes out of it.

use std::fmt;
use std::time::Duration;

use crate::backend::{Change, Observed, Outcome, Version};
use crate::error::ErrorKind;
use crate::record::{Incarnation, Record, Token};
use crate::time::Time;
use crate::timing::Timing;

/// What is fixed for the life of a candidate.
#[derive(Clone, Debug)]
pub struct CandidateConfig {
    /// Its chosen name.
    pub identity: String,
    /// Where others reach it.
    pub advertise: Option<String>,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its timing.
    pub timing: Timing,
    /// How long it waits at most before it takes a released lock, drawn from the incarnation: for
    /// fleets of dozens on one lock. Zero otherwise.
    pub hand_over_jitter: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin to contend.
    Stand,
    /// Stop contending; a term ends at once, its work is not known to have stopped, nothing is
    /// released.
    Withdraw,
    /// Tell the work to stop, and keep leading until it has.
    Stop,
    /// The work of the term is known to have stopped: release.
    Drained,
    /// Somebody saw the deadline pass.
    Expired,
    /// A new incarnation, after [`Election::copied`](crate::Election::copied).
    Reborn(Incarnation),
    /// The watch yielded this.
    Hint(Observed),
    /// The watch stands, or ended.
    Push(bool),
    /// The watch said something that only a read can settle: read at once.
    Look,
    /// The read in flight was answered.
    Read(Result<Observed, ErrorKind>),
    /// The write in flight was answered.
    Wrote(Result<Outcome, ErrorKind>),
    /// Time has passed.
    Tick,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the lock.
    Read,
    /// Write `change` over `expected`. The wall times in the record are the driver's to stamp.
    Write {
        /// The version to replace.
        expected: Version,
        /// What to write.
        change: Change,
    },
}

/// A term that is believed in now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// Its fencing token.
    pub token: Token,
    /// Leader iff `now < until`, unless renewed: the acknowledged `sent` + D.
    pub until: Time,
    /// Work that has not stopped is killed here: `sent` + D + G.
    pub kill_at: Time,
    /// The lease may pass to another here: `sent` + L.
    pub dead_by: Time,
    /// The work has been told to stop.
    pub draining: bool,
}

/// Why a term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// No renewal was acknowledged before the deadline.
    Expired,
    /// The lock was read as another leader's, as released by somebody else, or as a copy's of this
    /// process. Another may lead at this moment.
    Superseded,
    /// Another store answers than the one in which this term was won.
    Replaced,
    /// We gave it back.
    Resigned,
    /// Its owner was dropped.
    Dropped,
    /// The task that renewed it is gone.
    DriverGone,
    /// Its work gave no heartbeat for too long.
    Silent,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the term is over: no renewal succeeded in time",
            Self::Superseded => "the term is over: another leads",
            Self::Replaced => "the term is over: another store answers than the one it was won in",
            Self::Resigned => "the term is over: it was given back",
            Self::Dropped => "the term is over: its owner was dropped",
            Self::DriverGone => "the term is over: the task that renewed it is gone",
            Self::Silent => "the term is over: its work gave no heartbeat for too long",
        })
    }
}

/// So that `term.check()?` does in whatever returns errors.
impl std::error::Error for Loss {}

/// What may be told of who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// Not known (any more).
    Unknown,
    /// Nobody holds the lock.
    Nobody,
    /// This record's holder holds it.
    Held(&'a Record),
}

/// Why contending stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// What is stored is not understood.
    Corrupt(String),
    /// The store has gone back behind what was read before.
    Rewound {
        /// What the store says of its past now.
        floor: Option<Token>,
        /// What it said before.
        before: Token,
    },
    /// Another store answers than before.
    Replaced,
    /// The store refused the very first read: it never worked for this candidate.
    Denied,
    /// The store called the very first read wrong: it never worked for this candidate.
    Invalid,
}
