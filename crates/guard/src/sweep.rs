//! The pace of killing, and what it left so far.

use std::time::Duration;

use crate::defect::Defects;
use crate::{Defect, Process, Time};

/// The grace of a kill: how long after SIGKILL something may live before it is taken for something
/// that cannot be killed, and before renewals must stop.
pub const KILL_GRACE: Duration = Duration::from_secs(2);

/// How long the guard may take to kill when told to, or be silent while it kills, before the
/// supervisor kills in its place.
pub const KILL_NOW: Duration = Duration::from_millis(500);

/// How long the guard may do nothing after CMD has ended before it is taken for stopped or frozen.
pub const SILENT: Duration = Duration::from_secs(5);

/// The same before it has started CMD, which takes longer on a busy host.
pub const STARTING: Duration = Duration::from_secs(30);

/// The pauses between the first rounds of killing.
const PAUSES: [u64; 5] = [1, 2, 5, 10, 20];

/// The least pause, however much news there is.
const LEAST: Duration = Duration::from_millis(1);

/// The same once the kill's grace is over.
const LEAST_LATE: Duration = Duration::from_millis(100);

/// The pause once the kill's grace is over.
const LATE: Duration = Duration::from_millis(250);

/// How many rounds of its own a killer makes, at least, before it takes what is left for something
/// that cannot be killed: one that had no processor for a while has not tried.
const ROUNDS: usize = 12;

/// If more than this lives after the first round, perhaps whatever is reaped makes room for a new
/// process.
const MANY: usize = 16;

/// The most ended children that are kept.
const KEPT: usize = 4_096;

/// Rounds of looking and killing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sweep {
    /// When killing began.
    since: Option<Time>,
    /// When the first round of killing of its own began.
    own: Option<Time>,
    /// When the last round ended; `None` before the first.
    last: Option<Time>,
    rounds: usize,
    /// Many lived after a round of killing.
    besieged: bool,
    /// Something ended since the last round began: the next need not wait.
    news: bool,
    /// Something lives whose end nobody would hear of.
    doubt: bool,
    /// What the last list showed.
    pub(crate) left: Vec<Process>,
    /// When something of CMD was last known to live.
    pub(crate) alive_at: Time,
}

impl Sweep {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            since: None,
            own: None,
            last: None,
            rounds: 0,
            besieged: false,
            news: false,
            doubt: false,
            left: Vec::new(),
            alive_at: now,
        }
    }

    pub(crate) fn note_news(&mut self) {
        self.news = true;
    }

    pub(crate) fn note_doubt(&mut self) {
        self.doubt = true;
    }

    pub(crate) fn note_life(&mut self, at: Time) {
        self.alive_at = self.alive_at.max(at);
    }

    pub(crate) fn is_killing(&self) -> bool {
        self.since.is_some()
    }

    /// Killing begins, now or earlier.
    pub(crate) fn kill(&mut self, now: Time) {
        if self.since.is_none() {
            (self.since, self.own, self.last, self.rounds) = (Some(now), None, None, 0);
        }
    }

    /// When the kill's grace is over, whoever kills.
    pub(crate) fn grace_over(&self) -> Time {
        self.since.map_or(Time::NEVER, |since| since + KILL_GRACE)
    }

    /// When this killer may take what is left for something that cannot be killed: the grace counts
    /// from its own first round.
    pub(crate) fn gives_up_at(&self) -> Time {
        let tried = self.own.filter(|_| self.rounds >= ROUNDS);
        tried.map_or(Time::NEVER, |own| own + KILL_GRACE)
    }

    /// Whether children that have ended are not to be reaped now, while so many live. Each keeps
    /// its place in the table of processes, so that what multiplies up to a limit finds no room for
    /// more. Bounded in number and in time. (Not where few live: a look at many is slow, and those
    /// that hop from pid to pid want a fast one.)
    pub(crate) fn keeps(&mut self, living: usize, ended: usize, now: Time) -> bool {
        let Some(own) = self.own else { return false };
        self.besieged |= self.rounds > 1 && living > MANY;
        self.besieged && living > 0 && ended <= KEPT && now < own + KILL_GRACE * 2
    }

    /// A round begins.
    pub(crate) fn begin(&mut self, now: Time) {
        if self.is_killing() {
            self.own = self.own.or(Some(now));
        }
        (self.news, self.doubt) = (false, false);
        self.rounds = self.rounds.saturating_add(1);
    }

    /// A round ended.
    pub(crate) fn rest(&mut self, now: Time, defects: Defects) {
        self.last = Some(now);
        if defects.is(Defect::NeverRests) {
            self.rounds = 0;
        }
    }

    /// When the next round is due: while killing by itself, otherwise only with news.
    pub(crate) fn due(&self) -> Time {
        let Some(last) = self.last else {
            return if self.is_killing() || self.news { Time(0) } else { Time::NEVER };
        };
        let late = last >= self.gives_up_at();
        let least = last + if late { LEAST_LATE } else { LEAST };
        match (self.is_killing(), self.news) {
            (_, true) => least,
            (true, false) if late => last + LATE,
            (true, false) => {
                let pause = PAUSES[self.rounds.saturating_sub(1).min(PAUSES.len() - 1)];
                last + Duration::from_millis(pause)
            }
            (false, false) if self.doubt => last + LEAST_LATE,
            (false, false) => Time::NEVER,
        }
    }
}
