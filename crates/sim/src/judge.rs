//! What must hold after every event.

use std::time::Duration;

use leasehold_core::{Change, Incarnation, Intent, Token, View};

use crate::case::{MS, Nanos};
use crate::excuse::{Of, Side};
use crate::node::{Belief, Node, Work};
use crate::queue::Request;
use crate::store::Replaced;
use crate::store_kind::{Floor, StoreKind};
use crate::story::name;
use crate::term::{Bound, FOREIGN};
use crate::world::World;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in real time.
    pub at: Nanos,
    /// What was seen.
    pub what: String,
}

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// S1: two candidates believe at once.
    Belief,
    /// S9: the works of two terms run at once.
    Work,
    /// S3: tokens grow in store order.
    Token,
    /// S4: only who won a term extends it.
    Extension,
    /// S5: a release is of one's own term, after its work, and frees the lock.
    Release,
    /// S6: what ended stays ended.
    Resurrection,
    /// S7: what observers are told.
    View,
    /// L1: somebody leads in time.
    Failover,
    /// L2: a release is settled in time.
    Termination,
    /// L3, L5: a term ends for a reason.
    Stability,
    /// No hot loop.
    Spinning,
    /// Contending stops for a reason.
    Failure,
    /// What cannot be parsed stays.
    Overwritten,
}

/// What a release's and a renewal's sender has won.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Won {
    token: Token,
    lineage: u64,
}

