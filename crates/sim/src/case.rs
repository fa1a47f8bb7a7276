//! One schedule as data: what a seed stands for, and what a failure file holds.

use std::time::Duration;

use leasehold_core::{InvalidTiming, Timing, TimingSettings};
use serde::{Deserialize, Serialize};

use crate::mutant::Mutant;
use crate::store_kind::{Floor, PushKind, StoreKind};

/// A moment or a duration of real time, in nanoseconds. Candidates have clocks of their own.
pub type Nanos = u64;

/// One microsecond.
pub(crate) const US: Nanos = 1_000;
/// One millisecond.
pub(crate) const MS: Nanos = 1_000_000;

/// No moment of a schedule is later, in milliseconds: some hours.
const LONGEST_MS: u64 = 20_000_000;

/// How long a schedule may last: the fastest clock can be computed with until then.
const LONGEST_SCHEDULE_MS: u64 = 900_000;

/// A schedule: everything that decides what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The seed of every draw that is not written down here.
    pub seed: u64,
    /// The kind of store.
    pub store: StoreKind,
    /// How the store tells of changes.
    pub push: PushKind,
    /// What the store knows of its past.
    pub floor: Floor,
    /// The candidates.
    pub candidates: Vec<CandidateConfig>,
    /// Whether somebody only observes.
    pub observer: bool,
    /// The rate of the server's clock, in millionths of real time.
    pub server_rate: u64,
    /// The longest way of a message without faults, in microseconds.
    pub latency_us: u64,
    /// When the faults end, in milliseconds.
    pub chaos_ms: u64,
    /// When the schedule ends, in milliseconds.
    pub end_ms: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The deliberate defect of the run, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<Mutant>,
}

/// What a candidate is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateConfig {
    /// L.
    pub lease_duration_ms: u64,
    /// D.
    pub renew_deadline_ms: u64,
    /// P.
    pub retry_period_ms: u64,
    /// T.
    pub request_timeout_ms: u64,
    /// G.
    pub stop_grace_ms: u64,
    /// m.
    pub clock_margin_ms: u64,
    /// How long it waits at most before it takes a released lock.
    pub hand_over_jitter_ms: u64,
    /// The rate of its clock, in millionths of real time.
    pub rate: u64,
    /// What its clock shows at the start, in milliseconds.
    pub offset_ms: u64,
    /// When its process starts, in milliseconds.
    pub start_ms: u64,
}

impl Case {
    /// Whether it can be run: a file may say anything.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let rates = self.candidates.iter().map(|candidate| candidate.rate);
        for rate in rates.chain([self.server_rate]) {
            if !(100_000..=10_000_000).contains(&rate) {
                return Err(format!("a clock rate of {rate} is not between 100000 and 10000000"));
            }
        }
        if !(1..=8).contains(&self.candidates.len()) {
            return Err(format!("{} candidates; there may be 1 to 8", self.candidates.len()));
        }
        let count = self.candidates.len();
        for (index, fault) in self.faults.iter().enumerate() {
            let kind = fault.kind;
            if let Some(node) = fault.node.filter(|node| *node >= count) {
                return Err(format!(
                    "fault {index} ({kind:?}) is at node {node}, and there are {count}"
                ));
            }
            if fault.strength > 100 {
                return Err(format!("fault {index} ({kind:?}) has a strength above 100"));
            }
        }
        if !(1..=LONGEST_SCHEDULE_MS).contains(&self.end_ms) {
            let end = self.end_ms;
            return Err(format!("end_ms is {end}; it may be 1 to {LONGEST_SCHEDULE_MS}"));
        }
        let of_one = |c: &CandidateConfig| [c.offset_ms, c.start_ms, c.hand_over_jitter_ms];
        let moments = self.candidates.iter().flat_map(of_one);
        let faults = self.faults.iter().flat_map(|fault| [fault.at_ms, fault.for_ms]);
        let own = [self.chaos_ms, self.latency_us];
        match moments.chain(faults).chain(own).find(|moment| *moment > LONGEST_MS) {
            Some(moment) => Err(format!("{moment} is too far in the future: at most {LONGEST_MS}")),
            None => Ok(()),
        }
    }
}

