//! What the tokio driver does around the election: hand it what happens, do what it asks, wake when
//! it says.

use leasehold_core::{ErrorKind, Halt, Input, Loss, Nonce, Outcome, Record, Time, Token};

use super::World;
use crate::case::{MS, Nanos};
use crate::coverage::{Branch, Step};
use crate::draw::{Purpose, below, draw};
use crate::judge::Rule;
use crate::lanes::Style;
use crate::mutant::Mutant;
use crate::node::{Flying, incarnation};
use crate::queue::{Command, Event, Local};
use crate::store_kind::StoreKind;
use crate::story::name;

impl World<'_> {
    /// A process starts.
    pub(crate) fn start(&mut self, x: usize) {
        if self.nodes[x].alive {
            return;
        }
        self.tell(|| format!("{} starts", name(x)));
        let node = &mut self.nodes[x];
        node.alive = true;
        node.running_since = self.now;
        node.paused = 0;
        node.watch.cursor = self.store.index();
        let wanted = node.wanted;
        self.stand_watch(x, 0);
        if wanted {
            self.input(x, Input::Stand);
        } else {
            self.input(x, Input::Tick);
        }
    }

    /// Something happens to a node, now or once it runs again.
    pub(crate) fn local(&mut self, x: usize, local: Local) {
        let node = &mut self.nodes[x];
        if !node.alive {
            return;
        }
        if node.paused > 0 {
            node.inbox.push(local);
            return;
        }
        match local {
            Local::Answer(operation, input) => {
                let write = matches!(*input, Input::Wrote(_));
                let flying = node.flight.filter(|flying| {
                    flying.operation == operation && (flying.step != Step::Read) == write
                });
                if let Some(flying) = flying {
                    let style = self.cover.answered(flying.step, &input);
                    self.draw_answer(x, style);
                    let node = &mut self.nodes[x];
                    node.flight = None;
                    node.gives_up = Nanos::MAX;
                    node.count_setback(self.now, flying, &input);
                    self.tell(|| {
                        format!(
                            "{} is answered ({operation}): {}",
                            name(x),
                            crate::story::answer(&input)
                        )
                    });
                    let mut given_back = None;
                    if let Input::Read(Ok(seen)) | Input::Wrote(Ok(Outcome::Written(seen))) =
                        &*input
                    {
                        let told = self.nodes[x].told;
                        self.nodes[x].note(seen);
                        given_back = told.filter(|_| self.nodes[x].told.is_none());
                    }
                    self.answered(x, &input);
                    let replaced = matches!(
                        *input,
                        Input::Read(Err(ErrorKind::Replaced))
                            | Input::Wrote(Err(ErrorKind::Replaced))
                    );
                    self.input(x, *input);
                    if replaced {
                        self.was_told_of_another_store(x);
                    }
                    if let Some(given_back) = given_back {
                        self.judge_given_back(x, given_back);
                    }
                }
            }
            Local::Hint(watch, index) => {
                if node.watch.number == watch && node.watch.stands {
                    let observed = self.store.observe(index, self.now);
                    if index < self.named_at {
                        self.nodes[x].misled_at = self.now;
                    }
                    self.tell(|| {
                        format!("{} is pushed {}", name(x), crate::story::observed(&observed))
                    });
                    let token = observed.record().map_or(0, |record| record.token);
                    if token >= self.nodes[x].known {
                        self.nodes[x].note(&observed);
                    }
                    self.input(x, Input::Hint(observed));
                }
            }
            Local::WatchEnded(watch) => self.watch_ended(x, watch),
            Local::WatchStands(watch) => self.watch_stands(x, watch),
            Local::WorkStopped(token) => self.work_stopped(x, token),
            Local::Command(command) => self.command(x, command),
        }
    }

    /// What answers is another store: its term is over by now, and its process ends.
    fn was_told_of_another_store(&mut self, x: usize) {
        if self.nodes[x].belief.is_some_and(|belief| belief.until > self.now) {
            self.violate(Rule::Stability, || {
                format!("{} leads on although another store answers", name(x))
            });
        }
        self.exits(x);
    }

    /// Its process ends before long; whoever watches over it starts another, or has it stand again.
    fn exits(&mut self, x: usize) {
        if self.nodes[x].stands_again <= self.now {
            let at = self.now + 100 * MS;
            self.nodes[x].stands_again = at;
            self.queue.push(at, Event::Local(x, Local::Command(Command::Exit)));
        }
    }

    /// The operation in flight took too long.
    pub(crate) fn time_out(&mut self, x: usize) {
        let node = &mut self.nodes[x];
        node.gives_up = Nanos::MAX;
        let Some(Flying { operation, step, .. }) = node.flight.take() else { return };
        let write = step != Step::Read;
        node.setbacks += 1;
        self.cover.unknown += 1;
        self.cover.note(Branch::unknown(step));
        self.draw_answer(x, Style::Unknown);
        self.tell(|| format!("{} gives up operation {operation}", name(x)));
        let unavailable = ErrorKind::Unavailable;
        let input =
            if write { Input::Wrote(Err(unavailable)) } else { Input::Read(Err(unavailable)) };
        self.input(x, input);
    }

    fn command(&mut self, x: usize, command: Command) {
        let leads = self.nodes[x].belief.is_some();
        self.tell(|| format!("{} is told: {command:?}", name(x)));
        match command {
            Command::Stand => {
                self.nodes[x].leaves = false;
                self.nodes[x].wanted = true;
                self.input(x, Input::Stand);
            }
            Command::Exit if self.is_of_another_store(x) => {
                self.kill(x);
                self.start(x);
            }
            Command::Exit if self.nodes[x].election.failure().is_some() => {
                // The same process stands again.
                self.input(x, Input::Stand);
            }
            Command::Exit => {}
            Command::Withdraw => {
                self.nodes[x].wanted = false;
                self.input(x, Input::Withdraw);
                if self.case.mutant == Some(Mutant::ReleasesWithoutStop) {
                    self.input(x, Input::Drained);
                }
            }
            Command::Drain if !leads => self.command(x, Command::Withdraw),
            Command::Resign | Command::Drain => {
                self.nodes[x].leaves = command == Command::Drain;
                self.input(x, Input::Stop);
                if self.case.mutant == Some(Mutant::ReleasesBeforeStop) {
                    self.input(x, Input::Drained);
                }
                if let Some(work) = self.nodes[x].work {
                    let until = self.longest_drain(x);
                    self.stop_work(x, work.token, until);
                }
            }
        }
    }

    fn longest_drain(&self, x: usize) -> Nanos {
        self.now + self.nodes[x].real(self.case, self.nodes[x].timing.lease_duration())
    }

    /// The work of a term ends at some moment before `until`.
    fn stop_work(&mut self, x: usize, token: Token, until: Nanos) {
        let chance = draw(self.case.seed, x, token, Purpose::Work);
        let at = self.now + below(chance, until.saturating_sub(self.now));
        if let Some(work) = &mut self.nodes[x].work {
            work.stops = Some(work.stops.unwrap_or(Nanos::MAX).min(at));
        }
        self.queue.push(at, Event::Local(x, Local::WorkStopped(token)));
    }

    fn work_stopped(&mut self, x: usize, token: Token) {
        if self.nodes[x].work.is_none_or(|work| work.token != token) {
            return;
        }
        self.tell(|| format!("the work of {} in term {token} has stopped", name(x)));
        let node = &mut self.nodes[x];
        node.work = None;
        let leaves = std::mem::take(&mut node.leaves);
        self.input(x, Input::Drained);
        let node = &mut self.nodes[x];
        if node.election.releasing() {
            node.releasing = Some(node.clock.show(self.now));
        }
        if leaves {
            self.command(x, Command::Withdraw);
        }
    }

    /// Hands an input to the election and does what the driver does after every input.
    pub(crate) fn input(&mut self, x: usize, input: Input) {
        let now = self.nodes[x].clock.show(self.now);
        self.nodes[x].election.handle(now, input);
        self.settle(x, now);
        let (seed, operation) = (self.case.seed, self.nodes[x].operations);
        let action = self.nodes[x].election.poll(now, || {
            let half = |purpose| u128::from(draw(seed, x, operation, purpose));
            Nonce(half(Purpose::NonceHigh) << 64 | half(Purpose::NonceLow))
        });
        if let Some(action) = action {
            self.settle(x, now);
            self.send(x, now, action);
        }
        self.judge_view(x);
        self.schedule_wake(x, now);
    }

    fn settle(&mut self, x: usize, now: Time) {
        self.judge_belief(x);
        if let Some((token, loss)) = self.nodes[x].election.take_ended() {
            self.ended(x, token, loss);
        }
        let node = &mut self.nodes[x];
        if node.election.take_released().is_some() || !node.election.releasing() {
            node.releasing = None;
        }
        // Twice the request timeout, and once more if a Take in flight comes true meanwhile.
        let overdue = || 5 * node.timing.request_timeout() + std::time::Duration::from_nanos(2);
        if node.releasing.is_some_and(|since| now > since + overdue()) && node.paused == 0 {
            self.nodes[x].releasing = None;
            if self.now > self.nodes[x].paused_at {
                self.violate(Rule::Termination, || format!("{} releases without end", name(x)));
            }
        }
        if self.nodes[x].election.copied() {
            self.cover.copies += 1;
            self.cover.note(Branch::CopyNoticed);
            self.tell(|| format!("{} sees a copy of itself", name(x)));
            if self.is_stray_take() && !self.has_been_copied() {
                self.violate(Rule::Stability, || format!("{} sees a copy where none is", name(x)));
            }
            self.numbers += 1;
            let incarnation = incarnation(self.case.seed, x, self.numbers);
            let (lineage, at) = (self.numbers, self.now);
            let node = &mut self.nodes[x];
            node.parted = Some((std::mem::replace(&mut node.lineage, lineage), at));
            node.election.handle(now, Input::Reborn(incarnation));
            self.judge_belief(x);
        }
        if let Some(failure) = self.nodes[x].election.failure().cloned() {
            let unreadable = matches!(failure, Halt::Corrupt(_)) && self.store.was_unreadable();
            if unreadable {
                self.cover.note(Branch::Corrupt);
                self.exits(x);
                return;
            }
            if failure == Halt::Replaced && self.is_of_another_store(x) {
                return;
            }
            self.violate(Rule::Failure, || format!("{} stops for good: {failure:?}", name(x)));
        }
    }

    fn ended(&mut self, x: usize, token: Token, loss: Loss) {
        self.tell(|| format!("the term {token} of {} ended: {loss:?}", name(x)));
        self.cover.note(Branch::lost(loss));
        if loss == Loss::Superseded {
            let stored = self.store.state();
            let own = self.nodes[x].election.incarnation();
            let is_ours = stored.record.as_ref().is_some_and(|record| {
                record.token == token
                    && record.holder.as_ref().is_some_and(|h| h.incarnation == Some(own))
            });
            // What a copy wrote, or an old assertion that came true late, looks like somebody
            // else's.
            let wrote = stored.writer.is_some_and(|writer| writer.node == x) && !stored.late;
            let failed = self.nodes[x].election.failure().is_some();
            // It may have read another, before an administrator put its own back.
            let nonce = |record: &Record| record.nonce;
            let seen = self.nodes[x].election.observed().and_then(|seen| seen.record());
            // Or it was told of a later term before.
            let knows_better = self.nodes[x].known > token;
            let read = seen.map(nonce) == stored.record.as_ref().map(nonce) && !knows_better
                || !stored.put_back;
            if is_ours && wrote && read && !failed && self.case.store != StoreKind::Forgets {
                self.violate(Rule::Stability, || format!("{} gives up its own term", name(x)));
            }
        }
        let node = &self.nodes[x];
        // P + 3T <= D: one lost reply costs a renewal, a read and a renewal.
        let fits = node.timing.retry_period() >= node.timing.request_timeout();
        let refused = node.was_refused_of_late(self.case, self.now);
        if loss == Loss::Expired && node.setbacks <= u32::from(fits) && !refused {
            self.violate(Rule::Stability, || format!("{} asks again too late", name(x)));
        }
        if self.bound {
            self.violate(Rule::Stability, || format!("{} loses term {token} ({loss:?})", name(x)));
        }
        let Some(work) = self.nodes[x].work.filter(|work| work.token == token) else {
            return;
        };
        let known = draw(self.case.seed, x, token, Purpose::Resume) & 1 == 0;
        match loss {
            Loss::Resigned => {}
            Loss::Superseded | Loss::Replaced => self.stop_work(x, token, self.now),
            Loss::Dropped if !known => {
                // Dropped, and nobody will ever say whether it stopped: it runs until it is killed.
            }
            _ => self.stop_work(x, token, work.killed),
        }
    }

    fn schedule_wake(&mut self, x: usize, now: Time) {
        let node = &mut self.nodes[x];
        let next = node.election.next_deadline(now);
        if next <= now && node.flight.is_none() {
            self.violate(Rule::Spinning, || format!("{} wants to wake at once", name(x)));
            return;
        }
        if next <= now {
            (node.wakes, node.wakes_at) = (Nanos::MAX, Time::NEVER);
        } else if next != node.wakes_at {
            (node.wakes, node.wakes_at) = (node.clock.when(next), next);
        }
    }
}
