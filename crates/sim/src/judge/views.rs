//! What a node is told of the leader.

use std::time::Duration;

use leasehold_core::{Timing, View};

use super::{Judge, Rule, Watched};
use crate::case::{MS, Nanos};
use crate::node::Node;
use crate::scene::Scene;
use crate::store_kind::StoreKind;
use crate::story::name;
use crate::term::{Bound, FOREIGN};

impl Judge {
    /// A node was shown the state with this index by its watch.
    pub(crate) fn hinted(&mut self, scene: &Scene<'_>, x: usize, index: usize) {
        if index < self.named_at {
            self.watched[x].misled_at = scene.now;
        }
    }

    /// S5c: who has read that the term it knew of was given back takes the lock at once. Judged
    /// where nothing has gone wrong for a lease: after a failure the next attempt has its pace, and
    /// a read that the watch overtook decides nothing.
    pub(crate) fn given_back(&mut self, scene: &Scene<'_>, x: usize, known: Bound) {
        let node = &scene.nodes[x];
        let counts = matches!(scene.case.store, StoreKind::Observer | StoreKind::Passed);
        // An observer takes nothing.
        let Some(config) = scene.case.candidates.get(node.config) else { return };
        // Whose own it was leaves it to others for a while, or asserts it again.
        let own = self.has_won(node.lineage, known.term) || known.term == FOREIGN;
        let may = counts && !own && node.wanted && !node.leaves && config.hand_over_jitter_ms == 0;
        let since = self.disturbed_at + scene.case.longest_lease_ms() * MS;
        let undisturbed = self.faults == 0 && scene.now > since;
        if may && undisturbed && node.flight.is_none() && node.belief.is_none() {
            let term = known.term;
            self.violate(scene.now, Rule::Release, || {
                format!("{} waits though term {term} was given back", name(x))
            });
        }
    }

    /// What one node is told of the leader.
    pub(crate) fn viewed(&mut self, scene: &Scene<'_>, x: usize) {
        let node = &scene.nodes[x];
        let now = node.clock.show(scene.now);
        let View::Held(record) = node.election.view(now) else {
            let nobody = matches!(node.election.view(now), View::Nobody);
            self.watched[x].viewed = None;
            if nobody {
                self.judge_nobody(scene, x);
            }
            return;
        };
        let (nonce, token, lease) = (record.nonce, record.token, record.lease_duration);
        let watched = self.watched[x];
        let bound = match watched.viewed {
            Some((viewed, bound)) if viewed == nonce => bound,
            _ => now + Timing::wait(lease) + Duration::from_nanos(1),
        };
        let counts = scene.case.store == StoreKind::Observer;
        let fell = token > 0 && token < watched.greatest && self.calm;
        // A foreign client has no terms of ours.
        let told_of = record.holder.as_ref().and_then(|holder| holder.incarnation);
        let gone = told_of.is_some()
            && token > 0
            && self.named.0 != Some(token)
            && scene.now > self.heard_by(scene, x);
        let stale = counts && now > bound;
        let greatest = watched.greatest.max(token);
        self.watched[x] = Watched { viewed: Some((nonce, bound)), greatest, ..watched };
        if stale {
            self.violate(scene.now, Rule::View, || format!("{} is told of a dead leader", name(x)));
        }
        if gone {
            self.violate(scene.now, Rule::View, || {
                format!("{} is told of term {token} for ever", name(x))
            });
        }
        if fell {
            self.violate(scene.now, Rule::View, || {
                format!("{} is told of the older term {token}", name(x))
            });
        }
    }

    /// When a node knows what term the store names, or knows that it knows nothing: longer than any
    /// news is on its way or stays fresh.
    fn heard_by(&self, scene: &Scene<'_>, x: usize) -> Nanos {
        let node = &scene.nodes[x];
        let fresh = node.timing.lease_duration() + 3 * node.timing.request_timeout();
        let late = 2 * scene.case.longest_lease_ms() * MS;
        let since = self.named.1.max(node.running_since).max(self.watched[x].misled_at);
        since + node.real(scene.case, fresh) + late
    }

    /// Who is told that nobody leads, while somebody has led by one record for long.
    fn judge_nobody(&mut self, scene: &Scene<'_>, x: usize) {
        let Some(term) = self.named.0 else { return };
        let known = self.heard_by(scene, x);
        let leads = |node: &Node| {
            node.belief.is_some_and(|belief| belief.token == term && belief.until > scene.now)
        };
        if scene.now > known && scene.nodes.iter().any(leads) {
            self.violate(scene.now, Rule::View, || {
                format!("{} is told that nobody leads", name(x))
            });
        }
    }

    /// After the schedule.
    pub(crate) fn ends(&mut self, scene: &Scene<'_>) {
        let now = scene.now;
        let leader = scene.nodes.iter().filter_map(|node| node.belief).find(|b| b.until > now);
        let Some(belief) = leader else {
            self.violate(scene.now, Rule::Failover, || "nobody leads in the end".into());
            return;
        };
        for x in 0..scene.nodes.len() {
            let node = &scene.nodes[x];
            let looks = node.timing.lease_duration().max(node.timing.retry_period());
            let wait = node.real(scene.case, looks + 3 * node.timing.request_timeout());
            if !node.alive || belief.start + wait + 10 * MS > now {
                continue;
            }
            let told = match node.election.view(node.clock.show(now)) {
                View::Held(record) => Some(record.token),
                View::Nobody | View::Unknown => None,
            };
            // Who polls more slowly than the leader's lease runs out knows nothing in between.
            let pause = node.timing.retry_period() + longest_pause(scene.nodes);
            let slow = told.is_none() && pause > shortest_lease(scene.nodes);
            if told != Some(belief.token) && !slow {
                self.violate(scene.now, Rule::View, || {
                    format!("{} is told of {told:?} while term {} lasts", name(x), belief.token)
                });
            }
        }
    }
}

fn shortest_lease(nodes: &[Node]) -> Duration {
    nodes.iter().map(|node| node.timing.lease_duration()).min().unwrap_or_default()
}

/// The longest time between two renewals that a reader sees, without faults.
fn longest_pause(nodes: &[Node]) -> Duration {
    let pause = |node: &Node| node.timing.retry_period() + 3 * node.timing.request_timeout();
    nodes.iter().map(pause).max().unwrap_or_default()
}
