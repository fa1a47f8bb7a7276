//! What the answers of the store change.

use crate::backend::{Intent, Observed, Outcome};
use crate::error::ErrorKind;
use crate::record::Token;
use crate::time::Time;

use super::mutant::Mutant;
use super::{AT_ONCE, Attempt, Election, Flight, Halt, OwnTerm, Phase, Trust};

impl Election {
    pub(super) fn hinted(&mut self, now: Time, observed: Observed) {
        self.highest = self.highest.max(observed.record().map_or(0, |record| record.token));
        if self.phase != Phase::Following && !self.is_own_event(&observed) {
            self.note_pushed_holder(now, &observed);
        }
        match self.phase {
            Phase::Leading(_) if self.is(Mutant::PushEnds) && !self.is_own_event(&observed) => {
                self.give_up_term(now);
            }
            Phase::Leading(_) | Phase::Claiming { .. } => {
                if !self.is_own_event(&observed) {
                    self.look_again();
                }
            }
            Phase::Ended { .. } => self.look_again(),
            Phase::Following
                if !self.is_own_event(&observed) && self.is_trusted_hint(&observed) =>
            {
                let moved =
                    self.seen.as_ref().is_none_or(|seen| seen.observed.version != observed.version);
                if let Some(Flight::Read { overtaken, .. }) = &mut self.flight {
                    *overtaken |= moved;
                }
                self.observe(now, observed);
                if moved && self.trust == Trust::Doubt {
                    let is_looked_for = self.read_at == AT_ONCE;
                    self.trust = if is_looked_for { Trust::Look } else { Trust::Fresh };
                }
                if self.trust < Trust::Doubt {
                    self.schedule_read(now);
                }
            }
            Phase::Following => self.look_again(),
        }
    }

    pub(super) fn answered_read(&mut self, now: Time, answer: Result<Observed, ErrorKind>) {
        let Some(Flight::Read { sent, floor, overtaken, again }) = self.flight else {
            return;
        };
        self.flight = None;
        match answer {
            // The watch was faster, and nobody can tell which of the two is newer.
            Ok(observed) if overtaken && self.is_other_than_seen(&observed) => {
                self.note_later_term(now, &observed);
                self.read_at = now;
            }
            Ok(observed) => {
                self.trust = Trust::Fresh;
                let received = if self.is(Mutant::WaitsFromSend) { sent } else { now };
                self.settle(received, observed, floor);
                self.schedule_read(now);
            }
            Err(kind) => {
                self.heed_error(now, kind);
                self.read_at = self.after_failure(now, sent, kind);
            }
        }
        if again {
            self.look_again();
        }
    }

    /// What an error decides. A refusal, of whatever class, proves nothing about who leads: once a
    /// read has succeeded it is a state. Before that it shows a configuration that cannot work.
    fn heed_error(&mut self, now: Time, kind: ErrorKind) {
        let worked = self.seen.is_some() && !self.is(Mutant::RefusalEnds);
        match kind {
            // What answers knows nothing of this term, and another may lead there.
            ErrorKind::Replaced if self.is(Mutant::ReplacedIsOutage) => {}
            ErrorKind::Replaced => self.fail(now, Halt::Replaced),
            ErrorKind::Denied if !worked => self.fail(now, Halt::Denied),
            ErrorKind::Invalid if !worked => self.fail(now, Halt::Invalid),
            _ => {}
        }
    }

    fn is_other_than_seen(&self, observed: &Observed) -> bool {
        let seen = self.seen.as_ref();
        self.phase == Phase::Following
            && seen.is_some_and(|seen| seen.observed.version != observed.version)
    }

