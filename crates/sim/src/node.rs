//! One candidate's process: the real election, a clock, and what the driver keeps beside it.

use std::time::Duration;

use leasehold_core::{
    Candidate, Capabilities, Election, Expiry, Incarnation, InvalidTiming, Nonce, Observed, Time,
    Timing, TimingSettings, Token, Version,
};

use crate::case::{Case, Nanos, StoreKind};
use crate::clock::LocalClock;
use crate::coverage::Step;
use crate::draw::{Purpose, draw};
use crate::judge::name;
use crate::queue::Local;

/// What a candidate believes: leader with this token from `start` until `until`, in real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belief {
    /// The term.
    pub token: Token,
    /// When it began.
    pub start: Nanos,
    /// When its clock reaches the deadline.
    pub until: Nanos,
}

/// What is done in a term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// The term.
    pub token: Token,
    /// When it is killed whatever happens.
    pub killed: Nanos,
    /// When it will have stopped by itself.
    pub stops: Option<Nanos>,
}

impl Work {
    /// When nothing of it runs any more.
    #[must_use]
    pub(crate) fn end(&self) -> Nanos {
        self.stops.unwrap_or(Nanos::MAX).min(self.killed)
    }
}

/// A watch.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    /// Which one; an event of an older one is ignored.
    pub number: u64,
    /// Whether it stands.
    pub stands: bool,
    /// Whether it is silently dead.
    pub dead: bool,
    /// The last state it sent.
    pub cursor: usize,
    /// When it last delivered.
    pub delivered: Nanos,
}

/// An operation that was not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flying {
    /// Which.
    pub operation: u64,
    /// What it asks.
    pub step: Step,
}

/// A candidate or an observer.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The configuration it runs with.
    pub config: usize,
    /// The real election.
    pub election: Election,
    /// Its clock.
    pub clock: LocalClock,
    /// Its timing.
    pub timing: Timing,
    /// Which process: shared by copies.
    pub lineage: u64,
    /// Whether a copy of it was made.
    pub cloned: bool,
    /// Whether the process runs at all.
    pub alive: bool,
    /// How many faults hold it still.
    pub paused: u32,
    /// Since when it is still.
    pub paused_at: Nanos,
    /// What happened meanwhile.
    pub inbox: Vec<Local>,
    /// Operations so far, over all its lives.
    pub operations: u64,
    /// The operation in flight.
    pub flight: Option<Flying>,
    /// A write's outcome is unknown.
    pub unsure: bool,
    /// The state in which it was last told of a holder that it has not been told to be gone; 0 if there is none.
    pub holder_seen: u64,
    /// That holder's lease.
    pub lease_seen: Duration,
    /// The greatest token it was told of: what the watch replays below it is old.
    pub known: Token,
    /// What the last write was to replace.
    pub asked: Option<Version>,
    /// When it wakes by itself.
    pub wakes: Nanos,
    /// When it gives up the operation in flight.
    pub gives_up: Nanos,
    /// What it believes.
    pub belief: Option<Belief>,
    /// The terms it believed in and no longer does.
    pub over: Vec<Token>,
    /// What is done in its term.
    pub work: Option<Work>,
    /// Contends no more once the work has stopped.
    pub leaves: bool,
    /// Whether its owner wants it to contend.
    pub wanted: bool,
    /// An overlap of its belief before this moment is explained.
    pub excused: Nanos,
    /// The same for its work.
    pub excused_work: Nanos,
    /// Its watch.
    pub watch: Watch,
    /// When its work was drained, if the release is not settled.
    pub releasing: Option<Time>,
    /// Requests since `window`.
    pub requests: u64,
    /// The present second of the request count.
    pub window: Time,
    /// The holder in view: nonce, and since when.
    pub viewed: Option<(Nonce, Time)>,
    /// The greatest token in view.
    pub greatest: Token,
}

