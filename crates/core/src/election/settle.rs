//! What an observation means: whose record it is, and what that changes.

use crate::backend::{Contents, Expiry, Intent, Observed, Version};
use crate::record::{Nonce, Record, Token};
use crate::time::Time;

use super::mutant::Mutant;
use super::{Election, Flight, Halt, Loss, OwnTerm, Phase, Rival, Seen};

/// Whose a record is. Ours is what carries our own nonce, never merely our identity or incarnation:
/// a copy of this process has those too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Our last acknowledged write's, or an unresolved renewal's.
    Ours,
    /// A Take's of ours that nobody has been told of.
    OurTake,
    /// Our release's.
    OurRelease,
    /// A write of ours that newer ones of ours had replaced: somebody put an old copy of the record
    /// back.
    OurPast,
    /// Written by a copy of this process.
    Copy,
    Stranger,
}

impl Election {
    /// Takes in the answer to a read, which decides. `floor` is what was known when it was sent.
    pub(super) fn settle(&mut self, now: Time, observed: Observed, floor: Option<Token>) {
        // What knows nothing of the store's past is not compared: the answer that nothing is there,
        // on some stores.
        if self.floor_is_history
            && let Some(before) = floor
            && observed.token_floor.is_some_and(|floor| floor < before)
        {
            self.fail(now, Halt::Rewound { floor: observed.token_floor, before });
        }
        let whose = self.whose(&observed);
        let version = observed.version.clone();
        self.observe(now, observed.clone());
        if let Contents::Unreadable(why) = observed.contents {
            self.fail(now, Halt::Corrupt(why));
            return;
        }
        match whose {
            Whose::Ours | Whose::OurTake if self.may_have_been_forgotten(now, &observed) => {
                self.give_up_term(now);
                self.own.disowned = observed.record().map(|record| record.nonce);
            }
            // A Take of ours that came true again after its term (`ByServer` mints the token):
            // another term.
            Whose::Ours if self.is_of_a_later_term(&observed) => self.give_up_term(now),
            Whose::Ours => self.settle_ours(now, &observed),
            Whose::OurTake => {
                self.ghost = None;
                let token = observed.record().map_or(0, |record| record.token);
                self.note_stored(version.clone());
                let nonce = observed.record().map(|record| record.nonce);
                self.own.acknowledge(nonce, self.forgets);
                if self.is(Mutant::LeadsOnRead) {
                    self.phase = Phase::Leading(OwnTerm {
                        token,
                        sent: now,
                        renew_at: now,
                        draining: false,
                    });
                } else if self.standing {
                    self.phase = Phase::Claiming { token };
                } else {
                    self.owe_release(now, token);
                }
            }
            Whose::OurRelease => self.let_go(now, true),
            Whose::Copy => {
                self.give_up_term(now);
                self.copied = true;
            }
            Whose::OurPast => {
                self.settle_stranger(now, &observed, true);
                // Once it is given up nothing else tells it from a copy's.
                if self.phase == Phase::Following {
                    self.own.disowned = observed.record().map(|record| record.nonce);
                }
            }
            Whose::Stranger => self.settle_stranger(now, &observed, false),
        }
        self.own.resolve(self.forgets, |attempt| attempt.expected == version);
    }

    /// A candidate cannot tell from its own record, once the store may have gone back to it, that
    /// nobody led in between: it waits like everybody else. Only while its own lease runs it can.
    fn may_have_been_forgotten(&self, now: Time, observed: &Observed) -> bool {
        let alone = matches!(self.phase, Phase::Leading(_)) || self.releases_alone(now);
        let restored = self.forgets && !self.is_unbroken(observed);
        !alone && (restored || observed.expiry == Expiry::Suspended)
    }

    /// Whether the lease of a term that is to be released, not taken anew, still keeps everybody
    /// else out: then its release is as good over whatever the store went back to.
    fn releases_alone(&self, at: Time) -> bool {
        match self.phase {
            Phase::Ended { .. } if self.is(Mutant::TrustsRestored) => true,
            Phase::Ended { release_until, alone_until, .. } => {
                at < alone_until && (release_until.is_some() || !self.standing)
            }
            Phase::Following | Phase::Claiming { .. } | Phase::Leading(_) => false,
        }
    }

    /// Whether a release may be written over what was seen: over the record of our last write, and
    /// while our lease runs over every older one of this term that the store went back to.
    pub(super) fn may_release_over_seen(&self) -> bool {
        let older = self.seen.as_ref().is_some_and(|Seen { observed, heard, .. }| {
            let of_this_term = |record: &Record| {
                record.holder.is_some()
                    && record.token == self.term_token()
                    && self.was_ours(record)
            };
            self.releases_alone(*heard) && observed.record().is_some_and(of_this_term)
        });
        older || self.is_seen_ours()
    }

