//! The way of a request to the store and of its answer back.

use std::time::Duration;

use leasehold_core::{Action, Change, ErrorKind, Input, Intent, Outcome, Time, Wall};

use super::World;
use crate::case::{Kind, MS, Nanos, US};
use crate::coverage::{Branch, Step};
use crate::draw::{Purpose, below, draw};
use crate::judge::Wrote;
use crate::mutant::Mutant;
use crate::node::Flying;
use crate::queue::{Event, Local, Request};
use crate::store::{Replaced, Writer};
use crate::store_kind::StoreKind;
use crate::story::{self, name};
use crate::term::Bound;

impl World<'_> {
    fn chance(&self, x: usize, operation: u64, purpose: Purpose) -> u64 {
        draw(self.case.seed, x, operation, purpose)
    }

    fn leg(&self, x: usize, operation: u64, purpose: Purpose) -> Nanos {
        50 * US + below(self.chance(x, operation, purpose), self.case.latency_us * US)
    }

    /// How strong this kind of fault is for a node now; 0 if it is not there.
    pub(crate) fn strength(&self, kind: Kind, x: usize) -> u64 {
        u64::from(self.nodes[x].strengths[kind as usize])
    }

    /// A fault at this node has begun or ended.
    pub(crate) fn count_faults(&mut self, x: usize) {
        let mut strengths = [0; Kind::ALL.len()];
        for index in &self.active {
            let fault = &self.case.faults[*index];
            if self.targets[*index] != x && !fault.is_for_all() {
                continue;
            }
            let known = &mut strengths[fault.kind as usize];
            *known = u8::try_from(fault.strength).unwrap_or(u8::MAX).max(*known);
        }
        self.nodes[x].strengths = strengths;
    }

    fn hits(&self, kind: Kind, x: usize, operation: u64, purpose: Purpose) -> bool {
        let strength = self.strength(kind, x);
        strength > 0 && below(self.chance(x, operation, purpose), 100) < strength
    }

    /// Sends what the election asks for.
    pub(crate) fn send(&mut self, x: usize, now: Time, mut action: Action) {
        let operation = self.nodes[x].operations;
        let node = &mut self.nodes[x];
        node.operations += 1;
        node.flight = Some(Flying { operation, step: Step::of(&action), sent: self.now });
        let timeout = node.clock.when(now + node.timing.request_timeout());
        node.gives_up = timeout;
        if let Action::Write { change, .. } = &mut action {
            change.record.renewed = Wall(now.0 / MS);
        }
        self.tell(|| format!("{} asks ({operation}): {}", name(x), story::action(&action)));
        self.draw_request(x, Step::of(&action));
        self.report(|judge, scene| judge.sent(scene, x, now, &action));
        let lost = self.strength(Kind::Partition, x) > 0
            || self.hits(Kind::LostRequests, x, operation, Purpose::LostRequest);
        let lost_answer = self.hits(Kind::LostAnswers, x, operation, Purpose::LostAnswer);
        let refused = self.refusal(x, operation, &action);
        let (out, back) = self.legs(x, operation);
        let mut request = Box::new(Request {
            node: x,
            lineage: self.nodes[x].lineage,
            operation,
            action,
            answer: (!lost_answer).then_some(back),
            hold: 0,
            told: self.nodes[x].told,
            known: self.nodes[x].known,
            errs: false,
        });
        match refused {
            Some((false, input)) => {
                let at = self.now + out;
                self.queue.push(at, Event::Local(x, Local::Answer(operation, Box::new(input))));
                return;
            }
            Some((true, _)) => request.errs = true,
            None => {}
        }
        self.dispatch(request, out, lost);
    }

    fn dispatch(&mut self, mut request: Box<Request>, out: Nanos, lost: bool) {
        let (x, operation) = (request.node, request.operation);
        let lease = self.longest_lease;
        if self.hits(Kind::Duplicates, x, operation, Purpose::Duplicate) {
            let chance = self.chance(x, operation, Purpose::Duplicate);
            let mut again = request.clone();
            again.answer = None;
            let late = below(chance.rotate_left(17), 2 * lease);
            self.queue.push(self.now + out + late, Event::Arrive(again));
        }
        if lost {
            self.tell(|| format!("request {operation} of {} is lost", name(x)));
            return;
        }
        let mut at = self.now + out;
        if self.hits(Kind::Zombies, x, operation, Purpose::Held) {
            let chance = self.chance(x, operation, Purpose::Held);
            let held = below(chance.rotate_left(17), 2 * lease);
            let take = is(&request.action, Intent::Take);
            if take && self.case.store == StoreKind::Server && chance & 1 == 0 {
                request.hold = held;
            } else {
                at += held;
            }
        }
        self.queue.push(at, Event::Arrive(request));
    }

    fn legs(&self, x: usize, operation: u64) -> (Nanos, Nanos) {
        let mut out = self.leg(x, operation, Purpose::Request);
        let mut back = self.leg(x, operation, Purpose::Answer);
        // Up to twice the request timeout: on both sides of it.
        let most = 2 * self.longest_timeout;
        let late = self.strength(Kind::LateRequests, x);
        if late > 0 {
            out += below(self.chance(x, operation, Purpose::LateRequest), most * late / 100);
        }
        let late = self.strength(Kind::LateAnswers, x);
        if late > 0 {
            back += below(self.chance(x, operation, Purpose::LateAnswer), most * late / 100);
        }
        (out, back)
    }

    /// Whether the store answers with an error, and whether it did what was asked all the same.
    fn refusal(&self, x: usize, operation: u64, action: &Action) -> Option<(bool, Input)> {
        if let Some(kind) = self.refused(x, operation, action) {
            return Some((false, failed(action, kind)));
        }
        let throttled = self.hits(Kind::Throttling, x, operation, Purpose::Refused);
        if !throttled && !self.hits(Kind::Refusals, x, operation, Purpose::Refused) {
            return None;
        }
        let chance = self.chance(x, operation, Purpose::Refused).rotate_left(23);
        let retry_after = (chance & 1 == 0).then(|| Duration::from_millis(below(chance, 3000)));
        let kind = match throttled {
            true => ErrorKind::Throttled { retry_after },
            false if chance & 6 == 6 => ErrorKind::Denied,
            false => ErrorKind::Unavailable,
        };
        // Denied before the first successful read ends the candidacy, as it should.
        let kind = if kind == ErrorKind::Denied && self.nodes[x].election.observed().is_none() {
            ErrorKind::Unavailable
        } else {
            kind
        };
        Some((!throttled && chance & 8 == 8, failed(action, kind)))
    }

    /// How a request is refused for as long as a [`Kind::Refused`] lasts.
    fn refused(&self, x: usize, operation: u64, action: &Action) -> Option<ErrorKind> {
        let strength = self.strength(Kind::Refused, x);
        if strength == 0 || strength < 60 && *action == Action::Read {
            return None;
        }
        // Before the first successful read it ends the candidacy, as it should.
        if self.nodes[x].election.observed().is_none() {
            return Some(ErrorKind::Unavailable);
        }
        let chance = self.chance(x, operation, Purpose::Refusal);
        Some(if below(chance, 2) == 0 { ErrorKind::Denied } else { ErrorKind::Invalid })
    }

    /// Whether another store answers than the one that this node's process knows.
    pub(crate) fn is_of_another_store(&self, x: usize) -> bool {
        self.nodes[x].knows.is_some_and(|knows| knows != self.generation)
    }

    /// A request reaches the store.
    pub(crate) fn arrive(&mut self, request: Box<Request>) {
        if self.stalled_until > self.now {
            self.queue.push(self.stalled_until, Event::Arrive(request));
            return;
        }
        if let Action::Write { change, .. } = &request.action
            && self.case.store == StoreKind::Server
            && change.intent == Intent::Take
        {
            let length =
                u64::try_from(change.record.lease_duration.as_nanos()).unwrap_or(Nanos::MAX);
            let nonce = change.record.nonce;
            let waits = self.waits(&request);
            let back = request.answer.unwrap_or(100 * US);
            self.store.grant(self.now, nonce, length);
            // Who gave up meanwhile does not send the second half, nor who hears another store.
            if waits && self.is_of_another_store(request.node) {
                let at = self.now + back;
                let input = Box::new(failed(&request.action, ErrorKind::Replaced));
                let answer = Local::Answer(request.operation, input);
                self.queue.push(at, Event::Local(request.node, answer));
            } else if waits {
                let at = self.now + back + request.hold + 50 * US;
                self.queue.push(at, Event::Commit(request));
            }
            return;
        }
        self.commit(request);
    }

    fn waits(&self, request: &Request) -> bool {
        self.nodes[request.node].flight.is_some_and(|flying| flying.operation == request.operation)
    }

    /// The store does what a request asks, and answers.
    pub(crate) fn commit(&mut self, request: Box<Request>) {
        if self.stalled_until > self.now {
            self.queue.push(self.stalled_until, Event::Commit(request));
            return;
        }
        let input = match &request.action {
            Action::Read => Input::Read(Ok(self.store.observe(self.store.index(), self.now))),
            Action::Write { expected, change } => {
                let index = self.store.index();
                let old = Replaced::by(change, self.store.state());
                let named = self.store.named();
                let outcome = self.store.write(self.now, expected, change);
                if let Outcome::Written(_) = outcome {
                    self.applied(&request, change, &old, named);
                } else {
                    self.cover.conflicts += 1;
                    self.tell(|| {
                        format!("conflict for {} ({})", name(request.node), request.operation)
                    });
                }
                if self.store.index() != index {
                    self.changed();
                }
                Input::Wrote(Ok(outcome))
            }
        };
        let input =
            if request.errs { failed(&request.action, ErrorKind::Unavailable) } else { input };
        if self.is_stale_keep_alive(&request) {
            return;
        }
        // What came true in another store came true there; who sent it learns only that it is
        // another.
        let replaced = self.is_of_another_store(request.node);
        let input = if replaced { failed(&request.action, ErrorKind::Replaced) } else { input };
        if let Some(back) = request.answer {
            if !request.errs && self.waits(&request) {
                self.nodes[request.node].knows.get_or_insert(self.generation);
            }
            let answer = Local::Answer(request.operation, Box::new(input));
            self.queue.push(self.now + back, Event::Local(request.node, answer));
        }
    }

    /// A mutant: an answer that comes too late is taken for that of the renewal that is in flight
    /// then.
    fn is_stale_keep_alive(&mut self, request: &Request) -> bool {
        let renews = is(&request.action, Intent::Renew);
        let (Some(Mutant::StaleKeepAlive), true, Some(back)) =
            (self.case.mutant, renews, request.answer)
        else {
            return false;
        };
        let x = request.node;
        let node = &self.nodes[x];
        let late = node.real(self.case, node.timing.request_timeout());
        if back < late {
            return false;
        }
        let Action::Write { expected, .. } = &request.action else { return false };
        let observed = self.store.observe(self.store.index(), self.now);
        if observed.version == *expected {
            // Counted for whatever the sender asks two operations later (renew, read, renew).
            let input = Input::Wrote(Ok(Outcome::Written(observed)));
            for later in 1..4 {
                let answer = Local::Answer(request.operation + later, Box::new(input.clone()));
                self.queue.push(self.now + back, Event::Local(x, answer));
            }
        }
        true
    }

    fn applied(
        &mut self,
        request: &Request,
        change: &Change,
        old: &Replaced,
        named: Option<Bound>,
    ) {
        let x = request.node;
        self.tell(|| {
            format!("applied: {:?} of {} ({})", change.intent, name(x), request.operation)
        });
        let late = !self.waits(request);
        if late {
            self.cover.zombies += 1;
            self.cover.note(Branch::late(Step::of(&request.action)));
        }
        if change.intent == Intent::Renew && old.same_holder && old.put_back {
            self.cover.note(Branch::PutBack);
        }
        match change.intent {
            Intent::Adopt => self.cover.adopted += 1,
            Intent::Release => self.cover.released += 1,
            Intent::Renew if !old.same_holder => {
                self.cover.reasserted += 1;
                self.cover.note(Branch::Reasserted);
            }
            Intent::Renew | Intent::Take | Intent::Revoke => {}
        }
        let (node, operation) = (request.node, request.operation);
        let renews = change.intent == Intent::Renew;
        self.store.mark(|state| state.writer = Some(Writer { node, operation, renews }));
        let brings_old_life = renews && late && old.absent && self.store.named().is_some();
        if brings_old_life {
            self.store.mark(|state| state.late = true);
        }
        let wrote = Wrote { request, change, old, named, brings_old_life };
        self.report(|judge, scene| judge.wrote(scene, wrote));
    }
}

fn failed(action: &Action, kind: ErrorKind) -> Input {
    match action {
        Action::Read => Input::Read(Err(kind)),
        Action::Write { .. } => Input::Wrote(Err(kind)),
    }
}

fn is(action: &Action, intent: Intent) -> bool {
    matches!(action, Action::Write { change, .. } if change.intent == intent)
}