impl Node {
    /// The candidate with this configuration, not started. `config` past the last one is the observer.
    ///
    /// # Errors
    /// The timing breaks a rule.
    pub(crate) fn new(case: &Case, config: usize) -> Result<Self, InvalidTiming> {
        let settings = &case.candidates[config.min(case.candidates.len() - 1)];
        let timing = settings.timing()?;
        let clock = LocalClock::new(settings.offset_ms, settings.rate);
        let election = election(case, config, config, 0, timing);
        Ok(Self {
            config,
            election,
            window: clock.show(0),
            clock,
            timing,
            lineage: config as u64,
            cloned: false,
            alive: false,
            paused: 0,
            paused_at: 0,
            inbox: Vec::new(),
            operations: 0,
            flight: None,
            unsure: false,
            asked: None,
            holder_seen: 0,
            lease_seen: Duration::ZERO,
            known: 0,
            wakes: Nanos::MAX,
            gives_up: Nanos::MAX,
            belief: None,
            over: Vec::new(),
            work: None,
            leaves: false,
            wanted: config < case.candidates.len(),
            excused: 0,
            excused_work: 0,
            watch: Watch { number: 0, stands: false, dead: false, cursor: 0, delivered: 0 },
            releasing: None,
            requests: 0,
            viewed: None,
            greatest: 0,
        })
    }

    /// It is told of a state of the store.
    pub(crate) fn note(&mut self, observed: &Observed) {
        let Some(record) = observed.record() else { return };
        self.known = self.known.max(record.token);
        let gone = match &record.holder {
            None => record.token > 0,
            Some(_) => observed.expiry == Expiry::Passed,
        };
        if gone {
            self.holder_seen = 0;
        } else if record.holder.is_some() {
            self.holder_seen = observed.version.as_number().unwrap_or(0);
            self.lease_seen = record.lease_duration;
        }
    }

    /// When it does something by itself.
    #[must_use]
    pub(crate) fn next_at(&self) -> Nanos {
        if self.paused > 0 || !self.alive {
            return Nanos::MAX;
        }
        self.wakes.min(self.gives_up)
    }

    /// A duration on its own clock in real time.
    #[must_use]
    pub(crate) fn real(&self, case: &Case, duration: Duration) -> Nanos {
        let rate = case.candidates[self.config.min(case.candidates.len() - 1)].rate;
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2_000_000);
        nanos * 1_000_000 / rate + 1
    }
}

impl Node {
    /// How long it believes, and its work runs, after a write at most; in real time.
    #[must_use]
    pub(crate) fn longest_term(&self, case: &Case) -> (Nanos, Nanos) {
        let (d, g) = (self.timing.renew_deadline(), self.timing.stop_grace());
        (self.real(case, d), self.real(case, d + g))
    }
}

/// A fresh election for a process: `life` counts the node's incarnations.
#[must_use]
pub(crate) fn election(
    case: &Case,
    config: usize,
    node: usize,
    life: u64,
    timing: Timing,
) -> Election {
    let jitter = case.candidates.get(config).map_or(0, |c| c.hand_over_jitter_ms);
    let candidate = Candidate {
        identity: name(config),
        advertise: None,
        incarnation: incarnation(case.seed, node, life),
        timing,
        hand_over_jitter: Duration::from_millis(jitter),
    };
    let capabilities = Capabilities {
        push: case.push.capability(),
        floor_is_history: case.floor == crate::case::Floor::Revision,
        forgets: case.store == StoreKind::Forgets,
        min_lease_duration: Duration::ZERO,
        lease_duration_step: Duration::from_nanos(1),
        default_timing: TimingSettings::default(),
    };
    let mutant = case.mutant.and_then(crate::mutant::Mutant::core);
    Election::new(candidate, &capabilities).with_mutant(mutant)
}

/// The incarnation of a node's `life`.
#[must_use]
pub(crate) fn incarnation(seed: u64, node: usize, life: u64) -> Incarnation {
    let high = u128::from(draw(seed, node, life, Purpose::IncarnationHigh));
    Incarnation(high << 64 | u128::from(draw(seed, node, life, Purpose::IncarnationLow)) | 1 << 127)
}
