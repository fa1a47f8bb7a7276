//! What an examination of a lock and its store finds, for people: see [`Diagnose`].

use std::time::Duration;

use async_trait::async_trait;
use leasehold_core::{Contents, Error, ErrorKind, Expiry, LockBackend, Observed, Timing};

/// A lock whose store can be examined before anything relies on it.
#[async_trait]
pub trait Diagnose: LockBackend {
    /// What there is to know, in the order in which it matters. `timing` is what a candidate would
    /// have here.
    ///
    /// The lock itself is read and never written. What must be written goes under scratch names
    /// beside it, which are removed. Ends early where going on makes no sense.
    async fn diagnose(&self, timing: &Timing) -> Vec<Finding>;
}

/// What to do about a state that the store may have gone back to.
const ADOPTED: &str = "none is needed: the next candidate adopts it, and waits a lease out";

/// One thing that an examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about, in a word or two.
    pub subject: &'static str,
    /// How grave it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub cure: Option<String>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Good,
    /// The lock works, with less to spare than it could have; or something could not be looked at.
    Warning,
    /// The lock cannot be relied on, or not be used. The kind says what the caller can do.
    Problem(ErrorKind),
}

impl Finding {
    /// As it should be.
    pub fn good(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, level: Level::Good, text: text.into(), cure: None }
    }

    /// Less than it could be.
    pub fn warning(
        subject: &'static str,
        text: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { subject, level: Level::Warning, text: text.into(), cure: Some(cure.into()) }
    }

    /// Not as it must be.
    pub fn problem(
        subject: &'static str,
        kind: ErrorKind,
        text: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let (text, cure) = (text.into(), Some(cure.into()));
        Self { subject, level: Level::Problem(kind), text, cure }
    }

    /// Whether the lock cannot be relied on, or not be used.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        matches!(self.level, Level::Problem(_))
    }

    /// A step of the examination failed.
    #[must_use]
    pub fn of_error(subject: &'static str, error: &Error) -> Self {
        let (text, cure) = (error.problem(), error.cure().map(str::to_owned));
        Self { subject, level: Level::Problem(error.kind()), text, cure }
    }

    /// What one read says of the lock's holder.
    #[must_use]
    pub fn of_lock(observed: &Observed) -> Self {
        const SUBJECT: &str = "lock";
        let record = match &observed.contents {
            // Who led may have been forgotten, and may believe yet.
            Contents::Absent if observed.expiry == Expiry::Suspended => {
                let text = "nothing is stored, but the store may have forgotten who led";
                return Self::warning(SUBJECT, text, ADOPTED);
            }
            Contents::Absent => return Self::good(SUBJECT, "it is free"),
            Contents::Unreadable(why) => {
                let cure = "an operator must look at it: nothing is overwritten";
                return Self::problem(SUBJECT, ErrorKind::Corrupt, why.clone(), cure);
            }
            Contents::Record(record) => record,
        };
        let Some(holder) = &record.holder else {
            if observed.expiry == Expiry::Suspended {
                let text = "it was free, but the store may have forgotten who led since";
                return Self::warning(SUBJECT, text, ADOPTED);
            }
            return Self::good(SUBJECT, format!("it is free; the last token was {}", record.token));
        };
        if holder.is_unknown() {
            let text = "nobody is known to hold it: the store may have forgotten who led";
            return Self::warning(SUBJECT, text, ADOPTED);
        }
        let token = observed.holders_token();
        let token = token.map(|token| format!(" with token {token}")).unwrap_or_default();
        let (who, lease) = (&holder.identity, record.lease_duration);
        if record.since().is_none() {
            let text = format!("{who} holds it{token}, a foreign client that tells no more");
            return Self::good(SUBJECT, text);
        }
        match observed.expiry {
            Expiry::Passed => {
                Self::good(SUBJECT, format!("it is free: the process of {who} is gone"))
            }
            Expiry::ByObserver | Expiry::ByServer => {
                Self::good(SUBJECT, format!("{who} holds it{token}, lease {lease:?}"))
            }
            Expiry::Suspended => Self::warning(
                SUBJECT,
                format!("{who} may hold it{token}: the store may have forgotten a newer state"),
                ADOPTED,
            ),
        }
    }

    /// What the store says, without a write, of whether these credentials could take this very
    /// lock: see [`LockBackend::may_take`]. `answer` is its answer.
    #[must_use]
    pub fn of_permission(answer: &Result<(), Error>) -> Self {
        const SUBJECT: &str = "take";
        match answer {
            Ok(()) => Self::good(
                SUBJECT,
                "nothing that the store tells without a write keeps this candidate from taking the \
                 lock",
            ),
            Err(error) if error.kind() == ErrorKind::Denied => Self::of_error(SUBJECT, error),
            Err(error) => Self::warning(
                SUBJECT,
                format!("whether this candidate may take the lock is not known: {error}"),
                "look at the other findings first; a candidate finds out when it takes",
            ),
        }
    }

    /// How long requests took, against the time that a candidate gives one.
    #[must_use]
    pub fn of_latency(what: &str, times: &[Duration], timing: &Timing) -> Self {
        const SUBJECT: &str = "latency";
        let limit = timing.request_timeout();
        let mut times = times.to_vec();
        times.sort_unstable();
        let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) else {
            return Self::good(SUBJECT, format!("{what} was not measured"));
        };
        let text = format!(
            "{what}: {median:.1?} (median of {}), {longest:.1?} at most, of the request timeout \
             {limit:?}",
            times.len()
        );
        let cure = "look at the disks and the network of the store, or choose a longer lease";
        if *longest >= limit {
            Self::problem(SUBJECT, ErrorKind::Unavailable, text, cure)
        } else if *longest >= limit / 3 {
            Self::warning(SUBJECT, text, cure)
        } else {
            Self::good(SUBJECT, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::{Holder, Nonce, Record, Version, Wall};

    use super::*;

    fn latency(milliseconds: u64) -> Level {
        let times = [1, milliseconds, 2].map(Duration::from_millis);
        Finding::of_latency("a read", &times, &Timing::default()).level
    }

    #[test]
    fn a_slow_store_is_a_warning_before_it_is_a_problem() {
        assert_eq!(latency(100), Level::Good);
        assert_eq!(latency(700), Level::Warning);
        assert_eq!(latency(2000), Level::Problem(ErrorKind::Unavailable));
        let finding = Finding::of_latency("a read", &[], &Timing::default());
        assert!(finding.text.contains("not measured"));
    }

    #[test]
    fn what_to_do_is_told_apart_from_what_is_wrong() {
        let error = Error::new(ErrorKind::Denied, "read", "no; not today");
        assert_eq!(Finding::of_error("permission", &error).cure, None);
        let finding = Finding::of_error("permission", &error.with_cure("ask; somebody"));
        assert_eq!(finding.text, "cannot read: no; not today");
        assert_eq!(finding.cure.as_deref(), Some("ask; somebody"));
    }

    #[test]
    fn the_placeholder_of_an_adoption_is_nobody() {
        let record = Record {
            holder: Some(Holder::unknown()),
            token: 7,
            lease_duration: Duration::from_secs(15),
            nonce: Nonce(1),
            acquired: Wall(1),
            renewed: Wall(1),
            extra: Default::default(),
        };
        let observed = Observed {
            version: Version::number(1),
            contents: Contents::Record(record),
            expiry: Expiry::ByObserver,
            token_floor: None,
        };
        let finding = Finding::of_lock(&observed);
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.text.contains("nobody is known to hold it"), "{finding:?}");
    }

    #[test]
    fn what_cannot_be_read_is_a_problem() {
        let observed = |contents| Observed {
            version: Version::absent(),
            contents,
            expiry: Expiry::ByObserver,
            token_floor: None,
        };
        let corrupt = observed(Contents::Unreadable("x".to_owned()));
        assert_eq!(Finding::of_lock(&corrupt).level, Level::Problem(ErrorKind::Corrupt));
        assert_eq!(Finding::of_lock(&observed(Contents::Absent)).level, Level::Good);
    }
}
