//! What is to happen, in order of time, and of insertion where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use leasehold_core::{Action, Input, Token};

use crate::case::Nanos;
use crate::term::Bound;

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
    /// The last term that the sender was told of, and not told to be gone.
    pub told: Option<Bound>,
    /// The greatest token that the sender knew.
    pub known: Token,
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
    /// Its process ends, if it had to stop contending; whoever watches over it starts another.
    Exit,
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
    /// Somebody edits a field that is not ours.
    Edit,
    /// The faults are over.
    Quiet,
    /// By now somebody must have led.
    QuietBound,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// One number for each event, so that two are compared at once: the moment, the count of
    /// insertions, the slot.
    heap: BinaryHeap<Reverse<u128>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    pushed: u64,
}

/// No more events than these wait at once.
const SLOT_BITS: u32 = 20;
const SLOTS: u128 = (1 << SLOT_BITS) - 1;

fn moment(key: u128) -> Nanos {
    Nanos::try_from(key >> 64).expect("the upper half")
}

impl Queue {
    /// Adds an event.
    pub(crate) fn push(&mut self, at: Nanos, event: Event) {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(event);
            slot
        } else {
            assert!(self.slots.len() as u128 <= SLOTS, "too many events wait");
            self.slots.push(Some(event));
            self.slots.len() - 1
        };
        self.pushed += 1;
        let order = u128::from(self.pushed) << SLOT_BITS | slot as u128;
        self.heap.push(Reverse(u128::from(at) << 64 | order));
    }

    /// When the next event happens.
    #[must_use]
    pub(crate) fn next_at(&self) -> Nanos {
        self.heap.peek().map_or(Nanos::MAX, |Reverse(key)| moment(*key))
    }

    /// The next event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Reverse(key) = self.heap.pop()?;
        let slot = usize::try_from(key & SLOTS).expect("a slot is below 2^20");
        self.free.push(slot);
        self.slots[slot].take()
    }
}
