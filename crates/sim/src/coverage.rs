//! What schedules went through, counted: a proof that they were worth running.

use std::fmt;

use leasehold_core::{Action, Input, Intent, Loss, Outcome};

use crate::case::Kind;
use crate::cause::Cause;
use crate::lanes::Style;

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Read,
    Adopt,
    Take,
    Renew,
    Release,
    /// Takes back a Take that went astray, where the server ends leases itself.
    Revoke,
}

impl Step {
    /// The step of a request.
    #[must_use]
    pub(crate) fn of(action: &Action) -> Self {
        match action {
            Action::Read => Self::Read,
            Action::Write { change, .. } => match change.intent {
                Intent::Adopt => Self::Adopt,
                Intent::Take => Self::Take,
                Intent::Renew => Self::Renew,
                Intent::Release => Self::Release,
                Intent::Revoke => Self::Revoke,
            },
        }
    }
}

macro_rules! branches {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A way that a request or a term can end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Branch { $($(#[$doc])* $name),* }

        impl Branch {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

branches! {
    /// A read was answered.
    ReadAnswered,
    /// A read failed.
    ReadUnknown,
    /// An adoption was stored.
    AdoptWritten,
    /// An adoption was refused.
    AdoptRefused,
    /// Whether an adoption was stored is unknown.
    AdoptUnknown,
    /// An adoption was stored after its sender had given up.
    AdoptLate,
    /// A Take was stored.
    TakeWritten,
    /// A Take was refused.
    TakeRefused,
    /// Whether a Take was stored is unknown.
    TakeUnknown,
    /// A Take was stored after its sender had given up.
    TakeLate,
    /// A renewal was stored.
    RenewWritten,
    /// A renewal was refused.
    RenewRefused,
    /// Whether a renewal was stored is unknown.
    RenewUnknown,
    /// A renewal was stored after its sender had given up.
    RenewLate,
    /// A release was stored.
    ReleaseWritten,
    /// A release was refused.
    ReleaseRefused,
    /// Whether a release was stored is unknown.
    ReleaseUnknown,
    /// A release was stored after its sender had given up.
    ReleaseLate,
    /// A Take that went astray was taken back.
    RevokeWritten,
    /// Whether it was is unknown.
    RevokeUnknown,
    /// It was, after the sender had given up.
    RevokeLate,
    /// A term ended by its deadline.
    LostExpired,
    /// A term ended by another leader.
    LostSuperseded,
    /// A term ended since another store answers.
    LostReplaced,
    /// A term ended by its owner's word.
    LostResigned,
    /// A term ended by its owner's disappearance.
    LostDropped,
    /// A leader wrote its record again over one that was not its own.
    Reasserted,
    /// A leader wrote its record again over an old copy of its own.
    PutBack,
    /// A candidate saw a copy of itself.
    CopyNoticed,
    /// A candidate stopped at what it could not parse.
    Corrupt,
}

impl Branch {
    /// The outcome of a request is unknown.
    #[must_use]
    pub(crate) fn unknown(step: Step) -> Self {
        match step {
            Step::Read => Self::ReadUnknown,
            Step::Adopt => Self::AdoptUnknown,
            Step::Take => Self::TakeUnknown,
            Step::Renew => Self::RenewUnknown,
            Step::Release => Self::ReleaseUnknown,
            Step::Revoke => Self::RevokeUnknown,
        }
    }

    /// A request was applied after its sender had given up.
    #[must_use]
    pub(crate) fn late(step: Step) -> Self {
        match step {
            Step::Read => Self::ReadAnswered,
            Step::Adopt => Self::AdoptLate,
            Step::Take => Self::TakeLate,
            Step::Renew => Self::RenewLate,
            Step::Release => Self::ReleaseLate,
            Step::Revoke => Self::RevokeLate,
        }
    }

    /// A term ended.
    #[must_use]
    pub(crate) fn lost(loss: Loss) -> Self {
        match loss {
            Loss::Superseded => Self::LostSuperseded,
            Loss::Replaced => Self::LostReplaced,
            Loss::Resigned => Self::LostResigned,
            Loss::Dropped => Self::LostDropped,
            // The election knows of no driver that could be gone.
            _ => Self::LostExpired,
        }
    }

    fn written(step: Step) -> Self {
        match step {
            Step::Read => Self::ReadAnswered,
            Step::Adopt => Self::AdoptWritten,
            Step::Take => Self::TakeWritten,
            Step::Renew => Self::RenewWritten,
            Step::Release => Self::ReleaseWritten,
            Step::Revoke => Self::RevokeWritten,
        }
    }

    fn refused(step: Step) -> Self {
        match step {
            Step::Read => Self::ReadAnswered,
            Step::Adopt => Self::AdoptRefused,
            Step::Take => Self::TakeRefused,
            Step::Renew => Self::RenewRefused,
            // Taking back is never refused: what is not there is taken back.
            Step::Release | Step::Revoke => Self::ReleaseRefused,
        }
    }
}

/// What happened in a schedule, or in many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Events.
    pub events: u64,
    /// Terms begun.
    pub terms: u64,
    /// Writes refused.
    pub conflicts: u64,
    /// Operations that timed out.
    pub unknown: u64,
    /// Writes applied after their sender gave up.
    pub zombies: u64,
    /// Renewals over something that was not the sender's.
    pub reasserted: u64,
    /// Releases applied.
    pub released: u64,
    /// Adoptions applied.
    pub adopted: u64,
    /// Copies that noticed.
    pub copies: u64,
    /// Pairs of terms whose overlap was expected, by [`Cause`].
    excused: [u64; Cause::ALL.len()],
    /// A bit for every kind of fault that began.
    kinds: u32,
    /// A bit for every branch taken.
    branches: u32,
}

impl Coverage {
    /// Adds another schedule's.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.terms += other.terms;
        self.conflicts += other.conflicts;
        self.unknown += other.unknown;
        self.zombies += other.zombies;
        self.reasserted += other.reasserted;
        self.released += other.released;
        self.adopted += other.adopted;
        self.copies += other.copies;
        for (sum, count) in self.excused.iter_mut().zip(other.excused) {
            *sum += count;
        }
        self.kinds |= other.kinds;
        self.branches |= other.branches;
    }

    /// The kinds of fault that never began.
    pub fn missing_kinds(&self) -> impl Iterator<Item = Kind> {
        let kinds = self.kinds;
        Kind::ALL.iter().copied().filter(move |kind| kinds & (1 << *kind as u32) == 0)
    }

    /// The branches that were never taken.
    pub fn missing_branches(&self) -> impl Iterator<Item = Branch> {
        let branches = self.branches;
        Branch::ALL.iter().copied().filter(move |branch| branches & (1 << *branch as u32) == 0)
    }

    /// How much was covered, in few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let (kinds, branches) = (Kind::ALL.len(), Branch::ALL.len());
        let (no_kind, no_branch) = (self.missing_kinds().count(), self.missing_branches().count());
        format!(
            "{} of {kinds} kinds of fault, {} of {branches} branches",
            kinds - no_kind,
            branches - no_branch
        )
    }

    /// How much was covered, in a few words of a progress line.
    #[must_use]
    pub fn progress(&self) -> String {
        let (kinds, branches) = (Kind::ALL.len(), Branch::ALL.len());
        let (no_kind, no_branch) = (self.missing_kinds().count(), self.missing_branches().count());
        format!("{}/{kinds} faults, {}/{branches} branches", kinds - no_kind, branches - no_branch)
    }

    /// Whether everything that can happen did.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing_kinds().next().is_none() && self.missing_branches().next().is_none()
    }

    /// A fault begins.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.kinds |= 1 << kind as u32;
    }

    /// An overlap was expected.
    pub(crate) fn excuse(&mut self, cause: Cause) {
        self.excused[cause as usize] += 1;
    }

    /// How many overlaps of a cause were expected.
    #[must_use]
    pub fn excused(&self, cause: Cause) -> u64 {
        self.excused[cause as usize]
    }

    /// A branch is taken.
    pub(crate) fn note(&mut self, branch: Branch) {
        self.branches |= 1 << branch as u32;
    }

    /// A request is answered. Returns how it is drawn.
    pub(crate) fn answered(&mut self, step: Step, input: &Input) -> Style {
        let (branch, style) = match input {
            Input::Read(Err(_)) | Input::Wrote(Err(_)) => (Branch::unknown(step), Style::Unknown),
            Input::Wrote(Ok(Outcome::Conflict)) => (Branch::refused(step), Style::Refused),
            _ => (Branch::written(step), Style::Done),
        };
        self.note(branch);
        style
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, terms, conflicts, unknown, zombies, .. } = self;
        let Self { reasserted, released, adopted, copies, .. } = self;
        let excused = Cause::ALL.map(|(cause, words)| format!("{} {words}", self.excused(cause)));
        let excused = excused.join(", ");
        write!(
            f,
            "{events} events, {terms} terms, {conflicts} conflicts, {unknown} unknown outcomes, \
             {zombies} late writes, {reasserted} re-assertions, {released} releases, {adopted} \
             adoptions, {copies} copies noticed, expected overlaps {excused}; {}",
            self.summary()
        )?;
        for kind in self.missing_kinds() {
            write!(f, "; never {kind:?}")?;
        }
        for branch in self.missing_branches() {
            write!(f, "; never {branch:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_branch_has_a_bit() {
        assert!(Kind::ALL.len() <= 32 && Branch::ALL.len() <= 32);
        assert_eq!(Coverage::default().missing_kinds().count(), Kind::ALL.len());
        let mut cover = Coverage::default();
        cover.note(Branch::CopyNoticed);
        cover.begin(Kind::Drain);
        assert!(!cover.missing_branches().any(|branch| branch == Branch::CopyNoticed));
        assert!(!cover.missing_kinds().any(|kind| kind == Kind::Drain));
        assert_eq!(cover.summary(), "1 of 30 kinds of fault, 1 of 30 branches");
    }
}
