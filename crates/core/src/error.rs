//! Errors by the caller's next move.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::election::Loss;

/// Why an operation failed, as `{kind, operation, source}`.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    source: Arc<dyn StdError + Send + Sync>,
}

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer in time or refused the connection. Try again; a write may have been applied.
    Unavailable,
    /// The store asked for fewer requests. Try again after the delay, if it named one.
    Throttled {
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
    },
    /// The store refused these credentials, or this process may not read or write the lock. Mend the permission.
    Denied,
    /// What is stored is not a record this program understands. Nothing was overwritten; an operator decides.
    Corrupt,
    /// The request or the configuration is wrong. Mend it; trying again cannot help.
    Invalid,
    /// The store has gone back behind what was read from it before (a restore). An operator decides.
    Rewound,
    /// The elector has been shut down, or the runtime that drove it is gone.
    Stopped,
}

impl Error {
    /// An error of this kind, met while doing `operation` (a verb phrase such as `"read the record"`).
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, source: Arc::from(source.into()) }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.operation, self.source)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the term is over: no renewal succeeded in time",
            Self::Superseded => "the term is over: another leads",
            Self::Resigned => "the term is over: it was given back",
            Self::Dropped => "the term is over: its owner was dropped",
            Self::DriverGone => "the term is over: the task that renewed it is gone",
            Self::Silent => "the term is over: its work gave no heartbeat for too long",
        })
    }
}

/// So that `term.check()?` does in whatever returns errors.
impl StdError for Loss {}