    /// Whether this record of ours is still the state that our write left: the store has not gone
    /// back since. A write is applied in the reign of the version it names, and in no other.
    fn is_unbroken(&self, observed: &Observed) -> bool {
        let nonce = observed.record().map(|record| record.nonce);
        let attempt = nonce.and_then(|nonce| self.own.attempt(nonce));
        let written = match attempt {
            Some(attempt) => attempt.expected.reign(),
            None => self.own.version.as_ref().and_then(Version::reign),
        };
        match (written, observed.version.reign()) {
            (Some(written), Some(read)) => written == read,
            _ => self.own.version.as_ref() == Some(&observed.version),
        }
    }

    /// A write of ours is known to be what this version names.
    pub(super) fn note_stored(&mut self, version: Version) {
        self.reign = version.shared_reign();
        self.own.version = Some(version);
    }

    /// Whether a record that names us may be one of our own that the store went back to, although
    /// its nonce is unknown: a follower forgets the nonces of its past terms. A leader remembers
    /// its own, so that to it an unknown one is a copy's in any reign: it would otherwise contend
    /// with its copy.
    fn may_be_of_a_past_term(&self, observed: &Observed) -> bool {
        let went_back = self.reign.is_some() && observed.version.shared_reign() != self.reign;
        self.phase == Phase::Following && went_back
    }

    fn is_of_a_later_term(&self, observed: &Observed) -> bool {
        match self.phase {
            Phase::Leading(term) => {
                observed.record().is_some_and(|record| record.token > term.token)
            }
            _ => false,
        }
    }

    fn settle_ours(&mut self, now: Time, observed: &Observed) {
        let Some(Record { nonce, token: stored, .. }) = observed.record() else {
            return;
        };
        let nonce = *nonce;
        if let Phase::Claiming { token } = &mut self.phase {
            // Our Take may have come true again meanwhile (`ByServer` mints the token), with others
            // in between.
            *token = *stored;
        }
        if self.own.attempt(nonce).is_some() {
            self.own.recognise(Some(nonce));
        }
        if observed.expiry != Expiry::Suspended && self.forgets {
            self.note_stored(observed.version.clone());
        }
        if let (Phase::Leading(term), Expiry::Suspended) = (&mut self.phase, observed.expiry) {
            term.renew_at = now;
        }
    }

    /// Not ours, or no longer.
    fn settle_stranger(&mut self, now: Time, observed: &Observed, was_ours: bool) {
        if observed.expiry == Expiry::ByServer {
            let stray = |attempt: &&super::Attempt| {
                attempt.change.intent == Intent::Take
                    && !attempt.refused
                    && attempt.expected != observed.version
            };
            self.ghost = self.own.unresolved.iter().find(stray).cloned().or(self.ghost.take());
        }
        let keeps = self.is(Mutant::ReleasesAnything) || self.may_release_over_seen();
        match &mut self.phase {
            Phase::Following => {}
            Phase::Ended { .. } if keeps => {}
            Phase::Leading(term) if may_reassert(term.token, self.highest, observed, was_ours) => {
                term.renew_at = now;
            }
            Phase::Leading(_) | Phase::Claiming { .. } | Phase::Ended { .. } => {
                self.give_up_term(now);
            }
        }
    }

    /// The lock is somebody else's now.
    pub(super) fn give_up_term(&mut self, now: Time) {
        self.end(now, Loss::Superseded);
        self.let_go(now, false);
    }

    fn whose(&self, observed: &Observed) -> Whose {
        let Some(record) = observed.record() else {
            return Whose::Stranger;
        };
        match self.own.attempt(record.nonce).map(|attempt| attempt.change.intent) {
            Some(Intent::Take) => Whose::OurTake,
            None if self.is_stray(record.nonce) => Whose::OurTake,
            Some(Intent::Release) => Whose::OurRelease,
            _ if self.own.recognises(record.nonce) && !self.is_past(record) => Whose::Ours,
            _ if self.is(Mutant::OwnByIncarnation) && self.names_us(record) => Whose::Ours,
            _ if self.was_ours(record) => Whose::OurPast,
            _ if self.names_us(record) && self.may_be_of_a_past_term(observed) => Whose::OurPast,
            _ if self.is_copys(record, observed.expiry) => Whose::Copy,
            _ => Whose::Stranger,
        }
    }

