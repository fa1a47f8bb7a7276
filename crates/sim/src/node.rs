//! One candidate's process: the real election, a clock, and what the driver keeps beside it.

use std::time::Duration;

use leasehold_core::{
    CandidateConfig, Capabilities, Election, ErrorKind, Expiry, Incarnation, Input, InvalidTiming,
    LeaseClock, Observed, Outcome, Time, Timing, Token,
};

use crate::case::{Case, Kind, Nanos};
use crate::clock::LocalClock;
use crate::coverage::Step;
use crate::draw::{Purpose, draw};
use crate::queue::Local;
use crate::store_kind::{Floor, StoreKind};
use crate::story::name;
use crate::term::{Bound, FOREIGN};

/// What a candidate believes: leader with this token from `start` until `until`, in real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belief {
    /// The term.
    pub token: Token,
    /// When it began.
    pub start: Nanos,
    /// When its clock reaches the deadline.
    pub until: Nanos,
    /// What its clock shows then.
    pub deadline: Time,
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

/// More setbacks than a term has to survive.
pub(crate) const PLENTY: u32 = 1000;

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
    /// When it was sent.
    pub sent: Nanos,
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
    /// Which process: shared by copies, until one of them notices.
    pub lineage: u64,
    /// Of one that noticed: which process it was before, and until when.
    pub parted: Option<(u64, Nanos)>,
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
    /// The store that its process knows, by how many came before.
    pub knows: Option<u64>,
    /// The last term that it was told of, and not told to be gone.
    pub told: Option<Bound>,
    /// The greatest token it was told of: what the watch replays below it is old.
    pub known: Token,
    /// When it wakes by itself.
    pub wakes: Nanos,
    /// What its clock shows then.
    pub wakes_at: Time,
    /// When it gives up the operation in flight.
    pub gives_up: Nanos,
    /// Requests of its term that failed since the last one that extended it; [`PLENTY`] after
    /// anything else that costs time.
    pub setbacks: u32,
    /// When a request of its term was refused last since then; 0 if none was.
    pub refused_at: Nanos,
    /// It has read its own record since.
    pub looked: bool,
    /// Since when its process has run on.
    pub running_since: Nanos,
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
    /// When its process stands again after a failure.
    pub stands_again: Nanos,
    /// Its watch.
    pub watch: Watch,
    /// When its work was drained, if the release is not settled.
    pub releasing: Option<Time>,
    /// How strong every kind of fault is here now.
    pub strengths: [u8; Kind::ALL.len()],
}

impl Node {
    /// The candidate with this configuration, not started. `config` past the last one is the
    /// observer.
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
            clock,
            timing,
            lineage: config as u64,
            parted: None,
            alive: false,
            paused: 0,
            paused_at: 0,
            inbox: Vec::new(),
            operations: 0,
            flight: None,
            knows: None,
            told: None,
            known: 0,
            wakes: Nanos::MAX,
            wakes_at: Time::NEVER,
            gives_up: Nanos::MAX,
            setbacks: PLENTY,
            refused_at: 0,
            looked: false,
            running_since: 0,
            belief: None,
            over: Vec::new(),
            work: None,
            leaves: false,
            wanted: config < case.candidates.len(),
            stands_again: 0,
            watch: Watch { number: 0, stands: false, dead: false, cursor: 0, delivered: 0 },
            releasing: None,
            strengths: [0; Kind::ALL.len()],
        })
    }

    /// It is told of a state of the store.
    pub(crate) fn note(&mut self, observed: &Observed) {
        let Some(record) = observed.record() else { return };
        self.known = self.known.max(record.token);
        let term = match &record.holder {
            Some(holder) if holder.incarnation.is_none() => FOREIGN,
            _ => record.token,
        };
        let (token, lease) = (record.token, record.lease_duration);
        match &record.holder {
            // A release of an older term is no release of the one that was seen.
            None if token > 0 && self.told.is_none_or(|told| token >= told.token) => {
                self.told = None;
            }
            None => {}
            Some(_) if observed.expiry == Expiry::Passed => self.told = None,
            Some(_) => {
                let last = observed.version.as_number().unwrap_or(0);
                self.told = Some(Bound { term, token, lease, last });
            }
        }
    }

    fn is_own(&self, seen: &Observed) -> bool {
        let holder = seen.record().and_then(|record| record.holder.as_ref());
        let own = Some(self.election.incarnation());
        seen.expiry != Expiry::Suspended && holder.is_some_and(|holder| holder.incarnation == own)
    }

    /// A request was answered: it extended the term, or cost time.
    pub(crate) fn count_setback(&mut self, now: Nanos, flying: Flying, input: &Input) {
        match (flying.step, input) {
            // Refused: for as long as that goes on it costs no more than time.
            (_, Input::Read(Err(kind)) | Input::Wrote(Err(kind)))
                if matches!(kind, ErrorKind::Denied | ErrorKind::Invalid) =>
            {
                (self.refused_at, self.looked) = (now, false);
            }
            (Step::Renew, Input::Wrote(Ok(Outcome::Written(_))))
                if flying.sent >= self.running_since =>
            {
                (self.setbacks, self.refused_at, self.looked) = (0, 0, false);
            }
            // A Take may have been sent before, and what was answered to a process that stood still
            // came late.
            (_, Input::Wrote(Ok(Outcome::Written(_)))) => self.setbacks = PLENTY,
            (Step::Read, Input::Read(Ok(seen))) if self.is_own(seen) && !self.looked => {
                self.looked = true;
            }
            // What somebody did to the record has to be looked at and mended, and an event that may
            // be news (an old one of its own is none, but looks so) to be looked up: that takes
            // longer.
            (Step::Read, Input::Read(Ok(_))) => self.setbacks = PLENTY,
            _ => self.setbacks += 1,
        }
    }

    /// Whether its term cannot have been saved since it was refused last: two tries that wait for
    /// their pace, and four requests, of which one may be lost.
    #[must_use]
    pub(crate) fn was_refused_of_late(&self, case: &Case, now: Nanos) -> bool {
        let timeout = self.timing.request_timeout();
        let pace = self.timing.retry_period().min(timeout);
        self.refused_at > 0 && now < self.refused_at + self.real(case, 2 * pace + 4 * timeout)
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
    let candidate = CandidateConfig {
        identity: name(config),
        advertise: None,
        incarnation: incarnation(case.seed, node, life),
        timing,
        hand_over_jitter: Duration::from_millis(jitter),
    };
    let capabilities = Capabilities {
        push: case.push.capability(),
        lease_clock: match case.store {
            StoreKind::Server => LeaseClock::Store,
            _ => LeaseClock::Observers,
        },
        floor_is_history: case.floor == Floor::Revision,
        forgets: case.store == StoreKind::Forgets,
        lease_duration_step: Duration::from_nanos(1),
        ..Capabilities::default()
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
