//! What is stored: who may write what over what, and which terms it displaces.

use leasehold_core::{Change, Intent, Token};

use super::{Judge, Rule, Won};
use crate::cause::Cause;
use crate::queue::Request;
use crate::scene::Scene;
use crate::store::Replaced;
use crate::store_kind::{Floor, StoreKind};
use crate::term::{Bound, FOREIGN};

/// A write that came true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrote<'a> {
    pub request: &'a Request,
    pub change: &'a Change,
    /// What it replaced.
    pub old: &'a Replaced,
    /// The term that the store named before.
    pub named: Option<Bound>,
    /// An assertion that came true over absence after its sender had given up.
    pub brings_old_life: bool,
}

impl Judge {
    /// A write came true.
    pub(crate) fn wrote(&mut self, scene: &Scene<'_>, wrote: Wrote<'_>) {
        self.explain(scene, wrote);
        self.judge_write(scene, wrote.request, wrote.change, wrote.old);
    }

    /// Notes which overlaps are to be expected of a write.
    fn explain(&mut self, scene: &Scene<'_>, wrote: Wrote<'_>) {
        let Wrote { request, change, named, .. } = wrote;
        let (x, lineage) = (request.node, request.lineage);
        // What one copy gives back or takes anew, another may still believe in.
        let own = named.is_some_and(|named| self.has_won(lineage, named.term));
        let clone = (own && self.excuses.has_copies(scene, x, lineage)).then_some(Cause::Clone);
        self.displaces(scene, named, clone);
        let server = scene.case.store == StoreKind::Server;
        match (change.intent, scene.store.named()) {
            (Intent::Take, Some(taken)) => {
                // Who takes anew over its own record waits for nobody.
                let told = request.told.filter(|told| !server && !self.has_won(lineage, told.term));
                self.excuses.writes_term(scene, taken.term, told, true);
            }
            (Intent::Renew, Some(_)) if wrote.brings_old_life => self.excuses.brings_an_old_life(),
            (Intent::Renew, Some(renewed)) => {
                self.excuses.writes_term(scene, renewed.term, None, false);
            }
            _ => {}
        }
    }

    /// The store has a new state. `old` is the term that it named before.
    pub(crate) fn displaces(
        &mut self,
        scene: &Scene<'_>,
        old: Option<Bound>,
        cause: Option<Cause>,
    ) {
        self.notes_named(scene);
        self.excuses.displaces(scene, old, cause);
    }

    fn notes_named(&mut self, scene: &Scene<'_>) {
        let new = scene.store.named().map(|bound| bound.term);
        if self.named.0 != new {
            self.named = (new, scene.now);
            self.named_at = scene.store.index();
        }
    }

    /// An administrator has taken the record away: also whatever it still protected.
    pub(crate) fn touches(&mut self, scene: &Scene<'_>, old: Option<Bound>, cause: Cause) {
        self.notes_named(scene);
        self.excuses.touches(scene, old, cause);
    }

    /// An administrator has put an old copy of the record back.
    pub(crate) fn restores(&mut self, scene: &Scene<'_>, old: Option<Bound>) {
        self.touches(scene, old, Cause::Restored);
        self.excuses.shows_an_old_life(scene, old);
    }

    /// A forgetful store may have gone back.
    pub(crate) fn forgets(&mut self, scene: &Scene<'_>) {
        (0..scene.nodes.len()).for_each(|x| self.excuses.copies_are_forgotten(scene, x));
    }

    /// The foreign client wrote a record of its own, with this token if the store counts its term.
    pub(crate) fn foreign_wrote(
        &mut self,
        scene: &Scene<'_>,
        old: Option<Bound>,
        token: Option<Token>,
    ) {
        self.greatest = self.greatest.max(token.unwrap_or(0));
        self.displaces(scene, old, None);
        let takes = old.is_none_or(|old| old.term != FOREIGN);
        self.excuses.writes_term(scene, FOREIGN, None, takes);
    }

    /// What a write did to the store.
    fn judge_write(
        &mut self,
        scene: &Scene<'_>,
        request: &Request,
        change: &Change,
        old: &Replaced,
    ) {
        let lineage = request.lineage;
        let new = scene.store.state().record.as_ref();
        let token = new.map_or(change.record.token, |record| record.token);
        if old.unreadable {
            self.violate(scene.now, Rule::Overwritten, || {
                "what cannot be parsed is overwritten".into()
            });
        }
        match change.intent {
            Intent::Take => {
                // Where nothing is known of the past, everybody goes by what it was told itself.
                let greatest = match scene.case.floor {
                    Floor::None => request.known,
                    _ => self.greatest,
                };
                // Where a version comes back with what was stored, the same Take may come true over
                // it once more.
                let again = scene.case.floor == Floor::None && self.has_won(lineage, token);
                if token <= greatest && !again {
                    self.violate(scene.now, Rule::Token, || {
                        format!("a Take of {token} after {greatest}")
                    });
                }
                self.greatest = self.greatest.max(token);
                self.won.push(Won { token, lineage });
            }
            Intent::Renew => self.judge_renewal(scene, request, change.record.token, old),
            Intent::Release => {
                let own = old.held && self.has_won(lineage, old.token);
                if !own || old.foreign {
                    self.violate(scene.now, Rule::Release, || {
                        "a release of what is not the sender's".into()
                    });
                }
            }
            Intent::Revoke => {
                let ended = old.held && scene.store.state().record.is_none();
                if ended && old.nonce != Some(change.record.nonce) {
                    self.violate(scene.now, Rule::Release, || {
                        "a revocation of another Take".into()
                    });
                }
            }
            Intent::Adopt => {}
        }
    }

    fn judge_renewal(
        &mut self,
        scene: &Scene<'_>,
        request: &Request,
        token: Token,
        old: &Replaced,
    ) {
        if !self.has_won(request.lineage, token) && scene.case.store != StoreKind::Server {
            self.violate(scene.now, Rule::Extension, || {
                format!("a renewal of somebody else's term {token}")
            });
        }
        if old.token > token || old.foreign {
            self.violate(scene.now, Rule::Extension, || {
                format!("term {token} renewed over another leader")
            });
        }
        let copies = old.writer.filter(|writer| self.excuses.is_strange(request.node, *writer));
        // Over what a forgetful store may have gone back to, and over an earlier term that was
        // asserted again after a deletion, a leader asserts itself whoever wrote it.
        let stores = matches!(scene.case.store, StoreKind::Observer | StoreKind::Passed);
        if old.same_holder && copies.is_some() && stores && old.token == token {
            self.violate(scene.now, Rule::Extension, || {
                format!("a copy renews term {token} over another's")
            });
        }
    }

    pub(super) fn has_won(&self, lineage: u64, token: Token) -> bool {
        self.won.iter().any(|won| won.token == token && won.lineage == lineage)
    }
}
