//! Randomness by counter: every draw is a hash of what it is for, never of what was drawn before.
//! Removing a fault from a schedule leaves every other draw in place, so that failures shrink.

/// What a draw is for. Draws of different purposes are independent.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Purpose {
    /// The configuration of a schedule.
    Config = 1,
    /// Faults of a schedule.
    Fault,
    /// The way of a request to the store.
    Request,
    /// The way of an answer back.
    Answer,
    /// Whether a request is lost.
    LostRequest,
    /// Whether an answer is lost.
    LostAnswer,
    /// How much later than usual a request arrives.
    LateRequest,
    /// How much later than usual an answer arrives.
    LateAnswer,
    /// Whether and when a second copy of a request arrives.
    Duplicate,
    /// Whether and for how long a request is held on its way.
    Held,
    /// Whether a request is refused.
    Refused,
    /// The lower half of a nonce.
    NonceLow,
    /// The upper half of a nonce.
    NonceHigh,
    /// The lower half of an incarnation.
    IncarnationLow,
    /// The upper half of an incarnation.
    IncarnationHigh,
    /// How long the work takes to stop.
    Work,
    /// The way of a watch event.
    Watch,
    /// The order of what happened while a process was stopped.
    Resume,
    /// A foreign client.
    Foreign,
    /// What a store forgets.
    Forget,
    /// How a request is refused.
    Refusal,
    /// Which record an administrator puts back.
    Restore,
    /// The next step of a process of CMD.
    Process,
    /// The cost of a turn, and other accidents of the machine.
    Turn,
}

/// A number that depends on nothing but its arguments.
#[must_use]
pub(crate) fn draw(seed: u64, node: usize, operation: u64, purpose: Purpose) -> u64 {
    let node = node as u64;
    let mixed = mix(seed ^ mix(node.wrapping_add(0x9e37_79b9_7f4a_7c15)));
    mix(mixed ^ operation.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ ((purpose as u64) << 56))
}

fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A row of draws for one purpose.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    seed: u64,
    node: usize,
    purpose: Purpose,
    next: u64,
}

impl Draws {
    /// The draws of this seed for this node and purpose.
    #[must_use]
    pub(crate) fn new(seed: u64, node: usize, purpose: Purpose) -> Self {
        Self { seed, node, purpose, next: 0 }
    }

    /// The next draw.
    pub(crate) fn any(&mut self) -> u64 {
        self.next += 1;
        draw(self.seed, self.node, self.next, self.purpose)
    }

    /// The next draw, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        below(self.any(), bound)
    }

    /// The next draw, in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// The next draw, an index into a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of a list.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }

    /// True in this many of a hundred draws.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// `draw` brought below `bound` (zero stays zero).
#[must_use]
pub(crate) fn below(draw: u64, bound: u64) -> u64 {
    if bound == 0 { 0 } else { (draw >> 11) % bound }
}
