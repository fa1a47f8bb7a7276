//! The model of a store: one register with every way of ending a lease.

use leasehold_core::{
    Change, Contents, Expiry, Incarnation, Intent, Nonce, Observed, Outcome, Record, Token, Version,
};

use crate::case::Nanos;
use crate::draw::below;
use crate::mutant::Mutant;
use crate::store_kind::{Floor, StoreKind};
use crate::term::{Bound, FOREIGN};

/// One state of the register.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Names the state; an absent record has none.
    pub number: u64,
    /// What is stored.
    pub record: Option<Record>,
    /// Something is stored that is no record.
    pub unreadable: bool,
    /// The store cannot vouch for this state.
    pub suspended: bool,
    /// Written by a foreign client.
    pub foreign: bool,
    /// Which operation of which node wrote it.
    pub writer: Option<Writer>,
    /// An assertion that came true over absence after its sender had given up.
    pub late: bool,
    /// What is known of the past in this state.
    pub floor: Option<Token>,
    /// An administrator put it back.
    pub put_back: bool,
    /// How often the store had gone back by then; see [`Version::in_reign`].
    pub reign: u64,
}

impl State {
    /// Names the state.
    fn version(&self) -> Version {
        match self.record {
            None if !self.unreadable => Version::absent(),
            _ => Version::number(self.number),
        }
    }
}

/// An operation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer {
    pub node: usize,
    pub operation: u64,
    /// A renewal, which is never sent again: another has another nonce.
    pub renews: bool,
}

/// What a write replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replaced {
    /// Nothing was stored.
    pub absent: bool,
    /// What was stored is no record.
    pub unreadable: bool,
    /// Somebody held the lock.
    pub held: bool,
    /// The holder was the one that the write names.
    pub same_holder: bool,
    /// A foreign client held the lock.
    pub foreign: bool,
    /// The token that was stored.
    pub token: Token,
    /// Who wrote it.
    pub writer: Option<Writer>,
    /// An administrator put it back.
    pub put_back: bool,
    /// The sign of life that was stored.
    pub nonce: Option<Nonce>,
}

impl Replaced {
    /// What `change` would replace.
    pub(crate) fn by(change: &Change, state: &State) -> Self {
        let holder = state.record.as_ref().and_then(|record| record.holder.as_ref());
        Self {
            absent: state.record.is_none() && !state.unreadable,
            unreadable: state.unreadable,
            held: holder.is_some(),
            same_holder: state.record.is_some() && holder == change.record.holder.as_ref(),
            foreign: state.foreign && holder.is_some(),
            token: state.record.as_ref().map_or(0, |record| record.token),
            writer: state.writer,
            put_back: state.put_back,
            nonce: state.record.as_ref().map(|record| record.nonce),
        }
    }
}

/// A lease that the server keeps.
#[derive(Clone, Copy, Debug)]
struct Lease {
    nonce: Nonce,
    ends: Nanos,
    length: Nanos,
}

/// The register.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    kind: StoreKind,
    floor: Floor,
    /// The rate of the server's clock, in millionths.
    rate: u64,
    log: Vec<State>,
    leases: Vec<Lease>,
    /// Incarnations whose process is gone (`Passed`).
    dead: Vec<Incarnation>,
    mutant: Option<Mutant>,
}

impl Store {
    /// A lock that nobody has ever held.
    #[must_use]
    pub(crate) fn new(kind: StoreKind, floor: Floor, rate: u64, mutant: Option<Mutant>) -> Self {
        let mut store = Self {
            kind,
            floor,
            rate,
            log: Vec::with_capacity(128),
            leases: Vec::new(),
            dead: Vec::new(),
            mutant,
        };
        store.push(0, None, kind == StoreKind::Forgets);
        store
    }

    /// The present state.
    #[must_use]
    pub(crate) fn state(&self) -> &State {
        self.log.last().expect("the log begins with a state")
    }

    /// The number of the present state in the log.
    #[must_use]
    pub(crate) fn index(&self) -> usize {
        self.log.len() - 1
    }

