//! What must have happened for a run to prove something.

/// What must happen at least once, lest a run without violation prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A candidate whose term is over reads that the other one holds the lock.
    HandOver,
    /// A write is applied after its sender gave it up.
    ZombieApplied,
    /// A write whose outcome was unknown is read, and recognised.
    AmbiguousThenOwn,
    /// A leader asserts its record again where it was not.
    Reassertion,
    /// A leader writes over an old copy of its own record.
    OverOldCopy,
    /// A candidate adopts what the store may have gone back to.
    Adoption,
    /// A replica takes over the whole data of its primary.
    FullResync,
    /// A write was acknowledged, and its server's reign ended before the answer.
    ReignEnded,
    /// A server starts again.
    Restart,
    /// Two servers take themselves for the primary.
    TwoPrimaries,
}

impl Event {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::HandOver,
        Self::ZombieApplied,
        Self::AmbiguousThenOwn,
        Self::Reassertion,
        Self::OverOldCopy,
        Self::Adoption,
        Self::FullResync,
        Self::ReignEnded,
        Self::Restart,
        Self::TwoPrimaries,
    ];

    /// How often it happened is said with this word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HandOver => "hand-overs",
            Self::ZombieApplied => "zombies applied",
            Self::AmbiguousThenOwn => "ambiguous then own",
            Self::Reassertion => "re-assertions",
            Self::OverOldCopy => "writes over an old copy",
            Self::Adoption => "adoptions",
            Self::FullResync => "full resyncs",
            Self::ReignEnded => "writes of a reign that ended",
            Self::Restart => "restarts of servers",
            Self::TwoPrimaries => "steps with two primaries",
        }
    }
}

/// What happened in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events([bool; Event::ALL.len()]);

impl Events {
    /// Whether this happened.
    #[must_use]
    pub fn has(self, event: Event) -> bool {
        self.0[event as usize]
    }

    pub(crate) fn note(&mut self, event: Event, happened: bool) {
        self.0[event as usize] |= happened;
    }
}