impl Kind {
    /// Whether it happens at one moment, however long it is said to last.
    #[must_use]
    pub(crate) fn is_instant(self) -> bool {
        use Kind::{
            AdminDelete, AdminFree, Clone, Replaced, Resign, Restored, ServerRestart, WatchCut,
        };
        matches!(self, AdminDelete | AdminFree | Clone | Resign | ServerRestart | WatchCut)
            || matches!(self, Replaced | Restored)
    }

    /// Whether it is not one candidate's.
    #[must_use]
    pub(crate) fn is_of_store(self) -> bool {
        use Kind::{AdminDelete, AdminFree, AdminLabel, Foreign, ServerRestart, ServerStall};
        matches!(self, AdminDelete | AdminFree | AdminLabel | Foreign | ServerRestart | ServerStall)
            || matches!(self, Self::Unreadable | Self::Replaced | Self::Restored)
    }
}

impl CandidateConfig {
    /// The timing.
    ///
    /// # Errors
    /// The numbers break a rule.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        let ms = |ms| Some(Duration::from_millis(ms));
        TimingSettings {
            lease_duration: ms(self.lease_duration_ms),
            renew_deadline: ms(self.renew_deadline_ms),
            retry_period: ms(self.retry_period_ms),
            request_timeout: ms(self.request_timeout_ms),
            stop_grace: ms(self.stop_grace_ms),
            clock_margin: ms(self.clock_margin_ms),
        }
        .build()
    }
}

impl Fault {
    /// Whether it hits everybody.
    #[must_use]
    pub(crate) fn is_for_all(&self) -> bool {
        self.kind == Kind::Refused && self.node.is_none()
    }
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Whom it hits: a candidate, or whoever leads when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// When it begins, in milliseconds.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// How strong it is, 0 to 100.
    pub strength: u64,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind { $($(#[$doc])* $name),* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

kinds! {
    /// Requests are lost.
    LostRequests,
    /// Requests are applied, and their answers lost.
    LostAnswers,
    /// Requests arrive late.
    LateRequests,
    /// Answers arrive late.
    LateAnswers,
    /// Requests arrive twice.
    Duplicates,
    /// Requests are held on the way and applied long after the sender gave up.
    Zombies,
    /// Nothing arrives, in neither direction.
    Partition,
    /// Requests are refused at once; some have been applied all the same.
    Refusals,
    /// Requests are refused with a time to wait.
    Throttling,
    /// The process stands still.
    Pause,
    /// The machine sleeps.
    Suspend,
    /// The process dies, and starts again under a new incarnation.
    Restart,
    /// A copy of the process starts.
    Clone,
    /// The server stands still and then does what was asked meanwhile.
    ServerStall,
    /// The server starts again: watches break, a forgetful store goes back.
    ServerRestart,
    /// The watch is silently dead.
    WatchSilent,
    /// Watch events come late.
    WatchLate,
    /// The watch ends and begins again where it was.
    WatchCut,
    /// Watch events are lost.
    WatchLoss,
    /// A foreign client contends.
    Foreign,
    /// An administrator deletes the record.
    AdminDelete,
    /// Somebody changes a field that is not ours.
    AdminLabel,
    /// An administrator removes the holder.
    AdminFree,
    /// The record cannot be parsed until somebody puts it right.
    Unreadable,
    /// A leader resigns: stop, drain, release.
    Resign,
    /// A candidate withdraws and stands again; a leader's owner is dropped.
    Withdraw,
    /// A leader drains, then withdraws; stands again later.
    Drain,
    /// Requests are called wrong or denied, for a candidate or, if it names nobody, for all: every
    /// write, and every read, too, if it is strong.
    Refused,
    /// Another store answers from now on, and whoever knew the old one notices.
    Replaced,
    /// An administrator puts an earlier record of somebody who held the lock back.
    Restored,
}