    /// What a reader of the state with this index sees.
    #[must_use]
    pub(crate) fn observe(&self, index: usize, now: Nanos) -> Observed {
        let state = &self.log[index];
        let contents = match &state.record {
            None if state.unreadable => Contents::Unreadable("not a record".to_owned()),
            None => Contents::Absent,
            Some(record) => Contents::Record(record.clone()),
        };
        let floor = if index == self.index() { self.floor_at(now) } else { state.floor };
        Observed {
            version: self.named_by(state),
            contents,
            expiry: self.expiry(state),
            token_floor: floor,
        }
    }

    /// A store that goes back names the reign of a state with its version.
    fn named_by(&self, state: &State) -> Version {
        match self.kind {
            StoreKind::Forgets => state.version().in_reign(&state.reign.to_be_bytes()),
            _ => state.version(),
        }
    }

    fn expiry(&self, state: &State) -> Expiry {
        let holder = state.record.as_ref().and_then(|record| record.holder.as_ref());
        let gone = |i: &Incarnation| self.dead.contains(i);
        match self.kind {
            StoreKind::Server => Expiry::ByServer,
            StoreKind::Forgets if state.suspended => Expiry::Suspended,
            StoreKind::Passed if holder.and_then(|h| h.incarnation.as_ref()).is_some_and(gone) => {
                Expiry::Passed
            }
            _ => Expiry::ByObserver,
        }
    }

    fn floor_at(&self, now: Nanos) -> Option<Token> {
        match self.floor {
            Floor::Revision => Some(self.revision()),
            Floor::Clock => Some(clock_floor(now)),
            Floor::Carried => self.state().floor,
            Floor::None => None,
        }
    }

    /// Grows with every change.
    #[must_use]
    pub(crate) fn revision(&self) -> u64 {
        self.log.len() as u64
    }

    /// Applies a write. A Take at a server that ends leases itself needs its lease granted before.
    pub(crate) fn write(&mut self, now: Nanos, expected: &Version, change: &Change) -> Outcome {
        if self.kind == StoreKind::Server {
            return self.write_leased(now, expected, change);
        }
        let blind = self.mutant == Some(Mutant::BlindPut) && change.intent == Intent::Take;
        let present = self.named_by(self.state());
        let same_reign =
            expected.reign() == present.reign() || self.mutant == Some(Mutant::WritesInAnyReign);
        if (*expected != present || !same_reign) && !blind {
            return Outcome::Conflict;
        }
        self.push(now, Some(change.record.clone()), false);
        Outcome::Written(self.observe(self.index(), now))
    }

    fn write_leased(&mut self, now: Nanos, expected: &Version, change: &Change) -> Outcome {
        let nonce = change.record.nonce;
        if change.intent == Intent::Revoke {
            self.revoke(now, nonce);
            return Outcome::Written(self.observe(self.index(), now));
        }
        let blind = match change.intent {
            Intent::Renew => self.mutant == Some(Mutant::BlindRenew),
            Intent::Release => self.mutant == Some(Mutant::BlindRelease),
            _ => false,
        } && self.state().record.is_some();
        let matches = blind || *expected == self.state().version();
        let granted = self.leases.iter().any(|lease| lease.nonce == nonce);
        match change.intent {
            _ if !matches => return Outcome::Conflict,
            Intent::Adopt | Intent::Revoke => return Outcome::Conflict,
            Intent::Take if !granted || self.state().record.is_some() => return Outcome::Conflict,
            Intent::Take => {
                let local = self.mutant == Some(Mutant::LocalTokens);
                let counted = change.record.renewed.0 % 16;
                let token = if local { 1 + counted } else { self.revision() + 1 };
                self.push(now, Some(Record { token, ..change.record.clone() }), false);
            }
            Intent::Renew => self.refresh(now),
            Intent::Release => {
                let stored = self.state().record.as_ref().map(|record| record.nonce);
                self.leases.retain(|lease| Some(lease.nonce) != stored);
                self.push(now, None, false);
            }
        }
        Outcome::Written(self.observe(self.index(), now))
    }

