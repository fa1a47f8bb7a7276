//! Errors by the caller's next move.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::text::{printable, redacted};

/// The longest text of a source that an error shows, in characters.
const LONGEST: usize = 2_000;

/// Why an operation failed, as `{kind, operation, source, cure}`.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    source: Arc<dyn StdError + Send + Sync>,
    cure: Option<Arc<str>>,
}

/// What the caller can do about an [`Error`].
///
/// What a store answers, and what it decides. An answer that the watch gives decides nothing: it
/// makes a candidate read.
///
/// | Answer | Kind | Who leads | Who waits |
/// |---|---|---|---|
/// | none in time, no connection, a body that is not the store's own (HTML, another content type) | `Unavailable` | leads to its deadline, asks again after the retry period | asks again after the retry period |
/// | "too many requests" | `Throttled` | as above; obeys as far as its deadline allows | asks again when the store named, after 30 s or a lease at most |
/// | credentials or rights are refused, an admission rule denies | `Denied` | as above: a refusal proves nothing about who leads | asks again; ends if the very first read is denied, or if the store says that it may not take the lock and nothing ever showed that it may |
/// | the request is called wrong | `Invalid` | as above | asks again; ends if it is the answer to the very first read |
/// | not a record, a newer record, tokens used up | `Corrupt` | its term ends at once | ends: an operator must look |
/// | the store's history is behind what was read before | `Rewound` | its term ends at once | ends: an operator must look |
/// | another store answers than before (its identity changed; an unknown identity is not another one) | `Replaced` | its term ends at once | ends: an operator must look |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store did not answer in time or refused the connection. Try again; a write may have been
    /// applied.
    Unavailable,
    /// The store asked for fewer requests. Try again after the delay, if it named one.
    Throttled {
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
    },
    /// The store refused these credentials, or this process may not read or write the lock. Mend
    /// the permission.
    Denied,
    /// What is stored is not a record this program understands. Nothing was overwritten; an
    /// operator decides.
    Corrupt,
    /// The request or the configuration is wrong. Mend it; trying again cannot help.
    Invalid,
    /// The store has gone back behind what was read from it before (a restore). An operator
    /// decides.
    Rewound,
    /// What answers is another store than before: its identity changed (another cluster at the same
    /// address). A term ends at once, since the other store knows nothing of it. An operator
    /// decides.
    Replaced,
    /// The elector has been shut down, or the runtime that drove it is gone.
    Stopped,
}

impl Error {
    /// An error of this kind, met while doing `operation` (a verb phrase such as
    /// `"read the record"`).
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, operation, source: Arc::from(source.into()), cure: None }
    }

    /// The same error with what to do about it: our own words, as a clause without a full stop.
    #[must_use]
    pub fn with_cure(self, cure: impl Into<Arc<str>>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn cure(&self) -> Option<&str> {
        self.cure.as_deref()
    }

    /// What went wrong, without [`cure`](Self::cure): one bounded line.
    #[must_use]
    pub fn problem(&self) -> String {
        let source = self.source.to_string();
        format!("cannot {}: {}", self.operation, printable(&redacted(&source)).at_most(LONGEST))
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
        f.write_str(&self.problem())?;
        match &self.cure {
            Some(cure) => write!(f, "; {}", printable(cure).at_most(LONGEST)),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_says_is_one_bounded_line() {
        let hostile = format!("no\n2026-11-30 INFO leading\u{1b}[2J{}", "x".repeat(1 << 20));
        let error = Error::new(ErrorKind::Unavailable, "read the lock", hostile).to_string();
        assert!(error.starts_with(r"cannot read the lock: no\n2026-11-30"), "{error}");
        assert!(!error.contains(['\n', '\u{1b}']) && error.len() < 3_000, "{}", error.len());
    }

    #[test]
    fn a_cure_is_a_part_of_its_own_whatever_the_store_said() {
        let error = Error::new(ErrorKind::Denied, "read the lock", "no; \"ask\"; somebody");
        assert_eq!(error.cure(), None);
        let error = error.with_cure("grant `get`");
        assert_eq!(error.problem(), "cannot read the lock: no; \"ask\"; somebody");
        assert_eq!(error.cure(), Some("grant `get`"));
        assert_eq!(error.to_string(), format!("{}; grant `get`", error.problem()));
    }
}