    /// Whether this is the Take of ours that may have been applied unseen, as long as nothing
    /// undoes it. It was applied, and the answer that spoke against it was older. Once its
    /// revocation was sent, whoever took by it is a copy.
    fn is_stray(&self, nonce: Nonce) -> bool {
        let stray = self.ghost.as_ref().filter(|ghost| ghost.change.intent == Intent::Take);
        stray.is_some_and(|ghost| ghost.nonce() == nonce) && !self.is(Mutant::NeverRevokes)
    }

    /// Written by us in an earlier term than the present one.
    fn is_past(&self, record: &Record) -> bool {
        record.token < self.term_token() && !self.is(Mutant::OldWriteIsCopys)
    }

    fn was_ours(&self, record: &Record) -> bool {
        let wrote = self.own.recognises(record.nonce) || self.own.wrote_before(record.nonce);
        wrote && !self.is(Mutant::OldWriteIsCopys)
    }

    /// Our incarnation with a nonce that is not ours. An old record of ours that a forgetful store
    /// brought back carries a lower token than the highest seen, or is suspended.
    fn is_copys(&self, record: &Record, expiry: Expiry) -> bool {
        self.names_us(record)
            && record.token >= self.highest
            && expiry != Expiry::Suspended
            && self.own.disowned != Some(record.nonce)
    }

    fn names_us(&self, record: &Record) -> bool {
        record.holder.as_ref().is_some_and(|holder| holder.incarnation == Some(self.incarnation))
    }

    pub(super) fn is_seen_ours(&self) -> bool {
        let record = self.seen.as_ref().and_then(|seen| seen.observed.record());
        record.is_some_and(|record| {
            record.holder.is_some() && self.own.recognises(record.nonce) && !self.is_past(record)
                || self.is(Mutant::OwnByIncarnation) && self.names_us(record)
                || self.is(Mutant::ReleasesAnything)
        })
    }

    /// Whether a pushed observation is one of our own writes, resolved or in flight.
    pub(super) fn is_own_event(&self, observed: &Observed) -> bool {
        let in_flight = |nonce: Nonce| match &self.flight {
            Some(Flight::Write { attempt, .. }) => attempt.nonce() == nonce,
            Some(Flight::Read { .. }) | None => false,
        };
        observed.expiry != Expiry::Suspended
            && observed
                .record()
                .is_some_and(|record| in_flight(record.nonce) || self.own.recognises(record.nonce))
    }

    /// Whether a pushed observation may stand without a read. It may be old: a lower token than one
    /// seen, an absence that is nobody's word, or one from before what is known of the store's
    /// past, is looked up.
    pub(super) fn is_trusted_hint(&self, observed: &Observed) -> bool {
        match (&observed.contents, observed.expiry) {
            (_, Expiry::Suspended) | (Contents::Unreadable(_), _) => false,
            (Contents::Absent, expiry) => {
                expiry == Expiry::ByServer && observed.token_floor >= self.floor
            }
            (Contents::Record(record), _) => record.token >= self.highest,
        }
    }

    /// A push decides nothing for who does not follow, but the holder it shows was seen: its lease
    /// is waited out even if the record vanishes before a read.
    pub(super) fn note_pushed_holder(&mut self, now: Time, observed: &Observed) {
        if let Some(record) = observed.record().filter(|record| record.holder.is_some())
            && observed.expiry == Expiry::ByObserver
            && self.is_trusted_hint(observed)
        {
            self.note_holder(now, record);
        }
    }

    /// An answer that the watch overtook is not settled, but a later term that it tells of was
    /// seen: its token is not taken again, and its holder is waited out even if the record vanishes
    /// before the next read.
    pub(super) fn note_later_term(&mut self, now: Time, observed: &Observed) {
        let Some(record) = observed.record().filter(|record| record.token > self.highest) else {
            return;
        };
        self.highest = record.token;
        self.longest = self.longest.max(record.lease_duration);
        if record.holder.is_some() && observed.expiry == Expiry::ByObserver {
            self.note_holder(now, record);
        }
    }

