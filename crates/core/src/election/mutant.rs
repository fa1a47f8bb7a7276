//! Deliberate defects for the simulator: each must break an invariant there. Built in with the
//! feature `mutants` only; without it [`Election::is`] is false and nothing of this is left.

use crate::time::Time;

use super::{Election, OwnTerm};

/// A deliberate defect of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "mutants"), allow(dead_code, unreachable_pub))]
pub enum Mutant {
    /// Renewals carry the nonce that is stored.
    ConstantNonce,
    /// Trusts the wall time in a record.
    TrustsWallTime,
    /// Whatever names our incarnation is ours.
    OwnByIncarnation,
    /// Leads when a read shows its Take.
    LeadsOnRead,
    /// Leads until a conflict.
    NoDeadline,
    /// Releases whatever is stored.
    ReleasesAnything,
    /// Every read restarts the timer.
    TimerOnEveryRead,
    /// Every version restarts the timer.
    TimerOnVersion,
    /// The timer goes on after a suspended state.
    TimerContinues,
    /// A release resets the token.
    TokenReset,
    /// A write that timed out counts as done.
    TimeoutIsSuccess,
    /// The deadline counts from the answer, one retry period later, and belief is a flag.
    ClientGoTiming,
    /// Belief is a flag that an event clears.
    BeliefIsAFlag,
    /// Believes for the whole lease.
    NoMargin,
    /// Waits its own duration, not the record's.
    OwnDuration,
    /// An acknowledgement after the deadline counts from its arrival.
    AcceptsLate,
    /// A late acknowledgement brings a term back.
    Resurrects,
    /// The deadline counts from the answer.
    DeadlineFromAnswer,
    /// The wait counts from the send of the read.
    WaitsFromSend,
    /// Takes from absent.
    TakesAbsent,
    /// A pushed observation ends a term.
    PushEnds,
    /// An adopted record counts as a release.
    AdoptedIsRelease,
    /// What vanished is waited out from the last sign of life.
    VanishedCountsFromLife,
    /// Believes on while the store is unavailable.
    HoldsOnUnavailable,
    /// An own record that the store went back to is trusted although the lease is over.
    TrustsRestored,
    /// A release is tried for ever.
    ReleasesForever,
    /// What was given back is waited out as if its holder had died.
    WaitsOutReleases,
    /// What was read once is told for ever, where no lease is counted.
    ToldForEver,
    /// A refusal ends the term.
    RefusalEnds,
    /// Leads on although another store answers.
    ReplacedIsOutage,
    /// An older write of one's own is taken for a copy's.
    OldWriteIsCopys,
    /// A Take that went astray is forgotten: not revoked, and not recognised.
    NeverRevokes,
}

impl Election {
    /// The same election with a deliberate defect.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(self, mutant: Option<Mutant>) -> Self {
        Self { mutant, ..self }
    }

    #[cfg(feature = "mutants")]
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the same signature as with the feature")]
    pub(super) const fn is(&self, _: Mutant) -> bool {
        false
    }

    /// When belief ends that rests on a write sent at `sent`.
    pub(super) fn believe_until(&self, sent: Time) -> Time {
        if self.is(Mutant::NoDeadline) {
            return Time::NEVER;
        }
        if self.is(Mutant::NoMargin) {
            return sent + self.timing.lease_duration();
        }
        self.timing.believe_until(sent)
    }

    /// Until when a term may be believed in without asking again.
    pub(super) fn promised_until(&self, term: &OwnTerm) -> Time {
        if self.is(Mutant::BeliefIsAFlag) || self.is(Mutant::ClientGoTiming) {
            return Time::NEVER;
        }
        self.believe_until(term.sent)
    }

    /// The moment an acknowledged write counts from.
    pub(super) fn counted_from(&self, now: Time, sent: Time) -> Time {
        if self.is(Mutant::ClientGoTiming) {
            return now + self.timing.retry_period();
        }
        let late = self.is(Mutant::AcceptsLate) && now >= self.timing.believe_until(sent);
        if late || self.is(Mutant::DeadlineFromAnswer) { now } else { sent }
    }
}
