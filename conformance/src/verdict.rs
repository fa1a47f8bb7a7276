//! What a case ends with.

use std::fmt;

/// What a case found. The words are those of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail(String),
    /// A documented violation was shown. The text says what was seen.
    Demonstrated(String),
    /// A documented violation did not show.
    NotDemonstrated(String),
    /// The host was too slow to say, or nothing of what the case is about happened.
    Inconclusive(String),
    /// It makes no sense for this store, and why.
    NotApplicable(String),
    /// Nobody has built it yet.
    Missing,
}

/// A case that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It holds.
    Holds,
    /// A documented violation was shown.
    Shown(String),
}

/// Why a case did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A promise about behaviour is broken: an error where none belongs, a count that is wrong. The
    /// case fails; beside many others it is run once more, alone, since a starved host brings about
    /// much that no bound tells of.
    Violated(String),
    /// A promise about safety is broken, such as that one leads: seen once, it is true. The case
    /// fails and is never run again, on whatever host.
    Unsafe(String),
    /// Something did not happen in time; on a slow host that says nothing.
    Late(String),
    /// Nothing of what the case is about happened.
    Vacuous(String),
    /// A documented violation did not show.
    NotShown(String),
    /// This store cannot do what the case needs.
    NotApplicable(String),
}

/// What a case returns.
pub type Outcome = Result<Finding, Problem>;

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Demonstrated(_) => "demonstrated",
            Self::NotDemonstrated(_) => "not demonstrated",
            Self::Inconclusive(_) => "inconclusive",
            Self::NotApplicable(_) => "not applicable",
            Self::Missing => "missing",
        }
    }

    /// What was seen, or why.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Missing => "not built yet",
            Self::Fail(text)
            | Self::Demonstrated(text)
            | Self::NotDemonstrated(text)
            | Self::Inconclusive(text)
            | Self::NotApplicable(text) => text,
        }
    }
}

impl Problem {
    /// A violation, from anything that can be printed.
    pub fn violated(what: impl fmt::Display) -> Self {
        Self::Violated(what.to_string())
    }
}

/// A library call that failed where it must not.
impl From<leasehold::Error> for Problem {
    fn from(error: leasehold::Error) -> Self {
        Self::Violated(format!("an error where none belongs: {error}"))
    }
}

/// A server that did not do as it was told: the case says nothing.
#[cfg(feature = "servers")]
impl From<crate::fixture::Failure> for Problem {
    fn from(failure: crate::fixture::Failure) -> Self {
        Self::Vacuous(failure.to_string())
    }
}

/// Servers without a part that the case is about.
#[cfg(feature = "servers")]
impl From<crate::fixture::Lacks> for Problem {
    fn from(lacks: crate::fixture::Lacks) -> Self {
        Self::NotApplicable(lacks.to_string())
    }
}

/// Fails the case unless the condition holds, which is about behaviour: [`Problem::Violated`].
///
/// # Errors
/// It does not hold; says what.
pub fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::Violated(what())) }
}

/// Fails the case for good unless the condition holds, which is about safety and must hold at every
/// single look: [`Problem::Unsafe`]. A second run cannot outvote it.
///
/// # Errors
/// It does not hold; says what.
pub fn must_ever(holds: bool, what: impl FnOnce() -> String) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem::Unsafe(what())) }
}