    /// Remembers what is there, and restarts the timer if its holder showed life.
    pub(super) fn observe(&mut self, now: Time, observed: Observed) {
        if let Some(record) = observed.record() {
            self.highest = self.highest.max(record.token);
            self.longest = self.longest.max(record.lease_duration);
        }
        self.floor = self.floor.max(observed.token_floor);
        // A store that forgets shows an old sign of life under a new version once it was adopted
        // again.
        let last = self.seen.as_ref().map(|seen| &seen.observed.version);
        let restarts = self.forgets && !self.is(Mutant::TimerContinues);
        if (restarts || self.is(Mutant::TimerOnVersion)) && last != Some(&observed.version) {
            self.restart_timer(now);
        }
        self.note_life(now, &observed);
        let same = self.seen.take().filter(|seen| seen.observed.version == observed.version);
        let received = same.map_or(now, |seen| seen.received);
        self.seen = Some(Seen { observed, received, heard: now });
    }

    fn note_life(&mut self, now: Time, observed: &Observed) {
        let suspended = observed.expiry == Expiry::Suspended;
        match &observed.contents {
            Contents::Unreadable(_) => return,
            Contents::Absent if observed.expiry == Expiry::ByServer => self.held = None,
            Contents::Absent => self.note_vanished(now, observed),
            Contents::Record(record) => match &record.holder {
                None if self.is_release_of_held(record) && !suspended => self.held = None,
                None => self.note_vanished(now, observed),
                Some(_) if observed.expiry == Expiry::Passed => self.held = None,
                Some(holder) => {
                    if *holder != self.me {
                        self.cool_until = Time(0);
                    }
                    self.note_holder(now, record);
                }
            },
        }
        // After a suspended state the timer starts from zero.
        let resumes = self.held.as_ref().is_some_and(|held| held.suspended && !suspended);
        if resumes && !self.is(Mutant::TimerContinues) {
            self.restart_timer(now);
        }
        if let Some(held) = &mut self.held {
            held.suspended = suspended;
        }
    }

    /// What is gone without a release: the holder may have renewed unseen before. The adoption of
    /// what is absent says nothing new of it, nor does an edit that keeps the nonce.
    fn note_vanished(&mut self, now: Time, observed: &Observed) {
        let nonce = |observed: &Observed| observed.record().map(|record| record.nonce);
        let told = self.seen.as_ref().is_some_and(|Seen { observed: last, .. }| {
            let same = last.version == observed.version;
            same || last.version.is_absent()
                || nonce(last).is_some() && nonce(last) == nonce(observed)
        });
        let counts = !self.is(Mutant::VanishedCountsFromLife);
        if let Some(held) = &mut self.held
            && counts
            && !(held.vanished && told)
        {
            held.vanished = true;
            held.received = now;
        }
    }

    fn restart_timer(&mut self, now: Time) {
        if let Some(held) = &mut self.held {
            held.received = now;
        }
    }

    fn note_holder(&mut self, now: Time, record: &Record) {
        let every_read = self.is(Mutant::TimerOnEveryRead);
        let now = if self.is(Mutant::TrustsWallTime) {
            now.min(Time(record.renewed.0.saturating_mul(1_000_000)))
        } else {
            now
        };
        match &mut self.held {
            Some(held) if held.nonce == record.nonce && !every_read => {
                held.token = record.token;
                held.lease_duration = held.lease_duration.max(record.lease_duration);
            }
            held => {
                let suspended = held.as_ref().is_some_and(|held| held.suspended);
                *held = Some(Rival {
                    nonce: record.nonce,
                    token: record.token,
                    lease_duration: record.lease_duration,
                    received: now,
                    vanished: false,
                    suspended,
                });
            }
        }
    }

    /// A record without holder is a release of the holder we saw only if it carries its token or a
    /// greater one. An adopted one has token 0 and never is.
    fn is_release_of_held(&self, record: &Record) -> bool {
        if self.is(Mutant::AdoptedIsRelease) {
            return true;
        }
        if self.is(Mutant::WaitsOutReleases) {
            return self.held.is_none();
        }
        record.token > 0 && self.held.as_ref().is_none_or(|held| record.token >= held.token)
    }
}

/// Whether a leader whose deadline runs asserts its record again over this version. A greater
/// token, held or released, and any foreign holder are another leader. Its own token is a copy's,
/// unless it was an older write of its own that came back.
fn may_reassert(token: Token, highest: Token, observed: &Observed, was_ours: bool) -> bool {
    if highest > token {
        return false;
    }
    match (&observed.contents, observed.expiry) {
        (Contents::Unreadable(_), _) | (_, Expiry::ByServer) => false,
        (Contents::Absent, _) | (_, Expiry::Suspended) => true,
        (Contents::Record(record), _) => match &record.holder {
            None => true,
            Some(holder) => {
                holder.incarnation.is_some()
                    && (record.token < token || was_ours && record.token == token)
            }
        },
    }
}