    pub(super) fn answered_write(&mut self, now: Time, answer: Result<Outcome, ErrorKind>) {
        let Some(Flight::Write { attempt, sent }) = self.flight.take() else {
            return;
        };
        let attempt = *attempt;
        match answer {
            Ok(Outcome::Written(observed)) => {
                self.write_at = Time(0);
                self.written(now, attempt, observed);
                if self.trust < Trust::Doubt {
                    self.schedule_read(now);
                }
            }
            Ok(Outcome::Conflict) => {
                // Who lost a race with push waits for the event; everybody else reads at once.
                let first_take =
                    attempt.change.intent == Intent::Take && attempt.first_sent == sent;
                let waits = self.push && first_take && self.phase == Phase::Following;
                self.read_at = if waits { now + self.timing.retry_period() } else { now };
                if self.refused.as_ref() == Some(&attempt.expected) {
                    self.write_at = sent + self.pace();
                }
                self.refused = Some(attempt.expected.clone());
                let refused = attempt.refused || attempt.first_sent == sent;
                self.unresolved(now, Attempt { refused, ..attempt });
            }
            Err(kind) => {
                self.write_at = sent + self.pace();
                self.read_at = match kind {
                    ErrorKind::Throttled { .. } => self.after_failure(now, sent, kind),
                    _ => now,
                };
                self.heed_error(now, kind);
                self.mistake_for_success(now, &attempt);
                self.unresolved(now, Attempt { refused: false, ..attempt });
            }
        }
    }

    /// Only in mutants.
    fn mistake_for_success(&mut self, now: Time, attempt: &Attempt) {
        let record = &attempt.change.record;
        if self.is(Mutant::TimeoutIsSuccess) && record.holder.as_ref() == Some(&self.me) {
            self.lead(now, attempt.first_sent, record.token);
        }
        if self.is(Mutant::HoldsOnUnavailable)
            && let Phase::Leading(term) = &mut self.phase
        {
            term.sent = now;
        }
    }

    fn written(&mut self, now: Time, attempt: Attempt, observed: Observed) {
        let nonce = observed.record().map(|record| record.nonce);
        let token = observed.record().map_or(0, |record| record.token);
        if attempt.change.intent == Intent::Revoke {
            self.ghost = None;
            self.doubt();
            self.read_at = now;
            return;
        }
        let by_this_life = attempt.change.record.holder.as_ref() == Some(&self.me);
        let version = observed.version.clone();
        self.observe(now, observed);
        match attempt.change.intent {
            Intent::Adopt => {}
            Intent::Take | Intent::Renew if by_this_life => {
                self.own.acknowledge(nonce, self.forgets);
                self.note_stored(version);
                self.lead(now, attempt.first_sent, token);
            }
            Intent::Take | Intent::Renew => {}
            Intent::Release => self.let_go(now, true),
            Intent::Revoke => unreachable!("answered above"),
        }
    }

    /// A write of ours that was sent at `sent` was acknowledged: begins a term, or extends it.
    fn lead(&mut self, now: Time, sent: Time, token: Token) {
        let sent = self.counted_from(now, sent);
        let in_time = now < self.believe_until(sent);
        let resurrects = self.is(Mutant::Resurrects);
        let renew_at = sent + self.timing.retry_period();
        match &mut self.phase {
            Phase::Leading(term) if in_time && sent > term.sent => {
                *term = OwnTerm { sent, renew_at, ..*term };
            }
            Phase::Leading(term) => term.renew_at = now,
            // No resurrection: what ended stays ended, whatever is acknowledged late.
            Phase::Ended { token: ended, .. } if *ended == token && !resurrects => {}
            _ if !self.standing => self.owe_release(now, token),
            _ if in_time => {
                self.phase = Phase::Leading(OwnTerm { token, sent, renew_at, draining: false });
            }
            _ => self.phase = Phase::Claiming { token },
        }
    }

    /// The lock was given back (or is lost to us): others come first for a while.
    pub(super) fn let_go(&mut self, now: Time, confirmed: bool) {
        let owed = matches!(self.phase, Phase::Ended { release_until: Some(_), .. });
        if owed {
            self.released = Some(confirmed);
        }
        // Where the store ends leases, a key left over from a lost term is released only to be
        // taken anew.
        if confirmed && (owed || !self.is_by_server()) {
            self.cool_until = now + self.timing.cool_down();
        }
        self.own.forget();
        self.phase = Phase::Following;
    }

    fn unresolved(&mut self, now: Time, attempt: Attempt) {
        self.doubt();
        if let Phase::Leading(term) = &mut self.phase {
            term.renew_at = now;
        }
        let known = self.own.unresolved.iter_mut().find(|known| known.nonce() == attempt.nonce());
        match known {
            // Refused once, sent again and lost: now it may land.
            Some(known) => known.refused = attempt.refused,
            // An adoption names nobody, so it does not matter whose it was; a revocation is kept as
            // the ghost.
            None if matches!(attempt.change.intent, Intent::Adopt | Intent::Revoke) => {}
            None => self.own.unresolved.push(attempt),
        }
    }
}
