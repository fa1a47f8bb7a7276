//! The election: a pure state machine.
//!
//! No async, clock, randomness or logging. Time and nonces enter as arguments, operations leave as
//! [`Action`]s, and at most one is in flight. The tokio driver, the simulator and the model checker
//! drive this very object.
//!
//! - `types.rs`: what goes in and what comes out.
//! - `mod.rs`: what callers ask of it.
//! - `state.rs`: what it remembers.
//! - `answers.rs`: what the store's answers change.
//! - `settle.rs`: what a record that was read means (whose it is).
//! - `plan.rs`: what is to be done next, and when.
//! - `visit.rs`: what the model checker renames.

mod answers;
mod mutant;
mod plan;
mod settle;
mod state;
#[cfg(test)]
mod tests;
mod types;
#[cfg(feature = "model")]
mod visit;

use std::time::Duration;

use crate::backend::{Capabilities, Contents, Expiry, Intent, Observed, Reign, Version};
use crate::record::{Holder, Incarnation, Nonce, Token};
use crate::time::{Time, Wall};
use crate::timing::Timing;

#[cfg(feature = "mutants")]
pub use mutant::Mutant;
#[cfg(not(feature = "mutants"))]
use mutant::Mutant;
use state::{Attempt, Flight, Own, OwnTerm, Phase, Rival, Seen, Trust};
pub use types::{Action, CandidateConfig, Halt, Input, Leadership, Loss, View};

