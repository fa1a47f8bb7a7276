//! Watches: what they deliver, late, twice or not at all.

use leasehold_core::{Input, Observed};

use super::World;
use crate::case::{Kind, MS, Nanos, US};
use crate::draw::{Purpose, below, draw};
use crate::queue::{Event, Local};
use crate::store_kind::PushKind;
use crate::story::name;

impl World<'_> {
    /// The store has a new state: tells every watch.
    pub(crate) fn changed(&mut self) {
        let state = self.store.index();
        if self.story.is_some() {
            let observed = self.store.observe(state, self.now);
            self.tell(|| format!("stored: {}", crate::story::observed(&observed)));
        }
        if self.case.push == PushKind::None {
            return;
        }
        for x in 0..self.nodes.len() {
            if self.nodes[x].alive && self.nodes[x].watch.stands {
                self.emit(x, state);
            }
        }
    }

    fn emit(&mut self, x: usize, state: usize) {
        let silent =
            self.strength(Kind::WatchSilent, x) > 0 || self.strength(Kind::Partition, x) > 0;
        self.nodes[x].watch.dead |= silent;
        if self.nodes[x].watch.dead || self.is_of_another_store(x) {
            return;
        }
        let chance = draw(self.case.seed, x, state as u64, Purpose::Watch);
        if below(chance, 100) < self.strength(Kind::WatchLoss, x) {
            return;
        }
        let late = self.strength(Kind::WatchLate, x) * self.longest_lease / 100;
        let delay = 50 * US + below(chance.rotate_left(9), self.case.latency_us * US + late);
        let watch = &mut self.nodes[x].watch;
        watch.cursor = state;
        watch.delivered = (watch.delivered + 1).max(self.now + delay);
        let (at, number) = (watch.delivered, watch.number);
        self.queue.push(at, Event::Local(x, Local::Hint(number, state)));
    }

    /// Opens a new watch after `wait`.
    pub(crate) fn stand_watch(&mut self, x: usize, wait: Nanos) {
        if self.case.push == PushKind::None {
            return;
        }
        self.numbers += 1;
        let number = self.numbers;
        self.nodes[x].watch.number = number;
        let chance = draw(self.case.seed, x, number, Purpose::Watch);
        let at = self.now + wait + 100 * US + below(chance, 2 * self.case.latency_us * US);
        self.queue.push(at, Event::Local(x, Local::WatchStands(number)));
    }

    /// The watch ends with an error; the driver opens another.
    pub(crate) fn break_watch(&mut self, x: usize) {
        let watch = &self.nodes[x].watch;
        if watch.stands {
            let number = watch.number;
            self.local(x, Local::WatchEnded(number));
        }
    }

    pub(crate) fn watch_ended(&mut self, x: usize, number: u64) {
        let watch = &mut self.nodes[x].watch;
        if watch.number != number || !watch.stands {
            return;
        }
        watch.stands = false;
        watch.dead = false;
        self.tell(|| format!("the watch of {} ends", name(x)));
        self.stand_watch(x, 0);
        self.input(x, Input::Push(false));
    }

    pub(crate) fn watch_stands(&mut self, x: usize, number: u64) {
        if self.nodes[x].watch.number != number {
            return;
        }
        if self.strength(Kind::Partition, x) > 0 || self.stalled_until > self.now {
            self.stand_watch(x, 50 * MS);
            return;
        }
        if self.is_of_another_store(x) {
            self.tell(|| format!("the watch of {} finds another store", name(x)));
            let period = self.nodes[x].timing.retry_period();
            let wait = self.nodes[x].real(self.case, period);
            self.stand_watch(x, wait);
            self.input(x, Input::Look);
            return;
        }
        self.tell(|| format!("the watch of {} stands", name(x)));
        let watch = &mut self.nodes[x].watch;
        watch.stands = true;
        watch.delivered = self.now;
        let (from, last) = (watch.cursor + 1, self.store.index());
        self.input(x, Input::Push(true));
        match self.case.push {
            PushKind::Resumable => (from..=last).for_each(|state| self.emit(x, state)),
            _ => self.emit(x, last),
        }
    }

    /// A read that shows what the watch missed makes the driver open the watch anew.
    pub(crate) fn answered(&mut self, x: usize, input: &Input) {
        let node = &self.nodes[x];
        let Input::Read(Ok(observed)) = input else { return };
        let moved = node
            .election
            .observed()
            .is_some_and(|last: &Observed| last.version != observed.version);
        if moved && node.watch.dead && node.watch.stands {
            let number = node.watch.number;
            self.queue.push(self.now, Event::Local(x, Local::WatchEnded(number)));
        }
    }
}
