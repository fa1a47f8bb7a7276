//! The store of the model: one register in two forms of expiry.

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{Change, Contents, Expiry, Intent, Nonce, Observed, Record, Token, Version};

use super::rule::Rule;
use super::setup::Mode;

/// The register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Register {
    pub mode: Mode,
    pub version: Version,
    pub record: Option<Record>,
    /// The leases that the store ends itself.
    pub leases: Vec<Lease>,
    /// The greatest token of any term.
    pub greatest: Token,
    /// What an administrator saved, or a store that forgets may go back to.
    pub saved: Option<Record>,
    /// The version under which a store that forgets held that.
    pub saved_as: Version,
    /// What is stored was put back.
    pub put_back: bool,
    /// How often the store went back.
    pub reign: u8,
    /// What is stored was written before it went back last, and not adopted since.
    pub suspended: bool,
}

/// A lease that the store keeps, named by the nonce of the Take it was granted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub nonce: Nonce,
    /// In ticks of the store, since it was granted or last kept alive.
    pub age: u8,
}

/// A write on its way: what it names, and what it would store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub expected: Version,
    pub change: Change,
}

/// What an applied write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// A rule that it broke.
    pub broken: Option<Rule>,
    /// A leader asserted its record again where it was not.
    pub reasserted: bool,
    /// A leader wrote over an old copy of its own record.
    pub over_old_copy: bool,
}