    /// Begins a lease for a Take with this nonce.
    pub(crate) fn grant(&mut self, now: Nanos, nonce: Nonce, length: Nanos) {
        let length = length * 1_000_000 / self.rate;
        let early = self.mutant == Some(Mutant::EarlyLease);
        let now = if early { now.saturating_sub(length / 2) } else { now };
        self.leases.retain(|lease| lease.nonce != nonce);
        self.leases.push(Lease { nonce, ends: now + length, length });
    }

    fn revoke(&mut self, now: Nanos, nonce: Nonce) {
        self.leases.retain(|lease| lease.nonce != nonce);
        let any = self.mutant == Some(Mutant::RevokesAnything);
        if self.state().record.as_ref().is_some_and(|record| record.nonce == nonce || any) {
            self.push(now, None, false);
        }
    }

    fn refresh(&mut self, now: Nanos) {
        let stored = self.state().record.as_ref().map(|record| record.nonce);
        for lease in self.leases.iter_mut().filter(|lease| Some(lease.nonce) == stored) {
            lease.ends = now + lease.length;
        }
    }

    /// When the next lease ends.
    #[must_use]
    pub(crate) fn next_expiry(&self) -> Nanos {
        self.leases.iter().map(|lease| lease.ends).min().unwrap_or(Nanos::MAX)
    }

    /// Ends the leases whose time has come. True if the record went with one.
    pub(crate) fn expire(&mut self, now: Nanos) -> bool {
        self.leases.retain(|lease| lease.ends > now);
        let Some(nonce) = self.state().record.as_ref().map(|record| record.nonce) else {
            return false;
        };
        if self.kind != StoreKind::Server || self.leases.iter().any(|lease| lease.nonce == nonce) {
            return false;
        }
        self.push(now, None, false);
        true
    }

    /// The server starts again. A forgetful one brings back the state `depth` changes ago, under
    /// its old version, and begins another reign.
    pub(crate) fn restart(&mut self, now: Nanos, depth: usize) {
        for lease in &mut self.leases {
            lease.ends = now + lease.length;
        }
        let silently = self.mutant == Some(Mutant::SilentRewind);
        if self.kind == StoreKind::Forgets || silently {
            let index = self.index().saturating_sub(depth);
            let State { record, writer, unreadable, number, .. } = self.log[index].clone();
            self.push(now, record, !silently);
            self.mark(|state| {
                (state.writer, state.unreadable) = (writer, unreadable);
                if !silently {
                    (state.number, state.reign) = (number, state.reign + 1);
                }
            });
        }
    }

    /// A process is gone, and everything it started.
    pub(crate) fn bury(&mut self, incarnation: Incarnation) {
        self.dead.push(incarnation);
    }

    /// An administrator deletes the record.
    pub(crate) fn delete(&mut self, now: Nanos) {
        if self.state().record.is_some() || self.state().unreadable {
            let nonce = self.state().record.as_ref().map(|record| record.nonce);
            self.leases.retain(|lease| Some(lease.nonce) != nonce);
            self.push(now, None, self.kind == StoreKind::Forgets);
        }
    }

    /// Somebody writes a record without asking for a version: the same one, or one without holder.
    pub(crate) fn edit(&mut self, now: Nanos, record: Record) {
        let State { suspended, foreign, writer, late, .. } = *self.state();
        self.push(now, Some(record), suspended);
        self.mark(|state| (state.foreign, state.writer, state.late) = (foreign, writer, late));
    }

    /// An administrator puts an earlier record back, as a new state; where the version is what is
    /// stored and nothing is known of the past, under its old version. False if there is none to
    /// put back.
    pub(crate) fn put_back(&mut self, now: Nanos, draw: u64) -> bool {
        let present = self.state();
        let stored = present.record.as_ref().map(|record| (record.nonce, record.token));
        // A floor that is carried with the record goes back with it, and with the floor the tokens.
        let any_term = self.floor != Floor::Carried;
        let fits = |state: &&State| {
            let ours = state.record.as_ref().filter(|record| {
                let incarnation = record.holder.as_ref().and_then(|holder| holder.incarnation);
                incarnation.is_some_and(|incarnation| incarnation != Incarnation(0))
            });
            ours.is_some_and(|record| {
                let other = stored.is_none_or(|(nonce, _)| nonce != record.nonce);
                other && (any_term || stored.is_some_and(|(_, token)| token == record.token))
            })
        };
        if present.unreadable {
            return false;
        }
        let depth = usize::try_from(below(draw, 8)).unwrap_or(0);
        let mut fitting = self.log.iter().rev().filter(fits).take(depth + 1);
        let Some(State { number, record, writer, .. }) = fitting.by_ref().last().cloned() else {
            return false;
        };
        let old_version = self.floor == Floor::None && draw & 1 == 0;
        self.push(now, record, false);
        self.mark(|state| {
            (state.writer, state.put_back) = (writer, true);
            if old_version {
                state.number = number;
            }
        });
        true
    }

