//! The store of the model: one register in two forms of expiry.

use leasehold_core::model::{Atom, Visit};
use leasehold_core::{Change, Contents, Expiry, Intent, Nonce, Observed, Record, Token, Version};

use super::setup::Mode;
use super::world::{Rule, Write};

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
    /// What an administrator saved.
    pub saved: Option<Record>,
    /// What is stored was put back.
    pub put_back: bool,
}

/// A lease that the store keeps, named by the nonce of the Take it was granted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub nonce: Nonce,
    /// In ticks of the store, since it was granted or last kept alive.
    pub age: u8,
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
            put_back: false,
        }
    }

    pub(crate) fn observe(&self) -> Observed {
        Observed {
            version: self.version.clone(),
            contents: self.record.clone().map_or(Contents::Absent, Contents::Record),
            expiry: match self.mode {
                Mode::ByObserver => Expiry::ByObserver,
                Mode::ByServer => Expiry::ByServer,
            },
            token_floor: None,
        }
    }

    /// A candidate sends this. A store that keeps leases grants one for every Take before it applies it; here at
    /// once, the earliest moment there is, since the candidate counts its term from it too.
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

    /// Whether the write would change anything now, or might later. A Take may be `sent_again`, which grants it
    /// another lease.
    pub(crate) fn may_apply(&self, write: &Write, absent_again: bool, sent_again: bool) -> bool {
        let Write { expected, change } = write;
        let matches = *expected == self.version || expected.is_absent() && absent_again;
        match (self.mode, change.intent) {
            (Mode::ByObserver, _) => matches,
            (Mode::ByServer, Intent::Take) => sent_again || self.has_lease(change.record.nonce),
            (Mode::ByServer, Intent::Revoke) => self.has_lease(change.record.nonce),
            (Mode::ByServer, Intent::Renew | Intent::Release) => *expected == self.version,
            (Mode::ByServer, Intent::Adopt) => false,
        }
    }

    /// Applies a write if it names the present version; `fresh` names the next. `None` is a conflict.
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
        if *expected != self.version {
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
            (Mode::ByServer, Intent::Take) | (Mode::ByObserver, _) => {
                self.version = fresh();
                self.record = Some(record);
                self.put_back = false;
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
                let over_another = held.is_some() || stored > record.token;
                effect.broken = over_another.then_some(Rule::Extension);
            }
            Intent::Release => effect.broken = (!is_own).then_some(Rule::Release),
            Intent::Adopt => effect.broken = held.is_some().then_some(Rule::Release),
            Intent::Revoke => {}
        }
        effect
    }

    /// An administrator saves what is stored.
    pub(crate) fn save(&mut self) {
        self.saved = self.record.clone();
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
        let Self { mode: _, version, record, leases, greatest, saved, put_back: _ } = self;
        version.visit(see);
        record.visit(see);
        saved.visit(see);
        for Lease { nonce, age: _ } in leases {
            nonce.visit(see);
        }
        see(Atom::Mark(greatest));
    }
}
