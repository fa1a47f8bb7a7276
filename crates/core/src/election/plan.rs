//! What is to be done next, and when.

#[cfg(doc)]
use crate::backend::Capabilities;
use crate::backend::{Change, Contents, Expiry, Intent};
use crate::error::ErrorKind;
use crate::record::{Holder, MAX_TOKEN, Nonce, Record, Token};
use crate::time::Time;
use crate::timing::{StoreTraits, Timing};

use super::mutant::Mutant;
use super::{AT_ONCE, Attempt, Election, Halt, Phase, Rival, Trust, UNSTAMPED};

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Read,
    Adopt,
    Take,
    Renew,
    Release,
    /// Undo a Take that went astray (`ByServer`).
    Revoke,
}

impl Election {
    /// The next request and its moment. Changes nothing, so that `poll` and `next_deadline` agree.
    pub(super) fn plan(&self) -> (Time, Step) {
        if self.failure.is_some() || self.copied {
            return (Time::NEVER, Step::Read);
        }
        let looks = self.trust == Trust::Look;
        let read = (if looks { AT_ONCE } else { self.read_at }, Step::Read);
        if self.trust != Trust::Fresh || self.seen.is_none() {
            return read;
        }
        let (at, step) = self.next_write();
        let at = if self.is_first_release(step) { at } else { at.max(self.write_at) };
        if at <= read.0 && at != Time::NEVER { (at, step) } else { read }
    }

    /// A release waits for no pace that an earlier renewal set.
    fn is_first_release(&self, step: Step) -> bool {
        let release = |attempt: &Attempt| attempt.change.intent == Intent::Release;
        step == Step::Release && !self.own.unresolved.iter().any(release)
    }

    fn next_write(&self) -> (Time, Step) {
        const NOT_NOW: (Time, Step) = (Time::NEVER, Step::Read);
        if self.ghost.is_some() && !self.is(Mutant::NeverRevokes) {
            return (AT_ONCE, Step::Revoke);
        }
        match self.phase {
            Phase::Leading(term) => (term.renew_at, Step::Renew),
            Phase::Claiming { .. } => (AT_ONCE, Step::Renew),
            Phase::Ended { release_until: Some(_), .. } => {
                if self.may_release_over_seen() {
                    (AT_ONCE, Step::Release)
                } else {
                    NOT_NOW
                }
            }
            _ if !self.standing => NOT_NOW,
            // Present is never taken, not even when it is ours.
            Phase::Ended { work_stopped: true, .. }
                if self.is_seen_ours() && self.is_by_server() =>
            {
                (AT_ONCE, Step::Release)
            }
            // Nobody came between: the compare-and-swap over our own record proves it.
            Phase::Ended { work_stopped: true, .. } if self.is_seen_ours() => (AT_ONCE, Step::Take),
            Phase::Ended { .. } | Phase::Following => self.opening(),
        }
    }

    pub(super) fn is_by_server(&self) -> bool {
        self.by_server
    }

    /// How and when a candidate that holds nothing gets the lock.
    fn opening(&self) -> (Time, Step) {
        let Some(seen) = &self.seen else {
            return (Time::NEVER, Step::Read);
        };
        let lease_over = self.held_until();
        let polite = self.cool_until.max(seen.received + self.hand_over_wait);
        match (&seen.observed.contents, seen.observed.expiry) {
            (Contents::Unreadable(_), _) => (Time::NEVER, Step::Read),
            (_, Expiry::Suspended) => (Time(0), Step::Adopt),
            (Contents::Absent, Expiry::ByServer) => (polite, Step::Take),
            (Contents::Absent, _) if self.is(Mutant::TakesAbsent) => (lease_over, Step::Take),
            (Contents::Absent, _) => (lease_over, Step::Adopt),
            (Contents::Record(Record { holder: None, .. }), _) => {
                (polite.max(lease_over), Step::Take)
            }
            (Contents::Record(_), Expiry::Passed) => (self.cool_until, Step::Take),
            (Contents::Record(_), Expiry::ByObserver) => (lease_over, Step::Take),
            // Present is alive: the timer only reads.
            (Contents::Record(_), Expiry::ByServer) => (Time::NEVER, Step::Read),
        }
    }

