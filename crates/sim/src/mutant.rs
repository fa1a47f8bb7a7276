//! Deliberate defects that the invariants must find: in the election, in its driver, and in the
//! store.

use serde::{Deserialize, Serialize};

use crate::store_kind::StoreKind;

macro_rules! mutants {
    (core { $($core:ident),* $(,)? } model { $($(#[$doc:meta])* $model:ident),* $(,)? }) => {
        /// A deliberate defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Mutant {
            $(
                #[doc = concat!("See [`leasehold_core::Mutant::", stringify!($core), "`].")]
                $core,
            )*
            $($(#[$doc])* $model,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$core,)* $(Self::$model,)*];

            /// The defect of the election itself.
            #[must_use]
            pub fn core(self) -> Option<leasehold_core::Mutant> {
                match self {
                    $(Self::$core => Some(leasehold_core::Mutant::$core),)*
                    // With one's own name recognised by incarnation, keeping it over restarts is
                    // fatal.
                    Self::ReusedIdentity => Some(leasehold_core::Mutant::OwnByIncarnation),
                    _ => None,
                }
            }
        }
    };
}

mutants! {
    core {
        ConstantNonce, TrustsWallTime, OwnByIncarnation, LeadsOnRead, NoDeadline, ReleasesAnything,
        TimerOnEveryRead, TimerOnVersion, TimerContinues, TokenReset, TimeoutIsSuccess,
        ClientGoTiming, BeliefIsAFlag, NoMargin, OwnDuration, AcceptsLate, Resurrects,
        DeadlineFromAnswer, WaitsFromSend, TakesAbsent, PushEnds, AdoptedIsRelease,
        VanishedCountsFromLife, HoldsOnUnavailable, ReleasesForever, TrustsRestored,
        ToldForEver, WaitsOutReleases, RefusalEnds, ReplacedIsOutage, OldWriteIsCopys,
        NeverRevokes,
    }
    model {
        /// A restarted process keeps its incarnation, and recognises its record by it.
        ReusedIdentity,
        /// The clock does not count suspend.
        MonotonicClock,
        /// The release is sent before the work has stopped.
        ReleasesBeforeStop,
        /// A dropped owner's work counts as stopped.
        ReleasesWithoutStop,
        /// The store applies a Take whatever it replaces.
        BlindPut,
        /// The server deletes the key whosever it is.
        BlindRelease,
        /// The server extends the lease whosever it is.
        BlindRenew,
        /// Tokens are counted by each candidate for itself.
        LocalTokens,
        /// The store goes back without a word.
        SilentRewind,
        /// The lease was granted before the Take was sent.
        EarlyLease,
        /// The acknowledgement of an older keep-alive counts for a newer one.
        StaleKeepAlive,
        /// A foreign client's record is read as the one it replaced.
        ForeignBelieved,
        /// A store that went back applies what names a version of an earlier reign.
        WritesInAnyReign,
        /// A revocation ends whatever lease is there.
        RevokesAnything,
    }
}

impl Mutant {
    /// The name on the command line and in failure files.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Whether it can show at such a store.
    #[must_use]
    pub fn suits(self, store: StoreKind) -> bool {
        let server = store == StoreKind::Server;
        match self {
            Self::BlindRelease | Self::BlindRenew | Self::LocalTokens | Self::EarlyLease => server,
            Self::StaleKeepAlive | Self::RevokesAnything | Self::NeverRevokes => server,
            Self::ForeignBelieved | Self::SilentRewind => store == StoreKind::Observer,
            Self::TimerContinues | Self::WritesInAnyReign | Self::TrustsRestored => {
                store == StoreKind::Forgets
            }
            Self::ToldForEver => store != StoreKind::Observer,
            Self::ReplacedIsOutage => matches!(store, StoreKind::Observer | StoreKind::Server),
            Self::OldWriteIsCopys => matches!(store, StoreKind::Observer | StoreKind::Passed),
            Self::WaitsOutReleases => matches!(store, StoreKind::Observer | StoreKind::Passed),
            Self::TakesAbsent | Self::AdoptedIsRelease | Self::BlindPut => !server,
            Self::VanishedCountsFromLife => !server,
            Self::WaitsFromSend | Self::OwnDuration | Self::TimerOnVersion => !server,
            _ => true,
        }
    }
}
