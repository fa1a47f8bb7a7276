//! Deliberate defects for the simulator: each must break an invariant there. Built in with the
//! feature `mutants` only; without it nothing of this is left.

/// A deliberate defect of guard or watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "mutants"), allow(dead_code, unreachable_pub))]
pub enum Defect {
    /// Two empty lists, one after the other, are a death.
    EmptyListsAreDeath,
    /// Whatever waits is done before the clock is looked at, one by one.
    QueueBeforeClock,
    /// Renewals go on while a kill does not succeed.
    RenewsWhileKilling,
    /// A closed channel is the death of who was at its other end, and of all it had.
    ClosedIsDeath,
    /// Released although something is left, once the kill's grace is over.
    ReleasesWithLeft,
    /// The guard's word that everything is gone counts although it died and others say otherwise.
    GuardsWordStands,
    /// A hidden process is no process.
    HiddenIsNone,
    /// A list that could not be read whole counts as whole.
    PartIsWhole,
    /// A control group without members is a death.
    EmptyCgroupIsDeath,
    /// Kills at the same pace for ever.
    NeverRests,
    /// Stops killing only when everything is dead.
    NeverGivesUp,
    /// A guard that says nothing is waited for.
    WaitsForGuard,
    /// Only the guard is asked whether CMD has ended.
    TrustsSilentGuard,
    /// A guard that fell silent is trusted beyond the end of the lease.
    BeatOutlastsLease,
    /// The end is dated by when it was noticed.
    DeathIsWhenNoticed,
}

/// The defect of a machine, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Defects {
    #[cfg(feature = "mutants")]
    pub(crate) one: Option<Defect>,
}

impl Defects {
    #[cfg(feature = "mutants")]
    pub(crate) fn is(self, defect: Defect) -> bool {
        self.one == Some(defect)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the same signature as with the feature")]
    pub(crate) const fn is(self, _: Defect) -> bool {
        false
    }
}