    /// When the lease of the last holder seen is over, by our clock. Zero if none was seen.
    fn held_until(&self) -> Time {
        match &self.held {
            None => Time(0),
            Some(held) if held.suspended => Time::NEVER,
            Some(held) => {
                let own = self.is(Mutant::OwnDuration);
                let lease = if own { self.timing.lease_duration() } else { held.lease_duration };
                held.received + Timing::wait(lease) + self.jitter
            }
        }
    }

    /// When this candidate may take the lock at the latest, if no other shows life before: told
    /// only where no holder is known because the store may have forgotten who led
    /// ([`Capabilities::forgets`]). Before the adoption it is counted from `now`.
    #[must_use]
    pub fn forgotten_until(&self, now: Time) -> Option<Time> {
        let seen = self.seen.as_ref().filter(|_| now < self.view_until())?;
        let holder = seen.observed.record().and_then(|record| record.holder.as_ref());
        match (&seen.observed.contents, seen.observed.expiry) {
            (Contents::Unreadable(_), _) => None,
            (_, Expiry::Suspended) if holder.is_none_or(Holder::is_unknown) => {
                let lease = self.longest.max(self.timing.lease_duration());
                Some(now + Timing::wait(lease) + self.jitter)
            }
            (_, Expiry::ByObserver) if holder.is_some_and(Holder::is_unknown) => {
                Some(self.held_until())
            }
            _ => None,
        }
    }

    /// When what we know is too old to be told.
    pub(crate) fn view_until(&self) -> Time {
        let Some(seen) = &self.seen else {
            return Time(0);
        };
        let told = seen.observed.record().filter(|record| record.holder.is_some());
        match (&self.held, told, seen.observed.expiry) {
            // The watch has shown another sign of life, which a read must decide on first.
            (Some(held), Some(told), Expiry::ByObserver) if told.nonce != held.nonce => Time(0),
            (Some(held), Some(_), Expiry::ByObserver) => held.lease_over(),
            _ if self.is(Mutant::ToldForEver) => Time::NEVER,
            _ => seen.heard + self.timing.lease_duration() + 2 * self.timing.request_timeout(),
        }
    }

    /// The next read, if nothing calls for one earlier.
    pub(super) fn schedule_read(&mut self, now: Time) {
        let store = StoreTraits { push: self.push, by_server: self.is_by_server() };
        let timing = self.timing;
        self.read_at = match (self.phase, &self.held) {
            (Phase::Leading(_) | Phase::Claiming { .. }, _) => Time::NEVER,
            (_, Some(held)) if !self.push => now + timing.poll_period(held.lease_duration),
            (_, None) if !self.push => now + timing.retry_period(),
            _ => now + timing.reads_every(store),
        };
    }

    /// The shortest time between two attempts that fail.
    pub(super) fn pace(&self) -> Duration {
        let period = self.timing.retry_period();
        match self.phase {
            Phase::Leading(_) | Phase::Claiming { .. } | Phase::Ended { .. } => {
                period.min(self.timing.request_timeout())
            }
            Phase::Following => period,
        }
    }

    /// When to read again after a request that was sent at `sent` failed.
    pub(super) fn after_failure(&self, now: Time, sent: Time, kind: ErrorKind) -> Time {
        let again = now.max(sent + self.pace());
        let ErrorKind::Throttled { retry_after: Some(delay) } = kind else {
            return again;
        };
        let asked = again.max(now + delay.min(self.timing.longest_back_off()));
        match self.leadership(now) {
            // A leader obeys as far as its deadline allows a read and a renewal.
            Some(term) => asked.min(again.max(term.until - 2 * self.timing.request_timeout())),
            None => asked,
        }
    }

