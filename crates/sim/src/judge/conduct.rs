//! How a node behaves: what it asks for, how its terms end, whether it goes on.

use std::time::Duration;

use leasehold_core::{Action, Halt, Intent, Loss, Record, Time, Token};

use super::{Judge, Rule};
use crate::node::Work;
use crate::scene::Scene;
use crate::store_kind::StoreKind;
use crate::story::name;

impl Judge {
    /// A node sends a request: what may be asked, and how often.
    pub(crate) fn sent(&mut self, scene: &Scene<'_>, x: usize, now: Time, action: &Action) {
        let watched = &mut self.watched[x];
        if now.since(watched.window) >= Duration::from_secs(1) {
            watched.window = now;
            watched.requests = 0;
        }
        watched.requests += 1;
        if watched.requests > watched.fair {
            let count = watched.requests;
            self.violate(scene.now, Rule::Spinning, || {
                format!("{} sends {count} requests in a second", name(x))
            });
        }
        let Action::Write { change, .. } = action else { return };
        if change.intent == Intent::Revoke {
            self.revoked.push(change.record.nonce);
        }
        let node = &scene.nodes[x];
        if node.config >= scene.case.candidates.len() {
            self.violate(scene.now, Rule::View, || "an observer writes".into());
        }
        let releases = change.intent == Intent::Release && change.record.holder.is_none();
        let runs = |work: Work| work.token == change.record.token && work.end() > scene.now;
        if releases && node.work.is_some_and(runs) {
            self.violate(scene.now, Rule::Release, || {
                format!("{} releases while its work runs", name(x))
            });
        }
    }

    /// A node was told that another store answers: its term is over by now.
    pub(crate) fn told_of_another_store(&mut self, scene: &Scene<'_>, x: usize) {
        if scene.nodes[x].belief.is_some_and(|belief| belief.until > scene.now) {
            self.violate(scene.now, Rule::Stability, || {
                format!("{} leads on although another store answers", name(x))
            });
        }
    }

    /// A release was not settled in time.
    pub(crate) fn releases_too_long(&mut self, scene: &Scene<'_>, x: usize) {
        if scene.now > scene.nodes[x].paused_at {
            self.violate(scene.now, Rule::Termination, || {
                format!("{} releases without end", name(x))
            });
        }
    }

    /// A node sees a copy of itself.
    pub(crate) fn saw_copy(&mut self, scene: &Scene<'_>, x: usize) {
        if self.is_stray_take(scene) && !self.excuses.has_been_copied() {
            self.violate(scene.now, Rule::Stability, || {
                format!("{} sees a copy where none is", name(x))
            });
        }
    }

    /// Whether what is stored at a server is a Take that its sender gave up and never asked to
    /// revoke. One that had won before may come true once more, and a revocation may be lost.
    /// (Elsewhere an assertion may come true over absence after its sender has given up.)
    fn is_stray_take(&self, scene: &Scene<'_>) -> bool {
        let Some(nonce) = scene.store.state().record.as_ref().map(|record| record.nonce) else {
            return false;
        };
        scene.case.store == StoreKind::Server
            && scene.store.times_stored(nonce) == 1
            && !self.revoked.contains(&nonce)
    }

    /// A node contends no more, and nothing in the schedule makes it stop.
    pub(crate) fn stops(&mut self, scene: &Scene<'_>, x: usize, failure: &Halt) {
        self.violate(scene.now, Rule::Failure, || {
            format!("{} stops for good: {failure:?}", name(x))
        });
    }

    /// A node would wake again at once.
    pub(crate) fn spins(&mut self, scene: &Scene<'_>, x: usize) {
        self.violate(scene.now, Rule::Spinning, || format!("{} wants to wake at once", name(x)));
    }

    /// A node's term ended.
    pub(crate) fn ended(&mut self, scene: &Scene<'_>, x: usize, token: Token, loss: Loss) {
        let node = &scene.nodes[x];
        if loss == Loss::Superseded && gives_up_its_own(scene, x, token) {
            self.violate(scene.now, Rule::Stability, || {
                format!("{} gives up its own term", name(x))
            });
        }
        // P + 3T <= D: one lost reply costs a renewal, a read and a renewal.
        let fits = node.timing.retry_period() >= node.timing.request_timeout();
        let refused = node.was_refused_of_late(scene.case, scene.now);
        if loss == Loss::Expired && node.setbacks <= u32::from(fits) && !refused {
            self.violate(scene.now, Rule::Stability, || format!("{} asks again too late", name(x)));
        }
        if self.bound {
            self.violate(scene.now, Rule::Stability, || {
                format!("{} loses term {token} ({loss:?})", name(x))
            });
        }
    }
}

/// Whether the record that is stored is this node's own, and the node knows it.
fn gives_up_its_own(scene: &Scene<'_>, x: usize, token: Token) -> bool {
    let (node, stored) = (&scene.nodes[x], scene.store.state());
    let own = node.election.incarnation();
    let is_ours = stored.record.as_ref().is_some_and(|record| {
        record.token == token && record.holder.as_ref().is_some_and(|h| h.incarnation == Some(own))
    });
    // What a copy wrote, or an old assertion that came true late, looks like somebody else's.
    let wrote = stored.writer.is_some_and(|writer| writer.node == x) && !stored.late;
    let failed = node.election.failure().is_some();
    // It may have read another, before an administrator put its own back.
    let nonce = |record: &Record| record.nonce;
    let seen = node.election.observed().and_then(|seen| seen.record());
    // Or it was told of a later term before.
    let knows_better = node.known > token;
    let read =
        seen.map(nonce) == stored.record.as_ref().map(nonce) && !knows_better || !stored.put_back;
    is_ours && wrote && read && !failed && scene.case.store != StoreKind::Forgets
}