impl World<'_> {
    pub(crate) fn violate(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let violation = Violation { rule, at: self.now, what: what() };
            self.tell(|| format!("VIOLATION {:?}: {}", violation.rule, violation.what));
            self.violation = Some(violation);
        }
    }

    /// Compares what a node believes with what it believed, and with everybody else.
    pub(crate) fn judge_belief(&mut self, x: usize) {
        let now = self.now;
        let node = &self.nodes[x];
        let leads = node.election.leadership(node.clock.show(now));
        let before = node.belief;
        let Some(leadership) = leads else {
            if let Some(belief) = before {
                self.nodes[x].over.push(belief.token);
                self.nodes[x].belief = None;
                self.tell(|| format!("{} no longer believes in term {}", name(x), belief.token));
            }
            return;
        };
        let (token, deadline) = (leadership.token, leadership.until);
        let real = |world: &Self| {
            let clock = &world.nodes[x].clock;
            (clock.when(deadline), clock.when(leadership.kill_at))
        };
        match before {
            Some(belief) if belief.token == token => {
                if now >= belief.until {
                    self.violate(Rule::Resurrection, || {
                        format!("{} believes in term {token} again", name(x))
                    });
                }
                if belief.deadline == deadline {
                    // Where nothing is excused, overlaps begin with a belief that begins or goes
                    // on.
                    if !self.excuses.is_empty() {
                        self.judge_overlap(x);
                    }
                    return;
                }
                let (until, killed) = real(self);
                self.nodes[x].belief = Some(Belief { until, deadline, ..belief });
                if let Some(work) = &mut self.nodes[x].work {
                    work.killed = work.killed.max(killed);
                }
            }
            _ => {
                let (until, killed) = real(self);
                self.begin_term(x, Belief { token, start: now, until, deadline }, killed);
            }
        }
        self.judge_overlap(x);
    }

    fn begin_term(&mut self, x: usize, belief: Belief, killed: Nanos) {
        let (now, token) = (self.now, belief.token);
        self.tell(|| format!("{} LEADS with token {token}", name(x)));
        self.cover.terms += 1;
        self.led |= self.quiet;
        let node = &mut self.nodes[x];
        if let Some(last) = node.belief {
            node.over.push(last.token);
        }
        let again = node.over.contains(&token);
        let own_work = node.work.filter(|work| work.end() > now);
        node.belief = Some(belief);
        node.work = Some(Work { token, killed, stops: None });
        if again {
            self.violate(Rule::Resurrection, || {
                format!("{} leads term {token} once more", name(x))
            });
        }
        if let Some(work) = own_work
            && !self.excuses([Side::of(x, token), Side::of(x, work.token)], Of::Work)
        {
            self.violate(Rule::Work, || format!("{} begins while its last work runs", name(x)));
        }
        for y in 0..self.nodes.len() {
            let Some(work) = self.nodes[y].work.filter(|work| y != x && work.end() > now) else {
                continue;
            };
            if !self.excuses([Side::of(x, token), Side::of(y, work.token)], Of::Work) {
                self.violate(Rule::Work, || {
                    format!("{} begins term {token} while the work of {} runs", name(x), name(y))
                });
            }
        }
    }

    /// Nobody else believes now.
    pub(crate) fn judge_overlap(&mut self, x: usize) {
        let now = self.now;
        let Some(own) = self.nodes[x].belief else { return };
        for y in 0..self.nodes.len() {
            let other = self.nodes[y].belief.filter(|belief| y != x && belief.until > now);
            let Some(other) = other else { continue };
            if !self.excuses([Side::of(x, own.token), Side::of(y, other.token)], Of::Belief) {
                self.violate(Rule::Belief, || {
                    format!("{} and {} believe at once", name(x), name(y))
                });
            }
        }
        if self.foreign.until > now
            && !self.excuses([Side::of(x, own.token), Side::FOREIGN], Of::Belief)
        {
            self.violate(Rule::Belief, || {
                format!("{} and the foreign client believe at once", name(x))
            });
        }
    }

    /// The foreign client believes from now on.
    pub(crate) fn judge_foreign(&mut self) {
        for x in 0..self.nodes.len() {
            if self.nodes[x].belief.is_some_and(|belief| belief.until > self.now) {
                self.judge_overlap(x);
            }
        }
    }

    /// What a write did to the store.
    pub(crate) fn judge_write(&mut self, request: &Request, change: &Change, old: &Replaced) {
        let lineage = request.lineage;
        let new = self.store.state().record.as_ref();
        let token = new.map_or(change.record.token, |record| record.token);
        if old.unreadable {
            self.violate(Rule::Overwritten, || "what cannot be parsed is overwritten".into());
        }
        match change.intent {
            Intent::Take => {
                // Where nothing is known of the past, everybody goes by what it was told itself.
                let greatest = match self.case.floor {
                    Floor::None => request.known,
                    _ => self.greatest,
                };
                // Where a version comes back with what was stored, the same Take may come true over
                // it once more.
                let again = self.case.floor == Floor::None && self.has_won(lineage, token);
                if token <= greatest && !again {
                    self.violate(Rule::Token, || format!("a Take of {token} after {greatest}"));
                }
                self.greatest = self.greatest.max(token);
                self.won.push(Won { token, lineage });
            }
            Intent::Renew => self.judge_renewal(request, change.record.token, old),
            Intent::Release => {
                let own = old.held && self.has_won(lineage, old.token);
                if !own || old.foreign {
                    self.violate(Rule::Release, || "a release of what is not the sender's".into());
                }
            }
            Intent::Revoke => {
                let ended = old.held && self.store.state().record.is_none();
                if ended && old.nonce != Some(change.record.nonce) {
                    self.violate(Rule::Release, || "a revocation of another Take".into());
                }
            }
            Intent::Adopt => {}
        }
    }

    fn judge_renewal(&mut self, request: &Request, token: Token, old: &Replaced) {
        if !self.has_won(request.lineage, token) && self.case.store != StoreKind::Server {
            self.violate(Rule::Extension, || format!("a renewal of somebody else's term {token}"));
        }
        if old.token > token || old.foreign {
            self.violate(Rule::Extension, || format!("term {token} renewed over another leader"));
        }
        let copies = old.writer.filter(|writer| self.is_strange(request.node, *writer));
        // Over what a forgetful store may have gone back to, and over an earlier term that was
        // asserted again after a deletion, a leader asserts itself whoever wrote it.
        let stores = matches!(self.case.store, StoreKind::Observer | StoreKind::Passed);
        if old.same_holder && copies.is_some() && stores && old.token == token {
            self.violate(Rule::Extension, || format!("a copy renews term {token} over another's"));
        }
    }

    pub(crate) fn has_won(&self, lineage: u64, token: Token) -> bool {
        self.won.iter().any(|won| won.token == token && won.lineage == lineage)
    }

    /// S5c: who has read that the term it knew of was given back takes the lock at once. Judged
    /// where nothing has gone wrong for a lease: after a failure the next attempt has its pace, and
    /// a read that the watch overtook decides nothing.
    pub(crate) fn judge_given_back(&mut self, x: usize, known: Bound) {
        let node = &self.nodes[x];
        let counts = matches!(self.case.store, StoreKind::Observer | StoreKind::Passed);
        // An observer takes nothing.
        let Some(config) = self.case.candidates.get(node.config) else { return };
        // Whose own it was leaves it to others for a while, or asserts it again.
        let own = self.has_won(node.lineage, known.term) || known.term == FOREIGN;
        let may = counts && !own && node.wanted && !node.leaves && config.hand_over_jitter_ms == 0;
        let since = self.disturbed_at + self.case.longest_lease_ms() * MS;
        let undisturbed = self.active.is_empty() && self.now > since;
        if may && undisturbed && node.flight.is_none() && node.belief.is_none() {
            let term = known.term;
            self.violate(Rule::Release, || {
                format!("{} waits though term {term} was given back", name(x))
            });
        }
    }

    /// What one node is told of the leader.
    pub(crate) fn judge_view(&mut self, x: usize) {
        let node = &self.nodes[x];
        let now = node.clock.show(self.now);
        let View::Held(record) = node.election.view(now) else {
            let nobody = matches!(node.election.view(now), View::Nobody);
            self.nodes[x].viewed = None;
            if nobody {
                self.judge_nobody(x);
            }
            return;
        };
        let (nonce, token, lease) = (record.nonce, record.token, record.lease_duration);
        let bound = match node.viewed {
            Some((viewed, bound)) if viewed == nonce => bound,
            _ => now + leasehold_core::Timing::wait(lease) + Duration::from_nanos(1),
        };
        let counts = self.case.store == StoreKind::Observer;
        let fell = token > 0 && token < node.greatest && self.calm;
        // A foreign client and whoever a store may have forgotten have no terms of ours.
        let told_of = record.holder.as_ref().and_then(|holder| holder.incarnation);
        let is_ours = told_of.is_some_and(|incarnation| incarnation != Incarnation(0));
        let gone =
            is_ours && token > 0 && self.named.0 != Some(token) && self.now > self.heard_by(x);
        let stale = counts && now > bound;
        let node = &mut self.nodes[x];
        node.viewed = Some((nonce, bound));
        node.greatest = node.greatest.max(token);
        if stale {
            self.violate(Rule::View, || format!("{} is told of a dead leader", name(x)));
        }
        if gone {
            self.violate(Rule::View, || format!("{} is told of term {token} for ever", name(x)));
        }
        if fell {
            self.violate(Rule::View, || format!("{} is told of the older term {token}", name(x)));
        }
    }

    /// When a node knows what term the store names, or knows that it knows nothing: longer than any
    /// news is on its way or stays fresh.
    fn heard_by(&self, x: usize) -> Nanos {
        let node = &self.nodes[x];
        let fresh = node.timing.lease_duration() + 3 * node.timing.request_timeout();
        let late = 2 * self.case.longest_lease_ms() * MS;
        let since = self.named.1.max(node.running_since).max(node.misled_at);
        since + node.real(self.case, fresh) + late
    }

    /// Who is told that nobody leads, while somebody has led by one record for long.
    fn judge_nobody(&mut self, x: usize) {
        let Some(term) = self.named.0 else { return };
        let known = self.heard_by(x);
        let leads = |node: &Node| {
            node.belief.is_some_and(|belief| belief.token == term && belief.until > self.now)
        };
        if self.now > known && self.nodes.iter().any(leads) {
            self.violate(Rule::View, || format!("{} is told that nobody leads", name(x)));
        }
    }

    fn shortest_lease(&self) -> Duration {
        let leases = self.nodes.iter().map(|node| node.timing.lease_duration());
        leases.min().unwrap_or_default()
    }

    /// The longest time between two renewals that a reader sees, without faults.
    fn longest_pause(&self) -> Duration {
        let pause = |node: &crate::node::Node| {
            node.timing.retry_period() + 3 * node.timing.request_timeout()
        };
        self.nodes.iter().map(pause).max().unwrap_or_default()
    }

    /// After the schedule.
    pub(crate) fn judge_end(&mut self) {
        let now = self.now;
        let leader = self.nodes.iter().filter_map(|node| node.belief).find(|b| b.until > now);
        let Some(belief) = leader else {
            self.violate(Rule::Failover, || "nobody leads in the end".into());
            return;
        };
        for x in 0..self.nodes.len() {
            let node = &self.nodes[x];
            let looks = node.timing.lease_duration().max(node.timing.retry_period());
            let wait = node.real(self.case, looks + 3 * node.timing.request_timeout());
            if !node.alive || belief.start + wait + 10 * MS > now {
                continue;
            }
            let told = match node.election.view(node.clock.show(now)) {
                View::Held(record) => Some(record.token),
                View::Nobody | View::Unknown => None,
            };
            // Who polls more slowly than the leader's lease runs out knows nothing in between.
            let pause = node.timing.retry_period() + self.longest_pause();
            let slow = told.is_none() && pause > self.shortest_lease();
            if told != Some(belief.token) && !slow {
                self.violate(Rule::View, || {
                    format!("{} is told of {told:?} while term {} lasts", name(x), belief.token)
                });
            }
        }
    }
}