impl Register {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            mode,
            version: Version::absent(),
            record: None,
            leases: Vec::new(),
            greatest: 0,
            saved: None,
            saved_as: Version::absent(),
            put_back: false,
            reign: 0,
            suspended: false,
        }
    }

    pub(crate) fn observe(&self) -> Observed {
        Observed {
            version: self.named(),
            contents: self.record.clone().map_or(Contents::Absent, Contents::Record),
            expiry: match self.mode {
                Mode::ByObserver => Expiry::ByObserver,
                Mode::ByServer => Expiry::ByServer,
                Mode::Forgets if self.suspended || self.record.is_none() => Expiry::Suspended,
                Mode::Forgets => Expiry::ByObserver,
            },
            // A clock, which does not go back with the store.
            token_floor: (self.mode == Mode::Forgets).then_some(self.greatest),
        }
    }

    fn named(&self) -> Version {
        match self.mode {
            Mode::Forgets => self.version.clone().in_reign(&[self.reign]),
            Mode::ByObserver | Mode::ByServer => self.version.clone(),
        }
    }

    /// Whether a write that names this version replaces what is stored now.
    fn is_present(&self, expected: &Version) -> bool {
        *expected == self.version && expected.reign() == self.named().reign()
    }

    /// A candidate sends this. A store that keeps leases grants one for every Take before it
    /// applies it; here at once, the earliest moment there is, since the candidate counts its term
    /// from it too.
    pub(crate) fn grant(&mut self, change: &Change) {
        if self.mode == Mode::ByServer && change.intent == Intent::Take {
            let nonce = change.record.nonce;
            self.leases.retain(|lease| lease.nonce != nonce);
            self.leases.push(Lease { nonce, age: 0 });
        }
    }

    pub(crate) fn has_lease(&self, nonce: Nonce) -> bool {
        self.leases.iter().any(|lease| lease.nonce == nonce)
    }

    /// Whether the write would change anything now, or might later. A Take may be `sent_again`,
    /// which grants it another lease.
    pub(crate) fn may_apply(&self, write: &Write, absent_again: bool, sent_again: bool) -> bool {
        let Write { expected, change } = write;
        let matches = self.is_present(expected) || expected.is_absent() && absent_again;
        match (self.mode, change.intent) {
            (Mode::ByObserver | Mode::Forgets, _) => matches,
            (Mode::ByServer, Intent::Take) => sent_again || self.has_lease(change.record.nonce),
            (Mode::ByServer, Intent::Revoke) => self.has_lease(change.record.nonce),
            (Mode::ByServer, Intent::Renew | Intent::Release) => *expected == self.version,
            (Mode::ByServer, Intent::Adopt) => false,
        }
    }

    /// Applies a write if it names the present version; `fresh` names the next. `None` is a
    /// conflict.
    pub(crate) fn write(
        &mut self,
        expected: &Version,
        change: &Change,
        fresh: impl FnOnce() -> Version,
    ) -> Option<Effect> {
        let by_server = self.mode == Mode::ByServer;
        if by_server && change.intent == Intent::Revoke {
            self.revoke(change.record.nonce);
            return Some(Effect::default());
        }
        if !self.is_present(expected) {
            return None;
        }
        let granted = self.has_lease(change.record.nonce);
        if by_server && change.intent == Intent::Take && !granted {
            return None;
        }
        let mut record = change.record.clone();
        if by_server && change.intent == Intent::Take {
            record.token = self.greatest + 1;
        }
        let effect = self.judge(change.intent, &record);
        match (self.mode, change.intent) {
            (Mode::ByServer, Intent::Adopt | Intent::Revoke) => return None,
            (Mode::ByServer, Intent::Renew) => self.refresh(),
            (Mode::ByServer, Intent::Release) => self.delete(),
            (Mode::ByServer, Intent::Take) | (Mode::ByObserver | Mode::Forgets, _) => {
                self.version = fresh();
                self.record = Some(record);
                self.put_back = false;
                self.suspended = false;
            }
        }
        Some(effect)
    }

    fn judge(&mut self, intent: Intent, record: &Record) -> Effect {
        let mut effect = Effect::default();
        let held = self.record.as_ref().filter(|stored| stored.holder.is_some());
        let stored = self.record.as_ref().map_or(0, |stored| stored.token);
        let is_own = held.is_some_and(|held| held.token == record.token);
        match intent {
            Intent::Take => {
                effect.broken = (record.token <= self.greatest).then_some(Rule::Token);
                self.greatest = self.greatest.max(record.token);
            }
            Intent::Renew if is_own => {
                let same = held.is_some_and(|held| held.holder == record.holder);
                effect.broken = (!same).then_some(Rule::Extension);
                effect.over_old_copy = self.put_back;
            }
            Intent::Renew => {
                effect.reasserted = true;
                // An older leader's record, which the store went back to, is not another leader.
                let held = held.is_some() && self.mode != Mode::Forgets;
                let over_another = held || stored > record.token;
                effect.broken = over_another.then_some(Rule::Extension);
            }
            Intent::Release => effect.broken = (!is_own).then_some(Rule::Release),
            Intent::Adopt => {
                let changed = held.is_some_and(|held| {
                    self.mode != Mode::Forgets
                        || (held.nonce, held.token) != (record.nonce, record.token)
                });
                effect.broken = changed.then_some(Rule::Release);
            }
            Intent::Revoke => {}
        }
        effect
    }

    /// An administrator saves what is stored.
    pub(crate) fn save(&mut self) {
        self.saved = self.record.clone();
        if self.mode == Mode::Forgets {
            self.saved_as = self.version.clone();
        }
    }

    /// The store goes back to what it held before, and another reign begins.
    pub(crate) fn go_back(&mut self) {
        self.record = self.saved.take();
        self.version = std::mem::replace(&mut self.saved_as, Version::absent());
        self.put_back = true;
        self.suspended = true;
        self.reign += 1;
    }

    /// What was saved is stored again, under a new version.
    pub(crate) fn put_back(&mut self, fresh: Version) {
        self.record = self.saved.take();
        self.version = fresh;
        self.put_back = true;
    }

    /// What was saved of the term that lasts.
    pub(crate) fn saved(&self) -> Option<&Record> {
        let held = self.record.as_ref().filter(|record| record.holder.is_some())?;
        self.saved.as_ref().filter(|saved| saved.token == held.token)
    }

    /// Forgets what was saved, once its term is over.
    pub(crate) fn prune(&mut self) {
        if self.saved().is_none() {
            self.saved = None;
            self.saved_as = Version::absent();
        }
    }

    fn stored_nonce(&self) -> Option<Nonce> {
        self.record.as_ref().map(|record| record.nonce)
    }

    fn refresh(&mut self) {
        let stored = self.stored_nonce();
        for lease in self.leases.iter_mut().filter(|lease| Some(lease.nonce) == stored) {
            lease.age = 0;
        }
    }

    fn revoke(&mut self, nonce: Nonce) {
        self.leases.retain(|lease| lease.nonce != nonce);
        if self.stored_nonce() == Some(nonce) {
            self.delete();
        }
    }

    /// Nothing is stored any more.
    pub(crate) fn delete(&mut self) {
        let stored = self.stored_nonce();
        self.leases.retain(|lease| Some(lease.nonce) != stored);
        self.version = Version::absent();
        self.record = None;
        self.put_back = false;
    }

    /// Time passes at the store: ends the leases that are `longest` old.
    pub(crate) fn advance(&mut self, ticks: u8, longest: u8) {
        for lease in &mut self.leases {
            lease.age += ticks;
        }
        self.leases.retain(|lease| lease.age < longest);
        if self.mode == Mode::ByServer
            && self.stored_nonce().is_some_and(|nonce| !self.has_lease(nonce))
        {
            self.delete();
        }
    }
}

impl Visit for Register {
    fn visit(&mut self, see: &mut dyn FnMut(Atom<'_>)) {
        let Self {
            mode,
            version,
            record,
            leases,
            greatest,
            saved,
            saved_as,
            put_back: _,
            reign: _,
            suspended: _,
        } = self;
        version.visit(see);
        record.visit(see);
        saved.visit(see);
        if *mode == Mode::Forgets {
            saved_as.visit(see);
        }
        for Lease { nonce, age: _ } in leases {
            nonce.visit(see);
        }
        see(Atom::Mark(greatest));
    }
}