    /// Somebody spoils the record. Returns what it was.
    pub(crate) fn spoil(&mut self, now: Nanos) -> Option<Record> {
        let record = self.state().record.clone()?;
        self.push(now, None, false);
        self.mark(|state| state.unreadable = true);
        Some(record)
    }

    /// How many states carried this sign of life.
    #[must_use]
    pub(crate) fn times_stored(&self, nonce: Nonce) -> usize {
        let carries = |state: &&State| state.record.as_ref().is_some_and(|r| r.nonce == nonce);
        self.log.iter().filter(carries).count()
    }

    /// Whether what was stored could ever not be parsed.
    #[must_use]
    pub(crate) fn was_unreadable(&self) -> bool {
        self.log.iter().any(|state| state.unreadable)
    }

    /// Notes something of the present state.
    pub(crate) fn mark(&mut self, note: impl FnOnce(&mut State)) {
        note(self.log.last_mut().expect("the log begins with a state"));
    }

    /// The term that the present state names, which is no placeholder's.
    #[must_use]
    pub(crate) fn named(&self) -> Option<Bound> {
        let record = self.state().record.as_ref()?;
        let holder = record.holder.as_ref().filter(|holder| !holder.is_unknown())?;
        let term = if holder.incarnation.is_some() { record.token } else { FOREIGN };
        let (token, lease) = (record.token, record.lease_duration);
        Some(Bound { term, token, lease, last: self.state().number })
    }

    /// A foreign client writes over the present state.
    pub(crate) fn write_foreign(&mut self, now: Nanos, record: Option<Record>) {
        let kept = self.state().record.clone().filter(|record| record.holder.is_some());
        let believed = self.mutant == Some(Mutant::ForeignBelieved);
        let shown = if believed && record.is_some() { kept.or(record) } else { record };
        let token = self.state().record.as_ref().map_or(0, |record| record.token);
        self.push(now, shown, false);
        let carried = self.floor == Floor::Carried;
        if let Some(state) = self.log.last_mut() {
            state.foreign = true;
            // A foreign client keeps our token's number, which stays a floor.
            if carried {
                state.floor = state.floor.max(Some(token));
            }
        }
    }

    /// A foreign client keeps its lease alive at a server that ends leases itself.
    pub(crate) fn refresh_foreign(&mut self, now: Nanos) {
        self.refresh(now);
    }

    fn push(&mut self, now: Nanos, record: Option<Record>, suspended: bool) {
        let created = self.log.last().is_none_or(|state| state.record.is_none());
        let floor = match self.floor {
            Floor::Revision => Some(self.revision() + 1),
            Floor::Clock => Some(clock_floor(now)),
            Floor::None => None,
            Floor::Carried if record.is_none() => None,
            Floor::Carried if created => Some(clock_floor(now)),
            Floor::Carried => self.state().floor,
        };
        let number = self.revision();
        let reign = self.log.last().map_or(0, |state| state.reign);
        self.log.push(State {
            number,
            record,
            unreadable: false,
            suspended,
            foreign: false,
            writer: None,
            late: false,
            floor,
            put_back: false,
            reign,
        });
    }
}

/// A store's wall clock as a floor: microseconds, far above any count of terms.
fn clock_floor(now: Nanos) -> Token {
    1_000_000 + now / 1000
}

impl Store {
    /// A server that stands still ends no lease before it goes on.
    pub(crate) fn defer_expiry(&mut self, until: Nanos) {
        for lease in &mut self.leases {
            lease.ends = lease.ends.max(until);
        }
    }
}