    /// Prepares the step: `None` is a read.
    pub(super) fn begin(
        &mut self,
        now: Time,
        step: Step,
        nonce: impl FnOnce() -> Nonce,
    ) -> Option<Attempt> {
        let intent = match step {
            Step::Read => {
                if self.trust == Trust::Look {
                    self.trust = Trust::Fresh;
                }
                return None;
            }
            Step::Revoke => {
                let ghost = self.ghost.as_mut()?;
                ghost.change.intent = Intent::Revoke;
                return Some(Attempt { first_sent: now, ..ghost.clone() });
            }
            Step::Adopt => Intent::Adopt,
            Step::Take => Intent::Take,
            Step::Renew => Intent::Renew,
            Step::Release => Intent::Release,
        };
        let expected = self.seen.as_ref()?.observed.version.clone();
        // Not once its token is known to have been used: the version came back with an old record.
        let used =
            |attempt: &Attempt| !self.is_by_server() && attempt.change.record.token <= self.highest;
        let same = |attempt: &&Attempt| {
            attempt.change.intent == Intent::Take && attempt.expected == expected && !used(attempt)
        };
        // One unresolved Take per version: the same bytes are sent again, and count from the first
        // time.
        if let (Intent::Take, Some(attempt)) = (intent, self.own.unresolved.iter().find(same)) {
            return Some(attempt.clone());
        }
        let record =
            match intent {
                Intent::Adopt => self.adopted(nonce),
                Intent::Take => {
                    let token = self.mint();
                    if token > MAX_TOKEN {
                        self.fail(now, Halt::Corrupt(format!(
                        "the tokens of this lock are used up (the next would be {token}, above \
                         2^63): begin a lock under another name"
                    )));
                        return None;
                    }
                    self.record(Some(self.me.clone()), token, nonce())
                }
                Intent::Renew => {
                    let stored = self.seen.as_ref().and_then(|seen| seen.observed.record());
                    let nonce = match stored.filter(|_| self.is(Mutant::ConstantNonce)) {
                        Some(stored) => stored.nonce,
                        None => nonce(),
                    };
                    self.record(Some(self.me.clone()), self.term_token(), nonce)
                }
                Intent::Release if self.is(Mutant::TokenReset) => self.record(None, 0, nonce()),
                Intent::Release => self.record(None, self.term_token(), nonce()),
                Intent::Revoke => unreachable!("a revocation repeats its Take's record"),
            };
        Some(Attempt {
            expected,
            change: Change { intent, record },
            first_sent: now,
            refused: false,
        })
    }

    /// Larger than every token that may have been used.
    fn mint(&self) -> Token {
        let seen = self.seen.as_ref();
        let record = seen.and_then(|seen| seen.observed.record()).map_or(0, |record| record.token);
        let floor = seen.and_then(|seen| seen.observed.token_floor).max(self.floor).unwrap_or(0);
        if self.is(Mutant::TokenReset) {
            return record.saturating_add(1);
        }
        record.max(floor).max(self.highest).saturating_add(1)
    }

    pub(super) fn term_token(&self) -> Token {
        match self.phase {
            Phase::Leading(term) => term.token,
            Phase::Claiming { token } | Phase::Ended { token, .. } => token,
            Phase::Following => 0,
        }
    }

    fn record(&self, holder: Option<Holder>, token: Token, nonce: Nonce) -> Record {
        let stored = self.seen.as_ref().and_then(|seen| seen.observed.record());
        let same_term = stored.filter(|record| record.token == token && record.holder == holder);
        Record {
            holder,
            token,
            lease_duration: self.timing.lease_duration(),
            nonce,
            acquired: same_term.map_or(UNSTAMPED, |record| record.acquired),
            renewed: UNSTAMPED,
            extra: stored.map(|record| record.extra.clone()).unwrap_or_default(),
        }
    }

    /// What an adoption stores. Where the store vouches for absence: nobody, token 0, which is no
    /// release. Where it may have forgotten: what is there, unchanged, or an unknown holder who
    /// must be waited for.
    fn adopted(&self, nonce: impl FnOnce() -> Nonce) -> Record {
        let longest = self.longest.max(self.timing.lease_duration());
        let seen = self.seen.as_ref().map(|seen| &seen.observed);
        let suspended = seen.is_some_and(|seen| seen.expiry == Expiry::Suspended);
        let stored = seen.and_then(|seen| seen.record()).filter(|_| suspended);
        let record = match stored {
            Some(record) if record.holder.is_some() => record.clone(),
            _ => {
                let token = stored.map_or(0, |record| record.token);
                self.record(suspended.then(Holder::unknown), token, nonce())
            }
        };
        Record { lease_duration: record.lease_duration.max(longest), ..record }
    }
}

impl Rival {
    /// When the lease is over, by our clock.
    pub(super) fn lease_over(&self) -> Time {
        self.received + Timing::wait(self.lease_duration)
    }
}
