//! What is to happen, in order of time, and of insertion where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use leasehold_core::{Action, Input, Token};

use crate::case::Nanos;

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Who sent it.
    pub node: usize,
    /// The sender's process.
    pub lineage: u64,
    /// Which of its operations.
    pub operation: u64,
    /// What it asks.
    pub action: Action,
    /// How long the answer takes; `None` if it is lost.
    pub answer: Option<Nanos>,
    /// How long the second half of a Take is held at a server that ends leases itself.
    pub hold: Nanos,
    /// The state in which the sender was last told of a holder that it was not told to be gone; 0 if none.
    pub holder_seen: u64,
    /// That holder's lease.
    pub lease_seen: Duration,
    /// The store answers with an error, although it did what was asked.
    pub errs: bool,
}

/// Something that happens to one candidate.
#[derive(Clone, Debug)]
pub(crate) enum Local {
    /// An operation was answered.
    Answer(u64, Box<Input>),
    /// The watch with this number yields the state with this index.
    Hint(u64, usize),
    /// The watch with this number ended.
    WatchEnded(u64),
    /// The watch with this number stands.
    WatchStands(u64),
    /// The work of this term has stopped.
    WorkStopped(Token),
    /// Its owner wants something.
    Command(Command),
}

/// What an owner wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Contend.
    Stand,
    /// Contend no more; a term is dropped.
    Withdraw,
    /// Stop the work and release.
    Resign,
    /// Stop the work, release, and contend no more.
    Drain,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A request reaches the store.
    Arrive(Box<Request>),
    /// The second half of a Take reaches a server that ends leases itself.
    Commit(Box<Request>),
    /// Something happens to a candidate.
    Local(usize, Local),
    /// A process starts.
    Start(usize),
    /// A fault begins.
    FaultBegins(usize),
    /// A fault ends.
    FaultEnds(usize),
    /// The foreign client looks.
    Foreign,
    /// The faults are over.
    Quiet,
    /// By now somebody must have led.
    QuietBound,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    pushed: u64,
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, at: Nanos, event: Event) {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(event);
            slot
        } else {
            self.slots.push(Some(event));
            self.slots.len() - 1
        };
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, slot)));
    }

    /// When the next event happens.
    #[must_use]
    pub(crate) fn next_at(&self) -> Nanos {
        self.heap.peek().map_or(Nanos::MAX, |Reverse((at, ..))| *at)
    }

    /// The next event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Reverse((_, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot].take()
    }
}