/// One candidate, or an observer that never stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Election {
    me: Holder,
    incarnation: Incarnation,
    timing: Timing,
    jitter: Duration,
    hand_over_wait: Duration,
    by_server: bool,
    floor_is_history: bool,
    forgets: bool,

    standing: bool,
    push: bool,
    phase: Phase,
    flight: Option<Flight>,

    /// The last observation, and when it was received.
    seen: Option<Seen>,
    /// The last holder that was seen and has not been seen to release: nobody's absence ends its
    /// lease.
    held: Option<Rival>,
    /// How far the last observation is good enough to write over.
    trust: Trust,
    /// When the next read is due.
    read_at: Time,
    /// No write before this moment: paces attempts that fail fast.
    write_at: Time,
    /// The version over which a write was refused last. Refused again, although it was read, it is
    /// paced.
    refused: Option<Version>,
    /// No Take before this moment: after our own release others come first.
    cool_until: Time,

    /// The nonces by which a record is recognised as ours.
    own: Own,
    /// The reign of the store in which a write of this incarnation was last known to be stored.
    reign: Option<Reign>,
    /// `ByServer`: a Take that went astray and must be revoked before another.
    ghost: Option<Attempt>,
    /// A copy of this process runs: a new incarnation is needed.
    copied: bool,

    highest: Token,
    floor: Option<Token>,
    longest: Duration,

    failure: Option<Halt>,
    ended: Option<(Token, Loss)>,
    released: Option<bool>,

    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl Election {
    /// A candidate that does not stand yet, for a store with these capabilities.
    #[must_use]
    pub fn new(candidate: CandidateConfig, capabilities: &Capabilities) -> Self {
        let CandidateConfig { identity, advertise, incarnation, timing, hand_over_jitter } =
            candidate;
        let draw = u32::try_from(incarnation.0 >> 64 & 1023).expect("below 1024");
        Self {
            me: Holder { identity, incarnation: Some(incarnation), advertise },
            incarnation,
            timing,
            jitter: timing.jitter(incarnation),
            hand_over_wait: hand_over_jitter * draw / 1024,
            by_server: capabilities.ends_leases(),
            floor_is_history: capabilities.floor_is_history,
            forgets: capabilities.forgets,
            standing: false,
            push: false,
            phase: Phase::Following,
            flight: None,
            seen: None,
            held: None,
            trust: Trust::Fresh,
            read_at: Time(0),
            write_at: Time(0),
            refused: None,
            cool_until: Time(0),
            own: Own::default(),
            reign: None,
            ghost: None,
            copied: false,
            highest: 0,
            floor: None,
            longest: Duration::ZERO,
            failure: None,
            ended: None,
            released: None,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.expire(now);
        match input {
            Input::Stand => self.stand(now),
            Input::Withdraw => self.withdraw(now),
            Input::Stop => {
                if let Phase::Leading(term) = &mut self.phase {
                    term.draining = true;
                }
            }
            Input::Drained => self.drained(now),
            Input::Expired => {
                if let Phase::Leading(_) = self.phase {
                    self.end(now, Loss::Expired);
                }
            }
            Input::Reborn(incarnation) => self.reborn(now, incarnation),
            Input::Hint(observed) => self.hinted(now, observed),
            Input::Push(push) => {
                self.push = push;
                if self.trust != Trust::Doubt {
                    // A watch that opens postpones nothing: it may end at once, again and again.
                    let due = self.read_at;
                    self.schedule_read(now);
                    self.read_at = self.read_at.min(due);
                }
            }
            Input::Look => self.look_again(),
            Input::Read(answer) => self.answered_read(now, answer),
            Input::Wrote(answer) => self.answered_write(now, answer),
            Input::Tick => {}
        }
    }

    /// What to do now, if anything. Sent at `now`, which must be read before the request leaves.
    pub fn poll(&mut self, now: Time, nonce: impl FnOnce() -> Nonce) -> Option<Action> {
        self.expire(now);
        if self.flight.is_some() {
            return None;
        }
        let (due, step) = self.plan();
        if due > now {
            return None;
        }
        match self.begin(now, step, nonce) {
            None => {
                self.flight = Some(Flight::read(now, self.floor));
                Some(Action::Read)
            }
            Some(attempt) => {
                let (expected, change) = (attempt.expected.clone(), attempt.change.clone());
                self.flight = Some(Flight::Write { attempt: Box::new(attempt), sent: now });
                Some(Action::Write { expected, change })
            }
        }
    }

    /// When to look again if nothing happens before: the next request, the end of the term, or the
    /// moment the view goes stale.
    #[must_use]
    pub fn next_deadline(&self, now: Time) -> Time {
        let mut next = Time::NEVER;
        if self.flight.is_none() {
            next = next.min(self.plan().0);
        }
        if let Phase::Leading(term) = self.phase {
            next = next.min(self.believe_until(term.sent));
        }
        if let Phase::Ended { release_until: Some(until), .. } = self.phase {
            next = next.min(until);
        }
        let stale = self.view_until();
        if stale > now {
            next = next.min(stale);
        }
        next
    }

    /// The term believed in, if any. Leader iff `now < until`.
    #[must_use]
    pub fn leadership(&self, now: Time) -> Option<Leadership> {
        let Phase::Leading(term) = self.phase else {
            return None;
        };
        let until = self.promised_until(&term);
        (now < until).then(|| Leadership {
            token: term.token,
            until,
            kill_at: self.timing.kill_at(term.sent),
            dead_by: self.timing.dead_by(term.sent),
            draining: term.draining,
        })
    }

    /// What observers may be told. A foreign holder has a token only where the store mints it.
    #[must_use]
    pub fn view(&self, now: Time) -> View<'_> {
        let Some(seen) = &self.seen else {
            return View::Unknown;
        };
        if now >= self.view_until() {
            return View::Unknown;
        }
        // Whose record vanished may believe yet.
        let waits = self.held.as_ref().is_some_and(|held| held.vanished && now < held.lease_over());
        match (&seen.observed.contents, seen.observed.expiry) {
            (Contents::Unreadable(_), _) | (_, Expiry::Suspended) => View::Unknown,
            (_, Expiry::ByObserver) if waits => View::Unknown,
            (Contents::Absent, _) | (_, Expiry::Passed) => View::Nobody,
            (Contents::Record(record), _) => match &record.holder {
                None => View::Nobody,
                // The placeholder of an adoption: whoever led before may believe yet.
                Some(holder) if holder.is_unknown() => View::Unknown,
                Some(_) => View::Held(record),
            },
        }
    }

    /// The token of the holder that was read last: see [`Observed::holders_token`].
    #[must_use]
    pub fn holders_token(&self) -> Option<Token> {
        self.seen.as_ref()?.observed.holders_token()
    }

    /// The last term that ended, and why. Taken: a second call returns `None`.
    pub fn take_ended(&mut self) -> Option<(Token, Loss)> {
        self.ended.take()
    }

    /// Whether the last release was confirmed, once that is known. Taken: a second call returns
    /// `None`.
    pub fn take_released(&mut self) -> Option<bool> {
        self.released.take()
    }

    /// Whether a copy of this process was seen; nothing is done before [`Input::Reborn`].
    #[must_use]
    pub fn copied(&self) -> bool {
        self.copied
    }

    /// Why contending stopped for good. Standing again tries anew.
    #[must_use]
    pub fn failure(&self) -> Option<&Halt> {
        self.failure.as_ref()
    }

    /// Whether it contends.
    #[must_use]
    pub fn standing(&self) -> bool {
        self.standing
    }

    /// Whether a release is under way.
    #[must_use]
    pub fn releasing(&self) -> bool {
        matches!(self.phase, Phase::Ended { release_until: Some(_), .. })
    }

    /// Whether it could be dropped without leaving anything of its own behind.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let take = |attempt: &Attempt| attempt.change.intent == Intent::Take && !attempt.refused;
        let writing = matches!(&self.flight, Some(Flight::Write { .. }));
        let leading = matches!(self.phase, Phase::Leading(_) | Phase::Claiming { .. });
        let stray = self.ghost.is_some() || self.own.unresolved.iter().any(take);
        !self.standing && !leading && !self.releasing() && !writing && !stray
    }

    /// The last observation.
    #[must_use]
    pub fn observed(&self) -> Option<&Observed> {
        self.seen.as_ref().map(|seen| &seen.observed)
    }

    /// This candidate, as its records name it.
    #[must_use]
    pub fn candidate(&self) -> &Holder {
        &self.me
    }

    /// The incarnation in use.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// A read must decide what the watch showed. One that is in flight may have been answered
    /// before.
    fn look_again(&mut self) {
        match &mut self.flight {
            Some(Flight::Read { again, .. }) => *again = true,
            Some(Flight::Write { .. }) | None if self.trust < Trust::Doubt => {
                self.trust = Trust::Look;
            }
            Some(Flight::Write { .. }) | None => self.read_at = AT_ONCE,
        }
    }

    /// A write was refused, or its outcome is unknown.
    fn doubt(&mut self) {
        if self.trust == Trust::Look {
            self.read_at = AT_ONCE;
        }
        self.trust = self.trust.max(Trust::Doubt);
    }

    fn stand(&mut self, now: Time) {
        self.standing = true;
        // Nothing is written over what ended the last candidacy before it was read again.
        if self.failure.take().is_some() {
            self.trust = Trust::MustRead;
        }
        // What is unreadable is read again, to be told to whoever stands now.
        let readable =
            self.observed().is_some_and(|seen| !matches!(seen.contents, Contents::Unreadable(_)));
        let informed = self.push
            && readable
            && self.phase == Phase::Following
            && self.trust != Trust::MustRead;
        if !informed {
            self.read_at = self.read_at.min(now);
        }
    }

    fn withdraw(&mut self, now: Time) {
        self.standing = false;
        match self.phase {
            Phase::Leading(_) => self.end(now, Loss::Dropped),
            Phase::Claiming { token }
            | Phase::Ended { token, work_stopped: true, release_until: None, .. } => {
                self.owe_release(now, token);
            }
            Phase::Following | Phase::Ended { .. } => {}
        }
    }

    fn drained(&mut self, now: Time) {
        match self.phase {
            Phase::Leading(term) => {
                self.end(now, Loss::Resigned);
                self.owe_release(now, term.token);
                if self.trust < Trust::Doubt {
                    self.read_at = Time::NEVER;
                }
            }
            Phase::Ended { token, work_stopped: false, alone_until, .. } if self.standing => {
                self.phase =
                    Phase::Ended { token, work_stopped: true, release_until: None, alone_until };
            }
            Phase::Ended { token, work_stopped: false, .. } => self.owe_release(now, token),
            Phase::Ended { .. } | Phase::Following | Phase::Claiming { .. } => {}
        }
    }

    fn reborn(&mut self, now: Time, incarnation: Incarnation) {
        self.incarnation = incarnation;
        self.me.incarnation = Some(incarnation);
        self.copied = false;
        self.own.forget();
        self.reign = None;
        // It may be a copy's term by now, and nothing recognises it here: it runs out.
        self.ghost = None;
        self.phase = Phase::Following;
        self.read_at = now;
    }

    fn owe_release(&mut self, now: Time, token: Token) {
        let mut until = now + 2 * self.timing.request_timeout();
        if self.is(Mutant::ReleasesForever) {
            until = Time::NEVER;
        }
        let alone_until = match self.phase {
            Phase::Ended { alone_until, .. } => alone_until,
            Phase::Following | Phase::Claiming { .. } | Phase::Leading(_) => Time(0),
        };
        let release_until = Some(until);
        self.phase = Phase::Ended { token, work_stopped: true, release_until, alone_until };
    }

    /// Ends the term. Its work is not known to have stopped.
    fn end(&mut self, now: Time, loss: Loss) {
        if let Phase::Leading(term) = self.phase {
            self.phase = Phase::Ended {
                token: term.token,
                work_stopped: false,
                release_until: None,
                alone_until: self.alone_until(&term),
            };
            self.ended = Some((term.token, loss));
            self.read_at = self.read_at.min(now);
        }
    }

    /// Until when a term that ends now keeps everybody else out. Only a store that forgets makes
    /// anybody ask.
    fn alone_until(&self, term: &OwnTerm) -> Time {
        if !self.forgets {
            return Time(0);
        }
        self.believe_until(term.sent)
    }

    fn fail(&mut self, now: Time, failure: Halt) {
        if self.standing {
            let replaced = failure == Halt::Replaced;
            self.end(now, if replaced { Loss::Replaced } else { Loss::Superseded });
            self.standing = false;
            self.failure = Some(failure);
        }
    }

    /// What passes with time alone.
    fn expire(&mut self, now: Time) {
        match self.phase {
            Phase::Leading(term) if now >= self.believe_until(term.sent) => {
                self.end(now, Loss::Expired);
            }
            Phase::Ended { token, release_until: Some(until), alone_until, .. } if now >= until => {
                self.released = Some(false);
                self.phase =
                    Phase::Ended { token, work_stopped: true, release_until: None, alone_until };
            }
            _ => {}
        }
    }
}

/// A moment before every other: something is looked for, whatever else is planned.
const AT_ONCE: Time = Time(0);

/// The wall times of a record that the driver has not stamped yet.
const UNSTAMPED: Wall = Wall(0);
