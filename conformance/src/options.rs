//! What to run, and how.

use crate::cases::{CASES, Case, Tier};
use crate::failed::Failed;
use crate::stop::Stop;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only cases whose name begins with this, or whose title contains it; several by commas.
    pub filter: Option<String>,
    /// The slow and the random tier too.
    pub slow: bool,
    /// Where randomness begins.
    pub seed: u64,
    /// How many cases run at one time.
    pub parallel: usize,
    /// Leave out cases that nobody has built yet; the run counts as filtered.
    pub built_only: bool,
    /// Ends the run early; cases that did not end by then have no verdict, and the report is not
    /// whole.
    pub stop: Stop,
}

impl Default for Options {
    fn default() -> Self {
        let (built_only, stop) = (false, Stop::default());
        Self { filter: None, slow: false, seed: 1, parallel: 16, built_only, stop }
    }
}

impl Options {
    /// The cases that are chosen.
    #[must_use]
    pub fn chosen(&self) -> Vec<&'static Case> {
        CASES.iter().filter(|case| self.chooses(case)).collect()
    }

    /// A part of the filter that names no case.
    #[must_use]
    pub fn unknown_part(&self) -> Option<&str> {
        let filter = self.filter.as_deref()?;
        let known =
            |part: &str| CASES.iter().any(|case| case.id == part || is_group(case.id, part));
        if !filter.is_empty() && CASES.iter().any(|case| case.title.contains(filter)) {
            return None;
        }
        filter.split(',').find(|part| !known(part))
    }

    /// Whether every part of the filter names a case, and some of them can run. `hint` says which
    /// could.
    pub(crate) fn check_filter(&self, hint: &str) -> Result<(), Failed> {
        let nothing = || self.filter.as_deref().filter(|_| self.chosen().is_empty());
        match self.unknown_part().or_else(nothing) {
            Some(filter) => Err(Failed::Usage(format!(
                "no case that can run is named by {filter:?}: write a name (EX4), a group (EX) or \
                 words of a title{hint}"
            ))),
            None => Ok(()),
        }
    }

    fn chooses(&self, case: &Case) -> bool {
        let named = |filter: &str| {
            filter.split(',').any(|part| case.id == part || is_group(case.id, part))
                || case.title.contains(filter)
        };
        let by_name = self.filter.as_deref().is_none_or(named);
        // Who names a slow case wants it.
        let exactly =
            self.filter.as_deref().is_some_and(|filter| filter.split(',').any(|id| id == case.id));
        let tier = case.tier == Tier::Fast || self.slow || exactly;
        by_name && tier && !(self.built_only && case.on(false).is_none())
    }

    /// Whether some case of the chosen tiers was left out by hand.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filter.is_some() || self.built_only
    }
}

/// `EX` names all of EX1 to EX6.
fn is_group(id: &str, part: &str) -> bool {
    !part.is_empty() && id.trim_end_matches(|c: char| c.is_ascii_digit()) == part
}
