//! One case of the catalogue.

use std::fmt;

use futures_util::future::LocalBoxFuture;

use crate::verdict::Outcome;
use crate::world::World;

/// The function of a case.
pub type Run = for<'a> fn(&'a World) -> LocalBoxFuture<'a, Outcome>;

/// One case of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, such as `EX4`.
    pub id: &'static str,
    /// When it runs.
    pub tier: Tier,
    /// Its place in a run.
    pub turn: Turn,
    /// What happens in it.
    pub title: &'static str,
    /// What would make it fail; `None` if nobody has built it yet.
    pub fails_if: Option<&'static str>,
    pub(super) run: Option<Run>,
    pub(super) on_servers: Option<Run>,
}

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// At every change.
    Fast,
    /// Every night: takes longer than a few seconds, or more than one server.
    Slow,
    /// Random schedules, by seed.
    Explore,
}

/// When a case runs, relative to the others of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Before them, and alone: it floods the store.
    First,
    /// Among them.
    Among,
    /// After them, and alone: nobody else may affect the times and costs that it measures.
    Last,
}

impl Case {
    /// The function that runs it on a store whose servers the suite can start, or on any other.
    #[must_use]
    pub fn on(&self, has_servers: bool) -> Option<Run> {
        if has_servers { self.on_servers.or(self.run) } else { self.run.or(self.on_servers) }
    }

    /// Whether somebody has built it, in this build of the suite or another.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.fails_if.is_some()
    }

    /// Whether it is for servers of the suite's own only, which it kills, freezes or gives users.
    #[must_use]
    pub fn needs_servers(&self) -> bool {
        self.is_built() && self.run.is_none()
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Explore => "explore",
        })
    }
}
