//! What the tokio driver does around the election: hand it what happens, do what it asks, wake when
//! it says.

use leasehold_core::{ErrorKind, Halt, Input, Loss, Nonce, Outcome, Time, Token};

use super::World;
use crate::case::{MS, Nanos};
use crate::coverage::{Branch, Step};
use crate::draw::{Purpose, below, draw};
use crate::lanes::Style;
use crate::mutant::Mutant;
use crate::node::{Belief, Flying, Work, incarnation};
use crate::queue::{Command, Event, Local};
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
                        self.report(|judge, scene| judge.given_back(scene, x, given_back));
                    }
                }
            }
            Local::Hint(watch, index) => {
                if node.watch.number == watch && node.watch.stands {
                    let observed = self.store.observe(index, self.now);
                    self.report(|judge, scene| judge.hinted(scene, x, index));
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
        self.report(|judge, scene| judge.told_of_another_store(scene, x));
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
        self.report(|judge, scene| judge.viewed(scene, x));
        self.schedule_wake(x, now);
    }

    fn settle(&mut self, x: usize, now: Time) {
        self.believe(x);
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
            self.report(|judge, scene| judge.releases_too_long(scene, x));
        }
        if self.nodes[x].election.copied() {
            self.cover.copies += 1;
            self.cover.note(Branch::CopyNoticed);
            self.tell(|| format!("{} sees a copy of itself", name(x)));
            self.report(|judge, scene| judge.saw_copy(scene, x));
            self.numbers += 1;
            let incarnation = incarnation(self.case.seed, x, self.numbers);
            let (lineage, at) = (self.numbers, self.now);
            let node = &mut self.nodes[x];
            node.parted = Some((std::mem::replace(&mut node.lineage, lineage), at));
            node.election.handle(now, Input::Reborn(incarnation));
            self.believe(x);
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
            self.report(|judge, scene| judge.stops(scene, x, &failure));
        }
    }

    /// Notes what a node believes now, and reports it.
    fn believe(&mut self, x: usize) {
        let now = self.now;
        let node = &mut self.nodes[x];
        let before = node.belief;
        let Some(leadership) = node.election.leadership(node.clock.show(now)) else {
            if let Some(belief) = before {
                node.over.push(belief.token);
                node.belief = None;
                self.tell(|| format!("{} no longer believes in term {}", name(x), belief.token));
            }
            return;
        };
        let (token, deadline) = (leadership.token, leadership.until);
        if let Some(belief) = before.filter(|belief| belief.token == token) {
            if belief.deadline != deadline {
                let killed = node.clock.when(leadership.kill_at);
                node.belief = Some(Belief { until: node.clock.when(deadline), deadline, ..belief });
                if let Some(work) = &mut node.work {
                    work.killed = work.killed.max(killed);
                }
            }
            self.report(|judge, scene| judge.believes_on(scene, x, belief));
            return;
        }
        let last = node.work;
        node.over.extend(before.map(|belief| belief.token));
        let (until, killed) = (node.clock.when(deadline), node.clock.when(leadership.kill_at));
        node.belief = Some(Belief { token, start: now, until, deadline });
        node.work = Some(Work { token, killed, stops: None });
        self.cover.terms += 1;
        self.tell(|| format!("{} LEADS with token {token}", name(x)));
        self.report(|judge, scene| judge.begins_term(scene, x, last));
    }

    fn ended(&mut self, x: usize, token: Token, loss: Loss) {
        self.tell(|| format!("the term {token} of {} ended: {loss:?}", name(x)));
        self.cover.note(Branch::lost(loss));
        self.report(|judge, scene| judge.ended(scene, x, token, loss));
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
            self.report(|judge, scene| judge.spins(scene, x));
            return;
        }
        if next <= now {
            (node.wakes, node.wakes_at) = (Nanos::MAX, Time::NEVER);
        } else if next != node.wakes_at {
            (node.wakes, node.wakes_at) = (node.clock.when(next), next);
        }
    }
}
